/** Flows as `conntrack -L` prints them. */
import type { ExpectedFlow } from "./conntrack.ts";
import { type Flow, PROTOCOL_NAMES, type Tuple } from "./flow.ts";
import type { Filtering, Mapping } from "./mappings.ts";

const CONES: Readonly<Record<Filtering, string>> = {
  "endpoint-independent": "full-cone",
  "address-dependent": "restricted-cone",
  "address-and-port-dependent": "port-restricted-cone",
};
/** Its keys tell nothing apart here: those of version 1 (PPTP) are not read. */
const GRE = 47;

function tupleText({ src, dst, sport, dport, type, code, id }: Tuple, protocol: number): string {
  const ends = `src=${src} dst=${dst}`;
  if (sport !== undefined) return `${ends} sport=${sport} dport=${dport}`;
  if (protocol === GRE) return `${ends} srckey=0x0 dstkey=0x0`;
  return type !== undefined ? `${ends} type=${type} code=${code} id=${id}` : ends;
}

/** The zone of a flow, where it stands: behind a direction that it is of alone, or at the end. */
export function zoneText({ zone, zoneOf }: Pick<Flow, "zone" | "zoneOf">, place: Flow["zoneOf"]): string {
  if (zone === 0 || zoneOf !== place) return "";
  return place === undefined ? `zone=${zone}` : `zone-${place === "original" ? "orig" : "reply"}=${zone}`;
}

function sideText(flow: Flow, direction: "original" | "reply", counted: boolean): string {
  const { packets, bytes } = flow[direction];
  const tuple = tupleText(flow[direction], flow.protocol);
  return [tuple, zoneText(flow, direction), counted ? `packets=${packets} bytes=${bytes}` : ""].filter((word) => word !== "").join(" ");
}

/** A mapping in the same words: its kind by RFC 3489's names, flows that use it. */
export function mappingText({ protocol, inner, outer, filtering, isExplicit, flows, expiresMs }: Mapping): string {
  const name = PROTOCOL_NAMES[protocol] ?? "unknown";
  return [
    `${name.padEnd(8)} ${protocol}`,
    Math.floor(expiresMs / 1000),
    `src=${inner.address} sport=${inner.port}`,
    `dst=${outer.address} dport=${outer.port}`,
    CONES[filtering],
    ...(isExplicit ? ["[EXPLICIT]"] : []),
    `use=${flows}`,
  ].join(" ");
}

/** As `conntrack -L expect` prints it: what is expected, which bits of it count, and who announced it. */
export function expectationText({ protocol, src, dst, dport, master, expiresMs }: ExpectedFlow): string {
  const zeros = dst.family === 4 ? "0.0.0.0" : "::";
  const ones = dst.family === 4 ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  const { original } = master;
  return [
    Math.floor(expiresMs / 1000),
    `proto=${protocol}`,
    `src=${src ?? zeros} dst=${dst} sport=0 dport=${dport}`,
    `mask-src=${src ? ones : zeros} mask-dst=${ones} sport=0 dport=65535`,
    `master-src=${original.src} master-dst=${original.dst} sport=${original.sport ?? 0} dport=${original.dport ?? 0}`,
    "class=0",
    ...(master.helper ? [`helper=${master.helper}`] : []),
  ].join(" ");
}

/** One line: protocol, its number, seconds left, state, both sides, status, mark. */
export function flowText(flow: Flow, counted = true): string {
  const { family, protocol, state, isAssured, isReplied, mark, expiresMs, helper } = flow;
  const name = PROTOCOL_NAMES[protocol] ?? "unknown";
  return [
    family === 4 ? "ipv4     2" : "ipv6     10",
    `${name.padEnd(8)} ${protocol}`,
    Math.floor(expiresMs / 1000),
    ...(state ? [state] : []),
    sideText(flow, "original", counted),
    ...(isReplied ? [] : ["[UNREPLIED]"]),
    sideText(flow, "reply", counted),
    ...(isAssured ? ["[ASSURED]"] : []),
    `mark=${mark}`,
    zoneText(flow, undefined),
    ...(helper ? [`helper=${helper}`] : []),
    "use=1",
  ]
    .filter((word) => word !== "")
    .join(" ");
}
