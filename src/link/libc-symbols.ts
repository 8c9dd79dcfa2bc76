/** The calls of libc that devices need: one table for three loaders. */

/** Kinds of arguments: int, unsigned 64-bit, a buffer, an address in memory, a C string. */
export type Kind = "int" | "u64" | "buffer" | "address" | "string";

/** Every symbol with its arguments; all of them return a signed 64-bit number. */
export const SYMBOLS = {
  open: ["string", "int"],
  close: ["int"],
  ioctl: ["int", "u64", "buffer"],
  read: ["int", "address", "u64"],
  write: ["int", "address", "u64"],
  writev: ["int", "buffer", "int"],
  setns: ["int", "int"],
} as const satisfies Record<string, readonly Kind[]>;

export interface Libc {
  open(path: string, flags: number): number;
  close(fd: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  /** `ioctl` whose third argument is a number. */
  ioctlNumber(fd: number, request: number, argument: number): number;
  read(fd: number, address: bigint, bytes: number): number;
  write(fd: number, address: bigint, bytes: number): number;
  writev(fd: number, vector: Uint8Array, count: number): number;
  setns(fd: number, kind: number): number;
  errno(): number;
  /** Where a buffer lies in the process. */
  address(buffer: ArrayBufferLike): bigint;
  /** Calls back while a descriptor can be read; returns how to stop. Absent where the runtime cannot. */
  watch?(fd: number, readable: () => void): () => void;
}
