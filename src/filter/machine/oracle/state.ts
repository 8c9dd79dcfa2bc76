/** What expressions keep, as plain values, and the arithmetic of nft_limit, nft_quota and nft_connlimit over them. */
import type { Expression } from "../../expressions.ts";
import { bucketOf } from "../state.ts";

export interface Kept {
  readonly expression: Expression;
  packets: number;
  bytes: number;
  used: bigint;
  tokens: bigint;
  time: bigint;
  flows: Set<number>;
  seen?: bigint;
  number: number;
}

export function keep(expression: Expression, now: bigint): Kept {
  return {
    expression,
    packets: expression.op === "counter" ? expression.packets : 0,
    bytes: expression.op === "counter" ? expression.bytes : 0,
    used: expression.op === "quota" ? BigInt(expression.used) : 0n,
    tokens: expression.op === "limit" ? bucketOf(expression).most : 0n,
    time: now,
    flows: new Set(),
    number: 0,
  };
}

/** Runs one over a packet of `length` bytes: true, the rule goes on; false, it ends. */
export function run(kept: Kept, length: number, now: bigint, flow: number): boolean {
  const { expression } = kept;
  switch (expression.op) {
    case "counter":
      kept.packets++;
      kept.bytes += length;
      return true;
    case "quota":
      kept.used += BigInt(length);
      return kept.used > BigInt(expression.bytes) === expression.over;
    case "limit": {
      const { most, cost, rate } = bucketOf(expression);
      const price = rate === 0n ? cost : (cost * BigInt(length)) / rate;
      const tokens = kept.tokens + now - kept.time;
      kept.tokens = tokens > most ? most : tokens;
      kept.time = now;
      const within = kept.tokens >= price;
      if (within) kept.tokens -= price;
      return within !== expression.over;
    }
    case "connlimit": {
      if (flow !== 0) kept.flows.add(flow);
      const count = kept.flows.size + (flow === 0 ? 1 : 0);
      return count > expression.count === expression.over;
    }
    case "last":
      kept.seen = now;
      return true;
    default:
      throw new Error(`${expression.op} keeps nothing`);
  }
}
