/**
 * What a program is linked against: addresses in the engine's memory, numbers of functions, chains, sets and objects. The compiler knows
 * expressions, whoever calls it knows where things lie (machine.ts).
 */
import * as abi from "../../../assembly/abi.ts";
import type { ChainSpec, Expression, Family, ObjectSpec, ObjectType } from "../expressions.ts";
import { I32, I64, type ValueType } from "./code.ts";

/** Results of chains beside VERDICT_*: went off its end, returned; and what verdict maps hold. */
export const NEXT = 255;
export const RETURN = 254;
export const BREAK = 253;
export const JUMP = 16;
export const GOTO = 17;
/** Accepted, and no further chain of this segment is asked: an address was translated. */
export const ACCEPT_ALL = 9;
/** Of a rule by itself, in programs that trace: it matched to its end. */
export const MATCHED = 252;
/** Beside a verdict: who looks after it has been told already. */
export const TOLD = 256;

/** Functions that programs may call: the data plane's, and `socketField`, the host's. */
export const PLANE = {
  loadPayload: [[I32, I32, I32, I32, I32, I32], [I32]],
  writePayload: [[I32, I32, I32, I32, I32, I32, I32], [I32]],
  loadOption: [[I32, I32, I32, I32, I32, I32, I32], [I32]],
  writeOption: [[I32, I32, I32, I32, I32, I32], [I32]],
  resetOption: [[I32, I32, I32], [I32]],
  findSet: [[I32, I32, I64], [I32]],
  updateSet: [[I32, I32, I32, I32, I64, I32, I64], [I32]],
  removeSet: [[I32, I32, I64], [I32]],
  takeTokens: [[I32, I32, I64], [I32]],
  countFlows: [[I32, I32], [I32]],
  jhash: [[I32, I32, I32], [I32]],
  symmetricHash: [[I32, I32], [I32]],
  askFib: [[I32, I32, I32, I32], [I32]],
  logPacket: [[I32, I32, I32], []],
  duplicatePacket: [[I32, I32, I32, I32, I32], []],
  forwardPacket: [[I32, I32, I32, I32, I32], [I32]],
  followPacket: [[I32, I32, I32], []],
  tracePacket: [[I32, I32, I32, I32, I32], []],
  stealHandshake: [[I32, I32, I32], [I32]],
  segmentLimit: [[I32, I32], [I32]],
  socketField: [[I32, I32, I32, I32], [I32]],
  natSetup: [[I32, I32, I32], [I32]],
  flowLoad: [[I32, I32, I32, I32, I32], [I32]],
  flowStore: [[I32, I32, I32, I32, I32], [I32]],
} as const satisfies Record<string, readonly [readonly ValueType[], readonly ValueType[]]>;
export type PlaneFunction = keyof typeof PLANE;

export interface SetLink {
  readonly address: number;
  readonly keyWords: number;
  readonly dataOffset: number;
  readonly dataWords: number;
  readonly kind: "set" | "data" | "verdict" | "object";
  readonly objectType?: ObjectType;
  readonly timeouts: boolean;
  /** What elements carry, each with the offset of its state in the element. */
  readonly expressions: readonly { readonly expression: Expression; readonly offset: number }[];
  /** Where an element says whether it carries them. */
  readonly expressionsOffset: number;
}

export interface ObjectLink {
  readonly object: ObjectSpec["object"];
  /** Address of its state, or its number where the data plane knows it by one. */
  readonly value: number;
}

/** One table's names, as a program of it sees them. */
export interface TableLink {
  readonly family: Family;
  /** Number of a chain in the program's own function table. */
  chain(name: string): number;
  set(name: string): SetLink;
  object(type: ObjectType, name: string): ObjectLink;
  /** Address of what expression `index` of a rule keeps (of its size in state.ts). */
  state(chain: ChainSpec, rule: number, index: number): number;
  /** Number by which the host knows a statement that speaks to it. */
  statement(expression: Extract<Expression, { op: "log" | "synproxy" }>): number;
  /** Number by which the host knows a rule, or without a handle a chain's policy, that tells of packets. */
  traced(chain: string, handle?: number): number;
}

/** Where things lie that every program needs. */
export interface Places {
  readonly descriptors: number;
  readonly interfaces: number;
  readonly ports: number;
  readonly flows: number;
  /** 64 bytes of zero: the interface that is none. */
  readonly nothing: number;
  /** How many listen to queues (u32). */
  readonly listeners: number;
  /** Bytes of `ct state` by CT_*. */
  readonly states: number;
  /** Names of helpers by their number, 16 bytes each. */
  readonly helpers: number;
  /** A u64 that random numbers come from; never 0. */
  readonly random: number;
  /** Nanoseconds between 1970 and 0 of the engine's clock (u64). */
  readonly epoch: number;
}

/** A verdict that was told of a packet, as nft writes it. `chain`: the name of the one that it leads to. */
export function traceVerdict(verdict: number, chain: () => string | undefined): string {
  switch (verdict) {
    case MATCHED:
      return "continue";
    case RETURN:
      return "return";
    case JUMP:
      return `jump ${chain() ?? "?"}`;
    case GOTO:
      return `goto ${chain() ?? "?"}`;
    case abi.VERDICT_ACCEPT:
    case ACCEPT_ALL:
      return "accept";
    case abi.VERDICT_QUEUE:
      return "queue";
    case abi.VERDICT_STOLEN:
      return "stolen";
    default:
      return "drop";
  }
}
