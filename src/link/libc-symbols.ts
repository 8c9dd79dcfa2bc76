/** The calls of libc that devices need: one table for three loaders. */

/** Kinds of arguments: int, unsigned 64-bit, a buffer, an address in memory, a C string. */
export type Kind = "int" | "u64" | "buffer" | "address" | "string";

/** Every symbol with its arguments. */
export const SYMBOLS = {
  open: ["string", "int"],
  close: ["int"],
  ioctl: ["int", "u64", "buffer"],
  read: ["int", "address", "u64"],
  write: ["int", "address", "u64"],
  writev: ["int", "buffer", "int"],
  setns: ["int", "int"],
  socket: ["int", "int", "int"],
  bind: ["int", "buffer", "int"],
  setsockopt: ["int", "int", "int", "buffer", "int"],
  getsockopt: ["int", "int", "int", "buffer", "buffer"],
  recv: ["int", "buffer", "u64", "int"],
  sendto: ["int", "u64", "u64", "int", "u64", "int"],
  sendmmsg: ["int", "u64", "int", "int"],
  mmap: ["u64", "u64", "int", "int", "int", "u64"],
  munmap: ["u64", "u64"],
  syscall: ["u64", "u64", "buffer", "u64"],
  uname: ["buffer"],
} as const satisfies Record<string, readonly Kind[]>;

/** Those that return a signed 64-bit number; the others an int, whose upper half of the register is anybody's. */
export const WIDE: ReadonlySet<string> = new Set(["read", "write", "writev", "recv", "sendto", "mmap", "syscall"]);

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
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, bytes: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, bytes: number): number;
  /** `bytes` is an int: the room there is, then the length of the value. */
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, bytes: Uint8Array): number;
  recv(fd: number, buffer: Uint8Array, bytes: number, flags: number): number;
  sendto(fd: number, address: number, bytes: number, flags: number, to: number, toBytes: number): number;
  /** `vector` is the address of `count` headers of 64 bytes. */
  sendmmsg(fd: number, vector: number, count: number, flags: number): number;
  /** An address, or -1. */
  mmap(at: number, bytes: number, protection: number, flags: number, fd: number, offset: number): number;
  munmap(at: number, bytes: number): number;
  /** System calls of the shape (command, structure, its size). */
  syscall(number: number, command: number, structure: Uint8Array, bytes: number): number;
  uname(buffer: Uint8Array): number;
  errno(): number;
  /** Where a buffer lies in the process. */
  address(buffer: ArrayBufferLike): bigint;
  /** Memory of the process that is not JavaScript's own. Using it after it was unmapped ends the process. */
  view(address: number, bytes: number): ArrayBuffer;
  /** Calls back while a descriptor can be read; returns how to stop. Absent where the runtime cannot. */
  watch?(fd: number, readable: () => void): () => void;
}

/** A function of libc as a runtime's own FFI has it: strings are buffers, 64-bit numbers are bigints. */
export type Foreign = (...args: unknown[]) => bigint | number;

/** The calls, over functions that a runtime's own FFI found. */
export function callsOf(
  symbols: Readonly<Record<string, Foreign>>,
  ioctlNumber: Foreign,
): Omit<Libc, "errno" | "address" | "view" | "watch"> {
  return {
    open: (path, flags) => Number(symbols.open(new TextEncoder().encode(`${path}\0`), flags)),
    close: (fd) => Number(symbols.close(fd)),
    ioctl: (fd, request, argument) => Number(symbols.ioctl(fd, BigInt(request), argument)),
    ioctlNumber: (fd, request, argument) => Number(ioctlNumber(fd, BigInt(request), BigInt(argument))),
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
  };
}
