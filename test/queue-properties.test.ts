/** Whatever the tree and the traffic: nothing is lost track of, and a flow keeps its order. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import * as abi from "../assembly/abi.ts";
import type { QdiscOptions } from "../src/queue/index.ts";
import { Shaped } from "./queue-support.ts";
import { SEED } from "./support.ts";

const leaf: fc.Arbitrary<QdiscOptions> = fc.oneof(
  fc.record({ kind: fc.constant("pfifo" as const), limitPackets: fc.integer({ min: 0, max: 50 }) }),
  fc.record({ kind: fc.constant("bfifo" as const), limitBytes: fc.integer({ min: 100, max: 30_000 }) }),
  fc.record({
    kind: fc.constant("fq_codel" as const),
    limitPackets: fc.integer({ min: 1, max: 100 }),
    flows: fc.integer({ min: 1, max: 16 }),
    targetMs: fc.integer({ min: 1, max: 5 }),
    intervalMs: fc.integer({ min: 5, max: 20 }),
    memoryBytes: fc.integer({ min: 2000, max: 1_000_000 }),
    ecn: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("fq" as const),
    limitPackets: fc.integer({ min: 1, max: 100 }),
    flows: fc.integer({ min: 1, max: 6 }),
    buckets: fc.constantFrom(1, 4),
    flowLimitPackets: fc.integer({ min: 1, max: 30 }),
    maxRateBps: fc.constantFrom(1e5, 1e6, 1e8),
  }),
  fc.record({
    kind: fc.constant("cake" as const),
    bandwidthBps: fc.constantFrom(undefined, 1e6, 1e7),
    diffserv: fc.constantFrom("besteffort", "diffserv3", "diffserv4"),
    flows: fc.constant(16),
    memoryBytes: fc.integer({ min: 10_000, max: 200_000 }),
    rttMs: fc.constantFrom(10, 100),
  }) as fc.Arbitrary<QdiscOptions>,
  fc.record({
    kind: fc.constant("red" as const),
    limitBytes: fc.constant(40_000),
    minBytes: fc.constant(3000),
    maxBytes: fc.constant(20_000),
    avpktBytes: fc.constant(500),
    probability: fc.constantFrom(0.02, 0.5),
    ecn: fc.boolean(),
  }),
);

const tree: fc.Arbitrary<QdiscOptions> = fc.oneof(
  leaf,
  fc.record({
    kind: fc.constant("tbf" as const),
    rateBps: fc.constantFrom(1e6, 1e7),
    burstBytes: fc.constantFrom(600, 3000),
    child: leaf,
  }),
  fc.record({ kind: fc.constant("prio" as const), children: fc.array(leaf, { minLength: 3, maxLength: 3 }) }),
  fc.tuple(leaf, leaf, leaf).map(
    ([a, b, c]): QdiscOptions => ({
      kind: "htb",
      default: 12,
      classes: [
        { id: 1, rateBps: 4e6 },
        { id: 10, parent: 1, rateBps: 1e6, ceilBps: 4e6, qdisc: a },
        { id: 11, parent: 1, rateBps: 1e6, ceilBps: 2e6, prio: 2, qdisc: b },
        { id: 12, rateBps: 1e6, qdisc: c },
      ],
      filters: [
        { match: { sourcePort: [1, 2] }, class: 10 },
        { match: { tos: 0x10, tosMask: 0xfc }, class: 11 },
      ],
    }),
  ),
);

const packet = fc.record({
  bytes: fc.integer({ min: 60, max: 1514 }),
  flow: fc.integer({ min: 1, max: 8 }),
  from: fc.integer({ min: 1, max: 3 }),
  tos: fc.constantFrom(0, 1, 2, 0x10, 0xb8, 0x20),
});
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ burst: fc.array(packet, { maxLength: 30 }) }) },
  { weight: 3, arbitrary: fc.record({ wait: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 1, arbitrary: fc.record({ replace: tree }) },
  { weight: 1, arbitrary: fc.record({ down: fc.boolean() }) },
);

function drops(shaped: Shaped): number {
  return shaped.engine.counters().dropped;
}

describe("queues", () => {
  it("conserve packets and bytes, keep flows in order, and give everything back", async () => {
    await fc.assert(
      fc.asyncProperty(tree, fc.array(step, { maxLength: 25 }), async (options, steps) => {
        const shaped = await Shaped.of(options, { buffers: 2048, queueBytes: 2 << 20 });
        for (const each of steps) {
          if ("burst" in each) for (const given of each.burst) shaped.send(given);
          else if ("wait" in each) shaped.run(each.wait, { step: 0.7 });
          else if ("replace" in each) shaped.queue.replace(each.replace);
          else {
            shaped.port.configure({ up: false });
            shaped.poll();
            shaped.port.configure({ up: true });
          }
          const { backlogPackets, backlogBytes } = shaped.queue.stats();
          assert.equal(shaped.sent, shaped.departures.length + drops(shaped) + backlogPackets, "in = out + dropped + backlog");
          assert.equal(shaped.engine.pool().inFlight, backlogPackets, "and nothing else holds buffers");
          if (backlogPackets === 0) assert.equal(backlogBytes, 0);
        }
        // Order: every flow's numbers rise, whatever was dropped in between. (A flow of two traffic classes may be in two classes.)
        const last = new Map<string, number>();
        let replaced = false;
        for (const each of steps) replaced ||= "replace" in each;
        if (!replaced)
          for (const { flow, from, tos, number } of shaped.departures) {
            const name = `${flow} ${from} ${tos >> 2}`;
            assert.ok((last.get(name) ?? -1) < number, `flow ${name}: ${number} after ${last.get(name)}`);
            last.set(name, number);
          }
        shaped.run(20_000);
        assert.equal(shaped.queue.stats().backlogPackets, 0, "everything leaves in the end");
        shaped.queue.remove();
        assert.equal(shaped.engine.pool().inFlight, 0);
        const held = shaped.engine.memory.getU32(shaped.engine.memory.base(abi.REGION_QUEUES) + abi.QUEUES_HELD);
        assert.equal(held, 0);
        await shaped.close();
      }),
      { seed: SEED, numRuns: 150 },
    );
  });
});
