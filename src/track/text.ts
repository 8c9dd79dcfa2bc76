/** Flows as `conntrack -L` prints them. */
import * as abi from "../../assembly/abi.ts";
import { type Flow, PROTOCOL_NAMES, type Side, type Tuple } from "./flow.ts";

function tupleText({ src, dst, sport, dport, type, code, id }: Tuple): string {
  const ends = `src=${src} dst=${dst}`;
  if (sport !== undefined) return `${ends} sport=${sport} dport=${dport}`;
  return type !== undefined ? `${ends} type=${type} code=${code} id=${id}` : ends;
}

function sideText(side: Side, counted: boolean): string {
  return counted ? `${tupleText(side)} packets=${side.packets} bytes=${side.bytes}` : tupleText(side);
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
    sideText(original, counted),
    ...(isReplied ? [] : ["[UNREPLIED]"]),
    sideText(reply, counted),
    ...(isAssured ? ["[ASSURED]"] : []),
    `mark=${mark}`,
    ...(status & abi.IPS_HELPER ? ["helper"] : []),
    ...(zone ? [`zone=${zone}`] : []),
    "use=1",
  ].join(" ");
}
