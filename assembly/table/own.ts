/** Addresses of this host's own: what comes from elsewhere under one of them is nobody's (RFC 1122 §3.2.1.3). */
import { DESC_DATA, DESC_FLAGS, DESC_L3, FLAG_IP4, HOP_KIND, HOP_LOCAL, OWN_ADDRESS_HASH, PORT_TABLE4, TABLE_OWN } from "../abi";
import { hasTable, tableAt } from "../core/layout";
import { swap32 } from "../wire/bytes";
import { lookup4 } from "./fib4";
import { hopAt } from "./hops";

/** Bit 0: may this be an address of this host's own? The others say nothing. */
@inline
export function mayBeOwn(table: usize, address: u32): u32 {
  const bit = address * OWN_ADDRESS_HASH >>> 23;
  return load<u32>(table + ((<usize>bit >>> 5) << 2), TABLE_OWN) >>> (bit & 31);
}

/** Does a packet of IPv4 come from elsewhere under an address of this host's own? */
export function isFromHere(port: usize, d: usize): bool {
  const index = <u32>load<u16>(port, PORT_TABLE4);
  if ((load<u32>(d, DESC_FLAGS) & FLAG_IP4) == 0 || !hasTable(index, 4)) return false;
  const table = tableAt(index), source = load<u32>(<usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3), 12);
  return (mayBeOwn(table, source) & 1) != 0 && <u32>load<u8>(hopAt(table, lookup4(table, swap32(source))), HOP_KIND) == HOP_LOCAL;
}
