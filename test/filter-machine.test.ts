/** Compiled rules against the interpreter: random rules over every expression, random packets, everything that can be seen of both. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { Random } from "../src/base/random.ts";
import type { Expression } from "../src/filter/expressions.ts";
import type { Packet } from "../src/filter/machine/oracle/packet.ts";
import { Generator } from "./filter-generate.ts";
import { hexOf, Rig } from "./filter-rig.ts";
import { SEED } from "./support.ts";

const RULESETS = Number(process.env.RULESETS ?? 150);
const PACKETS = 40;

describe("compiled rules", () => {
  it("do what the interpreter does, expression by expression", async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    for (let n = 0; n < RULESETS; n++) {
      const g = new Generator(new Random(SEED + n));
      const rig = await Rig.create({ build: n % 2 ? "shared" : "plain" });
      const ruleset = n % 3 === 2 ? mayFollow(g.ruleset()) : g.ruleset();
      const events: string[] = [];
      const oracle = rig.interpreter(ruleset, events);
      rig.machine.tracing(n % 3 === 2);
      rig.machine.load(ruleset);
      const isDevice = ruleset.tables[0].chains[0].base?.hook === "ingress";
      const segment = isDevice ? abi.SEGMENT_INGRESS : abi.SEGMENT_FORWARD;
      for (let p = 0; p < PACKETS; p++) {
        const packet = g.packet(isDevice);
        const plain: Packet = { ...packet, bytes: packet.bytes.slice(), flow: packet.flow && { ...packet.flow } };
        const cut = packet.l3 + (packet.family === 6 ? 40 : 20) + g.below(40);
        const whole = g.chance(0.8) || !readsOnly(ruleset);
        const [seen] = rig.run(segment, [packet], ({ bytes }) => (whole ? bytes.length : Math.min(cut, bytes.length)));
        const outcome = oracle.run(segment, plain);
        const expected = {
          ...outcome,
          // What is stolen is somebody else's, who may have made another packet of it; what is dropped may have lost its text.
          bytes: outcome.verdict === abi.VERDICT_ACCEPT ? hexOf(plain.bytes) : seen.bytes,
          mark: plain.mark,
          priority: plain.priority,
          ctinfo: plain.ctinfo,
        };
        const about = () => `SEED=${SEED + n} packet ${p}: ${JSON.stringify(ruleset.tables[0].chains, show)}`;
        assert.deepEqual(seen, expected, about());
        // Logs are seen when the burst is over, the rest at once.
        assert.deepEqual([...rig.events].sort(), [...events].sort(), about());
        if (plain.flow) assert.equal(rig.flowMark(plain.flow.id), plain.flow.mark, about());
        if (g.chance(0.3)) rig.clock.ms += g.below(3000);
      }
      compareStates(rig, ruleset, oracle, `SEED=${SEED + n}`);
      assert.equal(rig.engine.pool("buffers").inFlight, 0);
      await rig.engine.close();
    }
  });
});

/** The same, compiled as programs are that may follow packets: each rule a function. */
function mayFollow(ruleset: ReturnType<Generator["ruleset"]>): ReturnType<Generator["ruleset"]> {
  const [table, ...tables] = ruleset.tables;
  const [chain, ...chains] = table.chains;
  const off: Expression[] = [
    { op: "immediate", dreg: 1, data: Uint8Array.of(0) },
    { op: "meta-set", sreg: 1, key: "nftrace" },
  ];
  const rules = [{ handle: 100_000, expressions: off }, ...chain.rules];
  return { ...ruleset, tables: [{ ...table, chains: [{ ...chain, rules }, ...chains] }, ...tables] };
}

/** Writes need their bytes in the first segment: what is written to is not cut. */
function readsOnly({ tables }: ReturnType<Generator["ruleset"]>): boolean {
  return !tables[0].chains.some(({ rules }) =>
    rules.some(({ expressions }) => expressions.some(({ op }) => /write|reset|synproxy/.test(op))),
  );
}

const show = (_key: string, value: unknown) => (value instanceof Uint8Array ? hexOf(value) : value);

function compareStates(rig: Rig, ruleset: ReturnType<Generator["ruleset"]>, oracle: ReturnType<Rig["interpreter"]>, about: string): void {
  const [table] = ruleset.tables;
  const rules = new Map(table.chains.flatMap(({ name, rules: list }) => list.map((rule) => [`${name} ${rule.handle}`, rule])));
  for (const state of rig.machine.counters()) {
    const expression = rules.get(`${state.chain} ${state.handle}`)?.expressions[state.index];
    const kept = expression && oracle.state(expression);
    assert.ok(kept, about);
    if (state.op === "counter") assert.deepEqual([state.packets, state.bytes], [kept.packets, kept.bytes], about);
    if (state.op === "quota") assert.equal(state.used, Number(kept.used), about);
    if (state.op === "last") assert.equal(state.lastMs, kept.seen === undefined ? undefined : Number(kept.seen) / 1e6, about);
  }
  for (const { name } of table.sets) {
    const now = BigInt(rig.clock.ms) * 1_000_000n;
    const mine = rig.machine.elements({ family: table.family, table: table.name, set: name }).filter(({ catchall }) => !catchall);
    const theirs = oracle.set(table.family, table.name, name)?.list(now) ?? [];
    const line = (key: Uint8Array, data: Uint8Array | undefined, packets: number | undefined) =>
      `${hexOf(key)} ${data ? hexOf(data) : ""} ${packets ?? ""}`;
    assert.deepEqual(
      mine.map((e) => line(e.key, e.data, e.expressions?.[0]?.op === "counter" ? e.expressions[0].packets : undefined)).sort(),
      theirs.map((e) => line(e.spec.key, e.data, e.kept[0]?.expression.op === "counter" ? e.kept[0].packets : undefined)).sort(),
      `${about} set ${name}`,
    );
  }
}
