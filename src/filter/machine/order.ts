/**
 * Which chains run where, and in which order: segments of hooks, jumps between chains, and which chains change packets.
 *
 * Chains of one hook run by priority; of equal ones the one that was added last runs first, as in the kernel (nf_hook_entries_grow).
 * Jumps may not go in circles nor 16 deep from a base chain (linux/netfilter/nf_tables.h, NFT_JUMP_STACK_SIZE).
 */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { ChainSpec, Expression, Family, TableSpec, Verdict } from "../expressions.ts";

const MOST_JUMPS = 16;
/** Priorities at which reassembly, tracking and translation stand (linux/netfilter_ipv4.h, NF_IP_PRI_*). */
const REASSEMBLY = -400;
const TRACKING = -200;
const TRANSLATION = -100;
const SOURCE_TRANSLATION = 100;

type BaseChain = NonNullable<ChainSpec["base"]>;

function around(priority: number, raw: number, early: number, late: number): number {
  if (priority < TRACKING) return raw;
  return priority < TRANSLATION ? early : late;
}

/** Of families whose packets have a road of their own. */
const OWN_SEGMENTS: Partial<Record<Family, Partial<Record<BaseChain["hook"], number>>>> = {
  arp: { input: abi.SEGMENT_ARP_INPUT, output: abi.SEGMENT_ARP_OUTPUT },
  bridge: {
    prerouting: abi.SEGMENT_BRIDGE_PREROUTING,
    forward: abi.SEGMENT_BRIDGE_FORWARD,
    postrouting: abi.SEGMENT_BRIDGE_POSTROUTING,
    input: abi.SEGMENT_BRIDGE_INPUT,
    output: abi.SEGMENT_BRIDGE_OUTPUT,
  },
};

/** The segment (SEGMENT_*) that a base chain belongs to. */
export function segmentOf({ hook, priority, type }: BaseChain, family: Family): number {
  const own = OWN_SEGMENTS[family]?.[hook];
  if (own !== undefined) return own;
  const nat = type === "nat";
  switch (hook) {
    case "prerouting":
      if (nat) return abi.SEGMENT_PREROUTING_NAT;
      if (priority < REASSEMBLY) return abi.SEGMENT_PREROUTING_FIRST;
      return around(priority, abi.SEGMENT_PREROUTING_RAW, abi.SEGMENT_PREROUTING, abi.SEGMENT_PREROUTING_LATE);
    case "output":
      if (nat) return abi.SEGMENT_OUTPUT_NAT;
      return around(priority, abi.SEGMENT_OUTPUT_RAW, abi.SEGMENT_OUTPUT, abi.SEGMENT_OUTPUT_LATE);
    case "input":
      if (nat) return abi.SEGMENT_INPUT_NAT;
      return priority < SOURCE_TRANSLATION ? abi.SEGMENT_INPUT : abi.SEGMENT_INPUT_LATE;
    case "postrouting":
      if (nat) return abi.SEGMENT_POSTROUTING_NAT;
      return priority < SOURCE_TRANSLATION ? abi.SEGMENT_POSTROUTING : abi.SEGMENT_POSTROUTING_LATE;
    case "forward":
      return abi.SEGMENT_FORWARD;
    case "ingress":
      return abi.SEGMENT_INGRESS;
    case "egress":
      return abi.SEGMENT_EGRESS;
  }
}

/** Base chains by segment, in the order in which they run. */
export function arrange<T extends { readonly spec: TableSpec }>(tables: readonly T[]): Map<number, { table: T; chain: ChainSpec }[]> {
  const segments = new Map<number, { table: T; chain: ChainSpec }[]>();
  for (const table of tables) {
    if (table.spec.dormant) continue;
    for (const chain of table.spec.chains) {
      if (!chain.base) continue;
      const segment = segmentOf(chain.base, table.spec.family);
      const list = segments.get(segment) ?? [];
      const at = list.findIndex((other) => (other.chain.base as BaseChain).priority >= (chain.base as BaseChain).priority);
      list.splice(at < 0 ? list.length : at, 0, { table, chain });
      segments.set(segment, list);
    }
  }
  return segments;
}

function target(verdict: Verdict | undefined): string[] {
  return verdict?.code === "jump" || verdict?.code === "goto" ? [verdict.chain] : [];
}

/** Chains that an expression may go to, by itself or by a map: one of them. */
function ways(table: TableSpec, e: Expression): readonly string[] {
  if (e.op === "verdict") return target(e.verdict);
  const set = e.op === "lookup" ? table.sets.find(({ name }) => name === e.set) : undefined;
  return set?.map?.kind === "verdict" ? set.elements.flatMap(({ verdict }) => target(verdict)) : [];
}

/** Chains that a chain may go to. */
export function targets(table: TableSpec, chain: ChainSpec): Set<string> {
  return new Set(chain.rules.flatMap(({ expressions }) => expressions.flatMap((e) => ways(table, e))));
}

/** Refuses jumps to nowhere, in circles and too deep. */
export function checkJumps(table: TableSpec): void {
  const chains = new Map(table.chains.map((chain) => [chain.name, chain]));
  const depths = new Map<string, number>();
  const open = new Set<string>();
  const depth = (chain: ChainSpec): number => {
    const known = depths.get(chain.name);
    if (known !== undefined) return known;
    if (open.has(chain.name)) throw invalid(`table ${table.name}: chain ${chain.name} jumps to itself, by way of others or straight`);
    open.add(chain.name);
    let deepest = 0;
    for (const name of targets(table, chain)) {
      const next = chains.get(name);
      if (!next) throw invalid(`table ${table.name}: chain ${chain.name} jumps to ${name}, which does not exist`);
      if (next.base) throw invalid(`table ${table.name}: chain ${chain.name} jumps to ${name}, which is a base chain`);
      deepest = Math.max(deepest, 1 + depth(next));
    }
    open.delete(chain.name);
    depths.set(chain.name, deepest);
    return deepest;
  };
  for (const chain of table.chains)
    if (depth(chain) >= MOST_JUMPS && chain.base)
      throw invalid(`table ${table.name}: chain ${chain.name} jumps ${MOST_JUMPS} deep or more; expected fewer`);
  checkLength(table, chains);
}

/** Rules that one packet may have to pass in a chain and in all that it jumps to. */
const MOST_RULES = 10_000_000;

/** Refuses chains that go through others so often that a packet would take seconds. */
function checkLength(table: TableSpec, chains: ReadonlyMap<string, ChainSpec>): void {
  const lengths = new Map<string, number>();
  const length = (chain: ChainSpec): number => {
    const known = lengths.get(chain.name);
    if (known !== undefined) return known;
    const longest = (names: readonly string[]) => names.reduce((most, name) => Math.max(most, length(chains.get(name) as ChainSpec)), 0);
    let sum = chain.rules.length;
    for (const { expressions } of chain.rules) for (const e of expressions) sum += longest(ways(table, e));
    lengths.set(chain.name, sum);
    return sum;
  };
  for (const chain of table.chains)
    if (length(chain) > MOST_RULES)
      throw invalid(`table ${table.name}: chain ${chain.name} sends a packet through more than ${MOST_RULES} rules; expected fewer jumps`);
}

/** Expressions that change the packet, or what is known of it. */
export const WRITES: ReadonlySet<Expression["op"]> = new Set([
  "payload-write",
  "exthdr-write",
  "exthdr-reset",
  "meta-set",
  "ct-set",
  "notrack",
  "objref",
  "objref-map",
]);

/** Names of chains that change packets or what is known of them, by themselves or by those they jump to. */
export function writers(table: TableSpec): Set<string> {
  const out = new Set<string>();
  const reach = new Map(table.chains.map((chain) => [chain.name, targets(table, chain)]));
  for (const { name, rules } of table.chains)
    if (rules.some(({ expressions }) => expressions.some(({ op }) => WRITES.has(op)))) out.add(name);
  for (let before = -1; before !== out.size; ) {
    before = out.size;
    for (const [name, to] of reach) if ([...to].some((chain) => out.has(chain))) out.add(name);
  }
  return out;
}
