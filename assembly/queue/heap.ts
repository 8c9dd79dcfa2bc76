/**
 * A binary heap of things that wait for a time. A thing begins with that time (u64) and its place in the heap plus one
 * (u32 at +8, 0: it is not in it), so that it can be taken out from the middle. `heap` points to two words: entries, number.
 */
@inline
function timeOf(thing: usize): u64 {
  return load<u64>(thing);
}

@inline
function put(entries: usize, place: u32, thing: usize): void {
  store<u32>(entries + (<usize>place << 2), <u32>thing);
  store<u32>(thing, place + 1, 8);
}

@inline
function at(entries: usize, place: u32): usize {
  return <usize>load<u32>(entries + (<usize>place << 2));
}

function rise(entries: usize, place: u32, thing: usize): void {
  while (place > 0) {
    const above = (place - 1) >>> 1, other = at(entries, above);
    if (timeOf(other) <= timeOf(thing)) break;
    put(entries, place, other);
    place = above;
  }
  put(entries, place, thing);
}

function sink(entries: usize, count: u32, place: u32, thing: usize): void {
  while (true) {
    let below: u32 = 2 * place + 1;
    if (below >= count) break;
    if (below + 1 < count && timeOf(at(entries, below + 1)) < timeOf(at(entries, below))) below++;
    const other = at(entries, below);
    if (timeOf(thing) <= timeOf(other)) break;
    put(entries, place, other);
    place = below;
  }
  put(entries, place, thing);
}

/** Adds a thing, or moves it to its new time. */
export function heapSet(heap: usize, thing: usize): void {
  heapRemove(heap, thing);
  const count = load<u32>(heap, 4);
  store<u32>(heap, count + 1, 4);
  rise(<usize>load<u32>(heap), count, thing);
}

export function heapRemove(heap: usize, thing: usize): void {
  const place = load<u32>(thing, 8);
  if (place == 0) return;
  store<u32>(thing, 0, 8);
  const entries = <usize>load<u32>(heap), count = load<u32>(heap, 4) - 1;
  store<u32>(heap, count, 4);
  if (place - 1 == count) return;
  const last = at(entries, count);
  if (timeOf(last) < timeOf(thing)) rise(entries, place - 1, last);
  else sink(entries, count, place - 1, last);
}

/** The thing with the earliest time, or 0. */
@inline
export function heapFirst(heap: usize): usize {
  return load<u32>(heap, 4) == 0 ? 0 : at(<usize>load<u32>(heap), 0);
}
