/** Faults that a review of the host found, each by its shortest trigger. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { forHost as denoFor } from "../src/deno/index.ts";
import { IpAddress, Lab } from "../src/index.ts";
import { forHost as nodeFor } from "../src/node/index.ts";
import * as c from "../src/posix/index.ts";
import { Process } from "../src/posix/index.ts";
import { abort } from "../src/tcp/end.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { ETHERTYPE, serializeEthernet, serializeIpv4, serializeTcp } from "../src/wire/index.ts";
import { until } from "./nat-rig.ts";

async function pair(impairment = {}, options: { a?: object; b?: object; memory?: object } = {}) {
  const lab = await Lab.create({ seed: 1, ...(options.memory && { memory: options.memory }) });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }], ...options.a });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }], ...options.b });
  const link = lab.link(a, b, { delay: 5, ...impairment });
  return { lab, a, b, link };
}
const FAR = IpAddress.parse("10.0.0.2");
const bytes = (text: string) => new TextEncoder().encode(text);

describe("a connection that is reset while it waits to be accepted", () => {
  const waiting = async (text = "") => {
    const made = await pair();
    const listener = made.b.listen({ port: 80 });
    const tcb = made.a.tcp.connect(FAR, 80);
    await made.lab.run(50);
    if (text) user.write(tcb, bytes(text));
    await made.lab.run(50);
    abort(tcb);
    await made.lab.run(50);
    return { ...made, listener };
  };

  it("tells its owner: streams", async () => {
    const { lab, listener } = await waiting();
    const socket = await listener.accept();
    await assert.rejects(until(lab, socket.read(new Uint8Array(9))), { code: "ECONNRESET" });
    await assert.rejects(socket.closed, { code: "ECONNRESET" });
    await until(lab, socket.close());
  });

  it("gives what had come before that", async () => {
    const { lab, listener } = await waiting("before");
    const socket = await listener.accept();
    const space = new Uint8Array(9);
    assert.equal(await until(lab, socket.read(space)), 6);
    await assert.rejects(socket.read(space), { code: "ECONNRESET" });
  });

  it("tells its owner: Node's net", async () => {
    const { lab, a, b } = await pair();
    const { net } = nodeFor(b);
    const seen: unknown[] = [];
    const server = net.createServer({ pauseOnConnect: false }, (socket) => {
      socket.on("error", (error) => seen.push((error as NodeJS.ErrnoException).code));
      socket.on("close", (hadError: boolean) => seen.push(hadError));
      socket.resume();
    });
    server.listen(80);
    await lab.run(10);
    const tcb = a.tcp.connect(FAR, 80);
    // The listener hears of it in a tick of its own: by then it is over.
    lab.runNow(20);
    abort(tcb);
    lab.runNow(50);
    for (let i = 0; i < 20 && seen.length < 2; i++) await lab.run(10);
    assert.deepEqual(seen, ["ECONNRESET", true]);
    server.close();
  });
});

describe("a receiver", () => {
  it("keeps as many early ranges as a fast and long path makes", async () => {
    const memory = { buffers: 32_768, bareDescriptors: 65_536, ringCapacity: 8192, puntCapacity: 16_384, appBytes: 256 << 20 };
    const { lab, a, b, link } = await pair({ delay: 50, rate: 1e9 }, { memory });
    const listener = b.tcp.listen(undefined, 80, 10, { receiveBuffer: 32 << 20 });
    const near = a.tcp.connect(FAR, 80, {}, { congestion: "bbr", sendBuffer: 64 << 20 });
    lab.runNow(500);
    const far = listener.accept() as Tcb;
    far.events = { readable: () => void user.discard(far, 1e9) };
    const chunk = new Uint8Array(1 << 20);
    const pump = () => {
      while (user.write(near, chunk) > 0) {}
    };
    near.events = { writable: pump };
    pump();
    lab.runNow(1500);
    link.set({ delay: 50, rate: 1e9, loss: 0.01 });
    const before = { ...b.tcp.counters };
    lab.runNow(300);
    const [kept, dropped] = [b.tcp.counters.ofo_queued - before.ofo_queued, b.tcp.counters.ofo_dropped - before.ofo_dropped];
    assert.ok(kept > 1000, String(kept));
    assert.equal(dropped, 0, `of ${kept}`);
    abort(near);
  });

  it("bounds them by the window all the same", async () => {
    const { lab, a, b } = await pair({ loss: 0.3 });
    const listener = b.listen({ port: 80, receiveBuffer: 20_000 });
    const [, near] = await until(lab, Promise.all([listener.accept(), a.connect({ hostname: "10.0.0.2", port: 80 })]));
    near.write(new Uint8Array(1_000_000)).catch(() => {});
    await lab.run(5000);
    assert.ok(near.status().unacked <= 20_000);
    near.abort();
  });
});

describe("the retransmission timeout (RFC 6298 §5, Karn)", () => {
  it("stays backed off until something is measured", async () => {
    const { lab, a, b, link } = await pair({ delay: 5 }, { a: { tcp: { timestamps: false, sack: false } } });
    const listener = b.listen({ port: 80 });
    const [far, near] = await until(lab, Promise.all([listener.accept(), a.connect({ hostname: "10.0.0.2", port: 80 })]));
    void (async () => {
      const space = new Uint8Array(999);
      while (((await far.read(space).catch(() => null)) ?? 0) > 0) {}
    })();
    await near.write(bytes("x"));
    await lab.run(1000);
    link.set({ delay: 500 });
    const counts: number[] = [];
    for (let i = 0; i < 5; i++) {
      const before = near.status().retransmissions;
      await near.write(bytes("x"));
      await lab.run(30_000);
      counts.push(near.status().retransmissions - before);
    }
    assert.ok(counts[0] >= 2, counts.join());
    assert.deepEqual(counts.slice(2), [0, 0, 0], `it never learns that the path is longer now: ${counts}`);
    near.abort();
  });
});

describe("closing", () => {
  it("gives up a peer that takes nothing of what is still being written", async () => {
    const { lab, a, b } = await pair();
    const listener = b.listen({ port: 80 });
    a.tcp.connect(FAR, 80);
    await lab.run(100);
    const socket = await listener.accept();
    const written = socket.write(new Uint8Array(4_000_000)).catch((error) => error.code);
    await lab.run(1000);
    let isClosed = false;
    void socket.close().then(() => {
      isClosed = true;
    });
    await lab.run(200_000);
    assert.equal(isClosed, false, "a slow peer has its time");
    await lab.run(300_000);
    assert.equal(isClosed, true);
    assert.equal(await written, "ETIMEDOUT");
  });

  it("lets one that takes a little now and then have all of it", async () => {
    const { lab, a, b } = await pair();
    const listener = b.listen({ port: 80 });
    const [socket, slow] = await until(
      lab,
      Promise.all([listener.accept(), a.connect({ hostname: "10.0.0.2", port: 80, receiveBuffer: 65_536 })]),
    );
    socket.write(new Uint8Array(1_000_000)).catch(() => {});
    let isClosed = false;
    void socket.close().then(() => {
      isClosed = true;
    });
    const space = new Uint8Array(40_000);
    let total = 0;
    for (let minute = 0; minute < 60 && total < 1_000_000; minute++) {
      total += (await until(lab, slow.read(space))) ?? 0;
      await lab.run(60_000);
    }
    assert.equal(total, 1_000_000);
    await until(lab, slow.close());
    await lab.run(1000);
    assert.equal(isClosed, true);
  });

  it("answers data for nobody with a reset and nothing else", async () => {
    const { lab, a, b } = await pair();
    const listener = b.listen({ port: 80 });
    const near = a.tcp.connect(FAR, 80);
    await lab.run(100);
    void (await listener.accept()).close();
    await lab.run(100);
    const before = { ...b.tcp.counters };
    // In one segment with the end.
    user.write(near, bytes("too late"), true);
    user.shutdown(near);
    await lab.run(100);
    assert.equal(b.tcp.counters.out_rsts - before.out_rsts, 1);
    assert.equal(a.tcp.counters.out_rsts, 0, "the reset was answered");
  });

  it("tells a writer of the reset", async () => {
    const { lab, a, b } = await pair();
    const listener = b.listen({ port: 80 });
    const [far, near] = await until(lab, Promise.all([listener.accept(), a.connect({ hostname: "10.0.0.2", port: 80 })]));
    const writer = near.writable.getWriter();
    far.abort();
    await assert.rejects(until(lab, writer.closed), { code: "ECONNRESET" });
  });
});

describe("Node's callbacks", () => {
  it("come for writes that a destroy cuts short", async () => {
    const { lab, a, b } = await pair();
    const { net } = nodeFor(a);
    b.listen({ port: 80 });
    const seen: string[] = [];
    const socket = net.connect(80, "10.0.0.2");
    socket.on("close", () => seen.push("close"));
    await lab.run(100);
    socket.write(new Uint8Array(8_000_000), (error) => seen.push(`first ${error?.message ?? "null"}`));
    socket.write(new Uint8Array(9), (error) => seen.push(`second ${(error as NodeJS.ErrnoException | null)?.code}`));
    await lab.run(50);
    socket.destroy();
    await lab.run(50);
    for (let i = 0; i < 5 && seen.length < 3; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(seen.sort(), ["close", "first null", "second ERR_STREAM_DESTROYED"]);
  });
});

describe("Deno's connections", () => {
  it("keep nothing of a read or a write that is over", async () => {
    const { lab, a, b } = await pair();
    const listener = denoFor(b).listen({ port: 80 });
    const [far, near] = await until(lab, Promise.all([listener.accept(), denoFor(a).connect({ hostname: "10.0.0.2", port: 80 })]));
    const space = new Uint8Array(9);
    for (let i = 0; i < 50; i++) await until(lab, Promise.all([near.write(bytes("x")), far.read(space)]));
    const { closing } = far as unknown as { closing: { waiting: Set<unknown> } };
    assert.equal(closing.waiting.size, 0);
    const reading = far.read(space);
    assert.equal(closing.waiting.size, 1);
    far.close();
    await assert.rejects(reading, { name: "Interrupted" });
    near.close();
    listener.close();
  });
});

describe("SYN cookies", () => {
  it("offer the segment size and the window that the listener has", async () => {
    const { lab, a, b } = await pair({}, { b: { handshakes: 0 } });
    const listener = b.listen({ port: 80, maxMss: 500, receiveBuffer: 4096 });
    const near = a.tcp.connect(FAR, 80);
    await lab.run(100);
    assert.ok(b.tcp.counters.syncookies_received > 0, "no cookie came back");
    assert.ok(near.mss <= 500, String(near.mss));
    assert.ok(near.window <= 4096, String(near.window));
    const far = await listener.accept();
    user.write(near, new Uint8Array(60_000));
    await lab.run(5000);
    assert.ok(far.status().unread <= 4096, String(far.status().unread));
  });
});

describe("pings", () => {
  it("end by their signal, early or before they began", async () => {
    const { lab, a } = await pair({ cut: true });
    const stop = new AbortController();
    const ping = a.ping("10.0.0.2", { timeout: 5000, signal: stop.signal });
    await lab.run(10);
    stop.abort();
    await assert.rejects(ping, { name: "AbortError" });
    await assert.rejects(a.ping("10.0.0.2", { signal: stop.signal }), { name: "AbortError" });
  });

  it("of a host without interfaces say that nothing leads there", async () => {
    const lab = await Lab.create({ seed: 1 });
    const host = await lab.host({});
    host.listen({ port: 80 });
    await assert.rejects(until(lab, host.connect({ hostname: "127.0.0.1", port: 80 })), { code: "ENETUNREACH" });
  });
});

describe("descriptors", () => {
  it("a full table leaves a connection in the listener's queue (accept4(2), EMFILE)", async () => {
    const { lab, a, b } = await pair();
    const process = new Process(b, { descriptors: 4 });
    const listener = process.socket(c.AF_INET, c.SOCK_STREAM);
    process.bind(listener, { family: c.AF_INET, address: "0.0.0.0", port: 80 });
    process.listen(listener, 5);
    const others = [0, 0, 0].map(() => process.socket(c.AF_INET, c.SOCK_DGRAM));
    const near = await until(lab, a.connect({ hostname: "10.0.0.2", port: 80 }));
    await lab.run(50);
    assert.equal(process.accept(listener), -c.EMFILE);
    assert.equal(process.accept(listener), -c.EMFILE);
    process.close(others[0]);
    assert.equal(process.accept(listener), others[0]);
    assert.equal(near.status().state, "ESTABLISHED");
    process.exit();
  });

  it("a listening socket bound to an interface takes what comes by that alone", async () => {
    const lab = await Lab.create({ seed: 1 });
    const [a, other, b] = [
      await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }),
      await lab.host({ interfaces: [{ addresses: ["10.0.1.1/24"] }] }),
      await lab.host({
        interfaces: [
          { name: "eth0", addresses: ["10.0.0.2/24"] },
          { name: "eth1", addresses: ["10.0.1.2/24"] },
        ],
      }),
    ];
    lab.link(a, b, {}, ["eth0", "eth0"]);
    lab.link(other, b, {}, ["eth0", "eth1"]);
    const process = new Process(b);
    const listener = process.socket(c.AF_INET, c.SOCK_STREAM);
    process.bind(listener, { family: c.AF_INET, address: "0.0.0.0", port: 80 });
    process.listen(listener, 5);
    assert.equal(process.setsockopt(listener, c.SOL_SOCKET, c.SO_BINDTODEVICE, bytes("eth1")), 0);
    await assert.rejects(until(lab, a.connect({ hostname: "10.0.0.2", port: 80 })), { code: "ECONNREFUSED" });
    await until(lab, other.connect({ hostname: "10.0.1.2", port: 80 }));
    process.exit();
  });
});

describe("a SYN by another interface than that of the connection which has its addresses and ports", () => {
  it("begins no second one in front of it", async () => {
    const lab = await Lab.create({ seed: 1, interfaces: 4, hosts: 2 });
    const a = await lab.host({ interfaces: [{ name: "c0", addresses: ["10.0.0.1/24"] }] });
    const host = await lab.host({
      interfaces: [
        { name: "e0", addresses: ["10.0.0.2/24"] },
        { name: "e1", addresses: ["10.0.1.2/24"] },
      ],
    });
    lab.link(a, host, { delay: 1 }, ["c0", "e0"]);
    await lab.run(10);
    const [e0, e1] = ["e0", "e1"].map((name) => host.ip.interface(name) as NonNullable<ReturnType<typeof host.ip.interface>>);
    a.tcp.listen(undefined, 80);
    host.tcp.listen(undefined, 5000, 10, {}, { isBound: true });
    const bound = host.tcp.connect(IpAddress.parse("10.0.0.1"), 80, { port: 5000, device: e0 });
    await lab.run(20);
    const [source, destination] = [IpAddress.parse("10.0.0.1"), IpAddress.parse("10.0.0.2")];
    const syn = { sourcePort: 80, destinationPort: 5000, sequence: 77, acknowledgement: 0, flags: 2, window: 1000, urgentPointer: 0 };
    const payload = serializeTcp(
      { ...syn, options: new Uint8Array(), payload: new Uint8Array() },
      { source: source.bytes(), destination: destination.bytes() },
    );
    const packet = serializeIpv4({ source: source.v4, destination: destination.v4, protocol: 6, payload });
    const link = { destination: e1.mac, source: Uint8Array.of(2, 0, 0, 0, 9, 9), type: ETHERTYPE.ipv4 };
    lab.engine.port(e1.port.index).receive(serializeEthernet({ ...link, payload: packet }));
    await lab.run(20);
    assert.deepEqual(host.tcp.list(), [bound]);
    user.write(a.tcp.list()[0], new Uint8Array(10));
    await lab.run(100);
    assert.equal(bound.received - bound.irs - 1, 10);
  });
});

describe("keepalive", () => {
  it("waits at the very moment that it is due, whatever rounding says: the difference may be less than what was added", async () => {
    // Times at which x + 60,000 - x is less than 60,000.
    const odd = Array.from({ length: 400 }, (_, i) => 10_000 + i / 7).filter((x) => x + 60_000 - x < 60_000);
    assert.ok(odd.length > 20);
    for (const at of odd.slice(0, 20)) {
      const { lab, a, b } = await pair({ delay: 0 });
      const listener = b.listen({ port: 80 });
      await lab.run(5);
      // The handshake ends at that time, and nothing is said from then on.
      await lab.run(at - lab.clock.now());
      const [near] = await Promise.all([a.connect({ hostname: "10.0.0.2", port: 80 }), listener.accept(), lab.run(0)]);
      near.setKeepAlive(60);
      await lab.run(200_000);
      assert.equal(near.status().state, "ESTABLISHED");
    }
  });
});
