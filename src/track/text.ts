/** Flows as `conntrack -L` prints them. */
import * as abi from "../../assembly/abi.ts";
import { type Flow, PROTOCOL_NAMES, type Side, type Tuple } from "./flow.ts";
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

function sideText(side: Side, protocol: number, counted: boolean): string {
  return counted ? `${tupleText(side, protocol)} packets=${side.packets} bytes=${side.bytes}` : tupleText(side, protocol);
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

/** One line: protocol, its number, seconds left, state, both sides, status, mark. */
export function flowText(flow: Flow, counted = true): string {
  const { family, protocol, zone, state, original, reply, isAssured, isReplied, mark, expiresMs, status } = flow;
  const name = PROTOCOL_NAMES[protocol] ?? "unknown";
  return [
    family === 4 ? "ipv4     2" : "ipv6     10",
    `${name.padEnd(8)} ${protocol}`,
    Math.floor(expiresMs / 1000),
    ...(state ? [state] : []),
    sideText(original, protocol, counted),
    ...(isReplied ? [] : ["[UNREPLIED]"]),
    sideText(reply, protocol, counted),
    ...(isAssured ? ["[ASSURED]"] : []),
    `mark=${mark}`,
    ...(status & abi.IPS_HELPER ? ["helper"] : []),
    ...(zone ? [`zone=${zone}`] : []),
    "use=1",
  ].join(" ");
}
