/** What ICMP and ICMPv6 messages are in the other family (RFC 7915 §4.2, §5.2): type and code, fields of errors. */

/** No such thing in the other family. */
export const NO_TYPE: u32 = 0xffff;

/** Type << 8 | code of IPv4 for those of IPv6. */
export function icmpOf6(type: u32, code: u32): u32 {
  if (type == 128) return 8 << 8;
  if (type == 129) return 0;
  if (type == 1) return (3 << 8) | (code == 1 ? 10 : code == 4 ? 3 : code <= 3 ? 1 : 13);
  if (type == 2) return (3 << 8) | 4;
  if (type == 3) return (11 << 8) | code;
  if (type == 4) return code == 1 ? (3 << 8) | 2 : code == 0 ? 12 << 8 : NO_TYPE;
  return NO_TYPE;
}

/** Type << 8 | code of IPv6 for those of IPv4. */
export function icmpOf4(type: u32, code: u32): u32 {
  if (type == 8) return 128 << 8;
  if (type == 0) return 129 << 8;
  if (type == 11) return (3 << 8) | code;
  if (type == 12) return code == 0 || code == 2 ? 4 << 8 : NO_TYPE;
  if (type != 3) return NO_TYPE;
  if (code == 2) return (4 << 8) | 1;
  if (code == 3) return (1 << 8) | 4;
  if (code == 4) return 2 << 8;
  if (code == 9 || code == 10 || code == 13 || code == 15) return (1 << 8) | 1;
  return code <= 12 ? 1 << 8 : NO_TYPE;
}

/** Where a fault in one family's header is in the other's (RFC 7915 figures 3 and 6), or NO_TYPE. */
export function pointerOf4(pointer: u32): u32 {
  if (pointer <= 1) return pointer;
  if (pointer == 2 || pointer == 3) return 4;
  if (pointer == 8) return 7;
  if (pointer == 9) return 6;
  if (pointer >= 12 && pointer <= 15) return 8;
  return pointer >= 16 && pointer <= 19 ? 24 : NO_TYPE;
}

export function pointerOf6(pointer: u32): u32 {
  if (pointer <= 1) return pointer;
  if (pointer == 4 || pointer == 5) return 2;
  if (pointer == 6) return 9;
  if (pointer == 7) return 8;
  if (pointer >= 8 && pointer <= 23) return 12;
  return pointer >= 24 && pointer <= 39 ? 16 : NO_TYPE;
}
