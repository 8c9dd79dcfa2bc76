/** What expressions and objects keep in memory: how much, what it begins with, and how it reads. Layouts: abi.ts, "Sets, maps and state". */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import { helperNumber } from "../../engine/helper-names.ts";
import type { Expression, Family, LimitSpec, ObjectSpec } from "../expressions.ts";

const SECOND = 1_000_000_000n;
const U64 = (1n << 64n) - 1n;

/** Bytes of state, a multiple of 8; 0 for what keeps nothing. */
export function stateSize(op: string): number {
  return SIZES[op] ?? 0;
}

/** Bytes of what a `ct helper` object holds. */
export const HELPER_SIZE = 8;

const SIZES: Record<string, number> = { counter: 16, quota: 24, limit: 48, connlimit: 24, last: 16, numgen: 8, "ct helper": HELPER_SIZE };

/** The kernel's packet limit without a burst of its own. */
const DEFAULT_BURST = 5;

/** Token bucket of a limit: the most it holds and what a packet costs, both in nanoseconds. */
export function bucketOf({ rate, per, burst, unit }: LimitSpec): { most: bigint; cost: bigint; rate: bigint } {
  if (!Number.isInteger(rate) || rate < 1) throw invalid(`a limit's rate is ${rate}; expected a whole number from 1 on`);
  const span = BigInt(per) * SECOND;
  if (unit === "packets") {
    const cost = span / BigInt(rate);
    return { most: (cost * BigInt(burst || DEFAULT_BURST)) & U64, cost, rate: 0n };
  }
  return { most: ((span * (BigInt(rate) + BigInt(burst))) / BigInt(rate)) & U64, cost: span, rate: BigInt(rate) };
}

/** What a `ct helper` object holds (abi.HELPER_*). */
export function helperBytes({ helper, protocol, l3 }: Extract<ObjectSpec["object"], { type: "ct helper" }>): Uint8Array {
  const bytes = new Uint8Array(HELPER_SIZE);
  bytes[0] = helperNumber(helper);
  bytes[abi.HELPER_PROTOCOL] = protocol;
  bytes[abi.HELPER_FAMILY] = l3 ?? 0;
  return bytes;
}

/** The bytes that state begins with at `now` (ns of the engine's clock). */
export function initialState(expression: Expression | { op: string }, now: bigint): Uint8Array {
  const bytes = new Uint8Array(stateSize(expression.op));
  const view = new DataView(bytes.buffer);
  const e = expression as Expression;
  if (e.op === "counter") {
    view.setBigUint64(abi.COUNTER_PACKETS, BigInt(e.packets), true);
    view.setBigUint64(abi.COUNTER_BYTES, BigInt(e.bytes), true);
  } else if (e.op === "quota") {
    view.setBigUint64(abi.QUOTA_USED, BigInt(e.used), true);
    view.setBigUint64(abi.QUOTA_BYTES, BigInt(e.bytes), true);
    view.setUint32(abi.QUOTA_OVER, e.over ? 1 : 0, true);
  } else if (e.op === "limit") {
    const { most, cost, rate } = bucketOf(e);
    view.setBigUint64(abi.LIMIT_TOKENS, most, true);
    view.setBigUint64(abi.LIMIT_TIME, now, true);
    view.setBigUint64(abi.LIMIT_MOST, most, true);
    view.setBigUint64(abi.LIMIT_COST, cost, true);
    view.setBigUint64(abi.LIMIT_RATE, rate, true);
    view.setUint32(abi.LIMIT_OVER, e.over ? 1 : 0, true);
  } else if (e.op === "connlimit") {
    view.setUint32(abi.CONNLIMIT_LIMIT, e.count, true);
    view.setUint32(abi.CONNLIMIT_OVER, e.over ? 1 : 0, true);
  }
  return bytes;
}

/** What state says now, as fields of the expression that keeps it. */
export interface StateReading {
  readonly op: string;
  readonly packets?: number;
  readonly bytes?: number;
  readonly used?: number;
  readonly count?: number;
  /** Milliseconds of the engine's clock; absent: not yet. */
  readonly lastMs?: number;
}

export function readState(op: string, memory: DataView): StateReading {
  const u64 = (at: number) => Number(memory.getBigUint64(at, true));
  if (op === "counter") return { op, packets: u64(abi.COUNTER_PACKETS), bytes: u64(abi.COUNTER_BYTES) };
  if (op === "quota") return { op, used: u64(abi.QUOTA_USED) };
  if (op === "connlimit") return { op, count: memory.getUint32(abi.CONNLIMIT_COUNT, true) };
  if (op === "last") return memory.getUint32(abi.LAST_SEEN, true) === 0 ? { op } : { op, lastMs: u64(abi.LAST_TIME) / 1e6 };
  return { op };
}

/** Where a table is found. */
export interface TableName {
  readonly family: Family;
  readonly table: string;
}

export interface RuleState extends TableName, StateReading {
  readonly chain: string;
  readonly handle: number;
  /** Place of the expression in its rule. */
  readonly index: number;
}

export interface ObjectState extends TableName, StateReading {
  readonly name: string;
}
