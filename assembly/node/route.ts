/** Route lookups for the lists that classification made, and the reverse-path check (RFC 3704). */
import {
  DESC_HASH, DROP_IP4_MARTIAN_SOURCE, DROP_RPF, HOP_BROADCAST, HOP_FORWARD, HOP_GLEAN, HOP_INCOMPLETE, HOP_KIND, HOP_LOCAL, HOP_PORT, NEXT_DONE, NO_PORT, PORT_FLAGS, PORT_RPF_LOOSE,
  PORT_RPF_STRICT, PORT_RULES4, PORT_RULES6, PORT_TABLE4, PORT_TABLE6, VEC_ADDR4, VEC_ADDR6, VEC_IDS, VEC_LIST4, VEC_LIST6, VEC_NEXT, VEC_RESULT,
  VEC_SRC4, VEC_SRC6, VEC_WORK, WORKER_SCRATCH,
} from "../abi";
import { descriptorAt, tableAt } from "../core/layout";
import { drop } from "../core/packet";
import { loadAcquire } from "../core/sync";
import { lookup4, lookup4Burst } from "../table/fib4";
import { lookup6Burst } from "../table/fib6";
import { swap32 } from "../wire/bytes";
import { hopAt, isReachable, resolveHop } from "../table/hops";
import { lookUpByRules, writeKey } from "../table/lookup-rules";
import { mayBeOwn } from "../table/own";

/** May any source of list 4 be one? */
export function hasOwnSource(worker: usize, table: usize, n: u32): bool {
  let any: u32 = 0;
  for (let k: usize = 0; k < <usize>n << 2; k += 4) any |= mayBeOwn(table, load<u32>(worker + k, VEC_SRC4));
  return (any & 1) != 0;
}

/** Drops what comes from elsewhere under an address of this host's own, or under a broadcast's (Linux's fib_validate_source, RFC 1812 §5.3.7). */
function withoutOwn(worker: usize, table: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const i = <u32>load<u16>(worker + (<usize>k << 1), VEC_LIST4), source = load<u32>(worker + (<usize>k << 2), VEC_SRC4);
    const kind = <u32>load<u8>(hopAt(table, lookup4(table, swap32(source))), HOP_KIND);
    if (kind == HOP_LOCAL || kind == HOP_BROADCAST) {
      drop(worker, load<u32>(worker + (<usize>i << 2), VEC_IDS), DROP_IP4_MARTIAN_SOURCE);
      store<u16>(worker + (<usize>i << 1), NEXT_DONE, VEC_NEXT);
      continue;
    }
    store<u16>(worker + (<usize>kept << 1), <u16>i, VEC_LIST4);
    store<u32>(worker + (<usize>kept << 2), source, VEC_SRC4);
    store<u32>(worker + (<usize>kept << 2), load<u32>(worker + (<usize>k << 2), VEC_ADDR4), VEC_ADDR4);
    kept++;
  }
  return kept;
}

/**
 * Looks up destinations of list 4; returns the list's new length (the reverse-path check may shorten it). `suspicious`: a source may be this
 * host's own.
 */
export function route4Burst(worker: usize, port: usize, portIndex: u32, n: u32, suspicious: bool): u32 {
  const table = tableAt(load<u16>(port, PORT_TABLE4));
  if (suspicious) n = withoutOwn(worker, table, n);
  const rules = <usize>loadAcquire(port + PORT_RULES4);
  if (rules != 0) return routeByRules(worker, port, portIndex, rules, table, n, true);
  if ((load<u16>(port, PORT_FLAGS) & (PORT_RPF_STRICT | PORT_RPF_LOOSE)) != 0) {
    for (let k: usize = 0; k < <usize>n << 2; k += 4) store<u32>(worker + k, swap32(load<u32>(worker + k, VEC_SRC4)), VEC_SRC4);
    lookup4Burst(table, worker + VEC_SRC4, worker + VEC_RESULT, n);
    n = reversePath(worker, port, portIndex, table, n, VEC_LIST4, VEC_ADDR4, 4);
  }
  lookup4Burst(table, worker + VEC_ADDR4, worker + VEC_RESULT, n);
  return n;
}

export function route6Burst(worker: usize, port: usize, portIndex: u32, n: u32): u32 {
  const table = tableAt(load<u16>(port, PORT_TABLE6)), rules = <usize>loadAcquire(port + PORT_RULES6);
  if (rules != 0) return routeByRules(worker, port, portIndex, rules, table, n, false);
  if ((load<u16>(port, PORT_FLAGS) & (PORT_RPF_STRICT | PORT_RPF_LOOSE)) != 0) {
    lookup6Burst(table, worker + VEC_SRC6, worker + VEC_RESULT, worker + VEC_WORK, n);
    n = reversePath(worker, port, portIndex, table, n, VEC_LIST6, VEC_ADDR6, 16);
  }
  lookup6Burst(table, worker + VEC_ADDR6, worker + VEC_RESULT, worker + VEC_WORK, n);
  return n;
}

/** Keeps the packets whose source is reachable (loose) or reachable through this port (strict). */
function reversePath(
  worker: usize, port: usize, portIndex: u32, table: usize, n: u32, list: usize, addresses: usize, width: usize,
): u32 {
  const strict = (load<u16>(port, PORT_FLAGS) & PORT_RPF_STRICT) != 0;
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const i = <u32>load<u16>(worker + list + (<usize>k << 1));
    if (!isReachable(table, load<u32>(worker + (<usize>k << 2), VEC_RESULT), strict, portIndex)) {
      drop(worker, load<u32>(worker + (<usize>i << 2), VEC_IDS), DROP_RPF);
      store<u16>(worker + (<usize>i << 1), NEXT_DONE, VEC_NEXT);
      continue;
    }
    store<u16>(worker + list + (<usize>kept << 1), <u16>i);
    memory.copy(worker + addresses + <usize>kept * width, worker + addresses + <usize>k * width, width);
    kept++;
  }
  return kept;
}

/** The same by a port's rules (table/lookup-rules.ts). */
function routeByRules(worker: usize, port: usize, portIndex: u32, rules: usize, table: usize, n: u32, is4: bool): u32 {
  const list = worker + (is4 ? VEC_LIST4 : VEC_LIST6), flags = <u32>load<u16>(port, PORT_FLAGS);
  const checks = (flags & (PORT_RPF_STRICT | PORT_RPF_LOOSE)) != 0, strict = (flags & PORT_RPF_STRICT) != 0;
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
    writeKey(worker + WORKER_SCRATCH, d, is4, false, portIndex);
    const found = lookUpByRules(rules, table, worker + WORKER_SCRATCH, is4);
    if (checks && !isAnswerable(worker, rules, table, d, is4, found, strict, portIndex)) {
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
  worker: usize, rules: usize, table: usize, d: usize, is4: bool, found: u32, strict: bool, portIndex: u32,
): bool {
  const hop = hopAt(table, resolveHop(table, found, load<u32>(d, DESC_HASH))), kind = <u32>load<u8>(hop, HOP_KIND);
  const leaves = kind == HOP_FORWARD || kind == HOP_GLEAN || kind == HOP_INCOMPLETE;
  writeKey(worker + WORKER_SCRATCH, d, is4, true, leaves ? <u32>load<u16>(hop, HOP_PORT) : NO_PORT);
  return isReachable(table, lookUpByRules(rules, table, worker + WORKER_SCRATCH, is4), strict, portIndex);
}
