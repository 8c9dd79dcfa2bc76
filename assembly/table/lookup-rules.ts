/**
 * Policy routing, as `ip rule` has it: which table holds for a packet that came in. What the port's own table has for this host stays,
 * as Linux's table of local addresses comes before all rules; for the rest rules are asked in turn until a table has a route. All
 * tables of a port's rules share next hops with the port's own.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_MARK, DESC_PROTOCOL, FLAG_FRAGMENT, HOP_BROADCAST, HOP_KIND, HOP_LOCAL, NO_PORT, PORT_RULES4,
  PORT_RULES6, RULES_COUNT, RULES_FIRST, RULE_DESTINATION, RULE_DESTINATION_MASK, RULE_DESTINATION_PORTS, RULE_FLAGS, RULE_HOP, RULE_IIF, RULE_IIF_ANY, RULE_MARK,
  RULE_MARK_MASK, RULE_NEVER, RULE_NOT, RULE_PORTS, RULE_PROTOCOL, RULE_PROTOCOL_ANY, RULE_SIZE, RULE_SOURCE, RULE_SOURCE_MASK,
  RULE_SOURCE_PORTS, RULE_TABLE,
} from "../abi";
import { tableAt } from "../core/layout";
import { loadAcquire } from "../core/sync";
import { load32, swap16 } from "../wire/bytes";
import { hasPorts } from "../wire/l4";
import { lookup4 } from "./fib4";
import { lookup6, toQuery } from "./fib6";
import { hopAt } from "./hops";

/** What rules look at: source and destination (16 bytes each), ports, protocol, mark, port it comes in by; and what tables are asked. */
const KEY_SOURCE: usize = 0;
const KEY_DESTINATION: usize = 16;
const KEY_SOURCE_PORT: usize = 32;
const KEY_DESTINATION_PORT: usize = 34;
const KEY_HAS_PORTS: usize = 36;
const KEY_PROTOCOL: usize = 40;
const KEY_MARK: usize = 44;
const KEY_IIF: usize = 48;
const KEY_QUERY: usize = 64;

/** The next hop for what `writeKey` has written to `key`; 0 without a route. */
export function lookUpByRules(rules: usize, table: usize, key: usize, is4: bool): u32 {
  const own = lookIn(table, key, is4), kind = <u32>load<u8>(hopAt(table, own), HOP_KIND);
  if (kind == HOP_LOCAL || kind == HOP_BROADCAST) return own;
  const count = load<u32>(rules, RULES_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const rule = rules + RULES_FIRST + <usize>i * RULE_SIZE, flags = <u32>load<u8>(rule, RULE_FLAGS);
    if (isDescribed(rule, flags, key) == ((flags & RULE_NOT) != 0)) continue;
    const end = load<u32>(rule, RULE_HOP);
    if (end != 0) return end;
    const found = lookIn(tableAt(<u32>load<u16>(rule, RULE_TABLE)), key, is4);
    if (found != 0) return found;
  }
  return 0;
}

@inline
function lookIn(table: usize, key: usize, is4: bool): u32 {
  return is4 ? lookup4(table, load<u32>(key, KEY_QUERY)) : lookup6(table, key + KEY_QUERY);
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

/** A packet as rules see it, or (`backward`) what would answer it; fragments show no ports. `key` has 80 bytes. */
export function writeKey(key: usize, d: usize, is4: bool, backward: bool, iif: u32): void {
  const data = <usize>load<u32>(d, DESC_DATA), at = data + <usize>load<u16>(d, DESC_L3);
  const way: usize = backward ? KEY_DESTINATION : KEY_SOURCE, other: usize = backward ? KEY_SOURCE : KEY_DESTINATION;
  if (is4) {
    v128.store(key + way, i32x4.replace_lane(i32x4.splat(0), 0, load<u32>(at, 12)));
    v128.store(key + other, i32x4.replace_lane(i32x4.splat(0), 0, load<u32>(at, 16)));
    store<u32>(key, load32(key + KEY_DESTINATION), KEY_QUERY);
  } else {
    v128.store(key + way, v128.load(at, 8));
    v128.store(key + other, v128.load(at, 24));
    v128.store(key, toQuery(key + KEY_DESTINATION), KEY_QUERY);
  }
  const l4 = <u32>load<u16>(d, DESC_L4), protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  const shows = hasPorts(protocol) && (load<u32>(d, DESC_FLAGS) & FLAG_FRAGMENT) == 0 && l4 + 4 <= load<u32>(d, DESC_LENGTH);
  const source = shows ? swap16(load<u16>(data + l4)) : 0, destination = shows ? swap16(load<u16>(data + l4, 2)) : 0;
  store<u16>(key, <u16>(backward ? destination : source), KEY_SOURCE_PORT);
  store<u16>(key, <u16>(backward ? source : destination), KEY_DESTINATION_PORT);
  store<u32>(key, u32(shows), KEY_HAS_PORTS);
  store<u32>(key, protocol, KEY_PROTOCOL);
  store<u32>(key, backward ? 0 : load<u32>(d, DESC_MARK), KEY_MARK);
  store<u32>(key, iif, KEY_IIF);
}

/**
 * The next hop of an address by a port's table and rules, which see its source (0: none) and mark alone: what nft's `fib` and packets that are
 * sent to an address of a rule's choice ask. `key` has 80 bytes.
 */
export function lookUpAddress(port: usize, table: usize, key: usize, is4: bool, address: usize, source: usize, mark: u32): u32 {
  memory.fill(key, 0, 64);
  memory.copy(key + KEY_DESTINATION, address, is4 ? 4 : 16);
  if (source != 0) memory.copy(key + KEY_SOURCE, source, is4 ? 4 : 16);
  if (is4) store<u32>(key, load32(key + KEY_DESTINATION), KEY_QUERY);
  else v128.store(key, toQuery(key + KEY_DESTINATION), KEY_QUERY);
  const rules = <usize>loadAcquire(port + (is4 ? PORT_RULES4 : PORT_RULES6));
  if (rules == 0) return lookIn(table, key, is4);
  store<u32>(key, mark, KEY_MARK);
  store<u32>(key, NO_PORT, KEY_IIF);
  return lookUpByRules(rules, table, key, is4);
}
