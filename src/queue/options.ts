/**
 * What can stand in front of a port's device, as options. Names follow tc's words with their units: rates in bits a second
 * (`rateBps`), sizes in bytes, times in milliseconds. A handle is the major number of `1:`, a class id the minor of `1:10`.
 */
import {
  amount,
  anything,
  checkOptions,
  type Expectation,
  either,
  listOf,
  oneOf,
  type Shape,
  share,
  text,
  whole,
  yesNo,
} from "../base/options.ts";

/** Which packets; everything that is given must hold. */
export interface Match {
  mark?: number;
  markMask?: number;
  family?: 4 | 6;
  protocol?: number;
  /** Type of service or traffic class, all eight bits of it. */
  tos?: number;
  tosMask?: number;
  /** "10.0.0.0/8", "2001:db8::/32". */
  source?: string;
  destination?: string;
  /** One port, or the first and the last of a range. */
  sourcePort?: number | readonly [number, number];
  destinationPort?: number | readonly [number, number];
}

/** Sends what matches to a class: of htb by its id, of prio by band + 1. */
export interface Filter {
  match: Match;
  class: number;
  /** What tc calls it by (`pref`), 1 to 65,535: filters are looked at in the order of the list, in which tc keeps those with lower numbers first. */
  prio?: number;
}

interface Handled {
  /** Major number; the root's default is 0x8001, of the others 0 (not shown). */
  handle?: number;
}

export interface PfifoOptions extends Handled {
  kind: "pfifo";
  limitPackets?: number;
}

export interface BfifoOptions extends Handled {
  kind: "bfifo";
  limitBytes?: number;
}

export interface PrioOptions extends Handled {
  kind: "prio";
  bands?: number;
  priomap?: readonly number[];
  /** By band; pfifo where there is none. */
  children?: readonly (QdiscOptions | undefined)[];
  filters?: readonly Filter[];
}

export interface TbfOptions extends Handled {
  kind: "tbf";
  rateBps: number;
  burstBytes: number;
  /** What may wait: in bytes, or as the time after which it would have left. */
  limitBytes?: number;
  latencyMs?: number;
  peakBps?: number;
  /** Depth of the peak's bucket. */
  mtuBytes?: number;
  child?: QdiscOptions;
}

export interface HtbClass {
  id: number;
  /** Class id of the parent; absent: the root. */
  parent?: number;
  rateBps: number;
  ceilBps?: number;
  burstBytes?: number;
  cburstBytes?: number;
  quantumBytes?: number;
  /** 0 to 7; lower goes first when there is something to borrow. */
  prio?: number;
  /** Of a leaf; default pfifo. */
  qdisc?: QdiscOptions;
}

export interface HtbOptions extends Handled {
  kind: "htb";
  /** Class of what no filter sends anywhere; without one that is sent past all classes. */
  default?: number;
  r2q?: number;
  directPackets?: number;
  classes?: readonly HtbClass[];
  filters?: readonly Filter[];
}

export interface FqOptions extends Handled {
  kind: "fq";
  limitPackets?: number;
  flowLimitPackets?: number;
  quantumBytes?: number;
  initialQuantumBytes?: number;
  maxRateBps?: number;
  buckets?: number;
  /** Flows that are known at a time. */
  flows?: number;
  refillDelayMs?: number;
  horizonMs?: number;
  horizonDrop?: boolean;
  ceThresholdMs?: number;
}

export interface FqCodelOptions extends Handled {
  kind: "fq_codel";
  limitPackets?: number;
  flows?: number;
  targetMs?: number;
  intervalMs?: number;
  quantumBytes?: number;
  ecn?: boolean;
  ceThresholdMs?: number;
  memoryBytes?: number;
  dropBatch?: number;
}

export type CakeIsolation = "flowblind" | "srchost" | "dsthost" | "hosts" | "flows" | "dual-srchost" | "dual-dsthost" | "triple-isolate";

export interface CakeOptions extends Handled {
  kind: "cake";
  /** Absent: not shaped. */
  bandwidthBps?: number;
  diffserv?: "besteffort" | "diffserv3" | "diffserv4";
  isolation?: CakeIsolation;
  rttMs?: number;
  /** Bytes that the link adds to the network layer's packet; absent: frames are charged as they are ("raw"). */
  overheadBytes?: number;
  mpuBytes?: number;
  cells?: "noatm" | "atm" | "ptm";
  wash?: boolean;
  memoryBytes?: number;
  flows?: number;
}

export interface RedOptions extends Handled {
  kind: "red";
  limitBytes: number;
  minBytes: number;
  maxBytes: number;
  avpktBytes: number;
  burstPackets?: number;
  probability?: number;
  bandwidthBps?: number;
  ecn?: boolean;
  harddrop?: boolean;
  adaptive?: boolean;
  nodrop?: boolean;
}

export type QdiscOptions =
  | PfifoOptions
  | BfifoOptions
  | PrioOptions
  | TbfOptions
  | HtbOptions
  | FqOptions
  | FqCodelOptions
  | CakeOptions
  | RedOptions;

// ── What is looked at ───────────────────────────────────────────────────────────────────────────

const bits = amount("bits a second", 8);
const packets = whole(0, 0xffff_fffe);
const size = whole(1, 0xffff_fffe);
const time = amount("milliseconds");
const handle = whole(0, 0xffff);
const classId = whole(1, 0xffff);
const port = either(whole(0, 65_535), listOf(whole(0, 65_535)));

const MATCH: Shape<Match> = {
  mark: whole(0, 2 ** 32 - 1),
  markMask: whole(0, 2 ** 32 - 1),
  family: oneOf(4, 6),
  protocol: whole(0, 255),
  tos: whole(0, 255),
  tosMask: whole(0, 255),
  source: text,
  destination: text,
  sourcePort: port,
  destinationPort: port,
};

export const matchOptions: Expectation = (value) => {
  checkOptions("match", MATCH, value);
  return undefined;
};

const filters = listOf((value) => {
  checkOptions("filter", { match: matchOptions, class: classId, prio: whole(1, 65_535) }, value, ["match", "class"]);
  return undefined;
});
const inner: Expectation = (value) => {
  checkQdisc(value as QdiscOptions);
  return undefined;
};
const isolations = ["flowblind", "srchost", "dsthost", "hosts", "flows", "dual-srchost", "dual-dsthost", "triple-isolate"];

const HTB_CLASS: Shape<HtbClass> = {
  id: classId,
  parent: classId,
  rateBps: bits,
  ceilBps: bits,
  burstBytes: size,
  cburstBytes: size,
  quantumBytes: whole(1, 2 ** 31 - 1),
  prio: whole(0, 7),
  qdisc: inner,
};

type KindShape = Record<string, Expectation>;
const SHAPES: Record<QdiscOptions["kind"], KindShape> = {
  pfifo: { kind: anything, handle, limitPackets: packets },
  bfifo: { kind: anything, handle, limitBytes: packets },
  prio: { kind: anything, handle, bands: whole(2, 16), priomap: listOf(whole(0, 15)), children: anything, filters },
  tbf: {
    kind: anything,
    handle,
    rateBps: bits,
    burstBytes: size,
    limitBytes: packets,
    latencyMs: time,
    peakBps: bits,
    mtuBytes: size,
    child: inner,
  },
  htb: {
    kind: anything,
    handle,
    default: whole(0, 0xffff),
    r2q: whole(1),
    directPackets: packets,
    classes: listOf((value) => {
      checkOptions("htb class", HTB_CLASS, value, ["id", "rateBps"]);
      return undefined;
    }),
    filters,
  },
  fq: {
    kind: anything,
    handle,
    limitPackets: packets,
    flowLimitPackets: packets,
    quantumBytes: whole(1, 2 ** 31 - 1),
    initialQuantumBytes: whole(1, 2 ** 31 - 1),
    maxRateBps: bits,
    buckets: whole(1, 1 << 18),
    flows: whole(1, 1 << 18),
    refillDelayMs: time,
    horizonMs: time,
    horizonDrop: yesNo,
    ceThresholdMs: time,
  },
  fq_codel: {
    kind: anything,
    handle,
    limitPackets: packets,
    flows: whole(1, 65_536),
    targetMs: time,
    intervalMs: amount("milliseconds", 0.001),
    quantumBytes: whole(1, 2 ** 31 - 1),
    ecn: yesNo,
    ceThresholdMs: time,
    memoryBytes: packets,
    dropBatch: whole(1, 65_536),
  },
  cake: {
    kind: anything,
    handle,
    bandwidthBps: bits,
    diffserv: oneOf("besteffort", "diffserv3", "diffserv4"),
    isolation: oneOf(...isolations),
    rttMs: amount("milliseconds", 0.001),
    overheadBytes: whole(-64, 256),
    mpuBytes: whole(0, 256),
    cells: oneOf("noatm", "atm", "ptm"),
    wash: yesNo,
    memoryBytes: packets,
    flows: whole(8, 65_536),
  },
  red: {
    kind: anything,
    handle,
    limitBytes: size,
    minBytes: size,
    maxBytes: size,
    avpktBytes: size,
    burstPackets: size,
    probability: share,
    bandwidthBps: bits,
    ecn: yesNo,
    harddrop: yesNo,
    adaptive: yesNo,
    nodrop: yesNo,
  },
};

const REQUIRED: Partial<Record<QdiscOptions["kind"], readonly string[]>> = {
  tbf: ["rateBps", "burstBytes"],
  red: ["limitBytes", "minBytes", "maxBytes", "avpktBytes"],
};

/** Throws EINVAL for options that no qdisc has. */
export function checkQdisc(options: QdiscOptions): void {
  const kind = options?.kind;
  checkOptions("queue", { ...SHAPES[kind], kind: oneOf(...Object.keys(SHAPES)) }, options, ["kind", ...(REQUIRED[kind] ?? [])]);
}
