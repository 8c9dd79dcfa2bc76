/**
 * Affinity: a client keeps its backend from flow to flow, until it has had no new one for the service's time.
 *
 * Clients choose their addresses, so the table is bounded and its hash keyed: a bucket of eight that is full forgets whoever
 * would be forgotten first, and that client is scheduled anew with its next flow. A backend that takes no new flows keeps none.
 * Workers ask once per new flow of a service with affinity; a lock per bucket makes two flows of one client agree.
 */
import {
  AFFINITY_BACKEND, AFFINITY_CLIENT, AFFINITY_ENTRIES, AFFINITY_LOCK, AFFINITY_SERVICE, AFFINITY_SIZE,
  AFFINITY_UNTIL, BALANCE_CLIENTS_AT, BALANCE_CLIENTS_MASK, HEADER, HEADER_SECRET, REGION_BALANCE, SERVICE_AFFINITY,
  SERVICE_BY_CLIENT, SERVICE_FLAGS,
} from "../abi";
import { region } from "../core/layout";
import { sipHash3 } from "../core/siphash";
import { lock, unlock } from "../core/sync";
import { isOpen, NOBODY, pickBackend } from "./balance";

/**
 * Keyed hash of what distinguishes clients of one service. A flow hash that is quicker to compute than this can be steered: who
 * finds flows that share one loads one backend with them.
 */
function clientHash(high: u64, low: u64, more: u64): u32 {
  const key = load<u64>(<usize>HEADER + HEADER_SECRET);
  return sipHash3(key, key, high, low, more);
}

/**
 * The backend for a new flow, or NOBODY; the one thing that the packet path asks. The client's address is 16 bytes in two words, as
 * `findService` takes a destination; its port in host order (0 where there is none); `now` in seconds.
 */
export function chooseBackend(service: usize, high: u64, low: u64, port: u32, now: u32): u32 {
  const byClient = (load<u8>(service, SERVICE_FLAGS) & SERVICE_BY_CLIENT) != 0;
  const hash = clientHash(high, low, byClient ? 0 : port), seconds = load<u32>(service, SERVICE_AFFINITY);
  return seconds == 0 ? pickBackend(service, hash) : keptBackend(service, hash, high, low, now, seconds);
}

function keptBackend(service: usize, hash: u32, high: u64, low: u64, now: u32, seconds: u32): u32 {
  const bucket = bucketOf(service, high, low);
  lock(bucket + AFFINITY_LOCK);
  const entry = entryOf(bucket, <u32>service, high, low, now);
  let backend = NOBODY;
  if (isFor(entry, <u32>service, high, low) && isAlive(entry, now)) backend = load<u32>(entry, AFFINITY_BACKEND);
  if (backend == NOBODY || !isOpen(service, backend)) backend = pickBackend(service, hash);
  if (backend != NOBODY) {
    store<u64>(entry, high, AFFINITY_CLIENT);
    store<u64>(entry, low, AFFINITY_CLIENT + 8);
    store<u32>(entry, <u32>service, AFFINITY_SERVICE);
    store<u32>(entry, backend, AFFINITY_BACKEND);
    store<u32>(entry, now + seconds, AFFINITY_UNTIL);
  }
  unlock(bucket + AFFINITY_LOCK);
  return backend;
}

@inline
function bucketOf(service: usize, high: u64, low: u64): usize {
  const balance = region(REGION_BALANCE), mask = load<u32>(balance, BALANCE_CLIENTS_MASK);
  const index = clientHash(high, low, (<u64>service) << 32) & mask;
  return <usize>load<u32>(balance, BALANCE_CLIENTS_AT) + <usize>index * (AFFINITY_ENTRIES * AFFINITY_SIZE);
}

@inline
function isFor(entry: usize, service: u32, high: u64, low: u64): bool {
  return load<u32>(entry, AFFINITY_SERVICE) == service && load<u64>(entry, AFFINITY_CLIENT) == high && load<u64>(entry, AFFINITY_CLIENT + 8) == low;
}

/** Seconds wrap; a time lies ahead by less than half of all. */
@inline
function isAlive(entry: usize, now: u32): bool {
  return load<u32>(entry, AFFINITY_SERVICE) != 0 && <i32>(load<u32>(entry, AFFINITY_UNTIL) - now) > 0;
}

/** The client's entry, else the one that is best given to it: a free one, or the one that ends first. */
function entryOf(bucket: usize, service: u32, high: u64, low: u64, now: u32): usize {
  let best = bucket, left: i32 = i32.MAX_VALUE;
  for (let i: usize = 0; i < <usize>AFFINITY_ENTRIES; i++) {
    const entry = bucket + i * AFFINITY_SIZE;
    if (isFor(entry, service, high, low)) return entry;
    const rest = isAlive(entry, now) ? <i32>(load<u32>(entry, AFFINITY_UNTIL) - now) : 0;
    if (rest >= left) continue;
    best = entry;
    left = rest;
  }
  return best;
}

/** Forgets all clients of the service that had this record before. Control thread. */
export function forgetClients(service: usize): void {
  const balance = region(REGION_BALANCE), buckets = load<u32>(balance, BALANCE_CLIENTS_MASK) + 1;
  for (let b: u32 = 0; b < buckets; b++) {
    const bucket = <usize>load<u32>(balance, BALANCE_CLIENTS_AT) + <usize>b * (AFFINITY_ENTRIES * AFFINITY_SIZE);
    lock(bucket + AFFINITY_LOCK);
    for (let i: usize = 0; i < <usize>AFFINITY_ENTRIES; i++) {
      const entry = bucket + i * AFFINITY_SIZE;
      if (load<u32>(entry, AFFINITY_SERVICE) == <u32>service) store<u32>(entry, 0, AFFINITY_SERVICE);
    }
    unlock(bucket + AFFINITY_LOCK);
  }
}
