/** Blocking calls that a process serves: what cannot go on waits, and leaves the owner's event loop to everybody else. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Lab } from "../src/index.ts";
import * as p from "../src/posix/blocking/protocol.ts";
import * as c from "../src/posix/index.ts";
import { callMemory, encodeName, Process, type SocketName, serveCalls } from "../src/posix/index.ts";

const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 2));

/** A worker's side of the channel, in this thread: rings, and looks at the answer. */
function caller(process: Process) {
  const memory = callMemory();
  const channel = p.openChannel(memory);
  const bell: { onmessage: ((event: never) => void) | null } = { onmessage: null };
  const stop = serveCalls(process, memory, bell);
  const ring = () => bell.onmessage?.({} as never);
  const call = (name: p.CallName, args: number[], data = new Uint8Array(0), peer?: SocketName) => {
    const { words } = channel;
    words[p.CALL] = p.CALLS.indexOf(name);
    args.forEach((each, i) => (words[p.ARGUMENTS + i] = each));
    channel.data.set(data);
    words[p.DATA_BYTES] = data.length;
    words[p.CONTROL_BYTES] = 0;
    const bytes = peer ? encodeName(peer) : new Uint8Array(0);
    channel.name.set(bytes);
    words[p.NAME_BYTES] = bytes.length;
    words[p.STATE] = p.REQUEST;
    ring();
  };
  /** The result, or undefined while the call waits. */
  const result = () => (channel.words[p.STATE] === p.REPLY ? channel.words[p.RESULT] : undefined);
  return { call, result, ring, stop };
}

async function world() {
  const lab = await Lab.create({ seed: 1 });
  const process = new Process(await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }));
  const pair = (type: number): [number, number] => {
    const ends: [number, number] = [0, 0];
    assert.equal(process.socketpair(c.AF_UNIX, type, 0, ends), 0);
    return ends;
  };
  const pipe = (): [number, number] => {
    const ends: [number, number] = [0, 0];
    assert.equal(process.pipe2(ends), 0);
    return ends;
  };
  const end = async (caller: { stop: () => void }) => {
    caller.stop();
    process.exit();
    await lab.engine.close();
  };
  return { lab, process, pair, pipe, end, ...caller(process) };
}

describe("a blocking call", () => {
  it("to splice waits for room in a full pipe", async () => {
    const { process, pair, pipe, call, result, end, stop } = await world();
    const [reader, writer] = pipe();
    const [from, to] = pair(c.SOCK_STREAM);
    process.write(writer, new Uint8Array(65_536));
    process.write(to, new Uint8Array(10));
    call("splice", [from, writer, 10, 0]);
    await turn();
    assert.equal(result(), undefined);
    assert.equal(process.read(reader, new Uint8Array(8192)), 8192);
    await turn();
    assert.equal(result(), 10);
    await end({ stop });
  });

  it("to splice waits for room in a full socket", async () => {
    const { process, pair, pipe, call, result, end, stop } = await world();
    const [reader, writer] = pipe();
    const [far, near] = pair(c.SOCK_STREAM);
    while (process.write(near, new Uint8Array(65_536)) > 0);
    process.write(writer, new Uint8Array(10));
    call("splice", [reader, near, 10, 0]);
    await turn();
    assert.equal(result(), undefined);
    while (process.read(far, new Uint8Array(65_536)) > 0);
    await turn();
    assert.equal(result(), 10);
    await end({ stop });
  });

  it("to send a datagram waits until its receiver reads, named or connected", async () => {
    for (const connected of [false, true]) {
      const { process, call, result, end, stop } = await world();
      const name = { family: c.AF_UNIX, path: "/x" };
      const [receiver, sender] = [0, 1].map(() => process.socket(c.AF_UNIX, c.SOCK_DGRAM));
      process.bind(receiver, name);
      if (connected) assert.equal(process.connect(sender, name), 0);
      let sent = 0;
      while (process.sendto(sender, new Uint8Array(10), 0, connected ? undefined : name) > 0) sent++;
      // Linux's net.unix.max_dgram_qlen, and one.
      assert.equal(sent, 11);
      call("sendmsg", [sender, 0], new Uint8Array(10), connected ? undefined : name);
      await turn();
      assert.equal(result(), undefined);
      assert.equal(process.read(receiver, new Uint8Array(20)), 10);
      await turn();
      assert.equal(result(), 10);
      await end({ stop });
    }
  });

  it("to send a datagram ends when its receiver is closed", async () => {
    const { process, call, result, end, stop } = await world();
    const name = { family: c.AF_UNIX, path: "/x" };
    const [receiver, sender] = [0, 1].map(() => process.socket(c.AF_UNIX, c.SOCK_DGRAM));
    process.bind(receiver, name);
    process.connect(sender, name);
    while (process.send(sender, new Uint8Array(10)) > 0);
    call("write", [sender], new Uint8Array(10));
    await turn();
    assert.equal(result(), undefined);
    process.close(receiver);
    await turn();
    assert.equal(result(), -c.ECONNREFUSED);
    await end({ stop });
  });

  it("to send a large message goes on as soon as its sender is below the limit", async () => {
    const { process, pair, call, result, end, stop } = await world();
    const [near, far] = pair(c.SOCK_SEQPACKET);
    let sent = 0;
    while (process.write(near, new Uint8Array(40_000)) > 0) sent++;
    assert.ok(sent > 1);
    const entry = { fd: near, events: c.POLLOUT, revents: 0 };
    assert.equal(process.poll([entry]), 0);
    call("sendmsg", [near, 0], new Uint8Array(200_000));
    await turn();
    assert.equal(result(), undefined);
    while (process.read(far, new Uint8Array(200_000)) > 0 && result() === undefined) await turn();
    assert.equal(result(), 200_000);
    await end({ stop });
  });

  it("to send waits for memory, which poll does not promise", async () => {
    const lab = await Lab.create({ seed: 1, memory: { appBytes: 1 << 20 } });
    const [a, b] = [
      await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }),
      await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] }),
    ];
    lab.link(a, b, { delay: 1 });
    const [guest, peer] = [new Process(a), new Process(b)];
    const name = { family: c.AF_INET, address: "10.0.0.2", port: 7 };
    const listener = peer.socket(c.AF_INET, c.SOCK_STREAM);
    peer.bind(listener, name);
    peer.listen(listener, 50);
    const sockets = Array.from({ length: 20 }, () => guest.socket(c.AF_INET, c.SOCK_STREAM));
    for (const fd of sockets) guest.connect(fd, name);
    await lab.run(100);
    const last = sockets[19];
    for (let round = 0; round < 20 && lab.engine.slabs.sendRoom > 0; round++) {
      for (const fd of sockets.slice(0, 19)) for (let i = 0; i < 50 && guest.send(fd, new Uint8Array(16_384)) > 0; i++);
      await lab.run(1000);
    }
    assert.equal(lab.engine.slabs.sendRoom, 0);
    assert.equal(guest.send(last, new Uint8Array(100)), -c.EAGAIN);
    assert.equal(guest.poll([{ fd: last, events: c.POLLOUT, revents: 0 }]), 0);
    const { call, result, stop } = caller(guest);
    call("write", [last], new Uint8Array(100));
    await turn();
    assert.equal(result(), undefined);
    // What the others have waiting goes with them.
    for (const fd of sockets.slice(0, 19)) {
      guest.setsockopt(fd, c.SOL_SOCKET, c.SO_LINGER, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
      guest.close(fd);
    }
    await lab.run(1000);
    await turn();
    assert.equal(result(), 100);
    stop();
    guest.exit();
    peer.exit();
    await lab.engine.close();
  });
});

describe("a blocking poll", () => {
  it("of many descriptors waits for one of them, and for its time", async () => {
    const { lab, process, pipe, call, result, end, stop } = await world();
    const pipes = Array.from({ length: 40 }, () => pipe());
    const entries = new Uint8Array(p.POLLFD_SIZE * pipes.length);
    const view = new DataView(entries.buffer);
    for (const [i, [reader]] of pipes.entries()) {
      view.setInt32(p.POLLFD_SIZE * i, reader, true);
      view.setUint16(p.POLLFD_SIZE * i + 4, c.POLLIN, true);
    }
    const warnings: Error[] = [];
    const warned = (warning: Error) => warnings.push(warning);
    globalThis.process.on("warning", warned);
    call("poll", [-1], entries);
    await turn();
    assert.equal(result(), undefined);
    process.write(pipes[33][1], new Uint8Array(1));
    await turn();
    assert.equal(result(), 1);
    process.read(pipes[33][0], new Uint8Array(1));
    call("poll", [50], entries);
    await lab.run(40);
    assert.equal(result(), undefined);
    await lab.run(40);
    await turn();
    assert.equal(result(), 0);
    globalThis.process.off("warning", warned);
    assert.deepEqual(warnings, []);
    await end({ stop });
  });
});

describe("a worker that rings without end", () => {
  it("has one call under way", async () => {
    const { process, pipe, call, result, ring, end, stop } = await world();
    const [reader, writer] = pipe();
    let reads = 0;
    const { read } = process;
    process.read = (fd, into) => {
      reads++;
      return read.call(process, fd, into);
    };
    call("read", [reader, 10]);
    for (let i = 0; i < 10_000; i++) ring();
    await turn();
    assert.equal(reads, 1);
    process.write(writer, new Uint8Array(1));
    await turn();
    assert.deepEqual([result(), reads], [1, 2]);
    call("read", [reader, 10]);
    process.write(writer, new Uint8Array(2));
    await turn();
    assert.equal(result(), 2);
    await end({ stop });
  });
});

describe("Unix domain sockets", () => {
  it("tell a datagram's sender that its receiver has room again", async () => {
    const { process, end, stop } = await world();
    const name = { family: c.AF_UNIX, path: "/s" };
    const server = process.socket(c.AF_UNIX, c.SOCK_DGRAM);
    process.bind(server, name);
    const clients = [0, 1].map(() => process.socket(c.AF_UNIX, c.SOCK_DGRAM));
    for (const fd of clients) process.connect(fd, name);
    while (process.send(clients[0], new Uint8Array(4)) === 4);
    const woken: number[] = [];
    const waits = clients.map((fd, i) => process.wait(fd, c.POLLOUT).then(() => woken.push(i)));
    await turn();
    assert.deepEqual(woken, []);
    assert.equal(process.recv(server, new Uint8Array(16)), 4);
    await Promise.all(waits);
    assert.deepEqual(woken, [0, 1]);
    await end({ stop });
  });

  it("let a sender in by what it has waiting itself, empty messages too", async () => {
    const { process, pair, end, stop } = await world();
    for (const type of [c.SOCK_DGRAM, c.SOCK_SEQPACKET]) {
      const [near, far] = pair(type);
      let sent = 0;
      while (process.send(near, new Uint8Array(1)) === 1) sent++;
      // 212,992 bytes of 768 each (Linux on x86-64).
      assert.equal(sent, 278);
      const [other] = pair(type);
      assert.equal(process.send(other, new Uint8Array(1)), 1);
      for (let n = 0; n < sent; n++) assert.equal(process.recv(far, new Uint8Array(1)), 1);
      assert.equal(process.send(near, new Uint8Array(200_000)), 200_000);
    }
    await end({ stop });
  });

  it("end a write that waits when their own end is closed", async () => {
    const lab = await Lab.create({ seed: 1 });
    const host = await lab.host();
    const listener = host.listen({ path: "/u" });
    const socket = await host.connect({ path: "/u" });
    const peer = await listener.accept();
    const written = socket.write(new Uint8Array(1_000_000));
    const streamed = socket.writable.getWriter().write(new Uint8Array(1_000_000));
    await turn();
    await socket.close();
    await assert.rejects(written, { code: "EPIPE" });
    await assert.rejects(streamed, { code: "EPIPE" });
    let got = 0;
    for (let n = await peer.read(new Uint8Array(65_536)); n; n = await peer.read(new Uint8Array(65_536))) got += n;
    assert.equal(got, 212_992);
    await lab.engine.close();
  });
});
