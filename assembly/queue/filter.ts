/**
 * Which class of a qdisc a packet belongs to. As the kernel's classful qdiscs have it: a priority that names a class of
 * this qdisc decides; else the first filter that fits; else the qdisc's own way (default class, priority map).
 */
import {
  DESC_MARK, QDISC_FILTERS, QDISC_FILTER_COUNT, QDISC_HANDLE, QFILTER_CLASS, QFILTER_DESTINATION, QFILTER_DESTINATION_MASK,
  QFILTER_DESTINATION_PORTS, QFILTER_FAMILY, QFILTER_FIELDS, QFILTER_MARK, QFILTER_MARK_MASK, QFILTER_PROTOCOL, QFILTER_SIZE,
  QFILTER_SOURCE, QFILTER_SOURCE_MASK, QFILTER_SOURCE_PORTS, QFILTER_TOS, QFILTER_TOS_MASK, QKEY_DESTINATION, QKEY_FAMILY, QKEY_PORTS,
  QKEY_PROTOCOL, QKEY_SOURCE, QKEY_TOS, QLINK_PRIORITY, QMATCH_DESTINATION, QMATCH_DESTINATION_PORT, QMATCH_FAMILY, QMATCH_MARK,
  QMATCH_PROTOCOL, QMATCH_SOURCE, QMATCH_SOURCE_PORT, QMATCH_TOS, QROOT_KEY,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { swap16 } from "../wire/bytes";
import { dissect } from "./dissect";
import { linkAt } from "./link";

/** What IPv4's type of service means as a priority (linux/net/ipv4/route.c, ip_tos2prio; RFC 1349's bits). */
const TOS_PRIORITY: u64 = 0x4444666622220000;

@inline
export function priorityOf(id: u32): u32 {
  return load<u32>(linkAt(id), QLINK_PRIORITY);
}

/** The priority that was set, or for a packet without one the priority of its type of service. */
export function priorityOrTos(root: usize, id: u32): u32 {
  const set = priorityOf(id);
  if (set != 0) return set;
  dissect(root + QROOT_KEY, id);
  const tos = <u32>load<u8>(root + QROOT_KEY, QKEY_TOS);
  return load<u8>(root + QROOT_KEY, QKEY_FAMILY) == 4 ? <u32>(TOS_PRIORITY >> (((tos & 0x1e) >>> 1) << 2)) & 15 : 0;
}

/** Minor number of the class of `qdisc` that the priority names, or 0. */
@inline
export function namedClass(qdisc: usize, id: u32): u32 {
  const priority = priorityOf(id);
  return ((priority ^ load<u32>(qdisc, QDISC_HANDLE)) >>> 16) == 0 ? priority & 0xffff : 0;
}

/** What the first filter of a qdisc that fits points to, or 0. */
export function filtered(root: usize, qdisc: usize, id: u32): u32 {
  const count = load<u32>(qdisc, QDISC_FILTER_COUNT);
  if (count == 0) return 0;
  dissect(root + QROOT_KEY, id);
  let filter = <usize>load<u32>(qdisc, QDISC_FILTERS);
  for (let i: u32 = 0; i < count; i++, filter += QFILTER_SIZE) {
    if (matches(filter, root + QROOT_KEY, load<u32>(descriptorAt(id), DESC_MARK))) return load<u32>(filter, QFILTER_CLASS);
  }
  return 0;
}

/** Does a packet with this key and mark have everything that the filter asks for? */
export function matches(filter: usize, key: usize, mark: u32): bool {
  const fields = load<u32>(filter, QFILTER_FIELDS);
  if ((fields & QMATCH_MARK) != 0 && (mark & load<u32>(filter, QFILTER_MARK_MASK)) != load<u32>(filter, QFILTER_MARK)) return false;
  if ((fields & QMATCH_FAMILY) != 0 && load<u8>(key, QKEY_FAMILY) != load<u8>(filter, QFILTER_FAMILY)) return false;
  if ((fields & QMATCH_PROTOCOL) != 0 && load<u8>(key, QKEY_PROTOCOL) != load<u8>(filter, QFILTER_PROTOCOL)) return false;
  if ((fields & QMATCH_TOS) != 0 && ((load<u8>(key, QKEY_TOS) ^ load<u8>(filter, QFILTER_TOS)) & load<u8>(filter, QFILTER_TOS_MASK)) != 0) return false;
  if ((fields & QMATCH_SOURCE) != 0 && !within(key + QKEY_SOURCE, filter + QFILTER_SOURCE, filter + QFILTER_SOURCE_MASK)) return false;
  if ((fields & QMATCH_DESTINATION) != 0 && !within(key + QKEY_DESTINATION, filter + QFILTER_DESTINATION, filter + QFILTER_DESTINATION_MASK)) return false;
  const ports = load<u32>(key, QKEY_PORTS);
  if ((fields & QMATCH_SOURCE_PORT) != 0 && !between(ports & 0xffff, load<u32>(filter, QFILTER_SOURCE_PORTS))) return false;
  return (fields & QMATCH_DESTINATION_PORT) == 0 || between(ports >>> 16, load<u32>(filter, QFILTER_DESTINATION_PORTS));
}

@inline
function within(address: usize, value: usize, mask: usize): bool {
  return !v128.any_true(v128.and(v128.xor(v128.load(address), v128.load(value)), v128.load(mask)));
}

@inline
function between(portBe: u32, range: u32): bool {
  const port = swap16(portBe);
  return port >= (range & 0xffff) && port <= range >>> 16;
}
