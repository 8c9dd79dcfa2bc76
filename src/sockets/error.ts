/** What the calls of the Sockets API throw and reject with: a TypeError whose sentence begins with "SocketError: ". */
import { LoomError } from "../base/errors.ts";

export class SocketError extends TypeError {
  /** What went wrong, where the network or TLS said it: ECONNREFUSED, ENOTFOUND, DEPTH_ZERO_SELF_SIGNED_CERT, … */
  readonly code: string | undefined;

  constructor(message: string, options: ErrorOptions & { code?: string } = {}) {
    super(`SocketError: ${message}`, options);
    this.code = options.code;
  }
}

/** Anything that went wrong below, as a SocketError that has it for its cause. */
export function socketError(error: unknown): SocketError {
  if (error instanceof SocketError) return error;
  const { message = String(error), code, cause } = error as { message?: string; code?: string; cause?: unknown };
  return new SocketError(message, { code, cause: cause instanceof LoomError ? cause : error });
}
