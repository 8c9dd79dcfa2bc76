/**
 * Flows that a helper has heard announced (FTP's data connections, TFTP's answers, SIP's media): the first packet of one is
 * RELATED to the flow that announced it. There are few; a new flow compares its hash with all of theirs, four at a time.
 */
import {
  EXPECTATION_EXPIRES, EXPECTATION_FLAGS, EXPECTATION_MASTER, EXPECTATION_MOST, EXPECTATION_SIZE, EXPECT_ASK, EXPECT_PERMANENT,
  EXPECT_SOURCE, FLOWS_EXPECTATIONS, FLOWS_EXPECTATION_COUNT, FLOWS_EXPECTATION_LOCK, FLOWS_EXPECTATION_ROOM, TUPLE_KIND, TUPLE_PORTS,
  KIND_IP6,
} from "../abi";
import { lock, unlock } from "../core/sync";
import { flows, hash4 } from "./flow";

/** Of destination, its port, protocol and zone: what every expectation names. Never 0. */
function hashOf(tuple: usize): u32 {
  const kind = load<u32>(tuple, TUPLE_KIND), port = load<u32>(tuple, TUPLE_PORTS) & 0xffff0000;
  if ((kind & KIND_IP6) == 0) return max<u32>(hash4(<u64>load<u32>(tuple, 4) << 32, port, kind), 1);
  // Of the destination alone: what lies behind it is the source port, which nobody announces.
  return max<u32>(hash4(load<u64>(tuple, 16), port, kind) ^ hash4(load<u64>(tuple, 24), kind, port), 1);
}

@inline
function entryAt(at: usize, index: u32): usize {
  const room = load<u32>(at, FLOWS_EXPECTATION_ROOM);
  return <usize>load<u32>(at, FLOWS_EXPECTATIONS) + (<usize>room << 2) + <usize>index * EXPECTATION_SIZE;
}

@inline
function hashAt(at: usize, index: u32): usize {
  return <usize>load<u32>(at, FLOWS_EXPECTATIONS) + (<usize>index << 2);
}

function fits(entry: usize, tuple: usize): bool {
  const kind = load<u32>(tuple, TUPLE_KIND), is4 = (kind & KIND_IP6) == 0, source = (load<u32>(entry, EXPECTATION_FLAGS) & EXPECT_SOURCE) != 0;
  if (load<u32>(entry, TUPLE_KIND) != kind || (load<u32>(entry, TUPLE_PORTS) ^ load<u32>(tuple, TUPLE_PORTS)) >>> 16 != 0) return false;
  if (is4) return load<u32>(entry, 4) == load<u32>(tuple, 4) && (!source || load<u32>(entry) == load<u32>(tuple));
  if (v128.any_true(v128.xor(v128.load(entry, 16), v128.load(tuple, 16)))) return false;
  return !source || !v128.any_true(v128.xor(v128.load(entry), v128.load(tuple)));
}

/** Copies the expectation of a new flow's tuple to `out` and, unless it is permanent, takes it away; false without one. */
export function expected(tuple: usize, ticks: u32, out: usize): bool {
  const at = flows();
  if (load<u32>(at, FLOWS_EXPECTATION_COUNT) == 0) return false;
  const hash = hashOf(tuple), wanted = i32x4.splat(<i32>hash), room = load<u32>(at, FLOWS_EXPECTATION_ROOM);
  for (let i: u32 = 0; i < room; i += 4) {
    if (!v128.any_true(i32x4.eq(v128.load(hashAt(at, i)), wanted))) continue;
    for (let k = i; k < i + 4; k++) if (load<u32>(hashAt(at, k)) == hash && take(at, k, hash, tuple, ticks, out)) return true;
  }
  return false;
}

function take(at: usize, index: u32, hash: u32, tuple: usize, ticks: u32, out: usize): bool {
  const entry = entryAt(at, index);
  lock(at + FLOWS_EXPECTATION_LOCK);
  const good = load<u32>(hashAt(at, index)) == hash && fits(entry, tuple) && <i32>(load<u32>(entry, EXPECTATION_EXPIRES) - ticks) > 0;
  if (good) {
    memory.copy(out, entry, EXPECTATION_SIZE);
    if ((load<u32>(entry, EXPECTATION_FLAGS) & EXPECT_PERMANENT) == 0) free(at, index);
  }
  unlock(at + FLOWS_EXPECTATION_LOCK);
  return good;
}

function free(at: usize, index: u32): void {
  store<u32>(hashAt(at, index), 0);
  store<u32>(at, load<u32>(at, FLOWS_EXPECTATION_COUNT) - 1, FLOWS_EXPECTATION_COUNT);
}

export const EXPECTED: u32 = 1;
export const NO_PLACE: u32 = 0;
/** Another flow expects the same. */
export const TAKEN: u32 = 2;

@inline
function isOver(entry: usize, ticks: u32): bool {
  return <i32>(load<u32>(entry, EXPECTATION_EXPIRES) - ticks) <= 0;
}

/**
 * Expects a flow (EXPECTATION_* at `from`). What the same flow expected of the same tuple is replaced, an expired one makes room.
 * EXPECTED, NO_PLACE when all are taken, TAKEN when another flow expects the same destination.
 */
export function expect(from: usize, ticks: u32): u32 {
  const at = flows(), hash = hashOf(from), room = load<u32>(at, FLOWS_EXPECTATION_ROOM);
  lock(at + FLOWS_EXPECTATION_LOCK);
  const master = load<u32>(from, EXPECTATION_MASTER), most = <u32>load<u16>(from, EXPECTATION_MOST);
  let place = room, isTaken = false, own: u32 = 0, oldest = room;
  for (let i: u32 = 0; i < room; i++) {
    const there = load<u32>(hashAt(at, i)), entry = entryAt(at, i), isFree = there == 0 || isOver(entry, ticks);
    if (!isFree && there == hash && overlaps(entry, from)) {
      isTaken = load<u32>(entry, EXPECTATION_MASTER) != master;
      place = i;
      own = 0;
      break;
    }
    if (!isFree && load<u32>(entry, EXPECTATION_MASTER) == master) {
      own++;
      if (oldest == room || <i32>(load<u32>(entry, EXPECTATION_EXPIRES) - load<u32>(entryAt(at, oldest), EXPECTATION_EXPIRES)) < 0) oldest = i;
    }
    if (place == room && isFree) place = i;
  }
  if (most != 0 && own >= most) place = oldest;
  if (place != room && !isTaken && (load<u32>(from, EXPECTATION_FLAGS) & EXPECT_ASK) == 0) {
    if (load<u32>(hashAt(at, place)) == 0) store<u32>(at, load<u32>(at, FLOWS_EXPECTATION_COUNT) + 1, FLOWS_EXPECTATION_COUNT);
    memory.copy(entryAt(at, place), from, EXPECTATION_SIZE);
    store<u32>(hashAt(at, place), hash);
  }
  unlock(at + FLOWS_EXPECTATION_LOCK);
  return isTaken ? TAKEN : place != room ? EXPECTED : NO_PLACE;
}

/** Could one packet fit both? Of two sources only if they are the same, or one is anybody. */
function overlaps(entry: usize, other: usize): bool {
  return fits(entry, other) || ((load<u32>(other, EXPECTATION_FLAGS) & EXPECT_SOURCE) == 0 && fits(other, entry));
}

/** Nothing is expected for a flow that has ended. */
export function expectNothing(master: u32): void {
  const at = flows();
  if (load<u32>(at, FLOWS_EXPECTATION_COUNT) == 0) return;
  lock(at + FLOWS_EXPECTATION_LOCK);
  for (let i: u32 = 0; i < load<u32>(at, FLOWS_EXPECTATION_ROOM); i++) {
    if (load<u32>(hashAt(at, i)) != 0 && load<u32>(entryAt(at, i), EXPECTATION_MASTER) == master) free(at, i);
  }
  unlock(at + FLOWS_EXPECTATION_LOCK);
}
