/** Packets that rules log, as the kernel's nf_log writes them: `IN=lan OUT=wan MAC=… SRC=… DST=… LEN=… PROTO=…`. */
import { format4, formatMac } from "../base/address.ts";
import { u16, u32 } from "../base/bytes.ts";
import { IpAddress } from "../base/ip-address.ts";

export interface LoggedPacket {
  readonly prefix: string;
  /** Names of interfaces; "" where there is none. */
  readonly in: string;
  readonly out: string;
  /** From the Ethernet header, or from the IP header where there is none any more. */
  readonly frame: Uint8Array;
  readonly hasEthernet: boolean;
  readonly mark?: number;
}

export type LogFormat = "kernel" | "syslog" | "json";

const ETHERNET = 14;
const NAMES: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 50: "ESP", 51: "AH", 58: "ICMPv6", 136: "UDPLITE" };
/** Extension headers that lead on to the next (RFC 8200 §4). */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60, 135]);
const TCP_FLAGS = [
  [0x80, "CWR"],
  [0x40, "ECE"],
  [0x20, "URG"],
  [0x10, "ACK"],
  [0x08, "PSH"],
  [0x04, "RST"],
  [0x02, "SYN"],
  [0x01, "FIN"],
] as const;
const hex = (value: number, digits = 2) => value.toString(16).toUpperCase().padStart(digits, "0");

export function logLine(packet: LoggedPacket): string {
  const { prefix, frame, hasEthernet, mark } = packet;
  const mac = hasEthernet && packet.in !== "" && frame.length >= ETHERNET ? `${macs(frame)} ` : "";
  const ip = hasEthernet ? frame.subarray(ETHERNET) : frame;
  const body = ip.length < 20 ? "INCOMPLETE" : ip[0] >>> 4 === 4 ? ipv4(ip) : ip.length < 40 ? "INCOMPLETE" : ipv6(ip);
  return `${prefix}IN=${packet.in} OUT=${packet.out} ${mac}${body}${mark ? ` MARK=0x${mark.toString(16)}` : ""}`.trimEnd();
}

/** Both addresses and the type, as one row of bytes. */
function macs(frame: Uint8Array): string {
  const type = Array.from(frame.subarray(12, 14), (byte) => byte.toString(16).padStart(2, "0")).join(":");
  return `MAC=${formatMac(frame.subarray(0, 6))}:${formatMac(frame.subarray(6, 12))}:${type}`;
}

function ipv4(ip: Uint8Array): string {
  const header = (ip[0] & 15) * 4;
  const fragment = u16(ip, 6);
  const flags = [fragment & 0x4000 && "DF ", fragment & 0x2000 && "MF ", fragment & 0x1fff && `FRAG:${fragment & 0x1fff} `]
    .filter(Boolean)
    .join("");
  const head = `SRC=${format4(u32(ip, 12))} DST=${format4(u32(ip, 16))} LEN=${u16(ip, 2)} TOS=0x${hex(ip[1] & 0x1e)} PREC=0x${hex(ip[1] & 0xe0)} TTL=${ip[8]} ID=${u16(ip, 4)} ${flags}`;
  return head + upper(ip[9], ip.subarray(header), (fragment & 0x1fff) === 0);
}

function ipv6(ip: Uint8Array): string {
  const word = u32(ip, 0);
  const address = (at: number) => long(IpAddress.fromBytes(ip.slice(at, at + 16)));
  const head = `SRC=${address(8)} DST=${address(24)} LEN=${u16(ip, 4) + 40} TC=${(word >>> 20) & 0xff} HOPLIMIT=${ip[7]} FLOWLBL=${word & 0xfffff} `;
  let next = ip[6];
  let at = 40;
  while (EXTENSIONS.has(next) && at + 8 <= ip.length) {
    next = ip[at];
    at += (ip[at + 1] + 1) * 8;
  }
  return head + upper(next, ip.subarray(at), true);
}

/** Without any zeros left out, as the kernel logs them. */
function long(address: IpAddress): string {
  const bytes = address.bytes();
  return Array.from({ length: 8 }, (_, i) =>
    u16(bytes, 2 * i)
      .toString(16)
      .padStart(4, "0"),
  ).join(":");
}

function upper(protocol: number, data: Uint8Array, isFirst: boolean): string {
  const head = `PROTO=${NAMES[protocol] ?? protocol} `;
  if (!isFirst || !(protocol in NAMES)) return head;
  const least = protocol === 6 ? 20 : protocol === 50 ? 8 : protocol === 51 ? 12 : 4;
  if (data.length < least) return `${head}INCOMPLETE [${data.length} bytes] `;
  const ports = () => `SPT=${u16(data, 0)} DPT=${u16(data, 2)} `;
  if (protocol === 6) {
    const flags = TCP_FLAGS.filter(([bit]) => data[13] & bit).map(([, name]) => `${name} `);
    return `${head}${ports()}WINDOW=${u16(data, 14)} RES=0x${hex((data[12] & 15) << 2)} ${flags.join("")}URGP=${u16(data, 18)} `;
  }
  if (protocol === 17 || protocol === 136) return `${head}${ports()}LEN=${data.length >= 6 ? u16(data, 4) : 0} `;
  if (protocol === 50) return `${head}SPI=0x${u32(data, 0).toString(16)} `;
  if (protocol === 51) return `${head}SPI=0x${u32(data, 4).toString(16)} `;
  const isEcho = protocol === 1 ? data[0] === 8 || data[0] === 0 : data[0] === 128 || data[0] === 129;
  return `${head}TYPE=${data[0]} CODE=${data[1]} ${isEcho && data.length >= 8 ? `ID=${u16(data, 4)} SEQ=${u16(data, 6)} ` : ""}`;
}

/** Kernel facility (0), severity warning (4): what `log` of nftables uses unless it is told otherwise. */
const PRIORITY = 4;

/** A line in the format asked for; `time` in milliseconds since 1970. */
export function formatLog(packet: LoggedPacket, format: LogFormat, name: string, time: number): string {
  const line = logLine(packet);
  if (format === "kernel") return line;
  const stamp = new Date(time).toISOString();
  // RFC 5424: no process, no message id, no structured data.
  if (format === "syslog") return `<${PRIORITY}>1 ${stamp} ${name} kernel - - - ${line}`;
  return JSON.stringify({ time: stamp, prefix: packet.prefix, in: packet.in, out: packet.out, line });
}
