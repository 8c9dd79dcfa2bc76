/** The submission ring, in virtual time and from another thread; and blocking calls from a worker. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { MessageChannel, Worker } from "node:worker_threads";
import { Engine, Host, joinPorts } from "../src/index.ts";
import { Lab } from "../src/lab/index.ts";
import * as c from "../src/posix/index.ts";
import { type Completion, callMemory, encodeName, Process, Ring, ringMemory, serveCalls } from "../src/posix/index.ts";

const text = (value: string) => new TextEncoder().encode(value);
const words = (value: Uint8Array) => new TextDecoder().decode(value.slice());
const LOCAL = { family: c.AF_INET, address: "127.0.0.1", port: 7 };

describe("a ring in virtual time", () => {
  let lab: Lab;
  let process: Process;
  let ring: Ring;
  let done: Completion[];

  beforeEach(async () => {
    lab = await Lab.create({ seed: 1, interfaces: 1, hosts: 1, memory: { appBytes: 16 << 20 } });
    process = new Process(await lab.host({ interfaces: [{ addresses: ["192.0.2.1/24"] }] }));
    ring = new Ring(process, { submissions: 16, completions: 16, data: 65_536 });
    done = [];
  });

  const run = async (ms = 10) => {
    ring.enter();
    await lab.run(ms);
    for (let each = ring.queue.pop(); each; each = ring.queue.pop()) done.push(each);
  };
  const results = () => done.splice(0).map(({ userData, res, flags }) => [Number(userData), res, flags]);
  const listening = () => {
    const fd = process.socket(c.AF_INET, c.SOCK_STREAM);
    assert.equal(process.bind(fd, LOCAL), 0);
    assert.equal(process.listen(fd, 8), 0);
    return fd;
  };
  /** Puts bytes into the data region. */
  const put = (at: number, bytes: Uint8Array) => {
    ring.queue.data.set(bytes, at);
    return { addr: at, len: bytes.length };
  };
  const timespec = (at: number, ms: number) =>
    put(at, new Uint8Array(BigInt64Array.of(BigInt(Math.floor(ms / 1000)), BigInt((ms % 1000) * 1e6)).buffer)).addr;
  const pair = () => {
    const ends: [number, number] = [0, 0];
    assert.equal(process.socketpair(c.AF_UNIX, c.SOCK_STREAM, 0, ends), 0);
    return ends;
  };

  it("serves connections: accepts many, receives into provided buffers, sends without copies told", async () => {
    const listener = listening();
    const { push } = { push: ring.queue.push.bind(ring.queue) };
    push({ opcode: c.IORING_OP_PROVIDE_BUFFERS, addr: 4096, len: 512, fd: 4, off: 10, bufferGroup: 3, userData: 1n });
    push({ opcode: c.IORING_OP_ACCEPT, fd: listener, ioprio: c.IORING_ACCEPT_MULTISHOT, userData: 2n });
    const clients = [0, 1].map(() => process.socket(c.AF_INET, c.SOCK_STREAM));
    const name = put(0, encodeName(LOCAL));
    for (const [i, fd] of clients.entries())
      push({ opcode: c.IORING_OP_CONNECT, fd, addr: name.addr, off: name.len, userData: BigInt(10 + i) });
    await run();
    const accepted = done.filter(({ userData }) => userData === 2n);
    assert.deepEqual(
      accepted.map(({ flags }) => flags),
      [c.IORING_CQE_F_MORE, c.IORING_CQE_F_MORE],
    );
    const others = done.filter(({ userData }) => userData !== 2n).map(({ userData, res }) => [Number(userData), res]);
    assert.deepEqual(others.sort(), [
      [1, 0],
      [10, 0],
      [11, 0],
    ]);
    const [far] = accepted.map(({ res }) => res);
    done.length = 0;
    push({
      opcode: c.IORING_OP_RECV,
      fd: far,
      ioprio: c.IORING_RECV_MULTISHOT,
      flags: c.IOSQE_BUFFER_SELECT,
      bufferGroup: 3,
      userData: 4n,
    });
    push({ opcode: c.IORING_OP_SEND_ZC, fd: clients[0], ...put(128, text("first")), userData: 5n });
    await run();
    push({ opcode: c.IORING_OP_SEND, fd: clients[0], ...put(128, text("second")), userData: 6n });
    push({ opcode: c.IORING_OP_SHUTDOWN, fd: clients[0], len: c.SHUT_WR, userData: 7n });
    await run();
    const got = done.filter(({ userData }) => userData === 4n);
    const buffers = got.filter(({ res }) => res > 0).map(({ flags }) => flags >>> c.IORING_CQE_BUFFER_SHIFT);
    assert.equal(
      got
        .filter(({ res }) => res > 0)
        .map(({ res }, i) => words(ring.queue.data.subarray(4096 + 512 * (buffers[i] - 10)).subarray(0, res)))
        .join("|"),
      "first|second",
    );
    assert.equal(got[got.length - 1].res, 0);
    assert.equal(got[got.length - 1].flags & c.IORING_CQE_F_MORE, 0);
    const zeroCopy = done.filter(({ userData }) => userData === 5n).map(({ res, flags }) => [res, flags]);
    assert.deepEqual(zeroCopy, [
      [5, c.IORING_CQE_F_MORE],
      [0, c.IORING_CQE_F_NOTIF],
    ]);
    process.exit();
    await lab.run(100);
  });

  it("runs chains in order, breaks them at an error, goes on where that is wanted", async () => {
    const [a, b] = pair();
    const link = c.IOSQE_IO_LINK;
    ring.queue.push({ opcode: c.IORING_OP_RECV, fd: b, addr: 0, len: 5, flags: link, userData: 1n });
    ring.queue.push({ opcode: c.IORING_OP_SEND, fd: b, ...put(64, text("reply")), userData: 2n });
    await run();
    assert.deepEqual(results(), []);
    process.send(a, text("hello"));
    await run();
    assert.deepEqual(results(), [
      [1, 5, 0],
      [2, 5, 0],
    ]);
    ring.queue.push({ opcode: c.IORING_OP_SHUTDOWN, fd: 99, len: 1, flags: link, userData: 3n });
    ring.queue.push({ opcode: c.IORING_OP_NOP, flags: link, userData: 4n });
    ring.queue.push({ opcode: c.IORING_OP_NOP, userData: 5n });
    ring.queue.push({ opcode: c.IORING_OP_SHUTDOWN, fd: 99, len: 1, flags: c.IOSQE_IO_HARDLINK, userData: 6n });
    ring.queue.push({ opcode: c.IORING_OP_NOP, flags: c.IOSQE_CQE_SKIP_SUCCESS, userData: 7n });
    await run();
    assert.deepEqual(results(), [
      [3, -c.EBADF, 0],
      [4, -c.ECANCELED, 0],
      [5, -c.ECANCELED, 0],
      [6, -c.EBADF, 0],
    ]);
  });

  it("keeps time: time-outs, limits of linked calls, counts", async () => {
    const [, b] = pair();
    ring.queue.push({ opcode: c.IORING_OP_TIMEOUT, addr: timespec(0, 50), len: 1, userData: 1n });
    ring.queue.push({ opcode: c.IORING_OP_RECV, fd: b, addr: 64, len: 5, flags: c.IOSQE_IO_LINK, userData: 2n });
    ring.queue.push({ opcode: c.IORING_OP_LINK_TIMEOUT, addr: timespec(16, 20), len: 1, userData: 3n });
    ring.queue.push({ opcode: c.IORING_OP_TIMEOUT, addr: timespec(32, 5000), len: 1, off: 2, userData: 4n });
    await run(19);
    assert.deepEqual(results(), []);
    await run(2);
    assert.deepEqual(results(), [
      [3, -c.ETIME, 0],
      [2, -c.ECANCELED, 0],
      [4, 0, 0],
    ]);
    await run(30);
    assert.deepEqual(results(), [[1, -c.ETIME, 0]]);
    ring.queue.push({ opcode: c.IORING_OP_NOP, flags: c.IOSQE_IO_LINK, userData: 5n });
    ring.queue.push({ opcode: c.IORING_OP_LINK_TIMEOUT, addr: timespec(16, 20), len: 1, userData: 6n });
    await run();
    assert.deepEqual(results().sort(), [
      [5, 0, 0],
      [6, -c.ECANCELED, 0],
    ]);
  });

  it("cancels by name and by descriptor, and what waits for a descriptor that is closed", async () => {
    const [, b] = pair();
    for (const id of [1n, 1n, 2n]) ring.queue.push({ opcode: c.IORING_OP_RECV, fd: b, addr: 0, len: 5, userData: id });
    await run();
    ring.queue.push({ opcode: c.IORING_OP_ASYNC_CANCEL, addr: 1, userData: 3n });
    ring.queue.push({ opcode: c.IORING_OP_ASYNC_CANCEL, addr: 77, userData: 4n });
    await run();
    assert.deepEqual(results(), [
      [1, -c.ECANCELED, 0],
      [3, 0, 0],
      [4, -c.ENOENT, 0],
    ]);
    ring.queue.push({
      opcode: c.IORING_OP_ASYNC_CANCEL,
      fd: b,
      opFlags: c.IORING_ASYNC_CANCEL_FD | c.IORING_ASYNC_CANCEL_ALL,
      userData: 5n,
    });
    await run();
    assert.deepEqual(results(), [
      [1, -c.ECANCELED, 0],
      [2, -c.ECANCELED, 0],
      [5, 2, 0],
    ]);
    ring.queue.push({ opcode: c.IORING_OP_POLL_ADD, fd: b, opFlags: c.POLLIN, userData: 6n });
    await run();
    process.close(b);
    await run();
    assert.deepEqual(results(), [[6, -c.ECANCELED, 0]]);
  });

  it("polls once and many times", async () => {
    const [a, b] = pair();
    ring.queue.push({ opcode: c.IORING_OP_POLL_ADD, fd: b, opFlags: c.POLLIN, userData: 1n });
    ring.queue.push({ opcode: c.IORING_OP_POLL_ADD, fd: b, opFlags: c.POLLIN, len: c.IORING_POLL_ADD_MULTI, userData: 2n });
    for (let i = 0; i < 2; i++) {
      await run();
      process.send(a, text("x"));
    }
    await run();
    assert.deepEqual(results().sort(), [
      [1, c.POLLIN, 0],
      [2, c.POLLIN, c.IORING_CQE_F_MORE],
      [2, c.POLLIN, c.IORING_CQE_F_MORE],
    ]);
  });

  it("sends and receives messages with names, and refuses places outside of its memory", async () => {
    const [a, b] = [0, 1].map(() => process.socket(c.AF_INET, c.SOCK_DGRAM));
    process.bind(b, LOCAL);
    const view = new DataView(ring.buffer, ring.queue.data.byteOffset);
    const header = (at: number, name: { addr: number; len: number }, piece: { addr: number; len: number }) => {
      view.setUint32(at, name.addr, true);
      view.setUint32(at + 8, name.len, true);
      view.setUint32(at + 16, at + 64, true);
      view.setUint32(at + 24, 1, true);
      view.setUint32(at + 64, piece.addr, true);
      view.setUint32(at + 72, piece.len, true);
      return at;
    };
    const sent = header(1024, put(512, encodeName(LOCAL)), put(640, text("datagram")));
    const received = header(2048, { addr: 768, len: 16 }, { addr: 896, len: 100 });
    ring.queue.push({ opcode: c.IORING_OP_RECVMSG, fd: b, addr: received, userData: 1n });
    ring.queue.push({ opcode: c.IORING_OP_SENDMSG, fd: a, addr: sent, userData: 2n });
    ring.queue.push({ opcode: c.IORING_OP_RECV, fd: b, addr: 65_000, len: 5000, userData: 3n });
    ring.queue.push({ opcode: c.IORING_OP_SENDMSG, fd: a, addr: 65_530, userData: 4n });
    ring.queue.push({ opcode: 250, userData: 5n });
    await run();
    assert.deepEqual(results().sort(), [
      [1, 8, 0],
      [2, 8, 0],
      [3, -c.EFAULT, 0],
      [4, -c.EFAULT, 0],
      [5, -c.EINVAL, 0],
    ]);
    assert.equal(words(ring.queue.data.subarray(896, 904)), "datagram");
    assert.equal(view.getUint16(768, true), c.AF_INET);
  });

  it("counts completions that find the queue full, and loses none", async () => {
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 16; i++) assert.ok(ring.queue.push({ opcode: c.IORING_OP_NOP, userData: BigInt(16 * round + i) }));
      assert.equal(ring.queue.push({ opcode: c.IORING_OP_NOP }), false);
      assert.equal(ring.enter(), 16);
    }
    assert.equal(ring.queue.overflow, 16);
    ring.queue.push({ opcode: c.IORING_OP_NOP, userData: 32n });
    assert.equal(ring.enter(), -c.EBUSY);
    const ids: number[] = [];
    while (ids.length < 33) {
      ids.push(Number((await ring.next()).userData));
      ring.enter();
    }
    assert.deepEqual(
      ids,
      Array.from({ length: 33 }, (_, i) => i),
    );
  });
});

/** What a worker runs, as text: it knows only the built package. */
const BLOCKING_CLIENT = `
  const { workerData, parentPort } = require("node:worker_threads");
  import(workerData.url).then((c) => {
    const { memory, port } = workerData;
    const calls = new c.BlockingCalls(memory, port);
    const fd = calls.socket(c.AF_INET, c.SOCK_STREAM);
    const steps = [calls.connect(fd, { family: c.AF_INET, address: "10.0.0.2", port: 7 })];
    const peer = {};
    calls.getpeername(fd, peer);
    // Less than what the buffers on the way hold: nobody reads the echo before all is sent.
    const big = new Uint8Array(300_000).map((_, i) => i * 31);
    steps.push(calls.send(fd, big), calls.shutdown(fd, c.SHUT_WR));
    const back = new Uint8Array(big.length);
    steps.push(calls.recv(fd, back.subarray(0, 200_000), c.MSG_WAITALL));
    let at = 200_000;
    for (let n = 1; n > 0 && at < back.length; at += n) n = calls.read(fd, back.subarray(at));
    steps.push(at, back.every((byte, i) => byte === big[i]), calls.read(fd, back));
    const pair = [0, 0];
    steps.push(calls.socketpair(c.AF_UNIX, c.SOCK_STREAM, 0, pair));
    calls.setsockopt(pair[0], c.SOL_SOCKET, c.SO_RCVTIMEO, new Uint8Array(BigInt64Array.of(0n, 30_000n).buffer));
    steps.push(calls.recv(pair[0], back), calls.poll([{ fd: pair[0], events: c.POLLIN, revents: 0 }], 20));
    const epoll = calls.epollCreate1();
    calls.epollCtl(epoll, c.EPOLL_CTL_ADD, pair[0], { events: c.EPOLLIN, data: 5 });
    calls.send(pair[1], Uint8Array.of(1));
    const events = [];
    steps.push(calls.epollWait(epoll, events, 4), Number(events[0].data));
    parentPort.postMessage({ steps, peer: peer.value });
  });
`;

const RING_CLIENT = `
  const { workerData, parentPort } = require("node:worker_threads");
  import(workerData.url).then((c) => {
    const queue = new c.RingQueue(workerData.memory);
    for (let i = 0; i < 8; i++) queue.push({ opcode: c.IORING_OP_SOCKET, fd: c.AF_INET, off: c.SOCK_STREAM, userData: BigInt(i) });
    workerData.port.postMessage(0);
    const out = [];
    while (out.length < 8 && queue.wait(5000)) out.push(queue.pop().res);
    parentPort.postMessage(out);
  });
`;

describe("other threads", () => {
  let engine: Engine;
  let hosts: Host[];
  const url = new URL("../src/posix/index.js", import.meta.url).href;

  before(async () => {
    engine = await Engine.create({ ports: 2, tables: 4, appBytes: 16 << 20, bareDescriptors: 8192 });
    hosts = await Promise.all(
      [0, 1].map((i) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`] }] })),
    );
    joinPorts(engine, engine.port(0), engine.port(1));
    engine.start();
  });

  after(async () => {
    await engine.clock.sleep(20);
    await Promise.all(hosts.map((host) => host.close()));
    await engine.close();
  });

  // An empty environment: the worker is no part of the test runner, whatever variables say.
  const inWorker = async (source: string, memory: SharedArrayBuffer, serve: (port: MessageChannel["port1"]) => void) => {
    const { port1, port2 } = new MessageChannel();
    serve(port1);
    const worker = new Worker(source, {
      eval: true,
      env: {},
      execArgv: [],
      workerData: { url, memory, port: port2 },
      transferList: [port2],
    });
    try {
      return await new Promise((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
    } finally {
      port1.close();
      await worker.terminate();
    }
  };

  it("block in calls that the owner serves", async () => {
    const echo = hosts[1].listen({ port: 7 });
    const echoing = echo.accept().then((socket) => socket.readable.pipeTo(socket.writable));
    const process = new Process(hosts[0]);
    const memory = callMemory();
    const answer = await inWorker(BLOCKING_CLIENT, memory, (port) => serveCalls(process, memory, port as never));
    assert.deepEqual(answer, {
      steps: [0, 300_000, 0, 200_000, 300_000, true, 0, 0, -c.EAGAIN, 0, 1, 5],
      peer: { family: c.AF_INET, address: "10.0.0.2", port: 7 },
    });
    process.exit();
    await echoing;
    echo.close();
  });

  it("fill and empty a ring that lies in shared memory", async () => {
    const process = new Process(hosts[0]);
    const memory = ringMemory() as SharedArrayBuffer;
    const ring = new Ring(process, memory);
    const fds = await inWorker(RING_CLIENT, memory, (port) => ring.serve(port as never));
    assert.deepEqual(fds, [0, 1, 2, 3, 4, 5, 6, 7]);
    process.exit();
  });
});
