/**
 * Load balancing as packets need it: which service a destination is, and which backend a new flow gets.
 *
 * Asked once per flow; the flow table remembers the answer, so that changes here never touch an established flow. The host
 * layer (src/balance/) decides who takes flows and in which proportions, and writes that down as a table; a table is
 * swapped by one word, and reused when every worker has left the burst in which it could have seen it.
 *
 * Services stand in a directory with open addressing. A lookup looks at the `reach` places behind a key's own, a number that
 * inserting keeps right: nothing has to be moved or marked when a service goes, so one store adds or removes it.
 */
import {
  BACKEND_FLAGS, BACKEND_FLOWS, BACKEND_OPEN, BACKEND_SERVICE, BACKEND_SIZE, BACKEND_STAT_FLOWS, BACKEND_STAT_IN_PACKETS,
  BACKEND_STAT_OUT_PACKETS, BACKEND_STAT_SIZE, BACKEND_WEIGHT, BALANCE_BACKENDS, BALANCE_BACKENDS_AT,
  BALANCE_DIRECTORY_AT, BALANCE_MASK, BALANCE_NOBODY, BALANCE_REACH, BALANCE_REACH_MOST, BALANCE_STATS_AT,
  PICK_HASH, PICK_LEAST_CHOICES, PICK_LENGTH, PICK_RULE, PICK_SLOTS, PICK_TURN, REGION_BALANCE, SERVICE_CURSOR,
  SERVICE_PICKS, SERVICE_PORT, WORKER_ID,
} from "../abi";
import { add64, region } from "../core/layout";
import { fetchAdd, loadAcquire, storeRelease } from "../core/sync";

export const NOBODY: u32 = BALANCE_NOBODY;

/** Low half of an IPv4 address (as it lies in a packet) in the form of IPv6; the high half is 0. */
@inline
export function mapped(address: u32): u64 {
  return (<u64>address << 32) | 0xffff0000;
}

@inline
export function backendAt(index: u32): usize {
  return <usize>load<u32>(region(REGION_BALANCE), BALANCE_BACKENDS_AT) + <usize>index * BACKEND_SIZE;
}

/** Statistics of a backend by one worker; those of the next follow. */
@inline
export function statOf(worker: usize, backend: u32): usize {
  const balance = region(REGION_BALANCE), all = load<u32>(balance, BALANCE_BACKENDS);
  const index = <usize>load<u32>(worker, WORKER_ID) * all + backend;
  return <usize>load<u32>(balance, BALANCE_STATS_AT) + index * BACKEND_STAT_SIZE;
}

// ── Services ────────────────────────────────────────────────────────────────────────────────────
/** Port and protocol as they stand in a service. */
@inline
function keyOf(port: u32, protocol: u32): u32 {
  return port | (protocol << 16);
}

@inline
function placeOf(balance: usize, high: u64, low: u64, key: u32): usize {
  const mixed = (rotl<u64>(high * 0xc2b2ae3d27d4eb4f, 31) ^ low ^ (<u64>key << 8)) * 0x9e3779b97f4a7c15;
  return <usize>load<u32>(balance, BALANCE_DIRECTORY_AT) + (<usize>(<u32>(mixed >> 32) & load<u32>(balance, BALANCE_MASK)) << 2);
}

function lookup(high: u64, low: u64, key: u32): usize {
  const balance = region(REGION_BALANCE), reach = loadAcquire(balance + BALANCE_REACH);
  if (reach == 0) return 0;
  const place = placeOf(balance, high, low, key);
  for (let i: u32 = 0; i < reach; i++) {
    const service = <usize>loadAcquire(place + (<usize>i << 2));
    if (service == 0) continue;
    if (load<u64>(service) == high && load<u64>(service, 8) == low && (load<u32>(service, SERVICE_PORT) & 0xffffff) == key) return service;
  }
  return 0;
}

/**
 * The service of a destination (16 bytes of address as they lie in a packet, in two words), or 0: the one of this port, else
 * the one of all ports.
 */
export function findService(high: u64, low: u64, protocol: u32, port: u32): usize {
  const exact = lookup(high, low, keyOf(port, protocol));
  return exact != 0 || port == 0 ? exact : lookup(high, low, keyOf(0, protocol));
}

/** Puts a service into the directory; false when there is one of its address, port and protocol, or no place. Control thread. */
export function addService(service: usize): bool {
  const balance = region(REGION_BALANCE);
  const high = load<u64>(service), low = load<u64>(service, 8), key = load<u32>(service, SERVICE_PORT) & 0xffffff;
  if (lookup(high, low, key) != 0) return false;
  const place = placeOf(balance, high, low, key);
  for (let i: u32 = 0; i < <u32>BALANCE_REACH_MOST; i++) {
    const at = place + (<usize>i << 2);
    if (load<u32>(at) != 0) continue;
    storeRelease(at, <u32>service);
    if (i >= load<u32>(balance, BALANCE_REACH)) storeRelease(balance + BALANCE_REACH, i + 1);
    return true;
  }
  return false;
}

/** Takes a service out of the directory; readers may see its record until the epoch has passed. Control thread. */
export function removeService(service: usize): bool {
  const balance = region(REGION_BALANCE);
  const place = placeOf(balance, load<u64>(service), load<u64>(service, 8), load<u32>(service, SERVICE_PORT) & 0xffffff);
  for (let i: u32 = 0; i < <u32>BALANCE_REACH_MOST; i++) {
    const at = place + (<usize>i << 2);
    if (load<u32>(at) != <u32>service) continue;
    storeRelease(at, 0);
    return true;
  }
  return false;
}

// ── Backends ────────────────────────────────────────────────────────────────────────────────────
/** Place of a hash among `length`: MurmurHash3's finalizer, so that every bit counts, then the upper word of a product. */
@inline
function placeAmong(hash: u32, length: u32): u32 {
  let h = (hash ^ (hash >>> 16)) * 0x85ebca6b;
  h = (h ^ (h >>> 13)) * 0xc2b2ae35;
  h ^= h >>> 16;
  return <u32>((<u64>h * length) >> 32);
}

@inline
function slotAt(picks: usize, slot: u32): u32 {
  return <u32>load<u16>(picks + (<usize>slot << 1), PICK_SLOTS);
}

/** The backend for a new flow by the service's scheduler, or NOBODY. */
export function pickBackend(service: usize, hash: u32): u32 {
  const picks = <usize>loadAcquire(service + SERVICE_PICKS);
  if (picks == 0) return NOBODY;
  const length = load<u32>(picks, PICK_LENGTH), rule = load<u32>(picks, PICK_RULE);
  if (length == 0) return NOBODY;
  if (rule == PICK_HASH) return slotAt(picks, placeAmong(hash, length));
  if (rule == PICK_TURN) return slotAt(picks, fetchAdd(service + SERVICE_CURSOR, 1) % length);
  return pickLeast(picks, length, hash);
}

/**
 * The least loaded of a few. Up to PICK_LEAST_CHOICES backends all are looked at, which is exact. Of more, so many are drawn by
 * the hash: already the better of two keeps the fullest within log log n of the mean (Mitzenmacher, 2001), where a heap shared by
 * workers would need a lock and a search of all would take longer the more there are.
 */
function pickLeast(picks: usize, length: u32, hash: u32): u32 {
  const all = length <= <u32>PICK_LEAST_CHOICES, first = placeAmong(hash, length), looks = all ? length : <u32>PICK_LEAST_CHOICES;
  let best = NOBODY, flows: u64 = 0, weight: u64 = 1;
  for (let i: u32 = 0; i < looks; i++) {
    const at = all ? (first + i) % length : placeAmong(hash + i * 0x9e3779b9, length);
    const backend = slotAt(picks, at), b = backendAt(backend);
    const f = <u64>loadAcquire(b + BACKEND_FLOWS) + 1, w = <u64>load<u32>(b, BACKEND_WEIGHT);
    if (best != NOBODY && f * weight >= flows * w) continue;
    best = backend;
    flows = f;
    weight = w;
  }
  return best;
}

/** True while a backend is one of this service's and takes new flows. */
@inline
export function isOpen(service: usize, backend: u32): bool {
  const b = backendAt(backend);
  return (load<u8>(b, BACKEND_FLAGS) & BACKEND_OPEN) != 0 && load<u32>(b, BACKEND_SERVICE) == <u32>service;
}

// ── Accounts ────────────────────────────────────────────────────────────────────────────────────
/** A flow of this backend began; `flowClosed` when it is forgotten. */
export function flowOpened(worker: usize, backend: u32): void {
  fetchAdd(backendAt(backend) + BACKEND_FLOWS, 1);
  add64(statOf(worker, backend) + BACKEND_STAT_FLOWS, 1);
}

export function flowClosed(backend: u32): void {
  fetchAdd(backendAt(backend) + BACKEND_FLOWS, u32.MAX_VALUE);
}

/** Packets of a flow, from its client or (`outward`) from its backend; bytes of IP. */
@inline
export function countBackend(worker: usize, backend: u32, outward: bool, packets: u64, bytes: u64): void {
  const at = statOf(worker, backend) + (outward ? BACKEND_STAT_OUT_PACKETS : BACKEND_STAT_IN_PACKETS);
  add64(at, packets);
  add64(at + 8, bytes);
}
