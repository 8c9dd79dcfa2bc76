/** Descriptors on their way: bounded by who sends them, and given back when nobody can receive them any more. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Lab } from "../src/index.ts";
import * as c from "../src/posix/index.ts";
import { Process } from "../src/posix/index.ts";
import { SEED } from "./support.ts";

async function world(descriptors = 64) {
  const lab = await Lab.create({ seed: 1 });
  const host = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const process = new Process(host, { descriptors });
  const pair = (type = c.SOCK_STREAM): [number, number] => {
    const ends: [number, number] = [0, 0];
    assert.equal(process.socketpair(c.AF_UNIX, type, 0, ends), 0);
    return ends;
  };
  const pipe = (): [number, number] | number => {
    const ends: [number, number] = [0, 0];
    return process.pipe2(ends) || ends;
  };
  const send = (by: number, ...fds: number[]) => {
    const data = new Uint8Array(Int32Array.from(fds).buffer);
    return process.sendmsg(by, { iov: [new Uint8Array(1)], control: [{ level: c.SOL_SOCKET, type: c.SCM_RIGHTS, data }] });
  };
  const receive = (fd: number): number[] => {
    const message: c.Message = { iov: [new Uint8Array(1)], control: [] };
    if (process.recvmsg(fd, message) <= 0) return [];
    return (message.control ?? []).flatMap(({ data }) => [...new Int32Array(data.slice().buffer)]);
  };
  /** A bound UDP socket: whether it is still there shows in its port. */
  const udp = (port: number) => {
    const fd = process.socket(c.AF_INET, c.SOCK_DGRAM);
    assert.equal(process.bind(fd, { family: c.AF_INET, address: "0.0.0.0", port }), 0);
    return fd;
  };
  const isFree = (port: number) => {
    try {
      host.udp.bind(undefined, port).close();
      return true;
    } catch {
      return false;
    }
  };
  const end = async () => {
    process.exit();
    await lab.engine.close();
  };
  return { host, process, pair, pipe, send, receive, udp, isFree, end };
}

describe("descriptors in flight", () => {
  it("are as many as may be open, and one message more", async () => {
    const { process, pair, send, receive, end } = await world(64);
    const [near, far] = pair();
    const fds = Array.from({ length: 10 }, () => process.dup(near));
    let sent = 0;
    while (send(near, ...fds) > 0) sent += 10;
    assert.deepEqual([sent, send(near, ...fds), send(near, fds[0])], [70, -c.ETOOMANYREFS, -c.ETOOMANYREFS]);
    assert.equal(process.write(near, new Uint8Array(1)), 1);
    assert.equal(receive(far).length, 10);
    assert.ok(send(near, ...fds) > 0);
    await end();
  });

  it("close with the sockets that travel in their own queues", async () => {
    const { process, pair, send, udp, isFree, end } = await world();
    const [a, b] = pair();
    // Each to itself: a socket in its own queue, and a port along with it.
    assert.ok(send(a, b, udp(5000)) > 0);
    const [left, right] = pair(c.SOCK_DGRAM);
    assert.ok(send(left, right, left, udp(5001)) > 0);
    const [x, y] = [pair(), pair()];
    // In a ring: x's end waits in y's queue and the other way round.
    assert.ok(send(x[0], y[1], udp(5002)) > 0);
    assert.ok(send(y[0], x[1]) > 0);
    process.exit();
    assert.deepEqual([5000, 5001, 5002].map(isFree), [true, true, true]);
    await end();
  });

  it("close with a connection that nobody accepted", async () => {
    const { process, send, udp, isFree, end } = await world();
    const name = { family: c.AF_UNIX, path: "/l" };
    const [listener, client] = [0, 1].map(() => process.socket(c.AF_UNIX, c.SOCK_STREAM));
    process.bind(listener, name);
    process.listen(listener, 5);
    assert.equal(process.connect(client, name), 0);
    assert.ok(send(client, listener, udp(5000)) > 0);
    process.exit();
    assert.ok(isFree(5000));
    await end();
  });

  it("stay as long as somebody can receive them", async () => {
    const { process, pair, send, receive, udp, isFree, end } = await world();
    const [a, b] = pair();
    const [p, q] = pair();
    const port = udp(5000);
    // The port waits in b's queue, b in q's; only p and q are open.
    assert.ok(send(a, port) > 0);
    assert.ok(send(p, b) > 0);
    for (const fd of [a, b, port]) process.close(fd);
    assert.ok(!isFree(5000));
    const [again] = receive(q);
    const [last] = receive(again);
    assert.equal(process.close(last), 0);
    assert.ok(isFree(5000));
    await end();
  });

  it("are all gone after exit, whatever was sent where", async () => {
    const step = fc.tuple(fc.constantFrom("send", "send", "send", "close", "receive", "pair"), fc.nat(30), fc.nat(30), fc.nat(30));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { process, pair, send, receive, udp, isFree, end } = await world(40);
        const bystander = new Process(process.host);
        for (const port of [5000, 5001, 5002]) udp(port);
        for (let n = 0; n < 4; n++) pair(n % 2 ? c.SOCK_DGRAM : c.SOCK_STREAM);
        for (const [what, a, b, d] of steps) {
          if (what === "send") send(a, b, d);
          else if (what === "close") process.close(a);
          else if (what === "receive") receive(a);
          else process.socketpair(c.AF_UNIX, c.SOCK_STREAM, 0, [0, 0]);
        }
        process.exit();
        assert.deepEqual([5000, 5001, 5002].map(isFree), [true, true, true]);
        assert.equal(process.descriptors.inFlight, 0);
        bystander.exit();
        await end();
      }),
      { seed: SEED, numRuns: 40 },
    );
  });
});

describe("pipes", () => {
  it("of one process have 64 MiB together, then small ones; memory comes back with them", async () => {
    const { process, pipe, end } = await world(4096);
    const pipes: [number, number][] = [];
    for (let n = 0; n < 64; n++) {
      const ends = pipe();
      if (typeof ends === "number") break;
      pipes.push(ends);
    }
    for (const [fd] of pipes) assert.equal(process.fcntl(fd, c.F_SETPIPE_SZ, 1 << 20), 1 << 20);
    const [small] = pipe() as [number, number];
    assert.deepEqual([process.fcntl(small, c.F_GETPIPE_SZ), process.fcntl(small, c.F_SETPIPE_SZ, 65_536)], [8192, -c.EPERM]);
    for (const fd of pipes[0]) assert.equal(process.close(fd), 0);
    const [fresh] = pipe() as [number, number];
    assert.deepEqual([process.fcntl(fresh, c.F_GETPIPE_SZ), process.fcntl(small, c.F_SETPIPE_SZ, 65_536)], [65_536, 65_536]);
    await end();
  });
});
