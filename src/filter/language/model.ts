/** Rules after evaluation: every symbol a number, every selector with its type, every dependency a statement of its own. */
import type { Direction, LimitSpec, LogSpec, ObjectType, PayloadBase, QuotaSpec, RejectType, Verdict } from "../expressions.ts";
import type { BinaryOp, Ipsec, Osf } from "./ast.ts";
import type { Order } from "./keys.ts";
import type { Field, Protocol } from "./protocols.ts";
import type { DataType } from "./types.ts";

interface Typed {
  readonly type: DataType;
  readonly bits: number;
  readonly order: Order;
}
/** A constant, or an interval of them. `value`: one; `prefix`: all that begin so; `range`: written as from and to. */
export interface Constant extends Typed {
  readonly k: "constant";
  readonly form: "value" | "prefix" | "range";
  readonly from: bigint;
  readonly to: bigint;
  readonly prefix?: number;
}
export type Header = "ipv6" | "tcpopt" | "ipopt" | "sctp";
export type Selector = Typed &
  (
    | {
        readonly k: "payload";
        readonly protocol?: Protocol;
        readonly field?: Field;
        readonly base: PayloadBase;
        readonly offset: number;
        /** Written as bits of a header: what is written there mends no checksum. */
        readonly raw?: boolean;
      }
    | {
        readonly k: "exthdr";
        readonly header: Header;
        readonly kind: number;
        readonly offset: number;
        readonly present: boolean;
        /** Words after `tcp option`, `ip option` or the header's name, as they are printed. */
        readonly words: readonly string[];
      }
    | { readonly k: "meta"; readonly key: string }
    | { readonly k: "ct"; readonly key: string; readonly name: string; readonly direction?: Direction; readonly family?: "ip" | "ip6" }
    | { readonly k: "rt"; readonly key: string; readonly nf?: "ip" | "ip6" }
    | Ipsec
    | Osf
    | { readonly k: "fib"; readonly flags: readonly string[]; readonly result: "oif" | "oifname" | "type"; readonly present: boolean }
    | { readonly k: "socket"; readonly key: string; readonly level?: number }
    | { readonly k: "numgen"; readonly kind: "inc" | "random"; readonly modulus: number; readonly offset: number }
    | { readonly k: "jhash"; readonly e: Value; readonly modulus: number; readonly seed?: number; readonly offset: number }
    | { readonly k: "symhash"; readonly modulus: number; readonly offset: number }
  );
export type Binary = Typed & { readonly k: "binary"; readonly op: BinaryOp; readonly l: Value; readonly r: Constant };
export type Concat = Typed & { readonly k: "concat"; readonly items: readonly Value[] };
export type MapValue = Typed & { readonly k: "map"; readonly e: Value; readonly set: SetDefinition };
/** What can be computed into registers. */
export type Value = Constant | Selector | Binary | Concat | MapValue;

/** A type of a set's key or data, with its length where the type alone has none. */
export interface Part extends Typed {
  /** Written with `typeof`: the selector, to print it so. */
  readonly selector?: Value;
  /** A field within bytes, loaded with its neighbours: how far it lies from their end, and how many bits are loaded. */
  readonly shift?: number;
  readonly loaded?: number;
}
export type SetData =
  | { readonly kind: "verdict" }
  | { readonly kind: "object"; readonly type: ObjectType }
  | { readonly kind: "data"; readonly parts: readonly Part[]; readonly interval?: boolean };
export interface Element {
  /** One constant for each field of the key; empty: the rest (`*`). */
  readonly key: readonly Constant[];
  readonly data?: readonly Constant[] | VerdictValue | string;
  readonly timeoutMs?: number;
  readonly expiresMs?: number;
  readonly comment?: string;
  readonly statements?: readonly Statement[];
  /** Read from memory, where it stays as it is. */
  readonly live?: boolean;
}
export interface SetDefinition {
  readonly name: string;
  readonly anonymous: boolean;
  readonly handle: number;
  readonly parts: readonly Part[];
  readonly data?: SetData;
  readonly interval: boolean;
  readonly constant: boolean;
  readonly dynamic: boolean;
  readonly timeouts: boolean;
  readonly timeoutMs?: number;
  readonly gcIntervalMs?: number;
  readonly size?: number;
  readonly policy?: string;
  readonly autoMerge?: boolean;
  readonly typeof?: boolean;
  readonly comment?: string;
  readonly statements?: readonly Statement[];
  /** Made by a `meter` statement. */
  readonly meter?: boolean;
  readonly elements: readonly Element[];
}
export interface VerdictValue {
  readonly verdict: Verdict;
}
/** A chain that belongs to the rule which leads there, and goes with it. */
export interface BoundChain {
  readonly name: string;
  readonly rules: readonly { readonly handle: number; readonly rule: EvaluatedRule }[];
}
export type MatchOp = "implicit" | "==" | "!=" | "<" | ">" | "<=" | ">=" | "!";
export type Statement =
  | {
      readonly k: "match";
      readonly op: MatchOp;
      readonly l: Value;
      readonly r: Constant | { readonly k: "set"; readonly set: SetDefinition };
      /** Put before another statement because that needs it. */
      readonly implied?: boolean;
      /** What was joined into one comparison: neighbouring fields of a header, in their order. */
      readonly parts?: readonly Statement[];
    }
  | { readonly k: "vmap"; readonly e: Value; readonly set: SetDefinition }
  | { readonly k: "verdict"; readonly verdict: Verdict }
  | { readonly k: "bind"; readonly code: "jump" | "goto"; readonly chain: BoundChain }
  | { readonly k: "mangle"; readonly target: Selector; readonly value: Value }
  | { readonly k: "objref"; readonly type: ObjectType; readonly name: string }
  | { readonly k: "objmap"; readonly type: ObjectType; readonly e: Value; readonly set: SetDefinition }
  | { readonly k: "counter"; readonly packets: number; readonly bytes: number }
  | ({ readonly k: "limit" } & LimitSpec)
  | ({ readonly k: "quota" } & QuotaSpec)
  | ({ readonly k: "log" } & LogSpec)
  | { readonly k: "connlimit"; readonly count: number; readonly over: boolean }
  | { readonly k: "reject"; readonly type: RejectType; readonly code: number; readonly family?: 4 | 6 }
  | {
      readonly k: "nat";
      readonly type: "snat" | "dnat";
      readonly family: 4 | 6;
      readonly shown: boolean;
      readonly addr?: Value;
      readonly port?: Value;
      readonly flags: number;
      readonly prefix: boolean;
    }
  | { readonly k: "masquerade" | "redirect"; readonly port?: Value; readonly flags: number }
  | { readonly k: "tproxy"; readonly family: 4 | 6 | 0; readonly shown: boolean; readonly addr?: Value; readonly port?: Value }
  | { readonly k: "queue"; readonly num?: Value; readonly flags: number }
  | { readonly k: "notrack" }
  /** `usedMs`: milliseconds since a packet came by; absent: none has yet. */
  | { readonly k: "last"; readonly usedMs?: number }
  | {
      readonly k: "dynset";
      readonly op: "add" | "update" | "delete";
      readonly set: SetDefinition;
      readonly key: Value;
      readonly data?: Value;
      readonly timeoutMs?: number;
      readonly statements: readonly Statement[];
    }
  | { readonly k: "dup"; readonly addr?: Value; readonly device?: Value }
  | { readonly k: "fwd"; readonly device: Value; readonly addr?: Value; readonly family?: 4 | 6 }
  | { readonly k: "synproxy"; readonly mss: number; readonly wscale: number; readonly flags: number }
  | { readonly k: "reset"; readonly kind: number; readonly option: string };
export interface EvaluatedRule {
  readonly statements: readonly Statement[];
  /** Anonymous sets, in the order in which statements use them. */
  readonly sets: readonly SetDefinition[];
  readonly comment?: string;
}
