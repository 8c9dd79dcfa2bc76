/**
 * The connections an engine tracks, as `conntrack` shows them: listed, counted, ended, watched.
 *
 *   const conntrack = new Conntrack(engine);
 *   for (const flow of conntrack.list({ protocol: 6 })) console.log(flowText(flow));
 *   conntrack.delete({ zone: 3 });
 */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { type IpAddress, networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import { amount, anyPort, anything, checkOptions, either, having, oneOf, type Shape, text, whole, yesNo } from "../base/options.ts";
import type { Engine } from "../engine/engine.ts";
import { TIMEOUT_NAMES } from "../engine/flows.ts";
import {
  countersAt,
  type End,
  type Flow,
  familyOf,
  isListed,
  networkOfSpace,
  PROTOCOL_NAMES,
  readFlow,
  readTuple,
  stateName,
  type Tuple,
  writeTuple,
  zoneWay,
} from "./flow.ts";
import { Mappings } from "./mappings.ts";

export interface FlowFilter {
  readonly family?: 4 | 6;
  /** Number or name. */
  readonly protocol?: number | string;
  readonly state?: string;
  readonly zone?: number;
  /** With `zone`: of those that are in it one way only, this way (`--orig-zone`, `--reply-zone`). */
  readonly zoneOf?: "original" | "reply";
  /** Of the original direction: addresses, or prefixes as text. */
  readonly src?: string | IpAddress;
  readonly dst?: string | IpAddress;
  readonly sport?: number;
  readonly dport?: number;
  /** The same of the answers. */
  readonly replySrc?: string | IpAddress;
  readonly replyDst?: string | IpAddress;
  readonly replySport?: number;
  readonly replyDport?: number;
  /** The address (true: any) that stands for the source, or for the destination, or for either, where it was translated (`--src-nat`, `--dst-nat`, `--any-nat`). */
  readonly srcNat?: string | IpAddress | true;
  readonly dstNat?: string | IpAddress | true;
  readonly anyNat?: string | IpAddress | true;
  /** Of ICMP. */
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly icmpId?: number;
  readonly mark?: number;
  /** With `mark`: the bits of it that count. */
  readonly markMask?: number;
  /** Bits of abi.IPS_* that are set, and bits that are not. */
  readonly status?: number;
  readonly notStatus?: number;
}

/** What `conntrack -U` changes. */
export interface FlowChange {
  readonly mark?: number;
  /** With `mark`: the bits that are replaced; all where nothing is said. */
  readonly markMask?: number;
  /** Milliseconds from now until it ends. */
  readonly timeoutMs?: number;
}

export interface FlowEvent {
  readonly kind: "new" | "update" | "destroy";
  readonly id: number;
  /** Milliseconds of the engine's clock, modulo 2^32. */
  readonly at: number;
  readonly protocol: number;
  readonly family: 4 | 6;
  readonly zone: number;
  readonly zoneOf?: "original" | "reply";
  readonly original: Tuple & { packets: number; bytes: number };
  readonly reply: Tuple & { packets: number; bytes: number };
  readonly status: number;
  readonly mark: number;
  /** Of TCP and SCTP. */
  readonly state?: string;
  /** How long it had left then. */
  readonly expiresMs: number;
}

/** A flow that a helper has heard announced. */
export interface ExpectedFlow {
  readonly protocol: number;
  /** From there alone; undefined: from anywhere. */
  readonly src?: IpAddress;
  readonly dst: IpAddress;
  readonly dport: number;
  /** The flow that announced it. */
  readonly master: Flow;
  readonly expiresMs: number;
}

/** `conntrack -S`, for all workers together. */
export interface FlowStats {
  readonly entries: number;
  readonly found: number;
  readonly invalid: number;
  readonly insert: number;
  readonly insertFailed: number;
  readonly drop: number;
  readonly earlyDrop: number;
  readonly clashResolve: number;
  readonly expired: number;
  /** Events that found no place. */
  readonly eventsLost: number;
}

/** Switches, named as the sysctls net.netfilter.nf_conntrack_*. */
export interface TrackOptions {
  readonly tcpBeLiberal?: boolean;
  readonly tcpLoose?: boolean;
  readonly tcpIgnoreInvalidRst?: boolean;
  readonly checksum?: boolean;
  /** Seconds by name: `tcp_established`, `udp`, … (TIMEOUT_NAMES). */
  readonly timeouts?: Readonly<Record<string, number>>;
}

const KINDS: Readonly<Record<number, FlowEvent["kind"]>> = {
  [abi.EVENT_NEW]: "new",
  [abi.EVENT_UPDATE]: "update",
  [abi.EVENT_DESTROY]: "destroy",
};
const SWITCHES = [
  ["tcpBeLiberal", abi.FLOWS_TCP_LIBERAL],
  ["tcpLoose", abi.FLOWS_TCP_LOOSE],
  ["tcpIgnoreInvalidRst", abi.FLOWS_IGNORE_INVALID_RST],
  ["checksum", abi.FLOWS_CHECKSUM],
] as const;

const named = either(text, having("an IpAddress", "bytes"));
const translated = either(oneOf(true), named);
const u32 = whole(0, 0xffff_ffff);
const FILTER: Shape<FlowFilter> = {
  family: oneOf(4, 6),
  protocol: either(whole(0, 255), text),
  state: text,
  zone: anyPort,
  zoneOf: oneOf("original", "reply"),
  src: named,
  dst: named,
  sport: anyPort,
  dport: anyPort,
  replySrc: named,
  replyDst: named,
  replySport: anyPort,
  replyDport: anyPort,
  srcNat: translated,
  dstNat: translated,
  anyNat: translated,
  icmpType: whole(0, 255),
  icmpCode: whole(0, 255),
  icmpId: anyPort,
  mark: u32,
  markMask: u32,
  status: u32,
  notStatus: u32,
};
const CHANGE: Shape<FlowChange> = { mark: u32, markMask: u32, timeoutMs: amount("milliseconds", 1) };
const TRACK: Shape<TrackOptions> = {
  tcpBeLiberal: yesNo,
  tcpLoose: yesNo,
  tcpIgnoreInvalidRst: yesNo,
  checksum: yesNo,
  timeouts: anything,
};

export class Conntrack {
  /** What inner addresses and ports are known by outside, whatever they talk to. */
  readonly mappings: Mappings;
  private readonly engine: Engine;
  private readonly at: number;

  /** `network`: of that one alone, by its number, where several share the table: listings, deletions and events. */
  constructor(
    engine: Engine,
    private readonly network?: number,
  ) {
    if (engine.memory.layout.sizes.flows === 0) throw new LoomError("ENOTSUP", "this engine tracks no connections; create it with `flows`");
    this.engine = engine;
    this.at = engine.memory.base(abi.REGION_FLOWS);
    this.mappings = new Mappings(engine, network ?? 0);
  }

  private get ticks(): number {
    return this.engine.clock.now() >>> 0;
  }

  private word(offset: number): number {
    return this.engine.memory.getU32(this.at + offset);
  }

  /** Flows that live in the whole table, and how many there may be. */
  get count(): number {
    return this.word(abi.FLOWS_COUNT) - this.word(abi.FLOWS_MAPPINGS);
  }

  get capacity(): number {
    return this.word(abi.FLOWS_CAPACITY);
  }

  /** Every flow that fits, in no order; what begins or ends meanwhile may be there or not. */
  list(filter: FlowFilter = {}): Generator<Flow> {
    checkOptions("filter", FILTER, filter);
    return this.matching(filter);
  }

  private *matching(filter: FlowFilter): Generator<Flow> {
    const fits = flowMatcher(filter);
    const scratch = this.engine.memory.base(abi.REGION_HOST);
    for (let id = 1; id < this.word(abi.FLOWS_FRESH); id++) {
      const flow = readFlow(this.engine.memory, this.engine.plane, id, this.ticks, scratch, this.network);
      if (flow && fits(flow)) yield flow;
    }
  }

  /** The flow that a packet from `src` to `dst` belongs to, in either direction (`conntrack -G`). Of protocols with ports. */
  find(protocol: number | string, src: End, dst: End, zone = 0): Flow | undefined {
    const { memory, plane } = this.engine;
    const scratch = memory.base(abi.REGION_HOST);
    writeTuple(memory, scratch, { protocol: protocolOf(protocol), network: this.network, zone, src, dst });
    const found = plane.flowFind(scratch);
    return found === 0 ? undefined : readFlow(memory, plane, found >>> 1, this.ticks, scratch);
  }

  /** Ends one flow by its number (`Flow.id`); false when it is none any more. */
  end(id: number): boolean {
    return this.engine.plane.flowEnd(0, id, this.ticks) !== 0;
  }

  /** Ends the flows that fit; their number. */
  delete(filter: FlowFilter = {}): number {
    let ended = 0;
    for (const { id } of this.list(filter)) ended += this.engine.plane.flowEnd(0, id, this.ticks);
    return ended;
  }

  /** Marks the flows that fit, or lets them end at another time; their number (`conntrack -U`). */
  update(filter: FlowFilter, change: FlowChange): number {
    checkOptions("change", CHANGE, change);
    const { mark, markMask = 0xffff_ffff, timeoutMs } = change;
    if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= 0x7fff_ffff))
      throw invalid(`a timeout of ${timeoutMs} ms; expected 1 to 2147483647`);
    let changed = 0;
    for (const { id } of this.list(filter)) {
      this.engine.plane.flowUpdate(id, this.ticks, mark ?? 0, mark === undefined ? 0 : markMask, Math.round(timeoutMs ?? 0));
      changed++;
    }
    return changed;
  }

  /** What helpers have heard announced and nobody has come for yet (`conntrack -L expect`). */
  *expectations(): Generator<ExpectedFlow> {
    const { memory, plane } = this.engine;
    const scratch = memory.base(abi.REGION_HOST);
    const room = this.word(abi.FLOWS_EXPECTATION_ROOM);
    const first = this.word(abi.FLOWS_EXPECTATIONS);
    for (let i = 0; i < room; i++) {
      if (memory.getU32(first + 4 * i) === 0) continue;
      const at = first + 4 * room + i * abi.EXPECTATION_SIZE;
      const expiresMs = (memory.getU32(at + abi.EXPECTATION_EXPIRES) - this.ticks) | 0;
      const master = readFlow(memory, plane, memory.getU32(at + abi.EXPECTATION_MASTER), this.ticks, scratch, this.network);
      if (expiresMs <= 0 || !master) continue;
      const { src, dst, dport = 0 } = readTuple(memory, at);
      const isFrom = (memory.getU32(at + abi.EXPECTATION_FLAGS) & abi.EXPECT_SOURCE) !== 0;
      yield { protocol: memory.u8[at + abi.TUPLE_KIND + 2], ...(isFrom ? { src } : {}), dst, dport, master, expiresMs };
    }
  }

  /** Ends all of them (`conntrack -F`). */
  flush(): number {
    const { memory, plane } = this.engine;
    const { ticks } = this;
    let ended = 0;
    // By number alone: nothing is read of what is to go (200,000 flows: 45 ms instead of 1.3 s).
    for (let id = 1; id < this.word(abi.FLOWS_FRESH); id++)
      if (isListed(memory, id, ticks, this.network)) ended += plane.flowEnd(0, id, ticks);
    return ended;
  }

  stats(): FlowStats {
    const stat = (index: number) => this.word(abi.FLOWS_STATS + 4 * index);
    return {
      entries: this.count,
      found: stat(abi.FLOW_STAT_FOUND),
      invalid: stat(abi.FLOW_STAT_INVALID),
      insert: stat(abi.FLOW_STAT_INSERT),
      insertFailed: stat(abi.FLOW_STAT_INSERT_FAILED),
      drop: stat(abi.FLOW_STAT_DROP),
      earlyDrop: stat(abi.FLOW_STAT_EARLY_DROP),
      clashResolve: stat(abi.FLOW_STAT_CLASH),
      expired: stat(abi.FLOW_STAT_EXPIRED),
      eventsLost: this.word(abi.FLOWS_EVENT_LOST),
    };
  }

  /** What happened since the last call, oldest first (`conntrack -E`); needs the engine's `flowEvents`. */
  *events(): Generator<FlowEvent> {
    const { memory } = this.engine;
    const capacity = this.word(abi.FLOWS_EVENT_CAPACITY);
    for (let head = this.word(abi.FLOWS_EVENT_HEAD); head !== this.word(abi.FLOWS_EVENT_TAIL); head = (head + 1) >>> 0) {
      const at = this.word(abi.FLOWS_EVENTS) + (head & (capacity - 1)) * abi.FLOW_EVENT_SIZE;
      const network = networkOfSpace(memory.u8[at + abi.FLOW_EVENT_RECORD + abi.FLOW_SPACE]);
      const event = this.event(at);
      memory.setU32(this.at + abi.FLOWS_EVENT_HEAD, (head + 1) >>> 0);
      if (this.network === undefined || network === this.network) yield event;
    }
  }

  private event(at: number): FlowEvent {
    const { memory } = this.engine;
    const record = at + abi.FLOW_EVENT_RECORD;
    const side = (direction: number) => ({
      ...this.recordTuple(at, direction),
      ...countersAt(memory, at + abi.FLOW_EVENT_COUNTERS, direction),
    });
    return {
      kind: KINDS[memory.u8[at]],
      id: memory.getU32(at + abi.FLOW_EVENT_FLOW),
      at: memory.getU32(at + abi.FLOW_EVENT_TIME),
      protocol: memory.u8[record + abi.FLOW_PROTOCOL],
      family: familyOf(memory.u8[record + abi.FLOW_SPACE]),
      zone: memory.getU16(record + abi.FLOW_ZONE),
      ...zoneWay(memory, record),
      original: side(0),
      reply: side(1),
      status: memory.getU32(record + abi.FLOW_STATUS),
      mark: memory.getU32(record + abi.FLOW_MARK),
      state: stateName(memory.u8[record + abi.FLOW_PROTOCOL], memory.u8[at + 1]),
      expiresMs: Math.max(0, (memory.getU32(record + abi.FLOW_EXPIRES) - memory.getU32(at + abi.FLOW_EVENT_TIME)) | 0),
    };
  }

  /** A tuple of the copy of a record; IPv6 answers stand behind it. */
  private recordTuple(event: number, direction: number): Tuple {
    const { memory } = this.engine;
    const record = event + abi.FLOW_EVENT_RECORD;
    const scratch = memory.base(abi.REGION_HOST);
    const is4 = familyOf(memory.u8[record + abi.FLOW_SPACE]) === 4;
    const from = is4 ? record + 8 * direction : direction === 0 ? record : event + abi.FLOW_EVENT_REPLY;
    memory.u8.copyWithin(scratch, from, from + 32);
    memory.u8.copyWithin(scratch + abi.TUPLE_KIND, record + abi.FLOW_KIND, record + abi.FLOW_KIND + 4);
    memory.u8.copyWithin(scratch + abi.TUPLE_PORTS, record + abi.FLOW_PORTS + 4 * direction, record + abi.FLOW_PORTS + 4 * direction + 4);
    return readTuple(memory, scratch);
  }

  /** Changes switches and timeouts; flows that live keep the time they have. */
  configure(given: TrackOptions): this {
    checkOptions("conntrack", TRACK, given);
    const { timeouts, ...options } = given;
    const { memory } = this.engine;
    let flags = this.word(abi.FLOWS_FLAGS);
    for (const [name, bit] of SWITCHES) if (options[name] !== undefined) flags = options[name] ? flags | bit : flags & ~bit;
    memory.setU32(this.at + abi.FLOWS_FLAGS, flags);
    for (const [name, seconds] of Object.entries(timeouts ?? {})) {
      const index = TIMEOUT_NAMES.indexOf(name);
      if (index < 0) throw invalid(`there is no timeout "${name}"; expected one of ${TIMEOUT_NAMES.join(", ")}`);
      if (!(seconds > 0 && seconds <= 2_147_483))
        throw invalid(`timeout ${name} is ${seconds}; expected seconds, more than 0 and at most 2147483`);
      memory.setU32(this.word(abi.FLOWS_TIMEOUTS) + 4 * index, Math.round(seconds * 1000));
    }
    return this;
  }
}

function protocolOf(protocol: number | string): number {
  if (typeof protocol === "number") return protocol;
  const found = Object.entries(PROTOCOL_NAMES).find(([, name]) => name === protocol);
  if (!found) throw invalid(`protocol "${protocol}" is unknown; expected a number or one of ${Object.values(PROTOCOL_NAMES).join(", ")}`);
  return Number(found[0]);
}

/** What is common to flows that live and what is told of them. */
type Matched = Pick<Flow, "family" | "protocol" | "zone" | "zoneOf" | "mark" | "state" | "status"> & {
  readonly original: Tuple;
  readonly reply: Tuple;
};

/** Does a flow, or an event of one, fit? Throws EINVAL for what is no address, prefix or protocol. */
export function flowMatcher(filter: FlowFilter): (flow: Matched) => boolean {
  const { family, protocol, state, zone, zoneOf, mark, markMask = 0xffff_ffff, status = 0, notStatus = 0 } = filter;
  const number = protocol === undefined ? undefined : protocolOf(protocol);
  const [from, to] = [withinOf(filter.src), withinOf(filter.dst)];
  const [replyFrom, replyTo] = [withinOf(filter.replySrc), withinOf(filter.replyDst)];
  const isTranslated = translationOf(filter);
  const same = <T>(wanted: T | undefined, value: T | undefined) => wanted === undefined || wanted === value;
  return (flow) =>
    same(family, flow.family) &&
    same(number, flow.protocol) &&
    same(state, flow.state) &&
    same(zone, flow.zone) &&
    (zone === undefined || zoneOf === flow.zoneOf) &&
    (mark === undefined || ((flow.mark ^ mark) & markMask) === 0) &&
    (flow.status & status) === status &&
    (flow.status & notStatus) === 0 &&
    same(filter.sport, flow.original.sport) &&
    same(filter.dport, flow.original.dport) &&
    same(filter.replySport, flow.reply.sport) &&
    same(filter.replyDport, flow.reply.dport) &&
    same(filter.icmpType, flow.original.type) &&
    same(filter.icmpCode, flow.original.code) &&
    same(filter.icmpId, flow.original.id) &&
    from(flow.original.src) &&
    to(flow.original.dst) &&
    replyFrom(flow.reply.src) &&
    replyTo(flow.reply.dst) &&
    isTranslated(flow);
}

/** By the addresses that stand for others: answers go to the one, and come from the other. */
function translationOf({ srcNat, dstNat, anyNat }: FlowFilter): (flow: Matched) => boolean {
  const [source, destination, either] = [withinOf(srcNat), withinOf(dstNat), withinOf(anyNat)];
  const isSource = ({ status, reply }: Matched, fits: (address: IpAddress) => boolean) =>
    (status & abi.IPS_SRC_NAT) !== 0 && fits(reply.dst);
  const isDestination = ({ status, reply }: Matched, fits: (address: IpAddress) => boolean) =>
    (status & abi.IPS_DST_NAT) !== 0 && fits(reply.src);
  return (flow) =>
    (srcNat === undefined || isSource(flow, source)) &&
    (dstNat === undefined || isDestination(flow, destination)) &&
    (anyNat === undefined || isSource(flow, either) || isDestination(flow, either));
}

/** An address, or a prefix of them. */
function withinOf(wanted: string | IpAddress | true | undefined): (address: IpAddress) => boolean {
  if (wanted === undefined || wanted === true) return () => true;
  if (typeof wanted !== "string") return (address) => wanted.equals(address);
  const { address: network, length } = parseInterfaceAddress(wanted);
  const whole = networkOf(network, length);
  return (address) => address.family === network.family && networkOf(address, length).equals(whole);
}
