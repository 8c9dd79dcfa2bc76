/**
 * DHCPv4 messages (RFC 2131 §2): bytes to an object and back, with long options split and joined (RFC 3396) and the
 * fields `file` and `sname` read as options where the message says so (RFC 2132 §9.3). Reading throws EPROTO alone.
 */
import { format4, parse4 } from "../base/address.ts";
import { concat } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";

export const TYPE4 = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const;

/** Options by number (RFC 2132 unless said). */
export const OPTION4 = {
  subnetMask: 1,
  routers: 3,
  dns: 6,
  hostname: 12,
  domain: 15,
  mtu: 26,
  broadcast: 28,
  ntp: 42,
  requested: 50,
  leaseTime: 51,
  overload: 52,
  type: 53,
  serverId: 54,
  parameters: 55,
  message: 56,
  maxSize: 57,
  t1: 58,
  t2: 59,
  clientId: 61,
  /** RFC 4039. */
  rapidCommit: 80,
  /** RFC 3046. */
  relay: 82,
  /** RFC 3397. */
  search: 119,
  /** RFC 3442. */
  classlessRoutes: 121,
} as const;

export interface Dhcp4Message {
  /** 1 from clients, 2 from servers. */
  readonly op: 1 | 2;
  readonly hops: number;
  readonly xid: number;
  /** Since the client began. */
  readonly secs: number;
  /** The client cannot take unicast packets yet. */
  readonly broadcast: boolean;
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly siaddr: string;
  readonly giaddr: string;
  readonly htype: number;
  readonly chaddr: Uint8Array;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

const COOKIE = 0x63825363;
const FIXED = 236;
/** Relays and servers of the old kind take no shorter messages (RFC 1542 §2.1). */
const LEAST = 300;
const [SNAME, FILE] = [44, 108];

function malformed(what: string): LoomError {
  return new LoomError("EPROTO", `malformed DHCP message: ${what}`);
}

export function decodeDhcp4(bytes: Uint8Array): Dhcp4Message {
  if (bytes.length < FIXED + 4) throw malformed(`${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [op, htype, hlen] = bytes;
  if (op !== 1 && op !== 2) throw malformed(`operation ${op}`);
  if (hlen > 16) throw malformed(`a hardware address of ${hlen} bytes`);
  if (view.getUint32(FIXED) !== COOKIE) throw malformed("no magic cookie");
  const parts = new Map<number, Uint8Array[]>();
  readOptions(bytes.subarray(FIXED + 4), parts);
  const overload = parts.get(OPTION4.overload)?.find((part) => part.length > 0)?.[0] ?? 0;
  if (overload & 1) readOptions(bytes.subarray(FILE, FIXED), parts);
  if (overload & 2) readOptions(bytes.subarray(SNAME, FILE), parts);
  const options = new Map<number, Uint8Array>();
  for (const [code, pieces] of parts) options.set(code, concat(pieces));
  const address = (at: number) => format4(view.getUint32(at));
  return {
    op,
    htype,
    hops: bytes[3],
    xid: view.getUint32(4),
    secs: view.getUint16(8),
    broadcast: (bytes[10] & 0x80) !== 0,
    ciaddr: address(12),
    yiaddr: address(16),
    siaddr: address(20),
    giaddr: address(24),
    chaddr: new Uint8Array(bytes.subarray(28, 28 + hlen)),
    options,
  };
}

/** Adds what options there are to the parts that are known of each (RFC 3396 §5). */
function readOptions(bytes: Uint8Array, parts: Map<number, Uint8Array[]>): void {
  for (let at = 0; at < bytes.length; ) {
    const code = bytes[at++];
    if (code === 0) continue;
    if (code === 255) return;
    const length = at < bytes.length ? bytes[at] : 255;
    if (at + 1 + length > bytes.length) throw malformed(`option ${code} goes beyond its end`);
    const part = bytes.subarray(at + 1, at + 1 + length);
    const known = parts.get(code);
    if (known) known.push(part);
    else parts.set(code, [part]);
    at += 1 + length;
  }
}

/** Bytes of a message whose options are these. */
export function sizeOfDhcp4(options: ReadonlyMap<number, Uint8Array>): number {
  let size = FIXED + 5;
  for (const data of options.values()) size += data.length + 2 * Math.max(1, Math.ceil(data.length / 255));
  return Math.max(size, LEAST);
}

/** What is not given is zero. */
export function encodeDhcp4(message: Pick<Dhcp4Message, "op" | "xid" | "chaddr" | "options"> & Partial<Dhcp4Message>): Uint8Array {
  const { options } = message;
  const bytes = new Uint8Array(sizeOfDhcp4(options));
  const view = new DataView(bytes.buffer);
  bytes.set([message.op, message.htype ?? 1, message.chaddr.length, message.hops ?? 0]);
  view.setUint32(4, message.xid);
  view.setUint16(8, Math.min(message.secs ?? 0, 0xffff));
  bytes[10] = message.broadcast ? 0x80 : 0;
  (["ciaddr", "yiaddr", "siaddr", "giaddr"] as const).forEach((key, i) => view.setUint32(12 + 4 * i, parse4(message[key] ?? "0.0.0.0")));
  bytes.set(message.chaddr, 28);
  view.setUint32(FIXED, COOKIE);
  let at = FIXED + 4;
  for (const [code, data] of ordered(options)) {
    for (let from = 0; from === 0 || from < data.length; from += 255) {
      const piece = data.subarray(from, from + 255);
      bytes.set([code, piece.length], at);
      bytes.set(piece, at + 2);
      at += 2 + piece.length;
    }
  }
  bytes[at] = 255;
  return bytes;
}

/** The type in front, the relay's option last (RFC 3046 §2.1). */
function ordered(options: ReadonlyMap<number, Uint8Array>): [number, Uint8Array][] {
  const rank = (code: number) => (code === OPTION4.type ? 0 : code === OPTION4.relay ? 2 : 1);
  return [...options].sort(([a], [b]) => rank(a) - rank(b));
}

export function typeOf(message: Dhcp4Message): number {
  return message.options.get(OPTION4.type)?.[0] ?? 0;
}
