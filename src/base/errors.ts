/** Errors that a program can tell apart: a stable `code`, and one sentence for a person. */
export type LoomErrorCode =
  | "EINVAL"
  | "ENOMEM"
  | "ENOENT"
  | "ENODEV"
  | "ENOPROTOOPT"
  | "EEXIST"
  | "EBUSY"
  | "EPROTO"
  | "ENOTSUP"
  | "ENOBUFS"
  | "EADDRINUSE"
  | "EADDRNOTAVAIL"
  | "ECONNREFUSED"
  | "ECONNRESET"
  | "ECONNABORTED"
  | "ETIMEDOUT"
  | "EHOSTUNREACH"
  | "ENETUNREACH"
  | "ENETDOWN"
  | "EHOSTDOWN"
  | "ENONET"
  | "EMSGSIZE"
  | "EPIPE"
  | "EISCONN"
  | "ENOTCONN"
  | "EACCES"
  | "EAGAIN"
  | "EPERM"
  | "EPROTOTYPE"
  // Names: what Node and c-ares call them.
  | "ENOTFOUND"
  | "ENODATA"
  | "ESERVFAIL"
  | "EREFUSED"
  | "EBADRESP"
  | "EBADNAME"
  | "ETIMEOUT"
  | "EAI_AGAIN";

export class LoomError extends Error {
  readonly code: LoomErrorCode;

  constructor(code: LoomErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "LoomError";
    this.code = code;
  }
}

/** For what a person typed: wrong value, where, what was expected. */
export function invalid(message: string): LoomError {
  return new LoomError("EINVAL", message);
}
