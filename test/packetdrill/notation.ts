/** Packets as scripts write them, for messages and traces. */
import type { Icmp, Ip, Packet, Tcp } from "./packet.ts";
import type { IpInfo, ScriptPacket, ScriptTcp } from "./script.ts";
import { showOption, type TcpOption } from "./tcp-options.ts";

const LETTERS: readonly (readonly [number, string])[] = [
  [0x02, "S"],
  [0x01, "F"],
  [0x04, "R"],
  [0x100, "A"],
  [0x40, "E"],
  [0x80, "W"],
  [0x08, "P"],
  [0x20, "U"],
  [0x10, "."],
];
const ECN = ["noecn", "ect1", "ect0", "ce"];

/** "SEW", "P." or, with `ace`, "P.5"; "-" for none. */
export function showFlags(flags: number, ace = false): string {
  const shown = ace ? flags & ~0x1c0 : flags;
  const letters = LETTERS.filter(([bit]) => shown & bit).map(([, letter]) => letter);
  if (ace) letters.push(String(aceOf(flags)));
  return letters.join("") || "-";
}

/** AE, CWR and ECE as the counter of AccECN (RFC 9768 §3.2.2.1). */
export function aceOf(flags: number): number {
  return (flags & 0x100 ? 4 : 0) | (flags & 0x80 ? 2 : 0) | (flags & 0x40 ? 1 : 0);
}

interface TcpText {
  flags: string;
  seq: number;
  length: number;
  ack: number;
  hasAck: boolean;
  win: number | null;
  urg: number;
  options: readonly TcpOption[] | "unchecked";
}

function tcpText(tcp: TcpText): string {
  const words = [tcp.flags, `${tcp.seq}:${(tcp.seq + tcp.length) >>> 0}(${tcp.length})`];
  if (tcp.hasAck) words.push(`ack ${tcp.ack}`);
  if (tcp.win !== null) words.push(`win ${tcp.win}`);
  if (tcp.urg !== 0) words.push(`urg ${tcp.urg}`);
  if (tcp.options === "unchecked") words.push("<...>");
  else if (tcp.options.length > 0) words.push(`<${tcp.options.map(showOption).join(",")}>`);
  return words.join(" ");
}

export function showTcp(tcp: Tcp, ace = false): string {
  return tcpText({ ...tcp, flags: showFlags(tcp.flags, ace), length: tcp.payload.length, hasAck: (tcp.flags & 0x10) !== 0 });
}

function scriptTcp(tcp: ScriptTcp): string {
  return tcpText({ ...tcp, flags: showFlags(tcp.flags, tcp.ace !== undefined), hasAck: (tcp.flags & 0x10) !== 0 });
}

function ipText(ip: IpInfo): string {
  const fields: string[] = [];
  if (ip.check === "ecn") fields.push(ECN[(ip.tos ?? 0) & 3]);
  if (ip.check === "ect01") fields.push("ect01");
  if (ip.check === "tos") fields.push(`tos 0x${(ip.tos ?? 0).toString(16)}`);
  if (ip.ttl) fields.push(`ttl ${ip.ttl}`);
  if (ip.flowLabel) fields.push(`flowlabel 0x${ip.flowLabel.toString(16)}`);
  return fields.length === 0 ? "" : `[${fields.join(", ")}] `;
}

/** What a script says of a packet. */
export function showScriptPacket(packet: ScriptPacket): string {
  const arrow = packet.direction === "in" ? "<" : ">";
  const start = `${arrow} ${ipText(packet.ip)}`;
  if (packet.protocol === "tcp") return start + scriptTcp(packet);
  if (packet.protocol === "udp") return `${start}udp (${packet.length})`;
  if (packet.protocol === "icmp") return `${start}icmp ${packet.icmpType} ${packet.icmpCode}`.trimEnd();
  return start + packet.protocol;
}

/** As little of the IP header as the script that it is compared with speaks of. */
function seenIp(ip: Ip, asked: IpInfo): string {
  const check = asked.check === "ect01" ? "ecn" : asked.check;
  return ipText({
    check,
    tos: ip.tos,
    ttl: asked.ttl ? ip.ttl : undefined,
    flowLabel: asked.flowLabel ? ip.flowLabel : undefined,
  });
}

function showIcmp(icmp: Icmp): string {
  return `icmp type_${icmp.type} code_${icmp.code} (${icmp.payload.length + 8})`;
}

export function showPacket(packet: Packet, direction: "in" | "out", asked: IpInfo = {}, ace = false): string {
  const { transport } = packet;
  const start = `${direction === "in" ? "<" : ">"} ${seenIp(packet.ip, asked)}`;
  if (transport.protocol === "tcp") return start + showTcp(transport, ace);
  if (transport.protocol === "udp") return `${start}udp (${transport.payload.length})`;
  return start + showIcmp(transport);
}
