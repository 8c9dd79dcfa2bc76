/** libc in Deno, through `Deno.dlopen` (needs --allow-ffi). */
import { type Kind, type Libc, SYMBOLS, WIDE } from "./libc-symbols.ts";

interface DenoFfi {
  dlopen(path: string, symbols: object): { symbols: Record<string, (...args: unknown[]) => bigint | number> };
  UnsafePointer: { of(view: Uint8Array): object | null; value(pointer: object | null): bigint; create(value: bigint): object };
  UnsafePointerView: { new (pointer: object): { getInt32(): number }; getArrayBuffer(pointer: object, bytes: number): ArrayBuffer };
}

const deno = (globalThis as unknown as { Deno: DenoFfi }).Deno;
const TYPES: Record<Kind, string> = { int: "i32", u64: "u64", buffer: "buffer", address: "u64", string: "buffer" };
const wanted = Object.entries(SYMBOLS).map(
  ([name, kinds]) => [name, { parameters: kinds.map((kind) => TYPES[kind]), result: WIDE.has(name) ? "i64" : "i32" }] as const,
);
const { symbols } = deno.dlopen("libc.so.6", {
  ...Object.fromEntries(wanted),
  ioctlNumber: { name: "ioctl", parameters: ["i32", "u64", "u64"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
});
/** The pointer to this thread's errno. */
const errnoAt = () => new deno.UnsafePointerView(symbols.__errno_location() as unknown as object);

export const libc: Libc = {
  open: (path, flags) => Number(symbols.open(new TextEncoder().encode(`${path}\0`), flags)),
  close: (fd) => Number(symbols.close(fd)),
  ioctl: (fd, request, argument) => Number(symbols.ioctl(fd, BigInt(request), argument)),
  ioctlNumber: (fd, request, argument) => Number(symbols.ioctlNumber(fd, BigInt(request), BigInt(argument))),
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
  errno: () => errnoAt().getInt32(),
  view: (address, bytes) => deno.UnsafePointerView.getArrayBuffer(deno.UnsafePointer.create(BigInt(address)), bytes),
  address: (buffer) => deno.UnsafePointer.value(deno.UnsafePointer.of(new Uint8Array(buffer))),
};
