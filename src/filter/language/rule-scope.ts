/** What the evaluation of a rule reaches outside of it, and what its parts share. */
import type { Family } from "../expressions.ts";
import type { Node, RuleNode } from "./ast.ts";
import type { Scope, Typing } from "./constants.ts";
import type { HeaderContext } from "./context.ts";
import type { BoundChain, Part, SetDefinition, Value } from "./model.ts";
import { typeOf } from "./types.ts";
import type { Span } from "./vocabulary.ts";

export interface RuleScope extends Scope {
  readonly family: Family;
  set(name: string): SetDefinition | undefined;
  /** The set, which packets change from now on: it has an end (nf_tables: 65,535 elements where nothing is said). */
  grows(set: SetDefinition): SetDefinition;
  /** Makes a chain of a rule's own. */
  bind(rules: readonly RuleNode[]): BoundChain;
  hasChain(name: string): boolean;
  /** A chain that hangs on a hook: nothing leads there but packets. */
  isBaseChain(name: string): boolean;
  hasObject(type: string, name: string): boolean;
  /** Names the anonymous sets of this rule: `__set0`, `__map1`, … */
  anonymousName(kind: "set" | "map" | "objmap"): string;
  /** Makes the set of a `meter` statement, or finds the one that an earlier one made. */
  meter(name: string, size: number | undefined, parts: readonly Part[], timeouts: boolean, at: Span): SetDefinition;
}
/** A rule being evaluated, as its statements see it. */
export interface Evaluation {
  readonly scope: RuleScope;
  readonly headers: HeaderContext;
  /** What it needs to know of the packet is asked before all else. */
  first(needs: () => void): void;
  argument(written: Node, typing: Typing, parts?: readonly Part[]): Value;
}
export const KERNEL_MISSING = "Could not process rule: No such file or directory";
export const KERNEL_UNSUPPORTED = "Could not process rule: Operation not supported";
export const addressTyping = (family: string): Typing =>
  family === "ip6" ? { type: typeOf("ipv6_addr"), bits: 128, order: "big" } : { type: typeOf("ipv4_addr"), bits: 32, order: "big" };
