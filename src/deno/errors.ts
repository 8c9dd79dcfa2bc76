/** Deno's error classes: its own where this is Deno, else classes of the same names. */
import { LoomError } from "../base/errors.ts";

type ErrorClass = new (message?: string) => Error;

const NAMES = [
  "NotFound",
  "PermissionDenied",
  "ConnectionRefused",
  "ConnectionReset",
  "ConnectionAborted",
  "NotConnected",
  "AddrInUse",
  "AddrNotAvailable",
  "BrokenPipe",
  "TimedOut",
  "Interrupted",
  "BadResource",
  "NotSupported",
  "InvalidData",
  "NetworkUnreachable",
  "Busy",
] as const;
export type ErrorName = (typeof NAMES)[number];

const own = (globalThis as { Deno?: { errors?: Record<string, ErrorClass> } }).Deno?.errors;

function classOf(name: ErrorName): ErrorClass {
  const known = own?.[name];
  if (known) return known;
  const made = class extends Error {
    constructor(message?: string) {
      super(message);
      this.name = name;
    }
  };
  Object.defineProperty(made, "name", { value: name });
  return made;
}

/** `Deno.errors`, as far as sockets throw them. */
export const errors = Object.fromEntries(NAMES.map((name) => [name, classOf(name)])) as Readonly<Record<ErrorName, ErrorClass>>;

const BY_CODE: Readonly<Record<string, ErrorName>> = {
  ENOENT: "NotFound",
  ENOTFOUND: "NotFound",
  ENODATA: "NotFound",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  ECONNREFUSED: "ConnectionRefused",
  ECONNRESET: "ConnectionReset",
  ECONNABORTED: "ConnectionAborted",
  ENOTCONN: "NotConnected",
  EADDRINUSE: "AddrInUse",
  EADDRNOTAVAIL: "AddrNotAvailable",
  EPIPE: "BrokenPipe",
  ETIMEDOUT: "TimedOut",
  ETIMEOUT: "TimedOut",
  ENOTSUP: "NotSupported",
  ENETUNREACH: "NetworkUnreachable",
};

/** What Deno would throw for an error of ours: its class, with the code beside it. Other errors are left as they are. */
export function denoError(error: unknown): unknown {
  if (!(error instanceof LoomError)) return error;
  const { code, message } = error;
  const name = BY_CODE[code];
  const made = name ? new errors[name](message) : code === "EINVAL" ? new TypeError(message) : new Error(message);
  return Object.assign(made, { code, cause: error });
}

/** Runs something and throws what Deno would. */
export function throwing<T>(what: () => T): T {
  try {
    return what();
  } catch (error) {
    throw denoError(error);
  }
}

/** Waits for something and rejects with what Deno would. */
export async function rejecting<T>(what: Promise<T>): Promise<T> {
  try {
    return await what;
  } catch (error) {
    throw denoError(error);
  }
}
