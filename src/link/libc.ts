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
    throw new LoomError("ENOTSUP", `this runtime cannot call the operating system: ${(error as Error).message}; in Node, install koffi`);
  }
}

const ERRORS: Record<number, { code: ConstructorParameters<typeof LoomError>[0]; what: string }> = {
  1: { code: "EPERM", what: "not permitted; run as root or with CAP_NET_ADMIN" },
  2: { code: "ENOENT", what: "it does not exist" },
  13: { code: "EACCES", what: "permission denied; run as root or with CAP_NET_ADMIN" },
  16: { code: "EBUSY", what: "it is in use by another program" },
  19: { code: "ENOENT", what: "there is no such device" },
  22: { code: "EINVAL", what: "the kernel refused the argument" },
};

/** One sentence for a call that failed. */
export function systemError(what: string, errno: number): LoomError {
  const known = ERRORS[errno];
  return new LoomError(known?.code ?? "EINVAL", `${what}: ${known?.what ?? `error ${errno}`}`);
}
