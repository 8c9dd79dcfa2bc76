/** libc in Bun, through `bun:ffi`. */
import { callsOf, type Foreign, type Kind, type Libc, SYMBOLS, WIDE } from "./libc-symbols.ts";

interface BunFfi {
  dlopen(path: string, symbols: object): { symbols: Record<string, Foreign> };
  ptr(view: Uint8Array): number;
  read: { i32(pointer: number): number };
  toArrayBuffer(pointer: number, offset: number, bytes: number): ArrayBuffer;
}

// Named by a variable, so that no other runtime's tools look for it.
const name = "bun:ffi";
const ffi = (await import(name)) as BunFfi;
const TYPES: Record<Kind, string> = { int: "i32", u64: "u64", buffer: "ptr", address: "u64", string: "ptr" };
const wanted = Object.entries(SYMBOLS).map(
  ([key, kinds]) => [key, { args: kinds.map((kind) => TYPES[kind]), returns: WIDE.has(key) ? "i64" : "i32" }] as const,
);
const { symbols } = ffi.dlopen("libc.so.6", { ...Object.fromEntries(wanted), __errno_location: { args: [], returns: "ptr" } });
const numbers = ffi.dlopen("libc.so.6", { ioctl: { args: ["i32", "u64", "u64"], returns: "i32" } }).symbols;

export const libc: Libc = {
  ...callsOf(symbols, numbers.ioctl),
  errno: () => ffi.read.i32(Number(symbols.__errno_location())),
  view: (address, bytes) => ffi.toArrayBuffer(address, 0, bytes),
  address: (buffer) => BigInt(ffi.ptr(new Uint8Array(buffer))),
};
