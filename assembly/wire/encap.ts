/**
 * Tunnel headers, written into the headroom in front of a packet that begins with its IP header.
 *
 *   IPIP  IPv4 in IPv4 (RFC 2003), IPv6 in IPv4 (RFC 4213), either in IPv6 (RFC 2473)
 *   GUE   the same over UDP (draft-ietf-intarea-gue, variant 0, no optional fields), so that the way there can spread flows by port
 *
 * Traffic class and ECN are copied (RFC 6040, normal mode). An outer IPv4 header always has DF, and identification 0 with it (RFC 6864):
 * tunnels do not fragment; what does not fit is not encapsulated, and the caller says so or fragments the inner packet.
 * The inner hop limit is the caller's: whoever forwards has counted it already.
 */
import {
  BALANCE_GUE, BALANCE_IPIP, DESC_CSUM_START, DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_HASH,
  DESC_L3, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, DESC_PROTOCOL, FLAG_IP4, FLAG_IP6,
} from "../abi";
import { store16, store32, swap32 } from "./bytes";
import { addSums, pseudo6, sum, sum20, sumChain } from "./checksum";
import { UDP } from "./l4";

export const GUE_PORT: u32 = 6080;
const GUE_SIZE: u32 = 4;
const UDP_SIZE: u32 = 8;
const IN_IP4: u32 = 4;
const IN_IP6: u32 = 41;
const HOPS: u32 = 64;

/** True when 16 bytes of address are ::ffff:a.b.c.d. */
@inline
function is4(address: usize): bool {
  return load<u64>(address) == 0 && load<u32>(address, 8) == 0xffff0000;
}

/** Bytes that a tunnel to an address puts in front. */
export function encapOverhead(mode: u32, destination: usize): u32 {
  return (is4(destination) ? 20 : 40) + (mode == BALANCE_GUE ? UDP_SIZE + GUE_SIZE : 0);
}

/**
 * Writes the headers of a tunnel in front of `at`, where an IP packet of `length` bytes begins, whose bytes sum to `inner` (needed
 * for GUE over IPv6 alone). Addresses are 16 bytes each, of one family. Returns the bytes in front of `at`; 0 when the whole
 * would be longer than `mtu` (0 = any) or than its length field can say.
 */
export function encapsulate(at: usize, length: u32, inner: u32, mode: u32, source: usize, destination: usize, hash: u32, mtu: u32): u32 {
  const overhead = encapOverhead(mode, destination), over4 = is4(destination), most: u32 = over4 ? 65535 : 65535 + 40;
  if (length + overhead > (mtu == 0 ? most : min<u32>(mtu, most))) return 0;
  const from4 = (load<u8>(at) >>> 4) == 4, protocol = from4 ? IN_IP4 : IN_IP6;
  // Version, traffic class and the rest of the first word are at the same bits in both families' outer headers.
  const traffic: u32 = from4 ? <u32>load<u8>(at, 1) : (swap32(load<u32>(at)) >>> 20) & 0xff;
  const outer = at - overhead, carried = mode == BALANCE_GUE ? UDP : protocol;
  if (over4) writeOuter4(outer, overhead + length, traffic, carried, source, destination);
  else writeOuter6(outer, overhead - 40 + length, traffic, carried, source, destination, hash);
  if (mode == BALANCE_GUE) writeGue(outer, over4, length, inner, protocol, hash);
  return overhead;
}

function writeOuter4(at: usize, length: u32, traffic: u32, protocol: u32, source: usize, destination: usize): void {
  store32(at, 0x45000000 | (traffic << 16) | length);
  store32(at + 4, 0x4000);
  store32(at + 8, (HOPS << 24) | (protocol << 16));
  store<u32>(at, load<u32>(source, 12), 12);
  store<u32>(at, load<u32>(destination, 12), 16);
  store<u16>(at, <u16>~sum20(at), 10);
}

/** The flow's hash is the label, so that the way there can tell flows apart (RFC 6438). */
function writeOuter6(at: usize, payload: u32, traffic: u32, next: u32, source: usize, destination: usize, hash: u32): void {
  store32(at, 0x60000000 | (traffic << 20) | (hash & 0xfffff));
  store32(at + 4, (payload << 16) | (next << 8) | HOPS);
  v128.store(at, v128.load(source), 8);
  v128.store(at, v128.load(destination), 24);
}

/** Source ports are of the dynamic range, by the flow's hash. Over IPv4 the checksum may be left out; over IPv6 it may not (RFC 8200 §8.1). */
function writeGue(outer: usize, over4: bool, length: u32, inner: u32, protocol: u32, hash: u32): void {
  const udp = outer + (over4 ? 20 : 40), bytes = UDP_SIZE + GUE_SIZE + length;
  store32(udp, ((0xc000 | (hash >>> 18)) << 16) | GUE_PORT);
  store32(udp + 4, bytes << 16);
  store32(udp + 8, protocol << 16);
  if (over4) return;
  const all = addSums(addSums(pseudo6(outer + 8, UDP, bytes), sum(udp, UDP_SIZE + GUE_SIZE)), inner);
  const field = ~all & 0xffff;
  store<u16>(udp, <u16>(field == 0 ? 0xffff : field), 6);
}

/** What `encapPacket` did: bytes put in front, or this. */
export const NOT_ENCAPSULATED: u32 = 0;

/**
 * Encapsulates a classified packet whose head is its own (`privateHead`), whole (no segmentation, no open checksum). Afterwards it begins
 * with the tunnel's IP header, as `sendByHop` wants it, and keeps its flow hash. Returns the bytes of the tunnel's headers, or 0
 * when the packet is too big: it is as it was.
 */
export function encapPacket(id: u32, d: usize, mode: u32, source: usize, destination: usize, mtu: u32): u32 {
  if ((mode != BALANCE_IPIP && mode != BALANCE_GUE) || load<u16>(d, DESC_GSO_SIZE) != 0) return NOT_ENCAPSULATED;
  const l3 = <u32>load<u16>(d, DESC_L3), at = <usize>load<u32>(d, DESC_DATA) + l3, length = load<u32>(d, DESC_PACKET_LENGTH) - l3;
  const over4 = is4(destination), inner = mode == BALANCE_GUE && !over4 ? sumChain(id, l3, length) : 0;
  const bytes = encapsulate(at, length, inner, mode, source, destination, load<u32>(d, DESC_HASH), mtu);
  if (bytes == 0) return NOT_ENCAPSULATED;
  store<u32>(d, <u32>at - bytes, DESC_DATA);
  store<u32>(d, load<u32>(d, DESC_LENGTH) + bytes - l3, DESC_LENGTH);
  store<u32>(d, length + bytes, DESC_PACKET_LENGTH);
  store<u16>(d, 0, DESC_L3);
  store<u16>(d, over4 ? 20 : 40, DESC_L4);
  store<u32>(d, over4 ? FLAG_IP4 : FLAG_IP6, DESC_FLAGS);
  store<u8>(d, <u8>(mode == BALANCE_GUE ? UDP : <u32>load<u8>(at - bytes + (over4 ? 9 : 6))), DESC_PROTOCOL);
  store<u32>(d, 0, DESC_CSUM_START);
  return bytes;
}
