/** A tracked connection as it is listed: conntrack's words. */
import * as abi from "../../assembly/abi.ts";
import { IpAddress } from "../base/ip-address.ts";
import { type HelperName, helperName } from "../engine/helper-names.ts";
import type { EngineMemory } from "../engine/memory.ts";
import type { DataPlane } from "../engine/module.ts";

export const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  47: "gre",
  58: "icmpv6",
  132: "sctp",
  136: "udplite",
};
export const TCP_STATES = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
];
export const SCTP_STATES = [
  "NONE",
  "CLOSED",
  "COOKIE_WAIT",
  "COOKIE_ECHOED",
  "ESTABLISHED",
  "SHUTDOWN_SENT",
  "SHUTDOWN_RECD",
  "SHUTDOWN_ACK_SENT",
  "HEARTBEAT_SENT",
];
/** By protocol: those of which a flow has one. */
const STATES: Readonly<Record<number, readonly string[] | undefined>> = { 6: TCP_STATES, 132: SCTP_STATES };

export interface Tuple {
  readonly src: IpAddress;
  readonly dst: IpAddress;
  /** Of protocols that have ports. */
  readonly sport?: number;
  readonly dport?: number;
  /** Of ICMP. */
  readonly type?: number;
  readonly code?: number;
  readonly id?: number;
}

export interface Side extends Tuple {
  /** Counted when the engine accounts flows. */
  readonly packets: number;
  readonly bytes: number;
}

export interface Flow {
  /** Number of the record: names the flow while it lives, as conntrack's id does. */
  readonly id: number;
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly zone: number;
  /** The direction whose tuple alone is in that zone; undefined: both. */
  readonly zoneOf?: "original" | "reply";
  /** Of TCP and SCTP. */
  readonly state?: string;
  readonly original: Side;
  readonly reply: Side;
  /** Bits of abi.IPS_*. */
  readonly status: number;
  readonly isAssured: boolean;
  /** The other side has answered. */
  readonly isReplied: boolean;
  readonly mark: number;
  /** Of connection tracking: "ftp", "tftp", "sip". */
  readonly helper?: HelperName;
  /** Milliseconds until it ends, unless something comes. */
  readonly expiresMs: number;
}

const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);

/** Where flows are told apart: a network (its number in the engine), and a zone of it. */
export interface Place {
  readonly network: number;
  readonly zone: number;
}

/** Of the last byte of a kind (abi.SPACE_*). */
export const familyOf = (space: number): 4 | 6 => (space & abi.SPACE_IP6 ? 6 : 4);
export const networkOfSpace = (space: number): number => space >>> abi.SPACE_NETWORK_SHIFT;

/** What a tuple in hand (abi.TUPLE_*) says. */
export function readTuple({ u8 }: EngineMemory, at: number): Tuple {
  const family = familyOf(u8[at + abi.TUPLE_KIND + 3]);
  const protocol = u8[at + abi.TUPLE_KIND + 2];
  const width = family === 4 ? 4 : 16;
  const address = (from: number) => IpAddress.fromBytes(u8.slice(from, from + width));
  const number = (from: number) => (u8[from] << 8) | u8[from + 1];
  const ends = { src: address(at), dst: address(at + width) };
  const ports = at + abi.TUPLE_PORTS;
  if (protocol === (family === 4 ? 1 : 58)) return { ...ends, type: u8[ports + 2], code: u8[ports + 3], id: number(ports) };
  return WITH_PORTS.has(protocol) ? { ...ends, sport: number(ports), dport: number(ports + 2) } : ends;
}

/** Of TCP and SCTP: the name of a state. */
export const stateName = (protocol: number, state: number): string | undefined => STATES[protocol]?.[state];

/** An address with a port. */
export interface End {
  readonly address: IpAddress;
  readonly port: number;
}

/** A tuple whose end that is not given is nobody's; one of the two is. `mapping`: that of one (abi.SPACE_MAPPING). */
interface WantedTuple extends Partial<Place> {
  readonly protocol: number;
  readonly src?: End;
  readonly dst?: End;
  readonly mapping?: boolean;
}

/** Writes a tuple as the data plane takes it (abi.TUPLE_*), of the engine's first network and zone 0 unless said. */
export function writeTuple(
  memory: EngineMemory,
  at: number,
  { protocol, network = 0, zone = 0, src, dst, mapping = false }: WantedTuple,
): void {
  const is4 = (src ?? dst)?.address.family === 4;
  memory.u8.fill(0, at, at + abi.TUPLE_SIZE);
  for (const [end, place, port] of [
    [src, 0, 0],
    [dst, is4 ? 4 : 16, 2],
  ] as const) {
    if (!end) continue;
    memory.u8.set(end.address.bytes(), at + place);
    memory.u8[at + abi.TUPLE_PORTS + port] = end.port >>> 8;
    memory.u8[at + abi.TUPLE_PORTS + port + 1] = end.port;
  }
  const space = (network << abi.SPACE_NETWORK_SHIFT) | (is4 ? 0 : abi.SPACE_IP6) | (mapping ? abi.SPACE_MAPPING : 0);
  memory.setU32(at + abi.TUPLE_KIND, (zone | (protocol << 16) | (space << 24)) >>> 0);
}

/** Is there a confirmed flow by that number, of a network if one is given? Mappings are kept as flows are, and are none. */
export function isListed(memory: EngineMemory, id: number, ticks: number, network?: number): boolean {
  const hot = memory.getU32(memory.base(abi.REGION_FLOWS) + abi.FLOWS_HOT) + id * abi.FLOW_SIZE;
  if ((memory.getU32(hot + abi.FLOW_STATUS) & (abi.IPS_CONFIRMED | abi.IPS_DYING)) !== abi.IPS_CONFIRMED) return false;
  const space = memory.u8[hot + abi.FLOW_SPACE];
  if (space & abi.SPACE_MAPPING || (network !== undefined && network !== networkOfSpace(space))) return false;
  return ((memory.getU32(hot + abi.FLOW_EXPIRES) - ticks) | 0) > 0;
}

/** Reads a confirmed flow's records; undefined when there is none by that number, or it is of another network. `scratch`: room for a tuple. */
export function readFlow(
  memory: EngineMemory,
  plane: DataPlane,
  id: number,
  ticks: number,
  scratch: number,
  network?: number,
): Flow | undefined {
  if (!isListed(memory, id, ticks, network)) return undefined;
  const region = memory.base(abi.REGION_FLOWS);
  const hot = memory.getU32(region + abi.FLOWS_HOT) + id * abi.FLOW_SIZE;
  const status = memory.getU32(hot + abi.FLOW_STATUS);
  const zone = memory.getU16(hot + abi.FLOW_ZONE);
  const expiresMs = (memory.getU32(hot + abi.FLOW_EXPIRES) - ticks) | 0;
  const cold = memory.getU32(region + abi.FLOWS_COLD) + id * abi.COLD_SIZE;
  const protocol = memory.u8[hot + abi.FLOW_PROTOCOL];
  const side = (direction: number): Side => {
    plane.flowTuple(id, direction, scratch);
    return { ...readTuple(memory, scratch), ...readCounters(memory, id, direction) };
  };
  return {
    id,
    family: familyOf(memory.u8[hot + abi.FLOW_SPACE]),
    protocol,
    zone,
    ...zoneWay(memory, hot),
    ...(STATES[protocol] && { state: stateName(protocol, memory.u8[cold + abi.COLD_STATE]) }),
    original: side(0),
    reply: side(1),
    status,
    isAssured: (status & abi.IPS_ASSURED) !== 0,
    isReplied: (status & abi.IPS_SEEN_REPLY) !== 0,
    mark: memory.getU32(hot + abi.FLOW_MARK),
    ...(status & abi.IPS_HELPER && { helper: helperName(plane.flowHelper(id)) }),
    expiresMs,
  };
}

/** The direction that a record's zone is of, where it is one's alone. */
export function zoneWay(memory: EngineMemory, hot: number): Pick<Flow, "zoneOf"> {
  const phase = memory.getU32(hot + abi.FLOW_PHASE);
  if (phase & abi.PHASE_ZONE_ORIGINAL) return { zoneOf: "original" };
  return phase & abi.PHASE_ZONE_REPLY ? { zoneOf: "reply" } : {};
}

function readCounters(memory: EngineMemory, id: number, direction: number): { packets: number; bytes: number } {
  const base = memory.getU32(memory.base(abi.REGION_FLOWS) + abi.FLOWS_COUNTERS);
  if (base === 0) return { packets: 0, bytes: 0 };
  const at = base + id * abi.FLOW_COUNTER_SIZE;
  return countersAt(memory, at, direction);
}

/** Counters of 48 bits each: bytes, and packets whose high part shares their word. */
export function countersAt(memory: EngineMemory, at: number, direction: number): { packets: number; bytes: number } {
  const low = memory.getU32(at + 8 * direction);
  const high = memory.getU32(at + 8 * direction + 4);
  return {
    bytes: (high & 0xffff) * 2 ** 32 + low,
    packets: (high >>> 16) * 2 ** 32 + memory.getU32(at + 16 + 4 * direction),
  };
}
