/**
 * Is a packet that was sent what the script says? What a script leaves out is not compared: the window, options
 * written `<...>`, the TOS byte. Each difference names its field.
 */

import { icmpNumbers } from "./icmp.ts";
import { aceOf, showFlags } from "./notation.ts";
import { AE, CWR, ECE, type Ip, type Packet, type Tcp } from "./packet.ts";
import type { IpInfo, ScriptPacket, ScriptTcp } from "./script.ts";
import { encodeOption, showOption, type TcpOption } from "./tcp-options.ts";

export type Differences = string[];

const differ = (out: Differences, field: string, expected: unknown, actual: unknown) => {
  if (expected !== actual) out.push(`${field}: expected ${expected}, got ${actual}`);
};

function compareIp(asked: IpInfo, ip: Ip, out: Differences): void {
  const tos = asked.tos ?? 0;
  if (asked.check === "ecn") differ(out, "ECN", tos, ip.tos & 3);
  if (asked.check === "tos") differ(out, "TOS", tos, ip.tos);
  if (asked.check === "ect01" && (ip.tos & 3) !== 1 && (ip.tos & 3) !== 2) out.push(`ECN: expected ect0 or ect1, got ${ip.tos & 3}`);
  if (asked.ttl) differ(out, "TTL", asked.ttl, ip.ttl);
}

const ECN_BITS = AE | CWR | ECE;

function compareFlags(expected: ScriptTcp, actual: Tcp, out: Differences): void {
  const byNumber = expected.ace !== undefined && expected.ace !== 0;
  const mask = byNumber ? ~ECN_BITS : -1;
  if ((expected.flags & mask) !== (actual.flags & mask)) {
    out.push(`flags: expected ${showFlags(expected.flags, byNumber)}, got ${showFlags(actual.flags, byNumber)}`);
  } else if (byNumber) differ(out, "ACE", expected.ace, aceOf(actual.flags));
}

/** Timestamps are compared by the clock that sent them, elsewhere: here they are alike. */
function sameOption(a: TcpOption, b: TcpOption): boolean {
  if (a.kind === "TS" && b.kind === "TS") return true;
  return String(encodeOption(a)) === String(encodeOption(b));
}

function compareOptions(expected: ScriptTcp["options"], actual: readonly TcpOption[], out: Differences): void {
  if (expected === "unchecked") return;
  const show = (options: readonly TcpOption[]) => `<${options.map(showOption).join(",")}>`;
  const named = new Set([...expected, ...actual].map(({ kind }) => kind));
  const wrong = [...named].filter((kind) => {
    const [a, b] = [expected, actual].map((options) => options.filter((option) => option.kind === kind));
    return a.length !== b.length || a.some((option, i) => !sameOption(option, b[i]));
  });
  if (wrong.length > 0) out.push(`options (${wrong.join(", ")}): expected ${show(expected)}, got ${show(actual)}`);
  else if (expected.some((option, i) => option.kind !== actual[i].kind)) {
    out.push(`order of options: expected ${show(expected)}, got ${show(actual)}`);
  }
}

function compareTcp(expected: ScriptTcp, actual: Tcp, out: Differences): void {
  compareFlags(expected, actual, out);
  differ(out, "seq", expected.seq >>> 0, actual.seq);
  differ(out, "payload", expected.length, actual.payload.length);
  differ(out, "ack", expected.ack >>> 0, actual.ack);
  if (expected.win !== null) differ(out, "win", expected.win, actual.win);
  differ(out, "urg", expected.urg, actual.urg);
  compareOptions(expected.options, actual.options, out);
  if (actual.payload.some((byte) => byte !== 0)) out.push("payload: expected zeros, got something else");
}

/** Differences between what a script expects and a packet in the script's own numbers; none when they agree. */
export function compare(expected: ScriptPacket, actual: Packet): Differences {
  const out: Differences = [];
  const { transport } = actual;
  compareIp(expected.ip, actual.ip, out);
  if (expected.protocol !== transport.protocol) {
    out.push(`protocol: expected ${expected.protocol}, got ${transport.protocol}`);
  } else if (expected.protocol === "tcp") compareTcp(expected, transport as Tcp, out);
  else if (expected.protocol === "udp" && transport.protocol === "udp") {
    differ(out, "payload", expected.length, transport.payload.length);
  } else if (expected.protocol === "icmp" && transport.protocol === "icmp") {
    const { type, code } = icmpNumbers(expected, actual.ip.family);
    differ(out, "ICMP type", type, transport.type);
    differ(out, "ICMP code", code, transport.code);
  }
  return out;
}

/**
 * Can `next` be the continuation of `last` on a wire without segmentation offload? A script may write several segments
 * as the one that the sender handed down; all but the last have the same size. FIN, PSH and CWR may differ.
 */
export function continues(last: Tcp, next: Tcp, isLast: boolean): boolean {
  const same = ~(0x01 | 0x08 | 0x80);
  return (
    next.seq === (last.seq + last.payload.length) >>> 0 &&
    (next.flags & same) === (last.flags & same) &&
    next.ack === last.ack &&
    next.win === last.win &&
    next.options.length === last.options.length &&
    (isLast || next.payload.length === last.payload.length)
  );
}

/** Segments as one: the last one's header, the first one's sequence number and CWR, everybody's bytes. */
export function merge(pieces: readonly Tcp[]): Tcp {
  const [first] = pieces;
  const last = pieces[pieces.length - 1];
  const payload = new Uint8Array(pieces.reduce((n, piece) => n + piece.payload.length, 0));
  let at = 0;
  for (const piece of pieces) {
    payload.set(piece.payload, at);
    at += piece.payload.length;
  }
  return { ...last, seq: first.seq, flags: (last.flags & ~CWR) | (first.flags & CWR), payload };
}
