/**
 * Policy routing, as `ip rule` has it: which table holds for a packet that came in. What the port's own table has for this host stays,
 * as Linux's table of local addresses comes before all rules; for the rest rules are asked in turn until a table has a route. All
 * tables of a port's rules share next hops with the port's own.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_HASH, DESC_L3, DESC_L4, DESC_LENGTH, DESC_MARK, DESC_PROTOCOL, DROP_RPF, FLAG_FRAGMENT, HOP_BROADCAST, HOP_FORWARD,
  HOP_GLEAN, HOP_INCOMPLETE, HOP_KIND, HOP_LOCAL, HOP_PORT, NEXT_DONE, NO_PORT, PORT_FLAGS, PORT_RPF_LOOSE, PORT_RPF_STRICT, RULES_COUNT, RULES_FIRST,
  RULE_DESTINATION, RULE_DESTINATION_MASK, RULE_DESTINATION_PORTS, RULE_FLAGS, RULE_HOP, RULE_IIF, RULE_IIF_ANY, RULE_MARK, RULE_MARK_MASK,
  RULE_NEVER, RULE_NOT, RULE_PORTS, RULE_PROTOCOL, RULE_PROTOCOL_ANY, RULE_SIZE, RULE_SOURCE, RULE_SOURCE_MASK, RULE_SOURCE_PORTS, RULE_TABLE,
  VEC_ADDR4, VEC_ADDR6, VEC_IDS, VEC_LIST4, VEC_LIST6, VEC_NEXT, VEC_RESULT, VEC_SRC4, VEC_SRC6, WORKER_SCRATCH,
} from "../abi";
import { descriptorAt, tableAt } from "../core/layout";
import { drop } from "../core/packet";
import { hasPorts } from "../flow/tuples";
import { lookup4 } from "../table/fib4";
import { lookup6 } from "../table/fib6";
import { hopAt, isReachable, resolveHop } from "../table/hops";
import { swap16, swap32 } from "../wire/bytes";

/** What rules look at, in WORKER_SCRATCH: source and destination (16 bytes each), ports, protocol, mark, port it comes in by. */
const KEY_SOURCE: usize = 0;
const KEY_DESTINATION: usize = 16;
const KEY_SOURCE_PORT: usize = 32;
const KEY_DESTINATION_PORT: usize = 34;
const KEY_HAS_PORTS: usize = 36;
const KEY_PROTOCOL: usize = 40;
const KEY_MARK: usize = 44;
const KEY_IIF: usize = 48;

/** Looks up a list by a port's rules, as route4Burst and route6Burst do by its table. */
export function routeByRules(worker: usize, port: usize, portIndex: u32, rules: usize, table: usize, n: u32, is4: bool): u32 {
  const list = worker + (is4 ? VEC_LIST4 : VEC_LIST6), flags = <u32>load<u16>(port, PORT_FLAGS);
  const checks = (flags & (PORT_RPF_STRICT | PORT_RPF_LOOSE)) != 0, strict = (flags & PORT_RPF_STRICT) != 0;
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
    writeKey(worker + WORKER_SCRATCH, d, is4, false, portIndex);
    const found = lookUp(worker, rules, table, k, is4, false);
    if (checks && !isAnswerable(worker, rules, table, d, k, is4, found, strict, portIndex)) {
      drop(worker, id, DROP_RPF);
      store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
      continue;
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    store<u32>(worker + (<usize>kept << 2), found, VEC_RESULT);
    if (is4) store<u32>(worker + (<usize>kept << 2), load<u32>(worker + (<usize>k << 2), VEC_ADDR4), VEC_ADDR4);
    else v128.store(worker + (<usize>kept << 4), v128.load(worker + (<usize>k << 4), VEC_ADDR6), VEC_ADDR6);
    kept++;
  }
  return kept;
}

/**
 * The reverse-path check: what would answer this packet, coming in by where it goes to and with no mark, must find its way to this port
 * (as __fib_validate_source asks).
 */
function isAnswerable(
  worker: usize, rules: usize, table: usize, d: usize, k: u32, is4: bool, found: u32, strict: bool, portIndex: u32,
): bool {
  const hop = hopAt(table, resolveHop(table, found, load<u32>(d, DESC_HASH))), kind = <u32>load<u8>(hop, HOP_KIND);
  const leaves = kind == HOP_FORWARD || kind == HOP_GLEAN || kind == HOP_INCOMPLETE;
  writeKey(worker + WORKER_SCRATCH, d, is4, true, leaves ? <u32>load<u16>(hop, HOP_PORT) : NO_PORT);
  return isReachable(table, lookUp(worker, rules, table, k, is4, true), strict, portIndex);
}

/** Next hop of packet `k` of the list, whose key is written; `backward`, of its source. 0 without a route. */
function lookUp(worker: usize, rules: usize, table: usize, k: u32, is4: bool, backward: bool): u32 {
  const own = lookIn(worker, table, k, is4, backward), kind = <u32>load<u8>(hopAt(table, own), HOP_KIND);
  if (kind == HOP_LOCAL || kind == HOP_BROADCAST) return own;
  const count = load<u32>(rules, RULES_COUNT), key = worker + WORKER_SCRATCH;
  for (let i: u32 = 0; i < count; i++) {
    const rule = rules + RULES_FIRST + <usize>i * RULE_SIZE, flags = <u32>load<u8>(rule, RULE_FLAGS);
    if (isDescribed(rule, flags, key) == ((flags & RULE_NOT) != 0)) continue;
    const end = load<u32>(rule, RULE_HOP);
    if (end != 0) return end;
    const found = lookIn(worker, tableAt(<u32>load<u16>(rule, RULE_TABLE)), k, is4, backward);
    if (found != 0) return found;
  }
  return 0;
}

function lookIn(worker: usize, table: usize, k: u32, is4: bool, backward: bool): u32 {
  if (!is4) return lookup6(table, worker + (<usize>k << 4) + (backward ? VEC_SRC6 : VEC_ADDR6));
  const at = worker + (<usize>k << 2);
  return lookup4(table, backward ? swap32(load<u32>(at, VEC_SRC4)) : load<u32>(at, VEC_ADDR4));
}

function isDescribed(rule: usize, flags: u32, key: usize): bool {
  const iif = load<u32>(rule, RULE_IIF);
  if ((flags & RULE_NEVER) != 0 || (iif != RULE_IIF_ANY && iif != load<u32>(key, KEY_IIF))) return false;
  const source = v128.and(v128.xor(v128.load(key, KEY_SOURCE), v128.load(rule, RULE_SOURCE)), v128.load(rule, RULE_SOURCE_MASK));
  const destination = v128.and(v128.xor(v128.load(key, KEY_DESTINATION), v128.load(rule, RULE_DESTINATION)), v128.load(rule, RULE_DESTINATION_MASK));
  if (v128.any_true(v128.or(source, destination))) return false;
  if (((load<u32>(key, KEY_MARK) ^ load<u32>(rule, RULE_MARK)) & load<u32>(rule, RULE_MARK_MASK)) != 0) return false;
  const protocol = load<u32>(rule, RULE_PROTOCOL);
  if (protocol != RULE_PROTOCOL_ANY && protocol != load<u32>(key, KEY_PROTOCOL)) return false;
  if ((flags & RULE_PORTS) == 0) return true;
  return load<u32>(key, KEY_HAS_PORTS) != 0 && isWithin(rule + RULE_SOURCE_PORTS, load<u16>(key, KEY_SOURCE_PORT))
    && isWithin(rule + RULE_DESTINATION_PORTS, load<u16>(key, KEY_DESTINATION_PORT));
}

/** Two u16 in host order; both ends belong to the range. */
@inline
function isWithin(range: usize, port: u16): bool {
  return port >= load<u16>(range) && port <= load<u16>(range, 2);
}

/** A packet as rules see it, or what would answer it; fragments show no ports. */
function writeKey(key: usize, d: usize, is4: bool, backward: bool, iif: u32): void {
  const data = <usize>load<u32>(d, DESC_DATA), at = data + <usize>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4);
  const protocol = <u32>load<u8>(d, DESC_PROTOCOL), way: usize = backward ? KEY_DESTINATION : KEY_SOURCE, other: usize = backward ? KEY_SOURCE : KEY_DESTINATION;
  if (is4) {
    v128.store(key + way, i32x4.replace_lane(i32x4.splat(0), 0, load<u32>(at, 12)));
    v128.store(key + other, i32x4.replace_lane(i32x4.splat(0), 0, load<u32>(at, 16)));
  } else {
    v128.store(key + way, v128.load(at, 8));
    v128.store(key + other, v128.load(at, 24));
  }
  const shows = hasPorts(protocol) && (load<u32>(d, DESC_FLAGS) & FLAG_FRAGMENT) == 0 && l4 + 4 <= load<u32>(d, DESC_LENGTH);
  const source = shows ? swap16(load<u16>(data + l4)) : 0, destination = shows ? swap16(load<u16>(data + l4, 2)) : 0;
  store<u16>(key, <u16>(backward ? destination : source), KEY_SOURCE_PORT);
  store<u16>(key, <u16>(backward ? source : destination), KEY_DESTINATION_PORT);
  store<u32>(key, u32(shows), KEY_HAS_PORTS);
  store<u32>(key, protocol, KEY_PROTOCOL);
  store<u32>(key, backward ? 0 : load<u32>(d, DESC_MARK), KEY_MARK);
  store<u32>(key, iif, KEY_IIF);
}
