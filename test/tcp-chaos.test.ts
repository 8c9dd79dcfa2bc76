/**
 * Connections that do as they like, over links that lose, delay and double, in an engine with little memory: every byte that was written in
 * order is read in order, everybody comes to an end, and nothing is left. Seeds are printed.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Host } from "../src/host/host.ts";
import { LoomError, Random } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Impairment } from "../src/lab/link.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import { SEED } from "./support.ts";

const HOSTS = 4;
const SEEDS = Number(process.env.CHAOS_SEEDS ?? 3);
/** Virtual milliseconds after which whoever is not done is stuck: longer than a connection is retried (RFC 1122 §4.2.3.5). */
const LONGEST = 1_200_000;

const CONTROLS = ["reno", "cubic", "bbr", "dctcp"] as const;

function impairment(chance: Random): Impairment {
  const maybe = <T>(value: T): T | undefined => (chance.below(2) === 0 ? value : undefined);
  const wished = {
    delay: chance.below(30),
    jitter: maybe(chance.below(10)),
    rate: maybe(1e6 * (1 + chance.below(200))),
    loss: maybe(chance.below(30) / 1000),
    duplicate: maybe(chance.below(20) / 1000),
    reorder: maybe(chance.below(50) / 1000),
    corrupt: maybe(chance.below(5) / 1000),
  };
  return Object.fromEntries(Object.entries(wished).filter(([, value]) => value !== undefined));
}

/** The byte at `position` of stream `stream`: another for each, so that no stream's bytes pass for those of another. */
const byteAt = (stream: number, position: number) => (position * 31 + (position >>> 8) + stream * 57) & 255;

interface Tally {
  /** Streams that were closed in order, and were read to their end. */
  whole: number;
  /** Connections that one side aborted. */
  broken: number;
}

/** Those whose owner has aborted them. */
const aborted = new WeakSet<TcpSocket>();

/** Writes what chance says, and the end; how many bytes that were, or undefined when it aborted instead. */
async function talk(socket: TcpSocket, chance: Random, stream: number, sleep: (ms: number) => Promise<void>): Promise<number | undefined> {
  let position = 0;
  for (let pieces = chance.below(12); pieces > 0; pieces--) {
    const bytes = new Uint8Array(1 + chance.below(chance.below(3) === 0 ? 100_000 : 2000));
    for (let i = 0; i < bytes.length; i++) bytes[i] = byteAt(stream, position + i);
    await socket.write(bytes);
    position += bytes.length;
    if (chance.below(3) === 0) await sleep(chance.below(3000));
    if (chance.below(60) === 0) {
      aborted.add(socket);
      socket.abort();
      return undefined;
    }
  }
  await socket.closeWrite();
  return position;
}

/** Reads to the end, at its own speed; how many bytes there were. */
async function hear(socket: TcpSocket, chance: Random, stream: number, sleep: (ms: number) => Promise<void>): Promise<number> {
  const space = new Uint8Array(500 + chance.below(60_000));
  let position = 0;
  for (let n = await socket.read(space); n !== null; n = await socket.read(space)) {
    for (let i = 0; i < n; i++) {
      if (space[i] !== byteAt(stream, position + i)) throw new Error(`a wrong byte at ${position + i} of stream ${stream}`);
    }
    position += n;
    if (chance.below(8) === 0) await sleep(chance.below(chance.below(10) === 0 ? 20_000 : 200));
  }
  return position;
}

/** Both directions of one end: how many bytes, or why it broke. */
async function live(socket: TcpSocket, chance: Random, own: number, other: number, sleep: (ms: number) => Promise<void>) {
  try {
    const [wrote, heard] = await Promise.all([talk(socket, chance, own, sleep), hear(socket, chance, other, sleep)]);
    return { wrote, heard };
  } catch (error) {
    if (!(error instanceof LoomError)) throw error;
    socket.abort();
    return { why: error.message };
  }
}

/** Every connection is translated, and what does not belong to one goes no further. */
const RULES = `table inet gateway {
  chain forward { type filter hook forward priority filter; ct state invalid counter drop; }
  chain postrouting { type nat hook postrouting priority srcnat; masquerade random }
}`;

async function chaos(seed: number, appBytes: number, connections: number, ruleset?: string): Promise<Tally> {
  const chance = new Random(seed);
  const memory = { appBytes, ...(ruleset && { flows: 2048, filterBytes: 4 << 20 }) };
  const lab = await Lab.create({ seed, interfaces: 2 * HOSTS, hosts: HOSTS + 1, memory });
  const router = await lab.host({
    forwarding: true,
    ...(ruleset && { ruleset }),
    interfaces: Array.from({ length: HOSTS }, (_, i) => ({ addresses: [`10.0.${i}.1/24`, `2001:db8:0:${i}::1/64`] })),
  });
  const hosts: Host[] = [];
  for (let i = 0; i < HOSTS; i++) {
    const gateway = [`10.0.${i}.1`, `2001:db8:0:${i}::1`];
    const host = await lab.host({ interfaces: [{ addresses: [`10.0.${i}.2/24`, `2001:db8:0:${i}::2/64`], gateway }] });
    hosts.push(host);
    lab.link(host, router, impairment(chance), ["eth0", `eth${i}`]);
  }
  const sleep = (ms: number) => lab.clock.sleep(ms);
  await lab.run(3000);
  const tally: Tally = { whole: 0, broken: 0 };
  const running = new Map<number, TcpSocket[]>();
  const connection = async (i: number) => {
    const [from, to] = [chance.below(HOSTS), chance.below(HOSTS)];
    const family = chance.below(2) === 0 ? 4 : 6;
    const options = { congestion: CONTROLS[chance.below(CONTROLS.length)], noDelay: chance.below(2) === 0 };
    const mine = new Random(chance.u32());
    await sleep(chance.below(20_000));
    const listener = hosts[to].listen({ port: 1000 + i });
    const sockets: TcpSocket[] = [];
    running.set(i, sockets);
    try {
      const hostname = family === 4 ? `10.0.${to}.2` : `2001:db8:0:${to}::2`;
      const near = await hosts[from].connect({ hostname, port: 1000 + i, ...options });
      sockets.push(near);
      const far = await listener.accept();
      sockets.push(far);
      // A reset may be lost: who only waits to read learns of it by asking.
      for (const socket of sockets) socket.setKeepAlive(60);
      const ends = await Promise.all([live(near, mine, 2 * i, 2 * i + 1, sleep), live(far, mine, 2 * i + 1, 2 * i, sleep)]);
      const [a, b] = ends;
      if (a.wrote !== undefined && b.wrote !== undefined) {
        assert.deepEqual([a.heard, b.heard], [b.wrote, a.wrote], "what was written was read, and no more");
        tally.whole += 2;
        return;
      }
      tally.broken++;
      // Nobody's connection ends but by an abort: not one of these links is so bad.
      assert.ok(aborted.has(near) || aborted.has(far), `connection ${i} broke by itself: ${a.why} and ${b.why}`);
    } finally {
      listener.close();
      running.delete(i);
    }
  };
  const all = Promise.all(Array.from({ length: connections }, (_, i) => connection(i)));
  let failure: unknown;
  all.catch((error) => {
    failure = error;
  });
  for (let t = 0; t < LONGEST && (t < 20_000 || running.size > 0) && !failure; t += 1000) await lab.run(1000);
  if (failure) throw failure;
  const stuck = [...running].map(([i, sockets]) => `${i}: ${sockets.map((socket) => JSON.stringify(socket.status())).join(" and ")}`);
  assert.equal(stuck.length, 0, `connections are stuck: ${stuck.join("; ")}`);
  await all;
  // Everything that waits for a while is over by then: TIME-WAIT, FIN-WAIT-2, retransmissions to those who are gone.
  await lab.run(LONGEST);
  for (const host of [router, ...hosts]) assert.equal(host.tcp.size, 0, "a connection is left");
  const { slabs } = lab.engine;
  assert.equal(slabs.available, slabs.total, "memory is left with somebody");
  const { sending, receivers, connections: counted, borrowed } = slabs as unknown as Record<string, number>;
  assert.deepEqual({ sending, receivers, counted, borrowed }, { sending: 0, receivers: 0, counted: 0, borrowed: 0 });
  assert.equal(lab.engine.pool().inFlight, 0, "a buffer is left");
  assert.equal(lab.engine.pool("bare").inFlight, 0, "a descriptor is left");
  return tally;
}

describe("TCP as it comes", () => {
  for (const [name, appBytes, connections, ruleset] of [
    ["plenty of memory", 16 << 20, 40, undefined],
    ["little memory", 3 << 20, 60, undefined],
    ["a gateway that translates and drops what is invalid", 16 << 20, 40, RULES],
  ] as const) {
    it(`with ${name}: whole streams, no stuck connection, nothing left`, async (t) => {
      for (let i = 0; i < SEEDS; i++) {
        const seed = (SEED + i) & 0x7fffffff;
        t.diagnostic(`SEED=${seed}`);
        const { whole, broken } = await chaos(seed, appBytes, connections, ruleset);
        t.diagnostic(`${whole} streams were whole, ${broken} connections were aborted`);
        assert.ok(whole > connections, `${whole} whole streams of ${2 * connections}`);
      }
    });
  }
});
