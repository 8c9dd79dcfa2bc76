/** libc in Bun, through `bun:ffi`. */
import { type Kind, type Libc, SYMBOLS, WIDE } from "./libc-symbols.ts";

interface BunFfi {
  dlopen(path: string, symbols: object): { symbols: Record<string, (...args: unknown[]) => bigint | number> };
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
  open: (path, flags) => Number(symbols.open(new TextEncoder().encode(`${path}\0`), flags)),
  close: (fd) => Number(symbols.close(fd)),
  ioctl: (fd, request, argument) => Number(symbols.ioctl(fd, BigInt(request), argument)),
  ioctlNumber: (fd, request, argument) => Number(numbers.ioctl(fd, BigInt(request), BigInt(argument))),
  read: (fd, address, bytes) => Number(symbols.read(fd, address, BigInt(bytes))),
  write: (fd, address, bytes) => Number(symbols.write(fd, address, BigInt(bytes))),
  writev: (fd, vector, count) => Number(symbols.writev(fd, vector, count)),
  setns: (fd, kind) => Number(symbols.setns(fd, kind)),
  socket: (family, type, protocol) => Number(symbols.socket(family, type, protocol)),
  bind: (fd, address, bytes) => Number(symbols.bind(fd, address, bytes)),
  setsockopt: (fd, level, name, value, bytes) => Number(symbols.setsockopt(fd, level, name, value, bytes)),
  getsockopt: (fd, level, name, value, bytes) => Number(symbols.getsockopt(fd, level, name, value, bytes)),
  recv: (fd, buffer, bytes, flags) => Number(symbols.recv(fd, buffer, BigInt(bytes), flags)),
  sendto: (fd, address, bytes, flags, to, toBytes) =>
    Number(symbols.sendto(fd, BigInt(address), BigInt(bytes), flags, BigInt(to), toBytes)),
  sendmmsg: (fd, vector, count, flags) => Number(symbols.sendmmsg(fd, BigInt(vector), count, flags)),
  mmap: (at, bytes, protection, flags, fd, offset) =>
    Number(symbols.mmap(BigInt(at), BigInt(bytes), protection, flags, fd, BigInt(offset))),
  munmap: (at, bytes) => Number(symbols.munmap(BigInt(at), BigInt(bytes))),
  syscall: (number, command, structure, bytes) => Number(symbols.syscall(BigInt(number), BigInt(command), structure, BigInt(bytes))),
  uname: (buffer) => Number(symbols.uname(buffer)),
  errno: () => ffi.read.i32(Number(symbols.__errno_location())),
  view: (address, bytes) => ffi.toArrayBuffer(address, 0, bytes),
  address: (buffer) => BigInt(ffi.ptr(new Uint8Array(buffer))),
};
