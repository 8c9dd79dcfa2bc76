/** System calls with arguments that nobody should use: each returns a number, and exit() gives everything back. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { type Host, Lab, Random } from "../src/index.ts";
import * as c from "../src/posix/index.ts";
import { Process } from "../src/posix/index.ts";
import { SEED } from "./support.ts";

type Call = (...args: never[]) => unknown;

function detached(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** What may stand in the place of any argument. */
const HOSTILE: readonly (() => unknown)[] = [
  ...[Number.NaN, -1, -(2 ** 31), 2 ** 31, 2 ** 32 + 1, 2 ** 53, 1e300, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 7.5, -0].map(
    (each) => () => each,
  ),
  ...["length", "constructor", "__proto__", "", "0"].map((each) => () => each),
  () => null,
  () => undefined,
  () => ({}),
  () => [],
  () => [null],
  () => 5n,
  () => Symbol("x"),
  () => () => {},
  () => true,
  detached,
  () => new Uint8Array(0),
  () => new Uint8Array(216).fill(255),
  () => new Uint8Array(new SharedArrayBuffer(16)),
  () => new Float64Array(2),
];

/** Arguments by kind, as a program that knows what it does would choose them. */
function kinds(random: Random) {
  const below = (n: number) => Math.floor(random.float() * n);
  const of = <T>(...from: readonly T[]) => from[below(from.length)];
  const bytes = () => new Uint8Array(of(0, 1, 3, 4, 8, 12, 16, 100, 5000, 70_000)).fill(below(256));
  const port = () => of(0, 5000, 5001, 65_535, -1, 65_536, Number.NaN);
  const name = () =>
    of<unknown>(
      { family: c.AF_INET, address: of("127.0.0.1", "10.0.0.1", "0.0.0.0", "10.0.0.9", "224.0.0.1", "255.255.255.255", "x"), port: port() },
      { family: c.AF_INET6, address: of("::1", "::", "::ffff:127.0.0.1", "ff02::1", "fe80::1"), port: port() },
      { family: c.AF_UNIX, path: of("/a", "/b", "\0c", "", "x".repeat(200)) },
      { family: c.AF_UNSPEC, address: "0.0.0.0", port: 0 },
      { family: c.AF_INET, address: 5, port: 5 },
      { family: c.AF_INET, path: 5 },
      { family: c.AF_UNIX, path: undefined },
      { family: c.AF_UNIX, address: null, port: 5 },
      { family: Number.NaN },
    );
  const rights = () => new Uint8Array(Int32Array.of(below(12), of(-1, below(20))).buffer);
  const control = () =>
    of<unknown>(
      undefined,
      [],
      [{ level: 1, type: of(1, 2), data: of(rights(), bytes()) }],
      [{ level: of(0, 17, 41), type: of(1, 2, 8, 50, 103), data: bytes() }],
      [null],
      5,
    );
  const iov = () => of<unknown>([bytes()], [bytes(), bytes()], [], 5, [null], [detached()]);
  return {
    fd: () => below(16),
    size: () => below(70_000),
    flags: () =>
      of(0, c.MSG_PEEK, c.MSG_DONTWAIT, c.MSG_OOB, c.MSG_TRUNC, c.MSG_ERRQUEUE, c.MSG_WAITALL, c.MSG_FASTOPEN, -1, below(2 ** 31)),
    domain: () => of(c.AF_UNIX, c.AF_INET, c.AF_INET6),
    type: () => of(c.SOCK_STREAM, c.SOCK_DGRAM, c.SOCK_RAW, c.SOCK_SEQPACKET) | of(0, c.SOCK_NONBLOCK, c.SOCK_CLOEXEC),
    small: () => below(70),
    level: () => of(0, 1, 6, 17, 41, 58, 255),
    name,
    bytes,
    value: () =>
      of<unknown>(
        below(1000),
        -1,
        bytes(),
        Uint8Array.of(1, 0, 0, 0, 255, 255, 255, 255),
        new TextEncoder().encode(of("eth0", "cubic", "bbr")),
      ),
    place: () => of<unknown>(bytes(), {}),
    slot: () => of<unknown>({}, undefined),
    pair: () => [0, 0],
    message: () => ({ iov: iov(), name: of(undefined, name()), control: control() }),
    pieces: iov,
    entries: () => of<unknown>([{ fd: below(16), events: -1, revents: 0 }], [{ fd: -1, events: 1, revents: 0 }], [{}]),
    event: () => of<unknown>({ events: below(2 ** 31) * 2, data: 1 }, { events: c.EPOLLIN, data: 1n }),
    command: () => of(0, 1, 2, 3, 4, 8, 9, 1030, 1031, 1032),
    request: () => of(0x541b, 0x5411, 0x5421, 0x894b, 0x8905),
    path: () => of("/a", "/b", "\0c", "/nowhere"),
    zero: () => 0,
    protocol: () => of(0, 0, 0, 0, 1, 17, 58, 89, 255),
  };
}
type Kind = keyof ReturnType<typeof kinds>;

/** Every call and what it takes. */
const CALLS: Readonly<Record<string, readonly Kind[]>> = {
  socket: ["domain", "type", "protocol"],
  socketpair: ["domain", "type", "zero", "pair"],
  pipe2: ["pair", "zero"],
  bind: ["fd", "name"],
  listen: ["fd", "small"],
  accept4: ["fd", "zero", "slot"],
  accept: ["fd", "slot"],
  connect: ["fd", "name"],
  shutdown: ["fd", "small"],
  close: ["fd"],
  getsockname: ["fd", "slot"],
  getpeername: ["fd", "slot"],
  read: ["fd", "bytes"],
  write: ["fd", "bytes"],
  readv: ["fd", "pieces"],
  writev: ["fd", "pieces"],
  recv: ["fd", "bytes", "flags"],
  send: ["fd", "bytes", "flags"],
  recvfrom: ["fd", "bytes", "flags", "slot"],
  sendto: ["fd", "bytes", "flags", "name"],
  recvmsg: ["fd", "message", "flags"],
  sendmsg: ["fd", "message", "flags"],
  splice: ["fd", "fd", "size", "zero"],
  move: ["fd", "fd", "size"],
  getsockopt: ["fd", "level", "small", "place"],
  setsockopt: ["fd", "level", "small", "value"],
  fcntl: ["fd", "command", "small"],
  unlink: ["path"],
  dup: ["fd"],
  dup2: ["fd", "fd"],
  ioctl: ["fd", "request", "small"],
  poll: ["entries"],
  epollCreate1: ["zero"],
  epollCtl: ["fd", "small", "fd", "event"],
  epollWait: ["fd", "pieces", "small"],
};

/** Calls at random; `share` of the arguments are hostile. */
function storm(process: Process, random: Random, count: number, share: number): void {
  const make = kinds(random);
  const names = Object.keys(CALLS);
  for (let n = 0; n < count; n++) {
    const name = names[Math.floor(random.float() * names.length)];
    const args = CALLS[name].map((kind) =>
      random.float() < share ? HOSTILE[Math.floor(random.float() * HOSTILE.length)]() : make[kind](),
    );
    if (random.float() < share / 4) args.pop();
    const shown = () => `${name}(${args.map((each) => inspect(each, { breakLength: 200, maxArrayLength: 4 })).join(", ")})`;
    let result: unknown;
    try {
      result = (process as unknown as Record<string, Call>)[name](...(args as never[]));
    } catch (error) {
      assert.fail(`${shown()} threw ${(error as Error).stack}`);
    }
    if (!Number.isInteger(result) || (result as number) < -4095) assert.fail(`${shown()} returned ${String(result)}`);
  }
}

/** What a host has left: nothing of what processes had. */
function leftovers(lab: Lab, host: Host): object {
  const { slabs } = lab.engine;
  const ports = [5000, 5001].map((port) => {
    try {
      host.udp.bind(undefined, port).close();
      return "free";
    } catch {
      return "taken";
    }
  });
  return { connections: host.tcp.size, slabs: slabs.total - slabs.available, ports };
}

describe("system calls with hostile arguments", () => {
  it("are all called", () => {
    const own = Object.getOwnPropertyNames(Process.prototype).filter((name) => !["constructor", "exit", "wait", "tcpInfo"].includes(name));
    const hidden = ["makeSocket", "install", "installPair", "at", "plain", "both"];
    assert.deepEqual(own.filter((name) => !hidden.includes(name)).sort(), Object.keys(CALLS).sort());
  });

  for (const share of [0, 0.1, 0.5]) {
    it(`return a number, and leave nothing behind (${100 * share} % of the arguments are hostile)`, async () => {
      for (let round = 0; round < 12; round++) {
        const random = new Random(SEED + 100 * round + 10 * share);
        const lab = await Lab.create({ seed: 1 + round });
        const host = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
        // The slab that small datagrams share is the host's for good.
        host.datagram().send(new Uint8Array(1), { address: "127.0.0.1", port: 9 });
        const before = leftovers(lab, host);
        const [one, two] = [new Process(host, { descriptors: 40 }), new Process(host, { descriptors: 40 })];
        for (let step = 0; step < 12; step++) {
          storm(one, random, 60, share);
          storm(two, random, 60, share);
          await lab.run(20);
        }
        one.exit();
        two.exit();
        // Connections end in their own time.
        await lab.run(1_200_000);
        assert.deepEqual(leftovers(lab, host), before, `round ${round}`);
        await lab.engine.close();
      }
    });
  }

  it("refuse what is no descriptor, no size and no bytes", async () => {
    const lab = await Lab.create({ seed: 1 });
    const process = new Process(await lab.host());
    const pipe: [number, number] = [0, 0];
    process.pipe2(pipe);
    const [reader, writer] = pipe;
    for (const bad of [Number.NaN, 7.5, -1, 1e9]) {
      assert.equal(process.fcntl(reader, c.F_DUPFD, bad), -c.EINVAL);
      assert.equal(process.dup2(reader, bad), -c.EBADF);
      assert.equal(process.close(bad), -c.EBADF);
    }
    assert.equal(process.splice(reader, writer, -1), -c.EINVAL);
    assert.equal(process.move(reader, writer, Number.NaN), -c.EINVAL);
    assert.equal(process.read(reader, null as never), -c.EFAULT);
    assert.equal(process.poll(null as never), -c.EFAULT);
    process.exit();
    await lab.engine.close();
  });
});

describe("epolls that watch epolls", () => {
  async function world() {
    const lab = await Lab.create({ seed: 1 });
    const process = new Process(await lab.host());
    const pipe: [number, number] = [0, 0];
    process.pipe2(pipe);
    const watch = (epoll: number, fd: number) => process.epollCtl(epoll, c.EPOLL_CTL_ADD, fd, { events: c.EPOLLIN, data: fd });
    const end = async () => {
      process.exit();
      await lab.engine.close();
    };
    return { process, pipe, watch, end };
  }

  it("stand five in a row and no more, in whatever order they are put there, and in no circle", async () => {
    for (const reversed of [false, true]) {
      const { process, pipe, watch, end } = await world();
      const epolls = Array.from({ length: 6 }, () => process.epollCreate1());
      const links = epolls.map((epoll, i) => [epoll, i === 0 ? pipe[0] : epolls[i - 1]]);
      // What Linux 6.18 says.
      const results = (reversed ? links.reverse() : links).map(([epoll, fd]) => watch(epoll, fd));
      assert.deepEqual(results, reversed ? [0, 0, 0, 0, -c.ELOOP, 0] : [0, 0, 0, 0, 0, -c.ELOOP]);
      assert.equal(watch(epolls[reversed ? 1 : 0], epolls[reversed ? 5 : 4]), -c.ELOOP);
      // A row that is shorter again may grow.
      const [top, below] = reversed ? [5, 4] : [4, 3];
      assert.equal(process.epollCtl(epolls[top], c.EPOLL_CTL_DEL, epolls[below]), 0);
      assert.equal(watch(reversed ? epolls[1] : epolls[5], epolls[reversed ? 0 : 3]), 0);
      await end();
    }
  });

  it("are looked at once each, however many ways lead to one", async () => {
    const { process, pipe, watch, end } = await world();
    let below = [pipe[0]];
    for (const count of [60, 60, 60, 1]) {
      const layer = Array.from({ length: count }, () => process.epollCreate1());
      for (const epoll of layer) for (const fd of below) assert.equal(watch(epoll, fd), 0);
      below = layer;
    }
    // By every way this would be a look at 216,000 descriptions, a thousand times.
    for (let n = 0; n < 1000; n++) {
      const epoll = process.epollCreate1();
      assert.equal(watch(epoll, below[0]), 0);
      assert.equal(process.close(epoll), 0);
    }
    const top = [{ fd: below[0], events: c.POLLIN, revents: 0 }];
    process.write(pipe[1], new Uint8Array(1));
    assert.equal(process.poll(top), 1);
    process.read(pipe[0], new Uint8Array(1));
    assert.equal(process.poll(top), 0);
    process.write(pipe[1], new Uint8Array(1));
    assert.equal(process.poll(top), 1);
    await end();
  });
});
