/** The IPv6 extension chain (RFC 8200 §4), bounded: every length is checked before the next header is read. */
import {
  DROP_IP6_BAD_EXTENSION, DROP_IP6_TOO_MANY_EXTENSIONS, DROP_NONE, FLAG_FIRST_FRAGMENT, FLAG_FRAGMENT,
  FLAG_HOP_BY_HOP, FLAG_ROUTING,
} from "../abi";
import { load16 } from "./bytes";

export const HOP_BY_HOP: u32 = 0;
export const ROUTING: u32 = 43;
export const FRAGMENT: u32 = 44;
export const DESTINATION: u32 = 60;
export const AUTHENTICATION: u32 = 51;
/** Headers walked at most; RFC 8504 §5.3 lets a node limit the chain. */
const MAX_EXTENSIONS: u32 = 8;

/** Outcome of a walk, packed: bits 0–15 offset of the upper layer, 16–23 protocol, 32– flags, 56– drop reason. */
@inline
function outcome(offset: u32, protocol: u32, flags: u32, reason: u32): u64 {
  return <u64>offset | (<u64>protocol << 16) | (<u64>flags << 32) | (<u64>reason << 56);
}

export function isExtension(protocol: u32): bool {
  return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT || protocol == DESTINATION
    || protocol == AUTHENTICATION;
}

/** Where a chain breaks off: a mistake, unless a first fragment ends there, which its receiver answers (RFC 8200 §4.5). */
@inline
function cut(offset: u32, protocol: u32, flags: u32): u64 {
  return outcome(offset, protocol, flags, (flags & FLAG_FRAGMENT) != 0 ? DROP_NONE : DROP_IP6_BAD_EXTENSION);
}

/** Walks from the fixed header at `at`; `end` is the first offset behind the packet. */
export function walkExtensions(at: usize, end: u32): u64 {
  let protocol = <u32>load<u8>(at, 6), offset: u32 = 40, flags: u32 = 0;
  for (let i: u32 = 0; isExtension(protocol); i++) {
    // RFC 8200 §4: elsewhere than right behind the fixed header it is a protocol that nobody speaks.
    if (i != 0 && protocol == HOP_BY_HOP) break;
    if (i == MAX_EXTENSIONS) return outcome(offset, protocol, flags, DROP_IP6_TOO_MANY_EXTENSIONS);
    if (offset + 8 > end) return cut(offset, protocol, flags);
    const header = at + offset, before = offset;
    const next = <u32>load<u8>(header);
    if (protocol == HOP_BY_HOP) flags |= FLAG_HOP_BY_HOP;
    else if (protocol == ROUTING) flags |= FLAG_ROUTING;
    if (protocol == FRAGMENT) {
      const field = load16(header + 2);
      offset += 8;
      if ((field & 0xfff8) == 0) flags |= FLAG_FIRST_FRAGMENT;
      if ((field & 0xfff9) != 0) {
        flags |= FLAG_FRAGMENT;
        if ((field & 0xfff8) != 0) return outcome(offset, next, flags, DROP_NONE); // what follows is payload of another fragment
      }
    } else {
      const units = <u32>load<u8>(header, 1);
      offset += protocol == AUTHENTICATION ? (units + 2) << 2 : (units + 1) << 3;
    }
    if (offset > end) return cut(before, protocol, flags);
    protocol = next;
  }
  return outcome(offset, protocol, flags, DROP_NONE);
}
