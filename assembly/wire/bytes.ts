/** Network order: the wire is big-endian, Wasm is not. */
@inline
export function swap16(x: u32): u32 {
  return ((x & 0xff) << 8) | ((x >>> 8) & 0xff);
}

@inline
export function swap32(x: u32): u32 {
  return rotl<u32>(x & 0x00ff00ff, 24) | rotl<u32>(x & 0xff00ff00, 8);
}

@inline
export function load16(at: usize): u32 {
  return swap16(load<u16>(at));
}

@inline
export function load32(at: usize): u32 {
  return swap32(load<u32>(at));
}

@inline
export function store16(at: usize, value: u32): void {
  store<u16>(at, <u16>swap16(value));
}

@inline
export function store32(at: usize, value: u32): void {
  store<u32>(at, swap32(value));
}
