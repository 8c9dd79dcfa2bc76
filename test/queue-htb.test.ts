/** htb: who gets how much when everybody wants more, worked out by hand; statistics; classification. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HtbClass, HtbOptions } from "../src/queue/index.ts";
import { type Given, Shaped } from "./queue-support.ts";

const MBIT = 1e6;
const ROOT: HtbClass = { id: 1, rateBps: 10 * MBIT };
/** Equal turns, so that what is borrowed is shared equally. */
const EQUAL = { quantumBytes: 1514 };

interface Case {
  name: string;
  classes: readonly HtbClass[];
  /** Classes that send all they can. */
  busy: readonly number[];
  /** Mbit/s of each of them. */
  want: readonly number[];
  bytes?: number;
}

const leaf = (id: number, mbit: number, ceil: number, more: Partial<HtbClass> = {}): HtbClass => ({
  id,
  parent: 1,
  rateBps: mbit * MBIT,
  ceilBps: ceil * MBIT,
  ...EQUAL,
  ...more,
});

const CASES: Case[] = [
  {
    name: "everybody busy: their own rates",
    classes: [leaf(10, 2, 10), leaf(20, 3, 10), leaf(30, 5, 10)],
    busy: [10, 20, 30],
    want: [2, 3, 5],
  },
  {
    name: "one idle: its 5 shared equally",
    classes: [leaf(10, 2, 10), leaf(20, 3, 10), leaf(30, 5, 10)],
    busy: [10, 20],
    want: [4.5, 5.5],
  },
  { name: "alone: everything", classes: [leaf(10, 2, 10), leaf(20, 3, 10), leaf(30, 5, 10)], busy: [10], want: [10] },
  {
    name: "what is borrowed follows the quanta, 1 to 3",
    classes: [leaf(10, 2, 10, { quantumBytes: 1514 }), leaf(20, 3, 10, { quantumBytes: 4542 }), leaf(30, 5, 10)],
    busy: [10, 20],
    want: [3.25, 6.75],
  },
  { name: "the ceiling binds, the other takes the rest", classes: [leaf(10, 2, 3), leaf(20, 3, 10)], busy: [10, 20], want: [3, 7] },
  {
    name: "lower priority number borrows first",
    classes: [leaf(10, 2, 10, { prio: 0 }), leaf(20, 3, 10, { prio: 1 })],
    busy: [10, 20],
    want: [7, 3],
  },
  {
    name: "priorities do not touch what is somebody's own",
    classes: [leaf(10, 2, 10, { prio: 0 }), leaf(20, 8, 10, { prio: 7 })],
    busy: [10, 20],
    want: [2, 8],
  },
  {
    name: "a branch keeps its rate, and its leaves borrow in it",
    classes: [
      leaf(2, 6, 10),
      leaf(3, 4, 10),
      leaf(21, 1, 10, { parent: 2 }),
      leaf(22, 5, 10, { parent: 2 }),
      leaf(31, 4, 10, { parent: 3 }),
    ],
    busy: [21, 31],
    want: [6, 4],
  },
  {
    name: "a branch that is idle lends to the other's leaf through two levels",
    classes: [
      leaf(2, 6, 10),
      leaf(3, 4, 10),
      leaf(21, 1, 10, { parent: 2 }),
      leaf(22, 5, 10, { parent: 2 }),
      leaf(31, 4, 10, { parent: 3 }),
    ],
    busy: [31],
    want: [10],
  },
  {
    name: "an inner ceiling holds its leaves down",
    classes: [
      leaf(2, 4, 5),
      leaf(3, 4, 10),
      leaf(21, 2, 10, { parent: 2 }),
      leaf(22, 2, 10, { parent: 2 }),
      leaf(31, 4, 10, { parent: 3 }),
    ],
    busy: [21, 22, 31],
    want: [2.5, 2.5, 5],
  },
  { name: "small packets", classes: [leaf(10, 2, 10), leaf(20, 3, 10)], busy: [10, 20], want: [4.5, 5.5], bytes: 200 },
];

const optionsOf = (classes: readonly HtbClass[]): HtbOptions => ({
  kind: "htb",
  handle: 1,
  classes: [ROOT, ...classes],
  filters: classes.map(({ id }) => ({ match: { mark: id }, class: id })),
});

describe("htb", () => {
  for (const { name, classes, busy, want, bytes = 1500 } of CASES) {
    for (const step of [0.2, 2]) {
      it(`${name} (polled every ${step} ms)`, async () => {
        const shaped = await Shaped.of(optionsOf(classes));
        const kinds = busy.map((id): Given => ({ mark: id, flow: id, bytes }));
        shaped.saturate(500, kinds, { step, depth: bytes < 1000 ? 60 : 20 });
        shaped.saturate(2000, kinds, { step, depth: bytes < 1000 ? 60 : 20 });
        const sums = shaped.bytesBy(({ flow }) => flow, 500.1);
        busy.forEach((id, i) => {
          const got = ((sums.get(id) ?? 0) * 8) / 2 / MBIT;
          assert.ok(Math.abs(got / want[i] - 1) < 0.01, `class ${id}: ${got} Mbit/s instead of ${want[i]}`);
        });
        await shaped.close();
      });
    }
  }

  it("classifies by mark, by address and port, and by default", async () => {
    const classes = [10, 20, 30, 40, 50].map((id) => ({ id, rateBps: 10 * MBIT }));
    const shaped = await Shaped.of({
      kind: "htb",
      handle: 1,
      default: 50,
      classes,
      filters: [
        { match: { mark: 0x20, markMask: 0xf0 }, class: 20 },
        { match: { source: "10.0.0.3/32", protocol: 17 }, class: 30 },
        { match: { destinationPort: [1999, 2001], sourcePort: 77 }, class: 40 },
      ],
    });
    shaped.send({ mark: 0x2f });
    shaped.send({ from: 3 });
    shaped.send({ flow: 77 });
    shaped.send({ mark: 0x10 });
    shaped.run(10);
    const counts = Object.fromEntries(shaped.queue.stats().classes.map(({ id, sentPackets }) => [id, sentPackets]));
    assert.deepEqual(counts, { 10: 0, 20: 1, 30: 1, 40: 1, 50: 1 });
    await shaped.close();
  });

  it("sends what belongs to no class past all of them", async () => {
    const shaped = await Shaped.of({ kind: "htb", classes: [{ id: 10, rateBps: 8000 }] });
    shaped.send({}, 50);
    assert.equal(shaped.departures.length, 50);
    assert.equal(shaped.queue.stats().own.direct_packets_stat, 50);
    await shaped.close();
  });

  it("counts lends, borrows and overlimits, and holds tokens between its depths", async () => {
    const shaped = await Shaped.of(optionsOf([leaf(10, 2, 10), leaf(20, 3, 10)]));
    shaped.saturate(1000, [{ mark: 10, flow: 10, bytes: 1500 }]);
    const [root, ten, twenty] = shaped.queue.stats().classes;
    assert.equal(ten.lended + ten.borrowed, ten.sentPackets);
    assert.equal(root.lended, ten.borrowed);
    assert.equal(root.sentPackets, ten.sentPackets);
    assert.equal(root.level, 7);
    assert.equal(twenty.sentPackets, 0);
    assert.ok(ten.overlimits > 0 && ten.ctokens <= 1614);
    await shaped.close();
  });

  it("keeps a leaf's own qdisc: a tbf in a class holds its packets back and nobody else's", async () => {
    const shaped = await Shaped.of({
      kind: "htb",
      classes: [
        { id: 10, rateBps: 10 * MBIT, qdisc: { kind: "tbf", rateBps: MBIT, burstBytes: 2000, limitBytes: 1e6 } },
        { id: 20, rateBps: 10 * MBIT, qdisc: { kind: "fq_codel" } },
      ],
      filters: [10, 20].map((id) => ({ match: { mark: id }, class: id })),
    });
    shaped.saturate(
      1000,
      [10, 20].map((id) => ({ mark: id, flow: id, bytes: 1500 })),
    );
    const sums = shaped.bytesBy(({ flow }) => flow);
    assert.ok(Math.abs(((sums.get(10) ?? 0) * 8) / MBIT - 1) < 0.03, `${sums.get(10)}`);
    assert.ok(Math.abs(((sums.get(20) ?? 0) * 8) / MBIT / 10 - 1) < 0.03, `${sums.get(20)}`);
    await shaped.close();
  });

  it("refuses trees that are none", async () => {
    const shaped = await Shaped.of({ kind: "pfifo" });
    const wrong: [HtbClass[], RegExp][] = [
      [[{ id: 10, parent: 5, rateBps: 1e6 }], /hangs on 5, which is no class/],
      [[{ id: 10, rateBps: 1e6, ceilBps: 1e5 }], /ceilBps below its rateBps/],
      [
        [
          { id: 10, rateBps: 1e6 },
          { id: 10, rateBps: 1e6 },
        ],
        /two classes have one id/,
      ],
      [
        [
          { id: 10, parent: 11, rateBps: 1e6 },
          { id: 11, parent: 10, rateBps: 1e6 },
        ],
        /above itself/,
      ],
      [Array.from({ length: 9 }, (_, i) => ({ id: i + 1, parent: i || undefined, rateBps: 1e6 })), /deeper than 8/],
    ];
    for (const [classes, message] of wrong) assert.throws(() => shaped.queue.replace({ kind: "htb", classes }), message);
    assert.equal(shaped.queue.options.kind, "pfifo");
    await shaped.close();
  });
});
