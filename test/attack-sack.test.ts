/** What a peer may claim about what it got, and what it may send out of order: bounded work and memory, counted and not timed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Random } from "../src/index.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { inject, inState } from "./attack-support.ts";
import { SEED, stateName } from "./support.ts";

/** A server with bytes in flight that nobody acknowledges but the attacker. */
async function inFlight(bytes: number) {
  const hosts = await inState("ESTABLISHED", SEED);
  const server = hosts.server as Tcb;
  hosts.lab.links[0].set({ delay: 1, cut: true });
  server.cwnd = bytes;
  server.window = server.maxWindow = 2 * bytes;
  user.write(server, new Uint8Array(bytes));
  hosts.lab.settle();
  return { ...hosts, server };
}

/** An acknowledgement of `ack` with SACK blocks, each [start, end) from `una`. */
function sackSegment(server: Tcb, ack: number, blocks: readonly (readonly [number, number])[]) {
  const options = new Uint8Array(12 + 4 + 8 * blocks.length);
  const view = new DataView(options.buffer);
  view.setUint32(0, 0x0101080a);
  view.setUint32(4, server.tsRecent >>> 0);
  view.setUint32(8, server.tsval >>> 0);
  view.setUint32(12, 0x01010500 | (2 + 8 * blocks.length));
  blocks.forEach(([start, end], i) => {
    view.setUint32(16 + 8 * i, (server.una + start) >>> 0);
    view.setUint32(20 + 8 * i, (server.una + end) >>> 0);
  });
  return {
    sourcePort: 4000,
    destinationPort: 80,
    sequence: server.received >>> 0,
    acknowledgement: (server.una + ack) >>> 0,
    flags: 0x10,
    options,
  };
}

function records(server: Tcb): number {
  let n = 0;
  for (let record = server.sent.first; record; record = record.next) n++;
  return n;
}

/** The scoreboard's sums against its records. */
function assertConsistent(server: Tcb): void {
  let [pipe, sacked, lost] = [0, 0, 0];
  let at = server.una;
  for (let record = server.sent.first; record; record = record.next) {
    const bytes = (record.end - record.start) | 0;
    assert.ok(bytes > 0 && record.start === at, "records follow each other");
    at = record.end;
    if (record.inFlight) pipe += bytes;
    if (record.sacked) sacked += bytes;
    if (record.lost) lost += bytes;
    assert.ok(!(record.sacked && (record.lost || record.inFlight)), "a record is in one state");
  }
  assert.equal(at, server.nxt);
  const { sent } = server;
  assert.deepEqual([sent.pipe, sent.sackedBytes, sent.lostBytes], [pipe, sacked, lost]);
}

describe("acknowledgements of an attacker", () => {
  it("thousands of tiny SACK blocks leave no more records than segments", async () => {
    const { lab, b, server } = await inFlight(200_000);
    for (let i = 0; i < 2000; i++) {
      const at = 1 + ((i * 9) % 190_000);
      inject(
        b,
        sackSegment(server, 0, [
          [at, at + 1],
          [at + 3, at + 4],
          [at + 6, at + 7],
        ]),
      );
      if (i % 20 === 19) lab.settle();
    }
    lab.settle();
    assertConsistent(server);
    const most = 2 * Math.ceil(200_000 / server.mss) + 8;
    assert.ok(records(server) <= most, `${records(server)} records for ${Math.ceil(200_000 / server.mss)} segments`);
  });

  it("overlapping, nested, reversed and future blocks keep the scoreboard's sums right", async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const { lab, b, server } = await inFlight(100_000);
    const random = new Random(SEED);
    for (let i = 0; i < 5000; i++) {
      const block = () => {
        const start = random.below(120_000) - 10_000;
        return [start, start + random.below(20_000) - 2000] as const;
      };
      inject(b, sackSegment(server, random.below(50) === 0 ? random.below(100) : 0, [block(), block(), block()]));
      lab.settle();
      if (i % 50 === 0) assertConsistent(server);
      if (i % 500 === 499) await lab.run(300);
      if (stateName(server) !== "ESTABLISHED") break;
    }
    assertConsistent(server);
    assert.equal(stateName(server), "ESTABLISHED");
  });

  it("a receiver that takes back what it SACKed gets it again (RFC 2018 §8)", async () => {
    const { lab, b, server, client } = await inFlight(50_000);
    const total = (server.nxt - server.una) | 0;
    inject(b, sackSegment(server, 0, [[1, total]]));
    lab.settle();
    assert.ok(server.sent.sackedBytes > 0);
    // The real client has none of it: its acknowledgements stay where they were.
    lab.links[0].set({ delay: 1 });
    await lab.run(20_000);
    assert.equal(user.readable(client), 50_000);
    assert.equal(server.sent.first, undefined);
  });

  it("an acknowledgement in a thousand pieces opens the window by what it acknowledged", async () => {
    const { lab, b, server } = await inFlight(14_000);
    const before = server.cwnd;
    for (let i = 0; i < 1000; i++) {
      inject(b, sackSegment(server, 1, []));
      lab.settle();
    }
    assert.ok(server.cwnd - before <= 1000 + server.mss, `${server.cwnd - before} bytes for 1000`);
  });

  it("duplicates without SACK send two segments each at most, and nothing beyond the window", async () => {
    const { lab, b, server: tcb } = await inState("ESTABLISHED", SEED);
    const server = tcb as Tcb;
    server.sackOk = false;
    lab.links[0].set({ delay: 1, cut: true });
    user.write(server, new Uint8Array(500_000));
    lab.settle();
    const { out_segs: before } = b.tcp.counters;
    for (let i = 0; i < 500; i++) {
      const { options, ...rest } = sackSegment(server, 0, []);
      inject(b, { ...rest, options: options.slice(0, 12), window: server.window >>> server.sendScale });
      lab.settle();
      assert.ok(((server.nxt - server.una) | 0) <= server.window);
      assert.ok(b.tcp.counters.out_segs - before <= 2 * i + 12, `${b.tcp.counters.out_segs - before} segments after ${i + 1} duplicates`);
    }
  });
});

describe("data of an attacker", () => {
  it("a byte here and a byte there: ranges, slabs and answers are bounded, and the stream is still right", async () => {
    const { lab, b, server } = await inState("ESTABLISHED", SEED);
    assert.ok(server);
    const window = (server.announced - server.received) | 0;
    for (let i = 0; i < 20_000; i++) {
      const offset = 2 + ((i * 16_807) % (window - 3));
      inject(b, {
        ...sackSegment(server, 0, []),
        sequence: (server.received + offset) >>> 0,
        options: sackSegment(server, 0, []).options.slice(0, 12),
        payload: Uint8Array.of(offset & 255),
      });
      if (i % 20 === 19) lab.settle();
    }
    lab.settle();
    assert.ok(server.flight.early.length <= 4096, `${server.flight.early.length} ranges`);
    const held = lab.engine.slabs.total - lab.engine.slabs.available;
    assert.ok(held <= Math.ceil(window / 16_384) + 1, `${held} slabs`);
    // What was kept and what was not, the real bytes now: each byte is what its sender said.
    const bytes = Uint8Array.from({ length: window }, (_, i) => i & 255);
    for (let at = 0; at < window; at += 1000) {
      inject(b, {
        ...sackSegment(server, 0, []),
        sequence: server.received >>> 0,
        options: sackSegment(server, 0, []).options.slice(0, 12),
        payload: bytes.subarray(server.bytesReceived % window, Math.min(server.bytesReceived + 1000, window)),
      });
      lab.settle();
      if (server.bytesReceived >= window) break;
    }
    const got = new Uint8Array(window);
    const n = user.read(server, got);
    assert.ok(n > window / 2);
    assert.deepEqual(got.subarray(0, n), bytes.subarray(0, n));
  });
});
