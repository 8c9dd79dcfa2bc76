/** Statistics: plain memory that the data plane adds to and nobody has to ask for. */
import * as abi from "../../assembly/abi.ts";
import { namesOf } from "./abi-names.ts";
import type { EngineMemory } from "./memory.ts";
import { portStat } from "./port-stat.ts";

type NamesOf<Prefix extends string> = {
  [K in keyof typeof abi]: K extends `${Prefix}_${infer Name}` ? Lowercase<Name> : never;
}[keyof typeof abi];

export type DropReason = Exclude<NamesOf<"DROP">, "none" | "count">;
export type PuntReason = Exclude<NamesOf<"PUNT">, "count" | "size" | "sequence" | "id" | "reason" | "argument">;
export type StatName = NamesOf<"STAT">;

/** What happened to packets since the engine was created, summed over workers. */
export interface Counters {
  /** Packets that ended here, by reason. Reasons that never occurred are absent. */
  readonly drops: Partial<Record<DropReason, number>>;
  /** Packets handed to the host layer, by reason. */
  readonly punts: Partial<Record<PuntReason, number>>;
  readonly stats: Record<StatName, number>;
  readonly dropped: number;
  readonly punted: number;
}

export interface PortCounters {
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  readonly txDropped: number;
  /** Frames a device offered and the engine had no place for. */
  readonly rxDropped: number;
}

function names(prefix: string, from: number, to: number): [number, string][] {
  return namesOf(prefix)
    .filter(([, value]) => value >= from && value < to)
    .map(([name, value]) => [value, name]);
}

const FIRST_PUNT = abi.PUNT_ARP;
const FIRST_STAT = abi.STAT_BURSTS;
const DROPS = names("DROP", 1, FIRST_PUNT);
const PUNTS = names("PUNT", FIRST_PUNT, FIRST_STAT);
const STATS = names("STAT", FIRST_STAT, abi.COUNTER_COUNT);

/** Name of a punt reason as it stands in a punt record. */
export const PUNT_NAMES: ReadonlyMap<number, PuntReason> = new Map(PUNTS as [number, PuntReason][]);
export const DROP_NAMES: ReadonlyMap<number, DropReason> = new Map(DROPS as [number, DropReason][]);

function total(memory: EngineMemory, counter: number): number {
  let sum = 0;
  for (let w = 0; w < memory.layout.workers; w++) sum += memory.getU64(memory.worker(w) + abi.WORKER_COUNTERS + 8 * counter);
  return sum;
}

function collect(memory: EngineMemory, list: [number, string][], keepZero: boolean): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [counter, name] of list) {
    const value = total(memory, counter);
    if (value !== 0 || keepZero) out[name] = value;
  }
  return out;
}

const sumOf = (record: Record<string, number>) => Object.values(record).reduce((a, b) => a + b, 0);

/** Entries and indices that the data plane refused to believe, over all rings. */
function ringsRejected(memory: EngineMemory): number {
  let sum = 0;
  for (let w = 0; w < memory.layout.workers; w++) {
    for (let p = 0; p < memory.layout.sizes.ports; p++) {
      for (const out of [false, true]) sum += memory.getU32(memory.ring(p, w, out) + abi.RING_REJECTED);
    }
  }
  return sum;
}

export function readCounters(memory: EngineMemory): Counters {
  const drops = collect(memory, DROPS, false);
  const punts = collect(memory, PUNTS, false);
  const stats = collect(memory, STATS, true) as Record<StatName, number>;
  stats.ring_rejected = ringsRejected(memory);
  return { drops, punts, stats, dropped: sumOf(drops), punted: sumOf(punts) };
}

export function readPortCounters(memory: EngineMemory, port: number): PortCounters {
  const sum = portStat(memory, port);
  return {
    rxPackets: sum(abi.PORT_STAT_RX_PACKETS),
    rxBytes: sum(abi.PORT_STAT_RX_BYTES),
    txPackets: sum(abi.PORT_STAT_TX_PACKETS),
    txBytes: sum(abi.PORT_STAT_TX_BYTES),
    txDropped: sum(abi.PORT_STAT_TX_DROPPED),
    rxDropped: sum(abi.PORT_STAT_RX_DROPPED),
  };
}
