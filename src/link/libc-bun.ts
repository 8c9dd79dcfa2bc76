/** libc in Bun, through `bun:ffi`. */
import { type Kind, type Libc, SYMBOLS } from "./libc-symbols.ts";

interface BunFfi {
  dlopen(path: string, symbols: object): { symbols: Record<string, (...args: unknown[]) => bigint | number> };
  ptr(view: Uint8Array): number;
  read: { i32(pointer: number): number };
}

// Named by a variable, so that no other runtime's tools look for it.
const name = "bun:ffi";
const ffi = (await import(name)) as BunFfi;
const TYPES: Record<Kind, string> = { int: "i32", u64: "u64", buffer: "ptr", address: "u64", string: "ptr" };
const wanted = Object.entries(SYMBOLS).map(([key, kinds]) => [key, { args: kinds.map((kind) => TYPES[kind]), returns: "i64" }] as const);
const { symbols } = ffi.dlopen("libc.so.6", { ...Object.fromEntries(wanted), __errno_location: { args: [], returns: "ptr" } });
const numbers = ffi.dlopen("libc.so.6", { ioctl: { args: ["i32", "u64", "u64"], returns: "i32" } }).symbols;

export const libc: Libc = {
  open: (path, flags) => Number(symbols.open(new TextEncoder().encode(`${path}\0`), flags)),
  close: (fd) => Number(symbols.close(fd)),
  ioctl: (fd, request, argument) => Number(symbols.ioctl(fd, BigInt(request), argument)),
  ioctlNumber: (fd, request, argument) => Number(numbers.ioctl(fd, BigInt(request), BigInt(argument))),
  read: (fd, address, bytes) => Number(symbols.read(fd, address, BigInt(bytes))),
  write: (fd, address, bytes) => Number(symbols.write(fd, address, BigInt(bytes))),
  writev: (fd, vector, count) => Number(symbols.writev(fd, vector, count)),
  setns: (fd, kind) => Number(symbols.setns(fd, kind)),
  errno: () => ffi.read.i32(Number(symbols.__errno_location())),
  address: (buffer) => BigInt(ffi.ptr(new Uint8Array(buffer))),
};
