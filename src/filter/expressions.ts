/**
 * The register machine of nftables: what rules become, and what is compiled to WebAssembly.
 *
 * A rule is a list of expressions, run in order over one packet. Data moves through 64 bytes of registers. Register 0 is
 * the verdict; 1 to 4 name 16 bytes each, 8 to 23 name the same 64 bytes in pieces of 4 (linux/netfilter/nf_tables.h,
 * enum nft_registers). An expression that does not match ends the rule ("break"); one that writes register 0 ends it with
 * a verdict. Bytes of packets stand in registers as they stand in the packet, everything else in the machine's order.
 *
 * Names and fields are those that `nft --debug=netlink` shows, so that both can be compared word for word.
 */

/** 0: verdict. 1–4: 16 bytes. 8–23: 4 bytes each of the same 64. */
export type Register = number;

/** Bytes as they stand in a register. */
export type Bytes = Uint8Array;

export type Verdict =
  | { readonly code: "accept" | "drop" | "continue" | "break" | "return" }
  | { readonly code: "jump" | "goto"; readonly chain: string }
  | { readonly code: "queue"; readonly queue: number };

export type CompareOp = "eq" | "neq" | "lt" | "lte" | "gt" | "gte";
export type PayloadBase = "link" | "network" | "transport" | "inner";
/** Checksum to mend after a write: none, the Internet checksum at `offset`. `pseudo`: the transport's covers what changed. */
export interface PayloadChecksum {
  readonly kind: "none" | "inet";
  readonly offset: number;
  readonly pseudo: boolean;
}

export type MetaKey =
  | "len"
  | "protocol"
  | "priority"
  | "mark"
  | "iif"
  | "oif"
  | "iifname"
  | "oifname"
  | "iiftype"
  | "oiftype"
  | "skuid"
  | "skgid"
  | "nftrace"
  | "rtclassid"
  | "nfproto"
  | "l4proto"
  | "ibrname"
  | "obrname"
  | "pkttype"
  | "cpu"
  | "iifgroup"
  | "oifgroup"
  | "cgroup"
  | "random"
  | "secpath"
  | "iifkind"
  | "oifkind"
  | "ibrpvid"
  | "ibrvproto"
  | "time"
  | "day"
  | "hour"
  | "sdif"
  | "sdifname"
  | "broute";

export type CtKey =
  | "state"
  | "direction"
  | "status"
  | "mark"
  | "secmark"
  | "expiration"
  | "helper"
  | "l3protocol"
  | "src"
  | "dst"
  | "protocol"
  | "proto_src"
  | "proto_dst"
  | "label"
  | "packets"
  | "bytes"
  | "avgpkt"
  | "zone"
  | "event"
  | "src_ip"
  | "dst_ip"
  | "src_ip6"
  | "dst_ip6"
  | "id";
export type Direction = "original" | "reply";

/** What `reject` sends: ICMP unreachable of the packet's family, a TCP reset, or the code that fits either family. */
export type RejectType = "icmp-unreach" | "tcp-rst" | "icmpx-unreach";

export type LimitUnit = "packets" | "bytes";
export interface LimitSpec {
  readonly rate: number;
  /** Seconds: 1, 60, 3600, 86400, 604800. */
  readonly per: number;
  readonly burst: number;
  readonly unit: LimitUnit;
  /** Matches what is over the rate instead of what is under it. */
  readonly over: boolean;
}
export interface QuotaSpec {
  readonly bytes: number;
  readonly used: number;
  readonly over: boolean;
}
export interface LogSpec {
  readonly prefix?: string;
  /** Level of syslog, 0 to 7; or a group of nflog. */
  readonly level?: number;
  readonly group?: number;
  readonly snaplen?: number;
  readonly queueThreshold?: number;
  readonly flags?: number;
}

/** Options of nat, masq and redir: linux/netfilter/nf_nat.h, NF_NAT_RANGE_*. */
export const NAT_MAP_IPS = 1;
export const NAT_PROTO_SPECIFIED = 2;
export const NAT_PROTO_RANDOM = 4;
export const NAT_PERSISTENT = 8;
export const NAT_PROTO_RANDOM_FULLY = 16;
export const NAT_NETMAP = 64;

export type XfrmKey = "reqid" | "spi" | "saddr4" | "daddr4" | "saddr6" | "daddr6";
export type Expression =
  | { readonly op: "immediate"; readonly dreg: Register; readonly data: Bytes }
  | { readonly op: "verdict"; readonly verdict: Verdict }
  | { readonly op: "cmp"; readonly sreg: Register; readonly cmp: CompareOp; readonly data: Bytes }
  | { readonly op: "range"; readonly sreg: Register; readonly cmp: "eq" | "neq"; readonly from: Bytes; readonly to: Bytes }
  | {
      readonly op: "bitwise";
      readonly sreg: Register;
      readonly dreg: Register;
      readonly len: number;
      readonly mask: Bytes;
      readonly xor: Bytes;
    }
  | {
      readonly op: "shift";
      readonly sreg: Register;
      readonly dreg: Register;
      readonly len: number;
      readonly left: boolean;
      readonly bits: number;
    }
  | {
      readonly op: "byteorder";
      readonly sreg: Register;
      readonly dreg: Register;
      readonly to: "hton" | "ntoh";
      readonly len: number;
      readonly size: number;
    }
  | { readonly op: "payload"; readonly dreg: Register; readonly base: PayloadBase; readonly offset: number; readonly len: number }
  | {
      readonly op: "payload-write";
      readonly sreg: Register;
      readonly base: PayloadBase;
      readonly offset: number;
      readonly len: number;
      readonly csum: PayloadChecksum;
    }
  | {
      readonly op: "exthdr";
      readonly dreg: Register;
      readonly header: "ipv6" | "tcpopt" | "ipopt" | "sctp";
      readonly type: number;
      readonly offset: number;
      readonly len: number;
      readonly present: boolean;
    }
  | { readonly op: "exthdr-write"; readonly sreg: Register; readonly type: number; readonly offset: number; readonly len: number }
  | { readonly op: "xfrm"; readonly dreg: Register; readonly direction: "in" | "out"; readonly number: number; readonly key: XfrmKey }
  | { readonly op: "osf"; readonly dreg: Register; readonly version: boolean; readonly ttl: 0 | 1 | 2 }
  | { readonly op: "exthdr-reset"; readonly type: number }
  | { readonly op: "meta"; readonly dreg: Register; readonly key: MetaKey }
  | { readonly op: "meta-set"; readonly sreg: Register; readonly key: MetaKey }
  | { readonly op: "ct"; readonly dreg: Register; readonly key: CtKey; readonly direction?: Direction }
  | { readonly op: "ct-set"; readonly sreg: Register; readonly key: CtKey; readonly direction?: Direction }
  | { readonly op: "rt"; readonly dreg: Register; readonly key: "classid" | "nexthop4" | "nexthop6" | "tcpmss" | "ipsec" }
  | {
      readonly op: "socket";
      readonly dreg: Register;
      readonly key: "transparent" | "mark" | "wildcard" | "cgroupv2";
      readonly level?: number;
    }
  | {
      readonly op: "fib";
      readonly dreg: Register;
      readonly result: "oif" | "oifname" | "type";
      readonly flags: number;
      readonly present: boolean;
    }
  | { readonly op: "numgen"; readonly dreg: Register; readonly kind: "inc" | "random"; readonly modulus: number; readonly offset: number }
  | {
      readonly op: "hash";
      readonly dreg: Register;
      readonly kind: "jhash";
      readonly sreg: Register;
      readonly len: number;
      readonly seed: number;
      readonly modulus: number;
      readonly offset: number;
    }
  | { readonly op: "hash"; readonly dreg: Register; readonly kind: "symhash"; readonly modulus: number; readonly offset: number }
  | { readonly op: "lookup"; readonly sreg: Register; readonly set: string; readonly dreg?: Register; readonly invert: boolean }
  | {
      readonly op: "dynset";
      readonly action: "add" | "update" | "delete";
      readonly set: string;
      readonly key: Register;
      readonly data?: Register;
      readonly timeoutMs?: number;
      readonly invert: boolean;
      readonly expressions: readonly Expression[];
    }
  | { readonly op: "objref"; readonly type: ObjectType; readonly name: string }
  | { readonly op: "objref-map"; readonly sreg: Register; readonly set: string }
  | { readonly op: "counter"; readonly packets: number; readonly bytes: number }
  | ({ readonly op: "limit" } & LimitSpec)
  | ({ readonly op: "quota" } & QuotaSpec)
  | { readonly op: "connlimit"; readonly count: number; readonly over: boolean }
  | { readonly op: "last" }
  | ({ readonly op: "log" } & LogSpec)
  | { readonly op: "reject"; readonly type: RejectType; readonly code: number }
  | {
      readonly op: "nat";
      readonly kind: "snat" | "dnat";
      readonly family: 4 | 6;
      readonly addrMin?: Register;
      readonly addrMax?: Register;
      readonly protoMin?: Register;
      readonly protoMax?: Register;
      readonly flags: number;
    }
  | { readonly op: "masq"; readonly protoMin?: Register; readonly protoMax?: Register; readonly flags: number }
  | { readonly op: "redir"; readonly protoMin?: Register; readonly protoMax?: Register; readonly flags: number }
  | { readonly op: "notrack" }
  | { readonly op: "synproxy"; readonly mss: number; readonly wscale: number; readonly flags: number }
  | { readonly op: "tproxy"; readonly family: 4 | 6 | 0; readonly addr?: Register; readonly port?: Register }
  | { readonly op: "dup"; readonly addr?: Register; readonly device?: Register }
  | { readonly op: "fwd"; readonly device: Register; readonly addr?: Register; readonly family?: 4 | 6 }
  | { readonly op: "queue"; readonly from: number; readonly total: number; readonly flags: number; readonly sreg?: Register };

export type ObjectType = "counter" | "quota" | "limit" | "ct helper" | "ct timeout" | "ct expectation" | "synproxy" | "secmark";

export type Family = "ip" | "ip6" | "inet" | "arp" | "bridge" | "netdev";
export type Hook = "ingress" | "prerouting" | "input" | "forward" | "output" | "postrouting" | "egress";

/** One element of a set or map. Intervals are pairs as the kernel keeps them: from `key` to `keyEnd`, both included. */
export interface SetElement {
  readonly key: Bytes;
  readonly keyEnd?: Bytes;
  /** Stands for every key that no other element matches (`*`); its key is empty. */
  readonly catchall?: boolean;
  /** Value of a map. */
  readonly data?: Bytes;
  readonly verdict?: Verdict;
  /** Name of the object an object map points to. */
  readonly object?: string;
  readonly timeoutMs?: number;
  readonly expiresMs?: number;
  readonly comment?: string;
  /** Counters, limits and the like that the element carries. */
  readonly expressions?: readonly Expression[];
  /** It was read from memory and stays there as it is, if it still lives. */
  readonly live?: boolean;
}

export interface SetSpec {
  readonly name: string;
  /** Made for one rule: named by number, never listed as a set of its own. */
  readonly anonymous: boolean;
  readonly keyLength: number;
  /** Bytes of each field of a concatenation, padded to 4 in the key; one entry when it is none. */
  readonly fields: readonly number[];
  readonly map?:
    | { readonly kind: "data"; readonly length: number }
    | { readonly kind: "verdict" }
    | { readonly kind: "object"; readonly type: ObjectType };
  readonly interval: boolean;
  readonly constant: boolean;
  readonly dynamic: boolean;
  /** Milliseconds an element lives unless it says otherwise; undefined: for ever (when `timeouts`, elements may have their own). */
  readonly timeouts: boolean;
  readonly timeoutMs?: number;
  readonly gcIntervalMs?: number;
  readonly size?: number;
  readonly elements: readonly SetElement[];
  /** Expressions that each new element gets. */
  readonly expressions?: readonly Expression[];
}

export interface ObjectSpec {
  readonly name: string;
  readonly object:
    | { readonly type: "counter"; readonly packets: number; readonly bytes: number }
    | ({ readonly type: "quota" } & QuotaSpec)
    | ({ readonly type: "limit" } & LimitSpec)
    | { readonly type: "ct helper"; readonly helper: string; readonly protocol: number; readonly l3?: 4 | 6 }
    | { readonly type: "ct timeout"; readonly protocol: number; readonly l3?: 4 | 6; readonly policy: Readonly<Record<string, number>> }
    | {
        readonly type: "ct expectation";
        readonly protocol: number;
        readonly l3?: 4 | 6;
        readonly dport: number;
        readonly timeoutMs: number;
        readonly size: number;
      }
    | { readonly type: "synproxy"; readonly mss: number; readonly wscale: number; readonly flags: number }
    | { readonly type: "secmark"; readonly context: string };
}

export interface RuleSpec {
  readonly handle: number;
  readonly expressions: readonly Expression[];
  readonly comment?: string;
}

export interface ChainSpec {
  readonly name: string;
  /** Base chains only. */
  readonly base?: {
    readonly type: "filter" | "nat" | "route";
    readonly hook: Hook;
    readonly priority: number;
    readonly policy: "accept" | "drop";
    /** netdev and inet ingress: the interfaces it is bound to. */
    readonly devices?: readonly string[];
  };
  readonly rules: readonly RuleSpec[];
}

export interface TableSpec {
  /** Where given: a table of the same name and another handle is another table, which keeps nothing of the old one's. */
  readonly handle?: number;
  readonly family: Family;
  readonly name: string;
  readonly dormant: boolean;
  readonly sets: readonly SetSpec[];
  readonly objects: readonly ObjectSpec[];
  readonly chains: readonly ChainSpec[];
}

/** A ruleset as the machine takes it: everything resolved, nothing to be parsed any more. */
export interface RulesetSpec {
  readonly tables: readonly TableSpec[];
}

/** Names a rule. */
export interface RulePlace {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
}
