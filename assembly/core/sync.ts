/** Atomic accesses in the shared build, plain ones where only one thread can exist. */
@inline
export function loadAcquire(at: usize): u32 {
  if (ASC_FEATURE_THREADS) return atomic.load<u32>(at);
  return load<u32>(at);
}

@inline
export function storeRelease(at: usize, value: u32): void {
  if (ASC_FEATURE_THREADS) atomic.store<u32>(at, value);
  else store<u32>(at, value);
}

@inline
export function storeRelease16(at: usize, value: u32): void {
  if (ASC_FEATURE_THREADS) atomic.store<u16>(at, <u16>value);
  else store<u16>(at, <u16>value);
}

/** Adds and returns the value before. */
@inline
export function fetchAdd(at: usize, value: u32): u32 {
  if (ASC_FEATURE_THREADS) return atomic.add<u32>(at, value);
  const before = load<u32>(at);
  store<u32>(at, before + value);
  return before;
}

/** Sets bits and returns the value before. */
@inline
export function fetchOr(at: usize, bits: u32): u32 {
  if (ASC_FEATURE_THREADS) return atomic.or<u32>(at, bits);
  const before = load<u32>(at);
  store<u32>(at, before | bits);
  return before;
}

/** Keeps only those bits and returns the value before. */
@inline
export function fetchAnd(at: usize, bits: u32): u32 {
  if (ASC_FEATURE_THREADS) return atomic.and<u32>(at, bits);
  const before = load<u32>(at);
  store<u32>(at, before & bits);
  return before;
}

/** Stores `value` where `expected` stood; returns what stood there. */
@inline
export function compareExchange(at: usize, expected: u32, value: u32): u32 {
  if (ASC_FEATURE_THREADS) return atomic.cmpxchg<u32>(at, expected, value);
  const before = load<u32>(at);
  if (before == expected) store<u32>(at, value);
  return before;
}

/** A spin lock for the few words that are not on the data path. */
@inline
export function lock(at: usize): void {
  while (compareExchange(at, 0, 1) != 0) {}
}

@inline
export function unlock(at: usize): void {
  storeRelease(at, 0);
}
