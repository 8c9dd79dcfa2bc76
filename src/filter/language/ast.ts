/** What the parser makes of a text, before anything is looked up: commands, statements and expressions as they were written. */
import type { Family, LimitSpec, LogSpec, QuotaSpec } from "../expressions.ts";
import type { Span } from "./vocabulary.ts";

export interface At {
  readonly at: Span;
}
export type BinaryOp = "&" | "|" | "^" | "<<" | ">>";
export type RelationOp = "implicit" | "==" | "!=" | "<" | ">" | "<=" | ">=" | "!";

/** Selectors that say all of themselves, as written and as evaluated. */
export interface Ipsec {
  readonly k: "xfrm";
  readonly direction: "in" | "out";
  readonly number: number;
  readonly key: "reqid" | "spi" | "saddr" | "daddr";
  readonly nf?: "ip" | "ip6";
}
export interface Osf {
  readonly k: "osf";
  readonly key: "name" | "version";
  readonly ttl?: "loose" | "skip";
}
export type SelectorNode = At &
  (
    | { readonly k: "payload"; readonly protocol: string; readonly field: string }
    | { readonly k: "raw"; readonly base: "ll" | "nh" | "th" | "ih"; readonly offset: number; readonly len: number }
    | { readonly k: "meta"; readonly key: string }
    | { readonly k: "ct"; readonly key: string; readonly direction?: "original" | "reply"; readonly family?: "ip" | "ip6" }
    | { readonly k: "rt"; readonly key: "classid" | "nexthop" | "mtu" | "ipsec"; readonly nf?: "ip" | "ip6" }
    | {
        readonly k: "tcpopt";
        readonly option?: string;
        readonly kind?: number;
        readonly field?: string;
        readonly raw?: { readonly offset: number; readonly len: number };
      }
    | { readonly k: "ipopt"; readonly option: string; readonly field?: string }
    | { readonly k: "exthdr"; readonly header: string; readonly field?: string; readonly index?: number; readonly present?: boolean }
    | { readonly k: "chunk"; readonly chunk: string; readonly field?: string }
    | Ipsec
    | Osf
    | { readonly k: "fib"; readonly flags: readonly string[]; readonly result: "oif" | "oifname" | "type" }
    | { readonly k: "socket"; readonly key: string; readonly level?: number }
    | { readonly k: "numgen"; readonly kind: "inc" | "random"; readonly modulus: number; readonly offset: number }
    | { readonly k: "jhash"; readonly e: Node; readonly modulus: number; readonly seed?: number; readonly offset: number }
    | { readonly k: "symhash"; readonly modulus: number; readonly offset: number }
  );
export type SymbolNode = At & { readonly k: "symbol"; readonly name: string; readonly quoted?: boolean };
export type VariableNode = At & { readonly k: "variable"; readonly name: string };
export type SetNode = At & { readonly k: "set"; readonly items: readonly ElementNode[] };
export type SetRefNode = At & { readonly k: "setref"; readonly name: string };
export type VerdictNode = At & { readonly k: "verdict"; readonly code: VerdictCode; readonly chain?: string | VariableNode };
export type VerdictCode = "accept" | "drop" | "continue" | "return" | "jump" | "goto";
export type Mappings = SetNode | SetRefNode | VariableNode;
export type Node =
  | SelectorNode
  | SymbolNode
  | VariableNode
  | SetNode
  | SetRefNode
  | VerdictNode
  | (At & { readonly k: "binary"; readonly op: BinaryOp; readonly l: Node; readonly r: Node })
  | (At & { readonly k: "concat" | "list"; readonly items: readonly Node[] })
  | (At & { readonly k: "range"; readonly l: Node; readonly r: Node })
  | (At & { readonly k: "prefix"; readonly e: Node; readonly len: number })
  | (At & { readonly k: "wild" })
  | (At & { readonly k: "map"; readonly e: Node; readonly mappings: Mappings });
export type ElementNode = At & {
  readonly k: "element";
  readonly key: Node;
  readonly options: readonly ElementOption[];
  readonly data?: Node;
};
export type Comment = At & { readonly text: string };
export type ElementOption =
  | { readonly o: "timeout" | "expires"; readonly ms: number }
  | { readonly o: "comment"; readonly comment: Comment }
  | { readonly o: "statement"; readonly statement: StatementNode };

interface Target {
  readonly addr?: Node;
  readonly port?: Node;
}
export type StatementNode = At &
  (
    | { readonly k: "verdict"; readonly verdict: VerdictNode }
    /** A chain without a name, of this rule alone. */
    | { readonly k: "bind"; readonly code: "jump" | "goto"; readonly rules: readonly RuleNode[] }
    | { readonly k: "match"; readonly op: RelationOp; readonly by?: Span; readonly l: Node; readonly r: Node; readonly mask?: Node }
    | { readonly k: "vmap"; readonly e: Node; readonly mappings: Mappings }
    | { readonly k: "mangle"; readonly target: SelectorNode; readonly value: Node }
    | { readonly k: "objref"; readonly type: string; readonly name: Node }
    | { readonly k: "counter"; readonly packets: number; readonly bytes: number }
    | ({ readonly k: "limit" } & LimitSpec)
    | ({ readonly k: "quota" } & QuotaSpec)
    | ({ readonly k: "log" } & LogSpec)
    | { readonly k: "connlimit"; readonly count: number; readonly over: boolean }
    | { readonly k: "reject"; readonly with?: { readonly type: "icmp" | "icmpv6" | "icmpx" | "tcp"; readonly code?: SymbolNode } }
    | ({
        readonly k: "nat";
        readonly type: "snat" | "dnat";
        readonly family?: "ip" | "ip6";
        readonly mode?: "prefix" | "interval" | "concat";
        readonly flags: number;
      } & Target)
    | { readonly k: "masquerade" | "redirect"; readonly port?: Node; readonly flags: number }
    | ({ readonly k: "tproxy"; readonly family?: "ip" | "ip6" } & Target)
    | { readonly k: "queue"; readonly num?: Node; readonly flags: number }
    | { readonly k: "notrack" | "last" }
    | {
        readonly k: "dynset";
        readonly op: "add" | "update" | "delete";
        readonly set: SetRefNode | VariableNode;
        readonly key: Node;
        readonly data?: Node;
        readonly options: readonly ElementOption[];
      }
    | { readonly k: "meter"; readonly name: string; readonly size?: number; readonly key: Node; readonly options: readonly ElementOption[] }
    | { readonly k: "dup"; readonly to: Node; readonly device?: Node }
    | { readonly k: "fwd"; readonly to: Node; readonly device?: Node; readonly family?: "ip" | "ip6" }
    | { readonly k: "synproxy"; readonly mss?: number; readonly wscale?: number; readonly timestamp?: boolean; readonly sackPerm?: boolean }
    | { readonly k: "reset"; readonly option: { readonly option?: string; readonly kind?: number } }
    | { readonly k: "refused"; readonly what: string }
  );
export interface RuleNode extends At {
  readonly statements: readonly StatementNode[];
  readonly comment?: string;
}

export type Named = At & { readonly name: string | VariableNode };
export interface HookNode extends At {
  readonly type: string;
  readonly hook: string;
  readonly devices?: readonly string[] | VariableNode;
  readonly priority: At & { readonly name?: string | VariableNode; readonly offset: number };
}
type Definition =
  | { readonly c: "define"; readonly name: string; readonly value: Node; readonly again: boolean }
  | { readonly c: "undefine"; readonly name: string }
  | { readonly c: "include"; readonly path: string };
export type ChainItem = At &
  (
    | Definition
    | { readonly c: "hook"; readonly hook: HookNode; readonly policy?: "accept" | "drop" | VariableNode }
    | { readonly c: "policy"; readonly policy: "accept" | "drop" | VariableNode }
    | { readonly c: "flags"; readonly flags: readonly string[] }
    | { readonly c: "comment"; readonly comment: Comment }
    | { readonly c: "rule"; readonly rule: RuleNode }
  );
export type SetItem = At &
  (
    | Definition
    | {
        readonly s: "typeof";
        readonly key: Node;
        readonly data?: Node | (At & { readonly k: "type"; readonly name: "verdict" });
        readonly interval?: boolean;
      }
    | { readonly s: "type"; readonly key: readonly Named[]; readonly data?: readonly Named[]; readonly interval?: boolean }
    | { readonly s: "flags"; readonly flags: readonly string[] }
    | { readonly s: "timeout" | "gc-interval"; readonly ms: number }
    | { readonly s: "size"; readonly size: number; readonly at: Span }
    | { readonly s: "policy"; readonly policy: string; readonly at: Span }
    | { readonly s: "auto-merge" }
    | { readonly s: "comment"; readonly comment: Comment }
    | { readonly s: "elements"; readonly elements: SetNode | VariableNode }
    | { readonly s: "statement"; readonly statement: StatementNode }
  );
export type ObjectFields = Readonly<Record<string, unknown>>;
export type TableItem = At &
  (
    | Definition
    | { readonly c: "flags"; readonly flags: readonly string[] }
    | { readonly c: "comment"; readonly comment: Comment }
    | { readonly c: "chain"; readonly name: Named; readonly block: readonly ChainItem[] }
    | { readonly c: "set" | "map"; readonly name: Named; readonly block: readonly SetItem[] }
    | { readonly c: "flowtable"; readonly name: Named }
    | { readonly c: "object"; readonly type: string; readonly name: Named; readonly block: readonly ObjectFields[] }
  );
export interface InTable {
  readonly family: Family;
  readonly table: Named;
}
type InChain = InTable & { readonly name: Named };
type AddOp = { readonly op: "add" | "create" | "insert" | "replace" };
export type AddCommand =
  | ({ readonly c: "table"; readonly block?: readonly TableItem[] } & AddOp & InTable)
  | ({ readonly c: "chain"; readonly block?: readonly ChainItem[] } & AddOp & InChain)
  | ({
      readonly c: "rule";
      readonly rule: RuleNode;
      readonly position?: { readonly by: "position" | "handle" | "index"; readonly at: number };
    } & AddOp &
      InChain)
  | ({ readonly c: "set" | "map"; readonly block: readonly SetItem[] } & AddOp & InChain)
  | ({ readonly c: "element"; readonly elements: SetNode | VariableNode } & AddOp & InChain)
  | ({ readonly c: "object"; readonly type: string; readonly block?: readonly ObjectFields[] } & AddOp & InChain)
  | ({ readonly c: "flowtable" } & AddOp & InChain);
export type DeleteCommand = {
  readonly c: "delete";
  readonly op: "delete" | "destroy";
  readonly what: string;
  readonly family: Family;
  readonly table?: Named;
  readonly name?: Named;
  readonly handle?: number;
  readonly rule?: number;
  readonly elements?: SetNode | VariableNode;
};
export type Command = At &
  (
    | Definition
    | AddCommand
    | DeleteCommand
    | ({ readonly c: "get"; readonly elements: SetNode | VariableNode } & InChain)
    | { readonly c: "list"; readonly op: "list" | "reset"; readonly what: string; readonly rest: string }
    | { readonly c: "flush"; readonly what: string; readonly family?: Family; readonly table?: Named; readonly name?: Named }
    | ({ readonly c: "rename"; readonly to: string } & InChain)
  );
