/**
 * The few calls of libc that devices need, without a compiler: koffi in Node, `Deno.dlopen`, `bun:ffi`. One table of
 * symbols, three loaders; each is imported only where it can work.
 */
import { LoomError } from "../base/errors.ts";
import type { Libc } from "./libc-symbols.ts";

const runtime = globalThis as { Deno?: unknown; Bun?: unknown };

export async function loadLibc(): Promise<Libc> {
  try {
    if (runtime.Bun) return (await import("./libc-bun.ts")).libc;
    if (runtime.Deno) return (await import("./libc-deno.ts")).libc;
    return (await import("./libc-node.ts")).libc;
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    const what = isMissing ? "kernel devices in Node need koffi: npm install koffi" : "this runtime cannot call the operating system";
    throw new LoomError("ENOTSUP", `${what} (${(error as Error).message})`, { cause: error });
  }
}

const ERRORS: Record<number, { code: ConstructorParameters<typeof LoomError>[0]; what: string }> = {
  1: { code: "EPERM", what: "not permitted; run as root or with CAP" },
  2: { code: "ENOENT", what: "it does not exist" },
  12: { code: "ENOMEM", what: "no memory; raise the limit of locked memory (ulimit -l) or choose smaller sizes" },
  13: { code: "EACCES", what: "permission denied; run as root or with CAP" },
  16: { code: "EBUSY", what: "it is in use by another program" },
  17: { code: "EEXIST", what: "there is one already" },
  19: { code: "ENOENT", what: "there is no such device; `ip link` shows which there are" },
  22: { code: "EINVAL", what: "the kernel refused the argument" },
  34: { code: "EINVAL", what: "that is more or less than the device takes" },
  93: { code: "ENOTSUP", what: "this kernel cannot do it" },
  95: { code: "ENOTSUP", what: "the device or this kernel cannot do it" },
  97: { code: "ENOTSUP", what: "this kernel was built without it" },
};

/** One sentence for a call that failed; `capability` is what would have allowed it. */
export function systemError(what: string, errno: number, capability = "CAP_NET_ADMIN"): LoomError {
  const known = ERRORS[errno];
  return new LoomError(known?.code ?? "EINVAL", `${what}: ${known?.what.replace("CAP", capability) ?? `error ${errno}`}`);
}

const O_CLOEXEC = 0x80000;
const CLONE_NEWNET = 0x40000000;

/** Runs `work` in a network namespace of /run/netns (or a path to one): descriptors opened there stay there. */
export function inNamespace<T>(libc: Libc, namespace: string | undefined, work: () => T): T {
  if (namespace === undefined) return work();
  const home = enter(libc, namespace);
  try {
    return work();
  } finally {
    libc.setns(home, CLONE_NEWNET);
    libc.close(home);
  }
}

/** Enters a namespace with this thread; returns a descriptor of where it came from. */
function enter(libc: Libc, namespace: string): number {
  const path = namespace.startsWith("/") ? namespace : `/run/netns/${namespace}`;
  const there = libc.open(path, O_CLOEXEC);
  if (there < 0) throw systemError(`cannot open network namespace ${path}`, libc.errno());
  const home = libc.open("/proc/thread-self/ns/net", O_CLOEXEC);
  const failed = libc.setns(there, CLONE_NEWNET) < 0;
  const errno = libc.errno();
  libc.close(there);
  if (!failed) return home;
  libc.close(home);
  throw systemError(`cannot enter network namespace ${path}`, errno, "CAP_SYS_ADMIN");
}

/** A structure of the system's: little-endian fields at their places. */
export function struct(
  bytes: number,
  fields: readonly (readonly [at: number, size: 1 | 2 | 4 | 8, value: number | bigint])[] = [],
): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  for (const [at, size, value] of fields) {
    if (size === 8) view.setBigUint64(at, BigInt(value), true);
    else if (size === 4) view.setUint32(at, Number(value), true);
    else if (size === 2) view.setUint16(at, Number(value), true);
    else view.setUint8(at, Number(value));
  }
  return new Uint8Array(view.buffer);
}
