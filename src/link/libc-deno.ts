/** libc in Deno, through `Deno.dlopen` (needs --allow-ffi). */
import { callsOf, type Foreign, type Kind, type Libc, SYMBOLS, WIDE } from "./libc-symbols.ts";

interface DenoFfi {
  dlopen(path: string, symbols: object): { symbols: Record<string, Foreign> };
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
  ...callsOf(symbols, symbols.ioctlNumber),
  errno: () => errnoAt().getInt32(),
  view: (address, bytes) => deno.UnsafePointerView.getArrayBuffer(deno.UnsafePointer.create(BigInt(address)), bytes),
  address: (buffer) => deno.UnsafePointer.value(deno.UnsafePointer.of(new Uint8Array(buffer))),
};
