/** Rules: one by one, as sets, compiled against the interpreter; and how long a large ruleset takes to come into force. */
import * as abi from "../assembly/abi.ts";
import { Engine } from "../src/engine/engine.ts";
import type { Expression, RulesetSpec, SetSpec, TableSpec } from "../src/filter/expressions.ts";
import { Machine } from "../src/filter/machine/machine.ts";
import { Interpreter, type World } from "../src/filter/machine/oracle/interpret.ts";
import type { Packet } from "../src/filter/machine/oracle/packet.ts";
import { type Context, type Profile, repeat, result } from "./harness.ts";

const RULES = 1000;
const BURST = abi.BURST;

const be32 = (n: number): Uint8Array => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
const be16 = (n: number): Uint8Array => Uint8Array.of(n >>> 8, n);
const equal = (data: Uint8Array): Expression => ({ op: "cmp", sreg: 1, cmp: "eq", data });
const drop: Expression = { op: "verdict", verdict: { code: "drop" } };
const source: Expression = { op: "payload", dreg: 1, base: "network", offset: 12, len: 4 };
const port: Expression = { op: "payload", dreg: 1, base: "transport", offset: 2, len: 2 };
const ipv4: Expression[] = [{ op: "meta", dreg: 1, key: "nfproto" }, equal(Uint8Array.of(2))];
const udp: Expression[] = [{ op: "meta", dreg: 1, key: "l4proto" }, equal(Uint8Array.of(17))];

/** `ip saddr A udp dport P drop` */
const rule = (address: number, to: number): Expression[] => [...ipv4, source, equal(be32(address)), ...udp, port, equal(be16(to)), drop];

function rulesetOf(rules: readonly Expression[][], sets: readonly SetSpec[] = []): RulesetSpec {
  const base = { type: "filter", hook: "forward", priority: 0, policy: "accept" } as const;
  const chain = { name: "forward", base, rules: rules.map((expressions, i) => ({ handle: i + 1, expressions })) };
  const table: TableSpec = { family: "inet", name: "filter", dormant: false, sets, objects: [], chains: [chain] };
  return { tables: [table] };
}

function setOf(more: Partial<SetSpec>): SetSpec {
  const kind = { anonymous: false, interval: false, constant: false, dynamic: false, timeouts: false };
  return { name: "s", keyLength: 4, fields: [4], elements: [], ...kind, ...more };
}

/** UDP of 46 bytes from addresses of which `hit` in 256 are in the rules. */
function packets(hit: number): Packet[] {
  return Array.from({ length: BURST }, (_, i) => {
    const bytes = new Uint8Array(60);
    bytes.set([8, 0, 0x45], 12);
    bytes[23] = 17;
    bytes.set(be32(i < hit ? 0x0a000000 + ((i * 37) % RULES) : 0x0b000000 + i * 7919), 26);
    bytes.set(be16(80), 36);
    const known = { l3: 14, l4: 34, family: 4, protocol: 17, laterFragment: false, openChecksum: false, group: false } as const;
    return { bytes, ...known, mark: 0, priority: 0, ctinfo: abi.CT_INVALID };
  });
}

/** An engine whose worker holds a burst, ready for a program. */
class Bed {
  readonly engine: Engine;
  readonly machine: Machine;
  private readonly worker: number;

  static async create(): Promise<Bed> {
    return new Bed(await Engine.create({ ports: 2, buffers: 1024, filterBytes: 64 << 20, build: "plain" }));
  }

  constructor(engine: Engine) {
    this.engine = engine;
    this.machine = new Machine(engine, 0);
    this.worker = engine.memory.worker(0);
  }

  fill(burst: readonly Packet[]): void {
    const { memory, plane } = this.engine;
    for (const [i, packet] of burst.entries()) {
      const id = plane.bufferTake(0);
      const d = memory.descriptor(id);
      memory.u8.set(packet.bytes, memory.getU32(d + abi.DESC_DATA));
      for (const field of [abi.DESC_LENGTH, abi.DESC_PACKET_LENGTH]) memory.setU32(d + field, packet.bytes.length);
      memory.setU16(d + abi.DESC_L3, packet.l3);
      memory.setU16(d + abi.DESC_L4, packet.l4);
      memory.setU32(d + abi.DESC_FLAGS, abi.FLAG_IP4);
      memory.u8[d + abi.DESC_PROTOCOL] = packet.protocol;
      memory.setU32(this.worker + abi.VEC_IDS + 4 * i, id);
      memory.u8[this.worker + abi.VEC_CTINFO + i] = packet.ctinfo;
      memory.setU16(this.worker + abi.VEC_SEGMENT + 2 * i, i);
    }
  }

  /** The program of the forward hook. */
  get program(): () => void {
    const at = this.engine.memory.base(abi.REGION_NETNS) + abi.NETNS_PROGRAMS + 4 * abi.SEGMENT_FORWARD;
    const run = this.engine.programs.get(this.engine.memory.getU32(at) - 1) as (worker: number, list: number, n: number) => void;
    return () => run(this.worker, this.worker + abi.VEC_SEGMENT, BURST);
  }

  verdicts(): number[] {
    return Array.from(this.engine.memory.u8.subarray(this.worker + abi.VEC_VERDICT, this.worker + abi.VEC_VERDICT + BURST));
  }
}

/** Millions of packets a second: calls of `run`, each a burst, for as long as a run lasts. */
function rates(context: Context, run: () => void): number[] {
  const round = (ms: number) => {
    let bursts = 0;
    const start = performance.now();
    let now = start;
    for (; now - start < ms; now = performance.now()) {
      for (let i = 0; i < 8; i++) run();
      bursts += 8;
    }
    return (bursts * BURST) / (now - start) / 1000;
  };
  round(context.ms);
  return repeat(context, () => round(context.ms));
}

/** Nothing outside of the packet is asked for by these rules. */
const alone = { now: 0n, epoch: 0n, worker: 0 } as World;

async function compare(context: Context, name: string, ruleset: RulesetSpec, burst: Packet[]) {
  const bed = await Bed.create();
  bed.machine.load(ruleset);
  bed.fill(burst);
  const measured = rates(context, bed.program);
  const oracle = new Interpreter(ruleset, alone);
  const expected = burst.map((packet) => oracle.run(abi.SEGMENT_FORWARD, packet).verdict);
  const verified = bed.verdicts().every((verdict, i) => verdict === expected[i]);
  await bed.engine.close();
  return {
    result: result(name, "Mpps", measured, {
      verified,
      note: `${expected.filter((v) => v === abi.VERDICT_DROP).length} of ${BURST} match`,
    }),
    oracle,
  };
}

const linear = rulesetOf(Array.from({ length: RULES }, (_, i) => rule(0x0a000000 + i, 80)));
const addresses = Array.from({ length: RULES }, (_, i) => 0x0a000000 + i);
const lookup = (dreg?: number): Expression[] => [...ipv4, source, { op: "lookup", sreg: 1, set: "s", dreg, invert: false }];

const rulesLinear: Profile = async (context) => {
  const results = [];
  for (const hit of [0, 64])
    results.push((await compare(context, `rules-linear ${hit ? "some match" : "none matches"}`, linear, packets(hit))).result);
  return results;
};

const rulesSet: Profile = async (context) => {
  const pairs = addresses.map((n, i) => ({
    key: Uint8Array.of(...be32(n), ...be16(i % 2 ? 80 : 81), 0, 0),
    keyEnd: Uint8Array.of(...be32(n + 3), 255, 255, 0, 0),
  }));
  const second: Expression = { ...port, dreg: 9 };
  const cases: [string, RulesetSpec][] = [
    ["rules-set", rulesetOf([[...lookup(), drop]], [setOf({ elements: addresses.map((n) => ({ key: be32(n) })) })])],
    [
      "rules-set map",
      rulesetOf(
        [lookup(0)],
        [setOf({ map: { kind: "verdict" }, elements: addresses.map((n) => ({ key: be32(n), verdict: { code: "drop" } })) })],
      ),
    ],
    [
      "rules-set ranges",
      rulesetOf(
        [[...lookup(), drop]],
        [
          setOf({
            interval: true,
            elements: addresses.map((n) => ({ key: be32(4 * n - 3 * 0x0a000000), keyEnd: be32(4 * n - 3 * 0x0a000000 + 1) })),
          }),
        ],
      ),
    ],
    [
      "rules-set pairs",
      rulesetOf(
        [[...ipv4, source, second, { op: "lookup", sreg: 1, set: "s", invert: false }, drop]],
        [setOf({ keyLength: 8, fields: [4, 2], interval: true, elements: pairs })],
      ),
    ],
  ];
  const results = [];
  for (const [name, ruleset] of cases) results.push((await compare(context, name, ruleset, packets(128))).result);
  return results;
};

/** The same mixed rules compiled and interpreted: no groups of equal fields, so that each rule is worked through by both. */
const rulesCompiled: Profile = async (context) => {
  const mixed = Array.from({ length: 32 }, (_, i): Expression[] => {
    if (i % 4 === 0)
      return [
        ...ipv4,
        source,
        { op: "bitwise", sreg: 1, dreg: 1, len: 4, mask: Uint8Array.of(255, 255, 255, 0), xor: new Uint8Array(4) },
        equal(be32(0x0c000000 + 256 * i)),
        drop,
      ];
    if (i % 4 === 1) return [...udp, port, { op: "range", sreg: 1, cmp: "eq", from: be16(1000 + i), to: be16(2000 + i) }, drop];
    if (i % 4 === 2)
      return [
        { op: "ct", dreg: 1, key: "state" },
        { op: "bitwise", sreg: 1, dreg: 1, len: 4, mask: Uint8Array.of(2, 0, 0, 0), xor: new Uint8Array(4) },
        { op: "cmp", sreg: 1, cmp: "neq", data: new Uint8Array(4) },
        drop,
      ];
    return [...ipv4, source, { op: "cmp", sreg: 1, cmp: "lt", data: be32(0x09000000 + i) }, { op: "counter", packets: 0, bytes: 0 }];
  });
  const ruleset = rulesetOf(mixed);
  const burst = packets(0);
  const { result: compiled, oracle } = await compare(context, "rules-compiled", ruleset, burst);
  const interpreted = rates(context, () => {
    for (const packet of burst) oracle.run(abi.SEGMENT_FORWARD, packet);
  });
  const { value } = result("rules-interpreted", "Mpps", interpreted);
  return [{ ...compiled, vs: { interpreted: compiled.value / value } }];
};

/** From the ruleset to the first burst through it; parsing is not in it. */
const ruleset10k: Profile = async (context) => {
  const counter: Expression = { op: "counter", packets: 0, bytes: 0 };
  const spec = () =>
    rulesetOf(
      Array.from({ length: 10_000 }, (_, i) => [...ipv4, source, equal(be32(0x0a000000 + i)), ...udp, port, equal(be16(i)), counter, drop]),
    );
  const bed = await Bed.create();
  bed.fill(packets(0));
  const times = repeat(context, () => {
    const ruleset = spec();
    const start = performance.now();
    bed.machine.load(ruleset);
    bed.program();
    return performance.now() - start;
  });
  const verified = bed.verdicts().every((verdict) => verdict === abi.VERDICT_ACCEPT) && bed.machine.counters().length === 10_000;
  await bed.engine.close();
  return [result("rules-10k", "ms", times, { verified, note: "compiled, put in force, one burst run" })];
};

export const filter = { "rules-linear": rulesLinear, "rules-set": rulesSet, "rules-compiled": rulesCompiled, "rules-10k": ruleset10k };
