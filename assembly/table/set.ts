/** Sets and maps of rules, whatever their kind: by the address of their header (SET_* in abi.ts). */
import {
  SET_CATCH_ALL, SET_COUNT, SET_DATA, SET_EXPIRY, SET_GROUP, SET_HASH, SET_KIND, SET_LIFE, SET_MASK, REGION_FILTER,
} from "../abi";
import { settle } from "../core/arena";
import { region } from "../core/layout";
import { clearHashed, expire, findHashed, hasExpired, insertHashed, removeHashed, resize } from "./set-hash";
import { findInterval } from "./set-intervals";

/** The element that a key falls under, or 0. */
export function findSet(set: usize, key: usize, now: u64): usize {
  const element = load<u8>(set, SET_KIND) == SET_HASH ? findHashed(set, key, now) : findInterval(set, key, now);
  if (element != 0) return element;
  const rest = <usize>load<u32>(set, SET_CATCH_ALL);
  return rest == 0 || hasExpired(set, rest, now) ? 0 : rest;
}

/** A new element of a hash set that begins as its set says; the live one, if there is one; 0 when the set is full. */
export function insertSet(set: usize, key: usize, now: u64): usize {
  if (load<u8>(set, SET_KIND) != SET_HASH) return 0;
  const known = findHashed(set, key, now);
  return known != 0 ? known : insertHashed(set, key, now);
}

export function removeSet(set: usize, key: usize, now: u64): u32 {
  return load<u8>(set, SET_KIND) == SET_HASH && removeHashed(set, key, now) ? 1 : 0;
}

/** Makes room for that many elements of a hash set, after the expired have gone; 0 without memory. For the control thread, which may wait for readers. */
export function sizeSet(set: usize, elements: u32): u32 {
  let groups: u32 = 1;
  while (groups * (SET_GROUP - 2) < elements && groups < 1 << 26) groups <<= 1;
  if (load<u8>(set, SET_KIND) != SET_HASH) return 0;
  groups = max<u32>(groups, load<u32>(set, SET_COUNT) == 0 ? 1 : load<u32>(set, SET_MASK) + 1);
  if (resize(set, groups)) return 1;
  settle(region(REGION_FILTER));
  return resize(set, groups) ? 1 : 0;
}

export function freeSet(set: usize): void {
  if (load<u8>(set, SET_KIND) == SET_HASH) clearHashed(set);
}

/**
 * What a rule does when it adds to a set: finds the key's element or makes one. A new one gets `words` words of data, and lives `life` ns
 * when that is not 0; with `refresh`, the life of an old one begins again. 0 when the set is full.
 */
export function updateSet(set: usize, key: usize, data: usize, words: u32, life: u64, refresh: u32, now: u64): usize {
  if (load<u8>(set, SET_KIND) != SET_HASH) return 0;
  const expiry = load<u32>(set, SET_EXPIRY);
  let element = findHashed(set, key, now);
  const span = life != 0 ? life : load<u64>(set, SET_LIFE);
  if (element != 0) {
    if (refresh == 0 || expiry == 0 || load<u64>(element + expiry, 8) == 0) return element;
  } else {
    element = insertHashed(set, key, now);
    if (element == 0) return 0;
    memory.copy(element + load<u32>(set, SET_DATA), data, <usize>words << 2);
    if (expiry == 0) return element;
  }
  store<u64>(element + expiry, span == 0 ? 0 : now + span);
  store<u64>(element + expiry, span, 8);
  return element;
}

/** Looks for expired elements, unless that was done a moment ago. */
export function expireSet(set: usize, now: u64): void {
  if (load<u8>(set, SET_KIND) == SET_HASH) expire(set, now);
}
