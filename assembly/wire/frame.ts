/** What rules of the bridge family see of a frame: where its headers are, and of which protocol. Nothing of it is checked that is not read. */
import {
  DESC_DATA, DESC_FLAGS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, DESC_PROTOCOL, FLAG_CSUM_GOOD, FLAG_CSUM_PARTIAL, FLAG_FIRST_FRAGMENT, FLAG_FRAGMENT, FLAG_IP4,
  FLAG_IP6, FLAG_L2_GROUP, FLAG_L2_OTHER, FLAG_OPTIONS,
} from "../abi";
import { load16 } from "./bytes";
import { walkExtensions } from "./ipv6";

const VLAN: u32 = 0x8100;
const QINQ: u32 = 0x88a8;
const IP4: u32 = 0x0800;
const IP6: u32 = 0x86dd;

/**
 * Notes a frame's network and transport headers on its descriptor; one that is cut short, or says that it is longer than it is, has none. Behind a tag
 * begins the network's header, as Linux has it, even if it is another tag. `own`, `bridge`: addresses of the port that it came by, and of its bridge.
 */
export function describeFrame(d: usize, own: u64, bridge: u64): void {
  const data = <usize>load<u32>(d, DESC_DATA), length = load<u32>(d, DESC_LENGTH);
  let flags = load<u32>(d, DESC_FLAGS) & (FLAG_CSUM_PARTIAL | FLAG_CSUM_GOOD), l3: u32 = 14, type: u32 = length < 14 ? 0 : load16(data + 12);
  if ((type == VLAN || type == QINQ) && length >= 18) {
    type = load16(data + 16);
    l3 = 18;
  }
  if (length >= 14) flags |= to(load<u64>(data) & 0xffffffffffff, own, bridge);
  store<u16>(d, <u16>min<u32>(l3, length), DESC_L3);
  if (type == IP4 && length >= l3 + 20) flags |= describe4(d, data + l3, length - l3, l3);
  else if (type == IP6 && length >= l3 + 40) flags |= describe6(d, data + l3, length - l3, l3);
  store<u32>(d, flags, DESC_FLAGS);
}

@inline
function to(destination: u64, own: u64, bridge: u64): u32 {
  return (destination & 1) != 0 ? FLAG_L2_GROUP : destination != own && destination != bridge ? FLAG_L2_OTHER : 0;
}

function describe4(d: usize, at: usize, have: u32, l3: u32): u32 {
  const header = <u32>(load<u8>(at) & 15) << 2, cut = load16(at + 6) & 0x3fff;
  const total = load16(at + 2);
  if (load<u8>(at) >>> 4 != 4 || header < 20 || header > have || total < header || total > load<u32>(d, DESC_PACKET_LENGTH) - l3) return 0;
  store<u16>(d, <u16>(l3 + header), DESC_L4);
  store<u8>(d, load<u8>(at, 9), DESC_PROTOCOL);
  const pieces: u32 = cut == 0 ? 0 : (cut & 0x1fff) == 0 ? FLAG_FRAGMENT | FLAG_FIRST_FRAGMENT : FLAG_FRAGMENT;
  return FLAG_IP4 | pieces | (header > 20 ? FLAG_OPTIONS : 0);
}

function describe6(d: usize, at: usize, have: u32, l3: u32): u32 {
  const walk = walkExtensions(at, have);
  if (load<u8>(at) >>> 4 != 6 || walk >> 56 != 0 || load16(at + 4) > load<u32>(d, DESC_PACKET_LENGTH) - l3 - 40) return 0;
  store<u16>(d, <u16>(l3 + (<u32>walk & 0xffff)), DESC_L4);
  store<u8>(d, <u8>(walk >> 16), DESC_PROTOCOL);
  return FLAG_IP6 | (<u32>(walk >> 32) & 0xffffff);
}
