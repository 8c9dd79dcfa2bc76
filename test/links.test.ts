/** Links over streams, WebSockets and message channels: frames survive any cut, senders wait, hostile bytes end nothing else. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { type AddressInfo, connect as connectSocket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { type WebSocket as Socket, WebSocket, WebSocketServer } from "ws";
import { MOST_FRAME } from "../src/engine/index.ts";
import {
  type ByteDuplex,
  channelLink,
  type DeviceFor,
  type Engine,
  FrameReader,
  Host,
  type MessageChannelLike,
  type StreamLink,
  streamLink,
  type WebSocketLike,
  webSocketLink,
} from "../src/index.ts";
import { qemuConnect, qemuListen, type SocketAddress } from "../src/link/qemu-node.ts";
import { SEED } from "./support.ts";

const MEMORY = { ports: 2, buffers: 4096, appBytes: 8 << 20, routes4: 100, routes6: 100, nextHops: 64 };
const runs = { numRuns: 200, seed: SEED };

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not within four seconds: ${what}`);
}

/** Hosts 10.0.0.1, 10.0.0.2, … with a device each; closed by `end`. */
async function hostsOf(devices: DeviceFor[], mtu?: number) {
  const hosts: Host[] = [];
  for (const [i, device] of devices.entries()) {
    hosts.push(await Host.create({ memory: MEMORY, interfaces: [{ device, mtu, addresses: [`10.0.0.${i + 1}/24`] }] }));
  }
  return { hosts, end: () => Promise.all(hosts.map((host) => host.close())) };
}

const body = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 24);
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Bytes over TCP from one host to another, compared at the end. */
async function transfer(from: Host, to: Host, address: string, bytes: number): Promise<void> {
  const listener = to.listen({ port: 9 });
  const sent = body(bytes);
  const sending = (async () => {
    const socket = await from.connect({ hostname: address, port: 9 });
    const writer = socket.writable.getWriter();
    await writer.write(sent);
    await writer.close();
    return socket;
  })();
  const socket = await listener.accept();
  const chunks: Uint8Array[] = [];
  for await (const chunk of socket.readable) chunks.push(chunk);
  assert.equal(sha(Buffer.concat(chunks)), sha(sent));
  await socket.close();
  await sending;
  listener.close();
}

/** Two ends of a pair of byte streams. */
function duplexes(): [ByteDuplex, ByteDuplex] {
  const [one, other] = [new TransformStream<Uint8Array>(), new TransformStream<Uint8Array>()];
  return [
    { readable: one.readable, writable: other.writable },
    { readable: other.readable, writable: one.writable },
  ];
}

function framed(frames: readonly Uint8Array[]): Uint8Array {
  const pieces = frames.flatMap((frame) => {
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32BE(frame.length);
    return [prefix, frame];
  });
  return Buffer.concat(pieces);
}

describe("frames in a stream", () => {
  const frame = fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ minLength: 1000, maxLength: 3000 }));

  it("come out as they went in, however the stream is cut", () => {
    const property = fc.property(fc.array(frame, { maxLength: 20 }), fc.array(fc.nat(4000), { maxLength: 30 }), (frames, cuts) => {
      const stream = framed(frames);
      const edges = [...new Set([0, ...cuts.map((cut) => cut % (stream.length + 1)), stream.length])].sort((a, b) => a - b);
      const reader = new FrameReader();
      const seen: string[] = [];
      for (let i = 0; i + 1 < edges.length; i++) {
        reader.feed(stream.subarray(edges[i], edges[i + 1]));
        for (let next = reader.next(); next; next = reader.next()) seen.push(Buffer.from(next).toString("hex"));
        assert.ok(reader.isEmpty);
      }
      assert.deepEqual(
        seen,
        frames.map((each) => Buffer.from(each).toString("hex")),
      );
      assert.equal(reader.pending, 0);
    });
    fc.assert(property, runs);
  });

  it("are refused where a length cannot be one, and only there", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 50 }), (bytes, step) => {
      const reader = new FrameReader();
      for (let at = 0; at < bytes.length; at += step) {
        reader.feed(bytes.subarray(at, at + step));
        try {
          while (reader.next());
        } catch (error) {
          assert.equal((error as { code?: string }).code, "EPROTO");
          return;
        }
      }
    });
    fc.assert(property, runs);
    for (const [length, refused] of [
      [MOST_FRAME, false],
      [MOST_FRAME + 1, true],
      [0x7fffffff, true],
      [0xffffffff, true],
      [0, false],
    ] as const) {
      const prefix = Buffer.alloc(4);
      prefix.writeUInt32BE(length);
      const reader = new FrameReader();
      reader.feed(prefix);
      if (refused) assert.throws(() => reader.next(), { code: "EPROTO" });
      else assert.doesNotThrow(() => reader.next());
    }
  });
});

describe("a link over a stream", () => {
  for (const mtu of [1500, 9000, 65_535]) {
    it(`carries TCP with an MTU of ${mtu}`, async () => {
      const [one, other] = duplexes();
      const { hosts, end } = await hostsOf([streamLink(one), streamLink(other)], mtu);
      await transfer(hosts[0], hosts[1], "10.0.0.2", 3_000_000);
      await transfer(hosts[1], hosts[0], "10.0.0.1", 300_000);
      const [{ stats }] = hosts[0].links();
      assert.ok(stats.tx.packets > 3_000_000 / mtu);
      await end();
    });
  }

  it("waits for a stream that does not move, with what waits bounded", async () => {
    const [one] = duplexes();
    let link: StreamLink | undefined;
    const device = (engine: Engine, port: Parameters<DeviceFor>[1]) => {
      link = streamLink(one, { highWater: 10_000 })(engine, port);
      return link;
    };
    const memory = { ...MEMORY, ringCapacity: 256 };
    const host = await Host.create({ memory, interfaces: [{ device, addresses: ["10.0.0.1/24"] }] });
    const socket = host.datagram({ broadcast: true });
    const path = { address: "10.0.0.255", port: 9 };
    for (let i = 0; i < 2000; i++) {
      socket.send(new Uint8Array(1000), path);
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => host.links()[0].stats.tx.dropped > 0, "the ring overflows and says so");
    const { channel } = link as unknown as { channel: { pending: number } };
    // One poll's worth beyond the mark, at most.
    assert.ok(channel.pending >= 10_000 && channel.pending < 10_000 + 256 * 1100, `${channel.pending} bytes wait`);
    await host.close();
  });

  it("ends with a sentence when the other side speaks something else, and counts runts", async () => {
    const to = new TransformStream<Uint8Array>();
    const back = new TransformStream<Uint8Array>();
    const reading = back.readable.pipeTo(new WritableStream()).catch(() => {});
    let failure: Error | undefined;
    const closed = (error?: Error) => {
      failure = error;
    };
    const { hosts, end } = await hostsOf([streamLink({ readable: to.readable, writable: back.writable }, { closed })]);
    const link = () => hosts[0].links()[0];
    const writer = to.writable.getWriter();
    await writer.write(framed([new Uint8Array(0), new Uint8Array(13), new Uint8Array(60)]));
    await until(() => link().stats.rx.packets === 1, "the frame");
    assert.equal(link().stats.rx.errors, 2);
    assert.ok(link().carrier);
    void writer.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")).catch(() => {});
    await until(() => failure !== undefined, "the end");
    assert.match(String(failure), /a frame of 1195725856 bytes was announced; expected 65593 at most/);
    await until(() => !link().carrier, "no carrier");
    hosts[0].datagram().send(Uint8Array.of(1), { address: "10.0.0.9", port: 1 });
    await until(() => link().stats.tx.carrier > 0, "what is sent then is counted");
    await end();
    await reading;
  });
});

describe("a link over QEMU's sockets", () => {
  const path = join(tmpdir(), `loom-${process.pid}.sock`);
  after(() => rmSync(path, { force: true }));

  it("joins two hosts over a Unix socket, and again after the connection was lost", async () => {
    const { hosts, end } = await hostsOf([qemuListen({ path }), qemuConnect({ path }, { retry: 10 })]);
    await until(() => hosts.every((host) => host.links()[0].carrier), "the connection");
    await transfer(hosts[0], hosts[1], "10.0.0.2", 2_000_000);
    hosts[0].removeInterface("eth0");
    await until(() => !hosts[1].links()[0].carrier, "the loss");
    await hosts[0].addInterface({ device: qemuListen({ path }), addresses: ["10.0.0.1/24"] });
    await until(() => hosts.every((host) => host.links()[0].carrier), "the connection again");
    await transfer(hosts[1], hosts[0], "10.0.0.1", 100_000);
    await end();
  });

  it("turns a second machine away, and says what is wrong with an address", async () => {
    let where: SocketAddress | undefined;
    const listening = (address: SocketAddress) => {
      where = address;
    };
    const { hosts, end } = await hostsOf([qemuListen({ port: 0 }, { listening })]);
    const { port } = where as { port: number };
    const first = connectSocket(port, "127.0.0.1");
    first.on("error", () => {});
    await until(() => hosts[0].links()[0].carrier, "the first");
    const second = connectSocket(port, "127.0.0.1");
    second.on("error", () => {});
    await once(second, "close");
    assert.ok(hosts[0].links()[0].carrier);
    first.destroy();
    await until(() => !hosts[0].links()[0].carrier, "the first goes");
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const taken = (other.address() as AddressInfo).port;
    await assert.rejects(hosts[0].addInterface({ device: qemuListen({ port: taken }) }), {
      code: "EADDRINUSE",
      message: `cannot listen on port ${taken}: somebody listens there, or an old socket file must be removed`,
    });
    other.close();
    await end();
  });
});

describe("a link over a WebSocket", () => {
  it("carries TCP between a client and a server, and finds its way back", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = webSocketLink(() => new WebSocket(url) as unknown as WebSocketLike, { retry: 10 });
    const accepted = once(server, "connection");
    const { hosts, end } = await hostsOf([client]);
    let [socket] = (await accepted) as [Socket];
    const link = webSocketLink(socket as unknown as WebSocketLike);
    const other = await Host.create({ memory: MEMORY, interfaces: [{ device: link, addresses: ["10.0.0.2/24"] }] });
    await transfer(hosts[0], other, "10.0.0.2", 2_000_000);
    await transfer(other, hosts[0], "10.0.0.1", 500_000);
    // The server's side goes; the client connects anew and the host's interface with it.
    const again = once(server, "connection");
    socket.terminate();
    [socket] = (await again) as [Socket];
    other.removeInterface("eth0");
    await other.addInterface({ device: webSocketLink(socket as unknown as WebSocketLike), addresses: ["10.0.0.2/24"] });
    await transfer(other, hosts[0], "10.0.0.1", 100_000);
    await end();
    await other.close();
    server.close();
  });

  it("is one frame in one binary message, and anything else is an error", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const accepted = once(server, "connection");
    const { hosts, end } = await hostsOf([webSocketLink(new WebSocket(url) as unknown as WebSocketLike)]);
    const [socket] = (await accepted) as [Socket];
    const got: Buffer[] = [];
    socket.on("message", (data: Buffer) => got.push(Buffer.from(data)));
    await until(() => hosts[0].links()[0].carrier, "the connection");
    // "Who has 10.0.0.1? Tell 10.0.0.7", by hand: as a peer that is not ours would send it.
    const ask = Buffer.from("ffffffffffff0200000000070806000108000604000102000000000" + "70a0000070000000000000a000001", "hex");
    socket.send(ask);
    await until(() => got.some((frame) => frame.readUInt16BE(12) === 0x806 && frame.readUInt16BE(20) === 2), "the answer");
    const answer = got.find((frame) => frame.readUInt16BE(12) === 0x806 && frame.readUInt16BE(20) === 2) as Buffer;
    assert.equal(answer.subarray(0, 6).toString("hex"), "020000000007");
    assert.equal(answer.subarray(28, 32).toString("hex"), "0a000001");
    for (const bad of ["text", Buffer.alloc(13), Buffer.alloc(MOST_FRAME + 1), Buffer.alloc(0)]) socket.send(bad);
    await until(() => hosts[0].links()[0].stats.rx.errors === 4, "four errors");
    assert.ok(hosts[0].links()[0].carrier);
    await end();
    server.close();
  });
});

describe("batches over a WebSocket", () => {
  it("carry TCP with fewer messages than frames, to a side that sends frames itself", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const accepted = once(server, "connection");
    const { hosts, end } = await hostsOf([webSocketLink(new WebSocket(url) as unknown as WebSocketLike, { format: "batches" })]);
    const [socket] = (await accepted) as [Socket];
    let messages = 0;
    socket.on("message", () => messages++);
    const other = await Host.create({
      memory: MEMORY,
      interfaces: [{ device: webSocketLink(socket as unknown as WebSocketLike), addresses: ["10.0.0.2/24"] }],
    });
    await transfer(hosts[0], other, "10.0.0.2", 2_000_000);
    const { packets } = other.links()[0].stats.rx;
    assert.ok(messages < packets / 2, `${messages} messages for ${packets} frames`);
    await transfer(other, hosts[0], "10.0.0.1", 500_000);
    await end();
    await other.close();
    server.close();
  });

  it("that are damaged cost nobody but themselves", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const accepted = once(server, "connection");
    const { hosts, end } = await hostsOf([webSocketLink(new WebSocket(url) as unknown as WebSocketLike)]);
    const [socket] = (await accepted) as [Socket];
    const got: Buffer[] = [];
    socket.on("message", (data: Buffer) => got.push(Buffer.from(data)));
    await until(() => hosts[0].links()[0].carrier, "the connection");
    const batch = (hex: string) => Buffer.from(`6c6f6f6d2f31ffff${hex}`, "hex");
    const ask = "ffffffffffff020000000007080600010800060400010200000000070a0000070000000000000a000001";
    // A length that is none, a frame that ends too early, one shorter than a header.
    for (const bad of ["ffffffff00", `0000002a${ask.slice(0, 40)}`, "0000000401020304"]) socket.send(batch(bad));
    await until(() => hosts[0].links()[0].stats.rx.errors === 3, "three errors");
    socket.send(batch(`0000002a${ask}`));
    await until(() => got.some((frame) => frame.readUInt16BE(12) === 0x806 && frame.readUInt16BE(20) === 2), "the answer");
    assert.equal(hosts[0].links()[0].stats.rx.errors, 3);
    await end();
    server.close();
  });
});

describe("a link over message channels", () => {
  it("joins two engines by a MessagePort, within its window", async () => {
    const { port1, port2 } = new MessageChannel();
    let largest = 0;
    let [sent, done] = [0, 0];
    // What is under way is what was posted and not yet said to be taken.
    const post = port1.postMessage.bind(port1);
    const watched = Object.assign(port1, {
      postMessage(message: { loom: string; total: number; frames?: ArrayBuffer }, transfer: never) {
        if (message.loom === "frames") sent = message.total;
        largest = Math.max(largest, sent - done);
        post(message, transfer);
        if (message.frames) assert.equal(message.frames.byteLength, 0, "transferred, not copied");
      },
    });
    port1.addEventListener("message", ({ data }) => {
      if (data.loom === "progress") done = data.total;
    });
    const { hosts, end } = await hostsOf([
      channelLink(watched as unknown as MessageChannelLike, { window: 100_000 }),
      channelLink(port2 as unknown as MessageChannelLike, { window: 100_000 }),
    ]);
    await transfer(hosts[0], hosts[1], "10.0.0.2", 3_000_000);
    await transfer(hosts[1], hosts[0], "10.0.0.1", 1_000_000);
    assert.ok(largest > 0 && largest < 100_000 + 256 * 1600, `${largest} bytes were under way`);
    await end();
  });

  it("makes a LAN of a BroadcastChannel, with whoever comes later", async () => {
    const name = `loom-${process.pid}`;
    const channel = () => channelLink(new BroadcastChannel(name) as unknown as MessageChannelLike);
    const { hosts, end } = await hostsOf([channel(), channel()]);
    await transfer(hosts[0], hosts[1], "10.0.0.2", 1_000_000);
    const late = await Host.create({ memory: MEMORY, interfaces: [{ device: channel(), addresses: ["10.0.0.3/24"] }] });
    await transfer(hosts[1], late, "10.0.0.3", 500_000);
    assert.equal((await late.ping("10.0.0.1")).bytes, 56);
    // One that left is not waited for.
    await late.close();
    await transfer(hosts[1], hosts[0], "10.0.0.1", 2_000_000);
    await end();
  });

  it("loses nothing of one sender when another's batch is cut off, and waits for nobody who only says so", async () => {
    const name = `loom-bad-${process.pid}`;
    const channel = () => channelLink(new BroadcastChannel(name) as unknown as MessageChannelLike, { window: 50_000 });
    const { hosts, end } = await hostsOf([channel(), channel()]);
    const bad = new BroadcastChannel(name);
    const senders = new Set<number>();
    bad.onmessage = (event) => {
      const { data } = event as MessageEvent;
      if (data.loom !== "frames") return;
      senders.add(data.from);
      // A member that has taken nothing and says so again and again, and a batch that ends in the middle of a frame.
      for (const to of senders) bad.postMessage({ loom: "progress", to, from: 1, total: 0 });
      bad.postMessage({ loom: "frames", from: 1, total: 20, frames: framed([new Uint8Array(60)]).slice(0, 20).buffer });
    };
    await transfer(hosts[0], hosts[1], "10.0.0.2", 300_000);
    assert.ok(hosts[1].links()[0].stats.rx.errors > 0);
    bad.close();
    await end();
  });

  it("understands single frames, and errors end nothing", async () => {
    const name = `loom-raw-${process.pid}`;
    const raw = new BroadcastChannel(name);
    const got: Uint8Array[] = [];
    raw.onmessage = (event) => void got.push((event as MessageEvent).data);
    const device = channelLink(new BroadcastChannel(name) as unknown as MessageChannelLike, { format: "frames" });
    const { hosts, end } = await hostsOf([device]);
    raw.postMessage(Buffer.from("ffffffffffff02000000000708060001080006040001020000000007" + "0a0000070000000000000a000001", "hex"));
    const isAnswer = (frame: Uint8Array) => frame instanceof Uint8Array && frame[13] === 6 && frame[21] === 2;
    await until(() => got.some(isAnswer), "the answer as one Uint8Array");
    const bad = Buffer.from([0xff, 0xff, 0xff, 0xff]);
    const frames = bad.buffer.slice(bad.byteOffset, bad.byteOffset + 4);
    for (const message of ["hello", null, 7, { loom: "frames" }, new Uint8Array(3), { loom: "frames", from: 1, total: 4, frames }]) {
      raw.postMessage(message);
    }
    await until(() => hosts[0].links()[0].stats.rx.errors === 6, "six errors");
    raw.close();
    await end();
  });
});
