/** What rules do with a packet that is followed (`meta nftrace set 1`), and how `nft monitor trace` says it. */
import { format4, format6, formatMac } from "../base/address.ts";
import { u16, u32 } from "../base/bytes.ts";
import type { Family } from "./expressions.ts";
import { DSCP, ECN, ICMP_CODES, ICMP_TYPES, ICMPV6_CODES, ICMPV6_TYPES, IP_PROTOCOLS, TCP_FLAGS } from "./language/symbols.ts";

/** A rule that matched, or the policy of a chain that no rule decided in. */
export interface TraceEntry {
  /** The same in all entries about one packet. */
  readonly id: number;
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  /** Of the rule; absent where the chain's policy decided. */
  readonly handle?: number;
  /** The rule as `nft list` shows it; absent when it was replaced meanwhile. */
  readonly rule?: string;
  /** As nft writes it: "continue", "accept", "drop", "return", "jump other" … */
  readonly verdict: string;
  /** Names of interfaces; "" where there is none. */
  readonly in: string;
  readonly out: string;
  /** The packet's first bytes (128 with the link-layer header), from its network header on, as the rule left them. */
  readonly packet: Uint8Array;
  /** Link-layer header, where there is one. */
  readonly link: Uint8Array;
  readonly mark: number;
}

/** What is known of it without its packet. */
export type Traced = Pick<TraceEntry, "family" | "table" | "chain" | "handle" | "rule" | "verdict">;

/** Verdicts after which the same base chain goes on. */
const GOES_ON = /^(continue|return|jump |goto )/;
/** So many packets may be in the middle of a chain; entries can be lost. */
const MOST_OPEN = 1024;

/** Writes entries in their order: at a packet's first in each base chain it says what packet it is. */
export class TraceText {
  private readonly open = new Set<number>();

  /** Lines for one entry. */
  lines(entry: TraceEntry): string {
    const { id, family, table, chain, verdict, handle, rule, mark } = entry;
    const head = `trace id ${id.toString(16).padStart(8, "0")} ${family} ${table} ${chain}`;
    const isFirst = !this.open.has(id);
    if (handle !== undefined && GOES_ON.test(verdict)) {
      if (this.open.size >= MOST_OPEN) this.open.clear();
      this.open.add(id);
    } else this.open.delete(id);
    const marked = mark === 0 ? "" : `meta mark 0x${mark.toString(16).padStart(8, "0")} `;
    const said = handle === undefined ? `policy ${verdict} ${marked}` : `rule ${rule ?? `# handle ${handle}`} (verdict ${verdict})`;
    return `${isFirst ? `${head} packet: ${packetText(entry)}\n` : ""}${head} ${said}\n`;
  }
}

const ETHERNET = 14;

/** A packet's headers in the words of rules, each with a space behind it. */
function packetText({ in: from, out, link, packet }: TraceEntry): string {
  const words = [from && `iif "${from}"`, out && `oif "${out}"`];
  if (link.length >= ETHERNET) words.push(`ether saddr ${formatMac(link.subarray(6, 12))} ether daddr ${formatMac(link.subarray(0, 6))}`);
  const version = packet.length > 0 ? packet[0] >>> 4 : 0;
  if (version === 4 && packet.length >= 20) words.push(...ipv4(packet));
  if (version === 6 && packet.length >= 40) words.push(...ipv6(packet));
  return words.filter((word) => word !== "").reduce((text, word) => `${text}${word} `, "");
}

const name = (names: ReadonlyMap<string, bigint>, value: number, other = String(value)): string =>
  [...names].find(([, each]) => Number(each) === value)?.[0] ?? other;
const traffic = (field: string, value: number) => [
  `${field} dscp ${name(DSCP, value >>> 2, `0x${(value >>> 2).toString(16).padStart(2, "0")}`)}`,
  `${field} ecn ${name(ECN, value & 3)}`,
];

function ipv4(ip: Uint8Array): string[] {
  const protocol = ip[9];
  const head = [
    `ip saddr ${format4(u32(ip, 12))} ip daddr ${format4(u32(ip, 16))}`,
    ...traffic("ip", ip[1]),
    `ip ttl ${ip[8]} ip id ${u16(ip, 4)} ip protocol ${name(IP_PROTOCOLS, protocol)} ip length ${u16(ip, 2)}`,
  ];
  const isLater = (u16(ip, 6) & 0x1fff) !== 0;
  return isLater ? head : [...head, ...transport(protocol, ip.subarray((ip[0] & 15) * 4, Math.max(u16(ip, 2), 20)))];
}

function ipv6(ip: Uint8Array): string[] {
  const word = u32(ip, 0);
  const protocol = ip[6];
  return [
    `ip6 saddr ${format6(...halves(ip, 8))} ip6 daddr ${format6(...halves(ip, 24))}`,
    ...traffic("ip6", (word >>> 20) & 255),
    `ip6 hoplimit ${ip[7]} ip6 flowlabel ${word & 0xfffff} ip6 nexthdr ${name(IP_PROTOCOLS, protocol)} ip6 length ${u16(ip, 4)}`,
    ...transport(protocol, ip.subarray(40, 40 + u16(ip, 4))),
  ];
}

const halves = (bytes: Uint8Array, at: number): [bigint, bigint] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return [view.getBigUint64(at), view.getBigUint64(at + 8)];
};

/** As much of a transport's header as the kernel hands on. */
const TRANSPORT = 20;
/** Up to which byte a field reaches, and how it is shown. */
type FieldText = readonly [end: number, show: (l4: Uint8Array) => string];
const word16 = (field: string, end: number): FieldText => [end, (l4) => `${field} ${u16(l4, end - 2)}`];
const word32 = (field: string, end: number): FieldText => [end, (l4) => `${field} ${u32(l4, end - 4)}`];
const named = (field: string, end: number, names: ReadonlyMap<string, bigint>): FieldText => [
  end,
  (l4) => `${field} ${name(names, l4[end - 1])}`,
];
const flags: FieldText = [14, (l4) => `tcp flags == ${name(TCP_FLAGS, l4[13], `0x${l4[13].toString(16)}`)}`];
/** Bytes of the header, and the fields of it that are shown. */
const HEADERS: Readonly<Record<number, readonly [bytes: number, fields: readonly FieldText[]]>> = {
  1: [8, [named("icmp type", 1, ICMP_TYPES), named("icmp code", 2, ICMP_CODES), word16("icmp id", 6), word16("icmp sequence", 8)]],
  6: [20, [word16("tcp sport", 2), word16("tcp dport", 4), flags, word16("tcp window", 16)]],
  17: [8, [word16("udp sport", 2), word16("udp dport", 4), word16("udp length", 6)]],
  58: [8, [named("icmpv6 type", 1, ICMPV6_TYPES), named("icmpv6 code", 2, ICMPV6_CODES), word32("icmpv6 parameter-problem", 8)]],
  132: [12, [word16("sctp sport", 2), word16("sctp dport", 4), word32("sctp vtag", 8)]],
};

function transport(protocol: number, bytes: Uint8Array): string[] {
  const l4 = bytes.subarray(0, TRANSPORT);
  const [size, all] = Object.hasOwn(HEADERS, protocol) ? HEADERS[protocol] : [0, []];
  const fields = all.filter(([end]) => end <= l4.length);
  // Of a header that is cut short the fields that are there, and no more.
  const rest = l4.subarray(size);
  const raw = rest.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  return [...fields.map(([, show]) => show(l4)), ...(rest.length > 0 ? [`@th,${8 * size},${8 * rest.length} 0x${raw.toString(16)}`] : [])];
}
