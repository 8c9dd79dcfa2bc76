/** libc in Deno, through `Deno.dlopen` (needs --allow-ffi). */
import { type Kind, type Libc, SYMBOLS } from "./libc-symbols.ts";

interface DenoFfi {
  dlopen(path: string, symbols: object): { symbols: Record<string, (...args: unknown[]) => bigint | number> };
  UnsafePointer: { of(view: Uint8Array): object | null; value(pointer: object | null): bigint; create(value: bigint): object };
  UnsafePointerView: new (pointer: object) => { getInt32(): number };
}

const deno = (globalThis as unknown as { Deno: DenoFfi }).Deno;
const TYPES: Record<Kind, string> = { int: "i32", u64: "u64", buffer: "buffer", address: "u64", string: "buffer" };
const wanted = Object.entries(SYMBOLS).map(
  ([name, kinds]) => [name, { parameters: kinds.map((kind) => TYPES[kind]), result: "i64" }] as const,
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
  errno: () => errnoAt().getInt32(),
  address: (buffer) => deno.UnsafePointer.value(deno.UnsafePointer.of(new Uint8Array(buffer))),
};
