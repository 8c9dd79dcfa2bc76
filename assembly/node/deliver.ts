/**
 * Packets for this host, read once: addresses, ports and the TCP fields that every segment has, in host order at
 * fixed places, so that the host layer parses no header on its common road. Lengths and checksums are verified
 * here (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1, RFC 4443 §2.3).
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_L3, DESC_L4, DESC_LENGTH, DESC_NEXT, DESC_PACKET_LENGTH,
  DESC_PROTOCOL,   DROP_L4_BAD_CHECKSUM, DROP_L4_BAD_LENGTH, FLAG_CSUM_GOOD, FLAG_CSUM_PARTIAL, FLAG_FRAGMENT, FLAG_IP4, FLAG_L4, NONE,
  SEG_ACKNOWLEDGEMENT, SEG_DESTINATION, SEG_DESTINATION_PORT, SEG_FAMILY, SEG_FLAGS, SEG_FLOW_LABEL, SEG_HOP_LIMIT,
  SEG_OPTIONS, SEG_OPTIONS_LENGTH, SEG_OPTION_KINDS, SEG_OTHER_OPTIONS, SEG_PAYLOAD, SEG_PAYLOAD_LENGTH, SEG_PIECE,
  SEG_PROTOCOL, SEG_SEQUENCE, SEG_SOURCE, SEG_SOURCE_PORT, SEG_TIMESTAMPS, SEG_TRAFFIC_CLASS, SEG_TSECR, SEG_TSVAL,
  SEG_URGENT, SEG_WINDOW, TRANSPORT_FRAGMENT, TRANSPORT_ICMP, TRANSPORT_OTHER, TRANSPORT_TCP, TRANSPORT_UDP,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { drop } from "../core/packet";
import { load16, load32, swap32 } from "../wire/bytes";
import { transportSumRight } from "../wire/checksum";
import { examineL4, ICMP, ICMP6, TCP, UDP } from "../wire/l4";

/** Writes the record of a classified packet to `out`; one of TRANSPORT_*, or 0 when it was dropped. */
export function readTransport(worker: usize, id: u32, out: usize): u32 {
  const d = descriptorAt(id);
  examineL4(d);
  const flags = load<u32>(d, DESC_FLAGS), is4 = (flags & FLAG_IP4) != 0;
  const data = <usize>load<u32>(d, DESC_DATA), l3 = <u32>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4);
  const protocol = <u32>load<u8>(d, DESC_PROTOCOL), at = data + l3;
  const end = l3 + (is4 ? load16(at + 2) : load16(at + 4) + 40);
  readNetwork(at, is4, protocol, out);
  store<u32>(out, l4, SEG_PAYLOAD);
  store<u32>(out, end - l4, SEG_PAYLOAD_LENGTH);
  if ((flags & FLAG_FRAGMENT) != 0) return TRANSPORT_FRAGMENT;
  const icmp = protocol == (is4 ? ICMP : ICMP6);
  if (protocol != TCP && protocol != UDP && !icmp) return TRANSPORT_OTHER;
  if ((flags & FLAG_L4) == 0 || end < l4 || end > load<u32>(d, DESC_PACKET_LENGTH)) { drop(worker, id, DROP_L4_BAD_LENGTH); return 0; }
  // A UDP length may be shorter than the packet (what is behind it is neither summed nor the application's), never longer.
  const length = protocol == UDP ? load16(data + l4 + 4) : end - l4;
  if (length > end - l4 || (protocol == UDP && length < 8)) { drop(worker, id, DROP_L4_BAD_LENGTH); return 0; }
  if ((flags & (FLAG_CSUM_GOOD | FLAG_CSUM_PARTIAL)) == 0 && !isGood(id, at, data + l4, is4, protocol, l4, length)) {
    drop(worker, id, DROP_L4_BAD_CHECKSUM);
    return 0;
  }
  store<u32>(d, flags | FLAG_L4 | FLAG_CSUM_GOOD, DESC_FLAGS);
  if (icmp) return TRANSPORT_ICMP;
  store<u32>(out, load16(data + l4), SEG_SOURCE_PORT);
  store<u32>(out, load16(data + l4 + 2), SEG_DESTINATION_PORT);
  const size = <u32>load<u16>(d, DESC_GSO_SIZE);
  if (protocol == UDP) {
    store<u32>(out, l4 + 8, SEG_PAYLOAD);
    store<u32>(out, length - 8, SEG_PAYLOAD_LENGTH);
    store<u32>(out, size == 0 ? length - 8 : size, SEG_PIECE);
    return TRANSPORT_UDP;
  }
  readTcp(data + l4, l4, end, out);
  store<u32>(out, size == 0 ? load<u32>(out, SEG_PAYLOAD_LENGTH) : size, SEG_PIECE);
  return TRANSPORT_TCP;
}

function readNetwork(at: usize, is4: bool, protocol: u32, out: usize): void {
  store<u8>(out, is4 ? 4 : 6, SEG_FAMILY);
  store<u8>(out, <u8>protocol, SEG_PROTOCOL);
  if (is4) {
    store<u8>(out, load<u8>(at, 1), SEG_TRAFFIC_CLASS);
    store<u8>(out, load<u8>(at, 8), SEG_HOP_LIMIT);
    store<u32>(out, 0, SEG_FLOW_LABEL);
    mapped(out + SEG_SOURCE, load32(at + 12));
    mapped(out + SEG_DESTINATION, load32(at + 16));
    return;
  }
  const first = load32(at);
  store<u8>(out, <u8>(first >>> 20), SEG_TRAFFIC_CLASS);
  store<u8>(out, load<u8>(at, 7), SEG_HOP_LIMIT);
  store<u32>(out, first & 0xfffff, SEG_FLOW_LABEL);
  for (let i: usize = 0; i < 32; i += 4) store<u32>(out + SEG_SOURCE + i, load32(at + 8 + i));
}

@inline
function mapped(out: usize, address: u32): void {
  store<u64>(out, 0);
  store<u32>(out, 0xffff, 8);
  store<u32>(out, address, 12);
}

/** The checksum over pseudo-header and all pieces; UDP over IPv4 may leave it out (RFC 768), over IPv6 not. */
function isGood(id: u32, l3: usize, l4: usize, is4: bool, protocol: u32, offset: u32, length: u32): bool {
  if (protocol == UDP && load<u16>(l4, 6) == 0) return is4;
  return transportSumRight(id, l3, is4, protocol, offset, length);
}

function readTcp(at: usize, l4: u32, end: u32, out: usize): void {
  const header = <u32>(load<u8>(at, 12) >>> 4) << 2;
  store<u32>(out, l4 + header, SEG_PAYLOAD);
  store<u32>(out, end - l4 - header, SEG_PAYLOAD_LENGTH);
  store<u32>(out, load32(at + 4), SEG_SEQUENCE);
  store<u32>(out, load32(at + 8), SEG_ACKNOWLEDGEMENT);
  store<u32>(out, load16(at + 12) & 0x1ff, SEG_FLAGS);
  store<u32>(out, load16(at + 14), SEG_WINDOW);
  store<u32>(out, load16(at + 18), SEG_URGENT);
  store<u32>(out, <u32>at + 20, SEG_OPTIONS);
  store<u32>(out, header - 20, SEG_OPTIONS_LENGTH);
  // NOP NOP timestamps, the layout of RFC 7323 appendix A, is what nearly every segment has.
  let kinds: u32 = 0;
  if (header >= 32 && load<u32>(at, 20) == 0x0a080101) {
    kinds = header == 32 ? SEG_TIMESTAMPS : SEG_TIMESTAMPS | SEG_OTHER_OPTIONS;
    store<u32>(out, swap32(load<u32>(at, 24)), SEG_TSVAL);
    store<u32>(out, swap32(load<u32>(at, 28)), SEG_TSECR);
  } else if (header > 20) kinds = SEG_OTHER_OPTIONS;
  store<u32>(out, kinds, SEG_OPTION_KINDS);
}

/** Copies `n` bytes from `offset` of a packet's chain to `to`; returns how many there were. */
export function copyOut(id: u32, offset: u32, to: usize, n: u32): u32 {
  let done: u32 = 0;
  for (let left: u32 = 1024; left != 0 && id != NONE && done < n; left--) {
    const d = descriptorAt(id), have = load<u32>(d, DESC_LENGTH);
    id = load<u32>(d, DESC_NEXT);
    if (offset >= have) { offset -= have; continue; }
    const bytes = min<u32>(have - offset, n - done);
    memory.copy(to + done, <usize>load<u32>(d, DESC_DATA) + offset, bytes);
    done += bytes;
    offset = 0;
  }
  return done;
}
