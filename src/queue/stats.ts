/** What a qdisc has done, under the names that `tc -s` uses. Plain memory, read without asking anybody. */
import * as abi from "../../assembly/abi.ts";
import type { EngineMemory } from "../engine/memory.ts";
import { TINS } from "./cake.ts";
import type { CakeOptions, QdiscOptions } from "./options.ts";

export interface QueueStats {
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly dropped: number;
  readonly overlimits: number;
  readonly requeues: number;
  readonly backlogBytes: number;
  readonly backlogPackets: number;
}

export interface ClassStats extends QueueStats {
  readonly id: number;
  readonly level: number;
  readonly lended: number;
  readonly borrowed: number;
  readonly giants: number;
  /** Bytes that may go out at once, by the own rate and by the ceiling; below 0 it is in debt. */
  readonly tokens: number;
  readonly ctokens: number;
}

export interface TinStats {
  readonly name: string;
  readonly thresholdBps: number;
  readonly targetMs: number;
  readonly intervalMs: number;
  readonly peakDelayMs: number;
  readonly averageDelayMs: number;
  readonly baseDelayMs: number;
  readonly backlogBytes: number;
  readonly packets: number;
  readonly bytes: number;
  readonly wayIndirectHits: number;
  readonly wayMisses: number;
  readonly wayCollisions: number;
  readonly drops: number;
  readonly marks: number;
  readonly sparseFlows: number;
  readonly bulkFlows: number;
  readonly maxPacket: number;
  readonly quantum: number;
}

export function readQdisc(memory: EngineMemory, at: number): QueueStats {
  return {
    sentBytes: memory.getU64(at + abi.QDISC_SENT_BYTES),
    sentPackets: memory.getU64(at + abi.QDISC_SENT_PACKETS),
    dropped: memory.getU32(at + abi.QDISC_DROPPED),
    overlimits: memory.getU32(at + abi.QDISC_OVERLIMITS),
    requeues: memory.getU32(at + abi.QDISC_REQUEUES),
    backlogBytes: memory.getU32(at + abi.QDISC_BYTES),
    backlogPackets: memory.getU32(at + abi.QDISC_PACKETS),
  };
}

const signed = (memory: EngineMemory, at: number) => Number(BigInt.asIntN(64, memory.u64[at >>> 3])) / 1e9;

export function readClass(memory: EngineMemory, at: number): ClassStats {
  const qdisc = memory.getU32(at + abi.HCLASS_QDISC);
  return {
    id: memory.getU32(at + abi.HCLASS_MINOR),
    level: memory.getU32(at + abi.HCLASS_LEVEL),
    sentBytes: memory.getU64(at + abi.HCLASS_SENT_BYTES),
    sentPackets: memory.getU64(at + abi.HCLASS_SENT_PACKETS),
    dropped: memory.getU32(at + abi.HCLASS_DROPPED),
    overlimits: memory.getU32(at + abi.HCLASS_OVERLIMITS),
    requeues: 0,
    backlogBytes: qdisc === 0 ? 0 : memory.getU32(qdisc + abi.QDISC_BYTES),
    backlogPackets: qdisc === 0 ? 0 : memory.getU32(qdisc + abi.QDISC_PACKETS),
    lended: memory.getU32(at + abi.HCLASS_LENDS),
    borrowed: memory.getU32(at + abi.HCLASS_BORROWS),
    giants: 0,
    tokens: signed(memory, at + abi.HCLASS_TOKENS),
    ctokens: signed(memory, at + abi.HCLASS_CEIL_TOKENS),
  };
}

/** Numbers that only one kind keeps, by tc's names for them. */
const OWN: Partial<Record<QdiscOptions["kind"], Record<string, number>>> = {
  fq_codel: {
    maxpacket: abi.QFC_CODEL + abi.CODEL_LARGEST,
    drop_overlimit: abi.QFC_STAT_OVERLIMIT,
    new_flow_count: abi.QFC_STAT_NEW_FLOWS,
    ecn_mark: abi.QDISC_MARKED,
    ce_mark: abi.QFC_STAT_CE,
    memory_used: abi.QFC_MEMORY,
    drop_overmemory: abi.QFC_STAT_OVERMEMORY,
    new_flows_len: abi.QFC_NEW + abi.QLIST_COUNT,
    old_flows_len: abi.QFC_OLD + abi.QLIST_COUNT,
  },
  fq: {
    flows: abi.QFQ_USED,
    inactive: abi.QFQ_IDLE + abi.QLIST_COUNT,
    throttled: abi.QFQ_HEAP_COUNT,
    gc: abi.QFQ_STAT_GC,
    highprio: abi.QFQ_STAT_CONTROL,
    throttles: abi.QFQ_STAT_THROTTLED,
    flows_plimit: abi.QFQ_STAT_FLOW_LIMIT,
    horizon_drops: abi.QFQ_STAT_HORIZON_DROPS,
    horizon_caps: abi.QFQ_STAT_HORIZON_CAPS,
    ce_mark: abi.QFQ_STAT_MARKED,
  },
  red: { marked: abi.QDISC_MARKED, early: abi.QRED_STAT_EARLY, pdrop: abi.QRED_STAT_LIMIT },
  htb: { direct_packets_stat: abi.QHTB_DIRECT },
  cake: { memory_used: abi.QCAKE_PEAK_MEMORY, marks: abi.QDISC_MARKED },
};

export function readOwn(memory: EngineMemory, kind: QdiscOptions["kind"], at: number): Record<string, number> {
  return Object.fromEntries(Object.entries(OWN[kind] ?? {}).map(([name, offset]) => [name, memory.getU32(at + offset)]));
}

/** RED's average (bytes) and greatest probability as they are now. */
export function readRed(memory: EngineMemory, at: number): { average: number; probability: number } {
  const view = new DataView(memory.buffer, at, abi.QRED_SIZE);
  return { average: view.getFloat64(abi.QRED_AVERAGE, true), probability: view.getFloat64(abi.QRED_PROBABILITY, true) };
}

export function readTins(memory: EngineMemory, options: CakeOptions, tins: readonly number[]): TinStats[] {
  const names = TINS[options.diffserv ?? "diffserv3"];
  const word = (at: number) => memory.getU32(at);
  const ms = (at: number) => memory.getU64(at) / 1e6;
  return tins.map((at, i) => ({
    name: names[i].name,
    thresholdBps: memory.getU64(at + abi.QTIN_RATE) * 8,
    targetMs: ms(at + abi.CODEL_TARGET),
    intervalMs: ms(at + abi.CODEL_INTERVAL),
    peakDelayMs: ms(at + abi.QTIN_PEAK_DELAY),
    averageDelayMs: ms(at + abi.QTIN_AVERAGE_DELAY),
    baseDelayMs: ms(at + abi.QTIN_BASE_DELAY),
    backlogBytes: word(at + abi.QTIN_BYTES),
    packets: memory.getU64(at + abi.QTIN_SENT_PACKETS),
    bytes: memory.getU64(at + abi.QTIN_SENT_BYTES),
    wayIndirectHits: word(at + abi.QTIN_WAY_HITS),
    wayMisses: word(at + abi.QTIN_WAY_MISSES),
    wayCollisions: word(at + abi.QTIN_WAY_COLLISIONS),
    drops: word(at + abi.QTIN_DROPPED),
    marks: word(at + abi.QTIN_MARKED),
    sparseFlows: word(at + abi.QTIN_NEW + abi.QLIST_COUNT),
    bulkFlows: word(at + abi.QTIN_OLD + abi.QLIST_COUNT),
    maxPacket: word(at + abi.CODEL_LARGEST),
    quantum: word(at + abi.QTIN_QUANTUM),
  }));
}
