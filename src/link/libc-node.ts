/** libc in Node, through koffi. */
import koffi from "koffi";
import { type Kind, type Libc, SYMBOLS, WIDE } from "./libc-symbols.ts";

const TYPES: Record<Kind, string> = { int: "int", u64: "uint64_t", buffer: "void *", address: "void *", string: "const char *" };
const library = koffi.load("libc.so.6");
const calls = Object.fromEntries(
  Object.entries(SYMBOLS).map(([name, kinds]) => [
    name,
    library.func(
      name,
      WIDE.has(name) ? "long" : "int",
      kinds.map((kind) => TYPES[kind]),
    ),
  ]),
) as unknown as Omit<Libc, "errno" | "address" | "view" | "watch" | "ioctlNumber">;
const ioctlNumber = library.func("ioctl", "int", ["int", "uint64_t", "uint64_t"]);

type Poll = { close?(): void; stop?(): void; unref?(): void };
const node = (koffi as unknown as { node?: { poll(fd: number, options: object, callback: () => void): Poll } }).node;
const { view } = koffi as unknown as { view(address: bigint, bytes: number): ArrayBuffer };
/** Handles that are collected stop, and may end the process: they are kept here. */
const handles = new Set<Poll>();

export const libc: Libc = {
  ...calls,
  ioctlNumber,
  errno: () => koffi.errno(),
  address: (buffer) => koffi.address(new Uint8Array(buffer)),
  view: (address, bytes) => view(BigInt(address), bytes),
  watch: node && watch,
};

function watch(fd: number, readable: () => void): () => void {
  const handle = node?.poll(fd, { readable: true }, readable) as Poll;
  handles.add(handle);
  // The engine that it wakes keeps the process, if anything should.
  handle.unref?.();
  return () => {
    handles.delete(handle);
    (handle.close ?? handle.stop)?.call(handle);
  };
}
