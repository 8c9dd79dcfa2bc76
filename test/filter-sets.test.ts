/** Sets and maps in memory against plain ones; what stays and what goes when a ruleset is replaced. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import type { Expression, RulesetSpec, SetElement, SetSpec } from "../src/filter/expressions.ts";
import { jhash } from "../src/filter/machine/oracle/hashes.ts";
import type { Packet } from "../src/filter/machine/oracle/packet.ts";
import { PlainSet } from "../src/filter/machine/oracle/sets.ts";
import { chainOf, hexOf, INTERFACES, Rig, rulesetOf, setOf, tableOf } from "./filter-rig.ts";
import { random } from "./support.ts";

const be = (n: number): Uint8Array => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
const NAME = { family: "inet", table: "t", set: "s" } as const;
const source: Expression = { op: "payload", dreg: 1, base: "network", offset: 12, len: 4 };
const counter: Expression = { op: "counter", packets: 0, bytes: 0 };
const drop: Expression = { op: "verdict", verdict: { code: "drop" } };
const inSet = (dreg?: number): Expression => ({ op: "lookup", sreg: 1, set: "s", dreg, invert: false });

function packet(from: number, port = 80): Packet {
  const bytes = new Uint8Array(60);
  bytes.set([0x45], 14);
  bytes.set(be(from), 26);
  bytes[23] = 17;
  bytes.set([port >> 8, port & 255], 36);
  const known = { l3: 14, l4: 34, family: 4, protocol: 17, laterFragment: false, openChecksum: false, group: false } as const;
  return { bytes, ...known, input: INTERFACES[0], output: INTERFACES[1], mark: 0, priority: 0, ctinfo: abi.CT_INVALID };
}

const withSet = (set: SetSpec, ...rules: Expression[][]): RulesetSpec => rulesetOf(tableOf(rules, { sets: [set] }));
const verdicts = (rig: Rig, packets: Packet[]): number[] => rig.run(abi.SEGMENT_FORWARD, packets).map(({ verdict }) => verdict);

describe("hashed sets", () => {
  it("hold what was put into them, however often they grow", async (t) => {
    const r = random(t);
    const rig = await Rig.create();
    rig.machine.load(withSet(setOf("s", { dynamic: true }), [source, inSet(), drop]));
    const held = new Set<number>();
    for (let round = 0; round < 30; round++) {
      const some = Array.from({ length: 400 }, () => r.below(6000));
      const elements = [...new Set(some)].map((n): SetElement => ({ key: be(n) }));
      if (r.float() < 0.6) {
        rig.machine.addElements(NAME, elements);
        for (const n of some) held.add(n);
      } else {
        const were = [...new Set(some)].filter((n) => held.delete(n)).length;
        assert.equal(rig.machine.deleteElements(NAME, elements), were);
      }
      const asked = Array.from({ length: 200 }, () => r.below(6000));
      const expected = asked.map((n) => (held.has(n) ? abi.VERDICT_DROP : abi.VERDICT_ACCEPT));
      assert.deepEqual(
        verdicts(
          rig,
          asked.map((n) => packet(n)),
        ),
        expected,
      );
    }
    const listed = rig.machine.elements(NAME).map(({ key }) => hexOf(key));
    assert.deepEqual(listed.sort(), [...held].map((n) => hexOf(be(n))).sort());
    await rig.engine.close();
  });

  it("are filled by rules up to their size, and forget after their time", async () => {
    const rig = await Rig.create();
    const add: Expression = { op: "dynset", action: "add", set: "s", key: 1, invert: false, expressions: [] };
    const set = setOf("s", { dynamic: true, timeouts: true, timeoutMs: 3000, size: 100 });
    rig.machine.load(withSet(set, [source, add, drop]));
    const seen = verdicts(
      rig,
      Array.from({ length: 150 }, (_, i) => packet(i)),
    );
    assert.equal(seen.filter((v) => v === abi.VERDICT_DROP).length, 100, "a full set ends the rule");
    assert.equal(rig.machine.elements(NAME).length, 100);
    rig.clock.ms += 2999;
    assert.equal(rig.machine.elements(NAME)[0].expiresMs, 1);
    rig.clock.ms += 1;
    assert.equal(rig.machine.elements(NAME).length, 0);
    assert.deepEqual(verdicts(rig, [packet(1000)]), [abi.VERDICT_DROP], "what has expired makes room");
    assert.throws(
      () =>
        rig.machine.addElements(
          NAME,
          Array.from({ length: 200 }, (_, i) => ({ key: be(i) })),
        ),
      /set s is full/,
    );
    await rig.engine.close();
  });

  it("count by element", async () => {
    const rig = await Rig.create();
    const update: Expression = { op: "dynset", action: "update", set: "s", key: 1, invert: false, expressions: [counter] };
    rig.machine.load(withSet(setOf("s", { dynamic: true, size: 1000 }), [source, update]));
    verdicts(rig, [packet(1), packet(2), packet(1), packet(1)]);
    const counts = rig.machine.elements(NAME).map(({ key, expressions }) => [hexOf(key), expressions?.[0]]);
    assert.deepEqual(counts.sort(), [
      ["00000001", { op: "counter", packets: 3, bytes: 138 }],
      ["00000002", { op: "counter", packets: 1, bytes: 46 }],
    ]);
    await rig.engine.close();
  });
});

describe("sets with ranges", () => {
  it("find the first box that a key is in", async (t) => {
    const r = random(t);
    for (const fields of [[4], [4, 2], [2, 4, 1], [6, 4], [16, 2]]) {
      const rig = await Rig.create();
      const width = fields.reduce((sum, n) => sum + Math.ceil(n / 4) * 4, 0);
      // Few values of each byte, so that boxes meet and overlap.
      const number = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i >= n - 2 ? r.below(40) : r.below(2)));
      const sorted = (n: number) => [number(n), number(n)].sort((a, b) => Buffer.compare(a, b));
      const box = (): SetElement => {
        const key = new Uint8Array(width);
        const keyEnd = new Uint8Array(width);
        let at = 0;
        for (const n of fields) {
          const [from, to] = sorted(n);
          key.set(from, at);
          keyEnd.set(to, at);
          at += Math.ceil(n / 4) * 4;
        }
        return { key, keyEnd, data: be(r.u32()) };
      };
      const set = setOf("s", {
        keyLength: width,
        fields,
        interval: true,
        map: { kind: "data", length: 4 },
        elements: Array.from({ length: 40 }, box),
      });
      const load: Expression = { op: "payload", dreg: 8, base: "transport", offset: 8, len: width };
      const mark: Expression = { op: "meta-set", sreg: 2 + 16, key: "mark" };
      rig.machine.load(withSet(set, [load, { op: "lookup", sreg: 8, set: "s", dreg: 18, invert: false }, mark]));
      const oracle = new PlainSet(set, [], 0n);
      const packets = Array.from({ length: 250 }, () => {
        const p = packet(0);
        const bytes = new Uint8Array(80);
        bytes.set(p.bytes);
        let at = 42;
        for (const n of fields) {
          bytes.set(number(n), at);
          at += Math.ceil(n / 4) * 4;
        }
        return { ...p, bytes };
      });
      const expected = packets.map(({ bytes }) => {
        const found = oracle.find(bytes.slice(42, 42 + width), 0n);
        return found?.data ? new DataView(found.data.buffer).getUint32(0, true) : 0;
      });
      assert.ok(expected.filter((mark) => mark !== 0).length > 20, "some keys are in a box");
      assert.deepEqual(
        rig.run(abi.SEGMENT_FORWARD, packets).map((seen) => seen.mark),
        expected,
        `fields ${fields}`,
      );
      await rig.engine.close();
    }
  });

  it("whose boxes multiply are refused, and leave nothing behind", async () => {
    const rig = await Rig.create();
    const word = (n: number) => be(n >>> 0);
    const box = (i: number): SetElement => {
      const [a, b] = [(i * 37) % 400, (i * 53) % 400];
      return {
        key: Uint8Array.of(...word(a), ...word(b), ...word(i)),
        keyEnd: Uint8Array.of(...word(a + 400), ...word(b + 400), ...word(i + 400)),
      };
    };
    const set = setOf("s", { keyLength: 12, fields: [4, 4, 4], interval: true, elements: Array.from({ length: 400 }, (_, i) => box(i)) });
    const load: Expression = { op: "payload", dreg: 1, base: "network", offset: 8, len: 12 };
    assert.throws(() => rig.machine.load(withSet(set, [load, inSet(), drop])), /overlap in too many ways/);
    rig.machine.load(withSet(setOf("s", { dynamic: true }), [source, inSet(), drop]));
    await rig.engine.close();
  });

  it("change while they are in force, and give their memory back", async () => {
    const rig = await Rig.create();
    rig.machine.load(withSet(setOf("s", { interval: true }), [source, inSet(), drop]));
    const at = rig.engine.memory.base(abi.REGION_FILTER) + abi.ARENA_USED;
    const range = (from: number, to: number) => ({ key: be(from), keyEnd: be(to) });
    const before = rig.engine.memory.getU32(at);
    for (let round = 0; round < 20; round++) {
      rig.machine.addElements(NAME, [range(10, 19), range(30, 39)]);
      assert.deepEqual(verdicts(rig, [packet(9), packet(10), packet(19), packet(20), packet(35)]), [1, 0, 0, 1, 0]);
      assert.equal(rig.machine.deleteElements(NAME, [range(10, 19), range(50, 51)]), 1);
      assert.deepEqual(verdicts(rig, [packet(10), packet(35)]), [1, 0]);
      assert.equal(rig.machine.deleteElements(NAME, [range(30, 39)]), 1);
      rig.engine.plane.epochEnd();
    }
    rig.machine.load(rig.machine.spec);
    rig.engine.plane.filterRetire(rig.engine.plane.filterAllocate(8), 8);
    assert.ok(rig.engine.memory.getU32(at) - before < 20 * 1024, "blocks are used again");
    await rig.engine.close();
  });
});

describe("replacing a ruleset", () => {
  const rules = (...more: Expression[][]) => withSet(setOf("s", { dynamic: true, size: 100, elements: [{ key: be(7) }] }), ...more);
  const add: Expression = { op: "dynset", action: "add", set: "s", key: 1, invert: false, expressions: [] };

  it("keeps what stays: counters of rules, elements that rules added", async () => {
    const rig = await Rig.create();
    rig.machine.load(rules([source, counter, add]));
    verdicts(rig, [packet(1), packet(2)]);
    rig.machine.load(rules([source, { ...counter }, add], [counter]));
    verdicts(rig, [packet(2)]);
    assert.deepEqual(
      rig.machine.counters().map(({ handle, packets }) => [handle, packets]),
      [
        [1, 3],
        [2, 1],
      ],
    );
    const keys = () =>
      rig.machine
        .elements(NAME)
        .map(({ key }) => key[3])
        .sort();
    assert.deepEqual(keys(), [1, 2, 7]);
    const other = withSet(setOf("s", { dynamic: true, size: 100, elements: [{ key: be(8) }] }), [counter, source, add]);
    rig.machine.load(other);
    assert.deepEqual(keys(), [1, 2, 8], "declared elements change as the ruleset does");
    assert.deepEqual(
      rig.machine.counters().map(({ packets }) => packets),
      [0],
      "another rule counts from nothing",
    );
    await rig.engine.close();
  });

  it("changes nothing when the new one is wrong", async () => {
    const rig = await Rig.create();
    rig.machine.load(rules([source, inSet(), drop]));
    const jump = (chain: string): Expression => ({ op: "verdict", verdict: { code: "jump", chain } });
    const wrong: [RulesetSpec, RegExp][] = [
      [rules([jump("nowhere")]), /jumps to nowhere, which does not exist/],
      [
        rulesetOf(tableOf([], { chains: [chainOf([[jump("x")]]), { name: "x", rules: [{ handle: 1, expressions: [jump("x")] }] }] })),
        /jumps to itself/,
      ],
      [
        rulesetOf(
          tableOf([], {
            chains: [
              chainOf([[jump("1")]]),
              ...Array.from({ length: 16 }, (_, i) => ({
                name: `${i + 1}`,
                rules: i === 15 ? [] : [{ handle: 1, expressions: [jump(`${i + 2}`)] }],
              })),
            ],
          }),
        ),
        /jumps 16 deep or more; expected fewer/,
      ],
      [rules([{ op: "cmp", sreg: 1, cmp: "eq", data: be(1) }]), /register 1 is read before/],
      [rules([source, { op: "lookup", sreg: 1, set: "none", invert: false }]), /no set none/],
      [rules([{ op: "tproxy", family: 4, port: 1 }]), /tproxy is not known/],
      [rules([{ op: "limit", rate: 0, per: 1, burst: 1, unit: "packets", over: false }]), /a limit's rate is 0/],
    ];
    for (const [ruleset, message] of wrong) {
      assert.throws(() => rig.machine.load(ruleset), message);
      assert.deepEqual(verdicts(rig, [packet(7), packet(8)]), [abi.VERDICT_DROP, abi.VERDICT_ACCEPT]);
    }
    await rig.engine.close();
  });

  it("leaves neither functions nor memory behind", async () => {
    const rig = await Rig.create();
    const big = (n: number) =>
      withSet(setOf("s", { interval: true, elements: [{ key: be(n), keyEnd: be(n + 5) }] }), [source, counter, inSet(), drop]);
    const used = () => rig.engine.memory.getU32(rig.engine.memory.base(abi.REGION_FILTER) + abi.ARENA_USED);
    for (let n = 0; n < 5; n++) rig.machine.load(big(n));
    const [entries, bytes] = [rig.engine.programs.length, used()];
    for (let n = 5; n < 200; n++) rig.machine.load(big(n));
    assert.equal(rig.engine.programs.length, entries);
    assert.ok(used() <= bytes + 1_000_000, `${used()} bytes are in use, ${bytes} after five loads`);
    assert.deepEqual(verdicts(rig, [packet(199), packet(198)]), [abi.VERDICT_DROP, abi.VERDICT_ACCEPT]);
    rig.machine.flush();
    const words = Array.from({ length: abi.SEGMENT_COUNT }, (_, s) =>
      rig.engine.memory.getU32(rig.engine.memory.base(abi.REGION_NETNS) + abi.NETNS_PROGRAMS + 4 * s),
    );
    assert.ok(words.every((word) => word === 0));
    await rig.engine.close();
  });
});

it("jhash gives Bob Jenkins' published numbers", async () => {
  const text = new TextEncoder().encode("Four score and seven years ago");
  const rig = await Rig.create();
  const at = rig.engine.plane.filterAllocate(64);
  rig.engine.memory.u8.set(text, at);
  for (const [seed, value] of [
    [0, 0x17770551],
    [1, 0xcd628161],
  ]) {
    assert.equal(rig.engine.plane.jhash(at, text.length, seed) >>> 0, value);
    assert.equal(jhash(text, seed), value);
  }
  await rig.engine.close();
});
