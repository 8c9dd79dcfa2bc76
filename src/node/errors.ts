/** Errors as Node words them, so that code which looks at `code`, `errno`, `syscall` or the message need not know whose they are. */
import { getSystemErrorMap } from "node:util";

/** What Node puts on an error of the system. */
export interface SystemError extends Error {
  code: string;
  errno: number;
  syscall: string;
  address?: string;
  port?: number;
  localAddress?: string;
  localPort?: number;
}

export interface Where {
  address?: string;
  port?: number;
  localAddress?: string;
  localPort?: number;
}

let numbers: Map<string, { errno: number; text: string }> | undefined;

function known(code: string): { errno: number; text: string } {
  numbers ??= new Map([...getSystemErrorMap()].map(([errno, [name, text]]) => [name, { errno, text }]));
  return numbers.get(code) ?? { errno: 0, text: "unknown error" };
}

/** The code of whatever was thrown, for an error that is made from it. */
export function codeOf(error: unknown): string {
  return (error as { code?: string } | undefined)?.code ?? "EINVAL";
}

function place({ address, port }: Where): string {
  if (address === undefined) return "";
  return port && port > 0 ? ` ${address}:${port}` : ` ${address}`;
}

function build(message: string, code: string, syscall: string, where: Where): SystemError {
  const error = new Error(message) as SystemError;
  error.errno = known(code).errno;
  error.code = code;
  error.syscall = syscall;
  if (where.address !== undefined) error.address = where.address;
  if (where.port) error.port = where.port;
  return error;
}

/** "connect ECONNREFUSED 10.0.0.2:80", "read ECONNRESET". */
export function systemError(code: string, syscall: string, where: Where = {}): SystemError {
  const { localAddress, localPort } = where;
  const local = localAddress === undefined ? "" : ` - Local (${localAddress}:${localPort})`;
  return build(`${syscall} ${code}${place(where)}${local}`, code, syscall, where);
}

/** "listen EADDRINUSE: address already in use 0.0.0.0:80". */
export function explainedError(code: string, syscall: string, where: Where): SystemError {
  return build(`${syscall} ${code}: ${known(code).text}${place(where)}`, code, syscall, where);
}

/** "getaddrinfo ENOTFOUND db.test". */
export function lookupError(code: string, hostname: string): SystemError & { hostname: string } {
  return nameError("getaddrinfo", code, hostname);
}

/** "getnameinfo ENOTFOUND 192.0.2.7". */
export function nameInfoError(code: string, address: string): SystemError & { hostname: string } {
  return nameError("getnameinfo", code, address);
}

function nameError(syscall: string, code: string, hostname: string): SystemError & { hostname: string } {
  const error = build(`${syscall} ${code} ${hostname}`, code, syscall, {}) as SystemError & { hostname: string };
  // Node's own numbers for what is no errno: those of getaddrinfo(3) in libuv.
  error.errno = { ENOTFOUND: -3008, EAI_AGAIN: -3001, EAI_FAIL: -3004 }[code] ?? error.errno;
  error.hostname = hostname;
  return error;
}

/** "queryMx ENODATA example.test": what c-ares says has a name and no number. */
export function resolveError(code: string, syscall: string, hostname: string): Error {
  const error = new Error(`${syscall} ${code} ${hostname}`);
  return Object.assign(error, { errno: undefined, code, syscall, hostname });
}

type Base = ErrorConstructor | TypeErrorConstructor | RangeErrorConstructor;

/** One of Node's own errors: ERR_SOCKET_CLOSED and its like. */
export function nodeError(code: string, message: string, base: Base = Error): Error & { code: string } {
  const error = new base(message) as Error & { code: string };
  error.code = code;
  // As Node does: the code stands in the first line of the stack, and not in the name.
  Object.defineProperty(error, "toString", { value: () => `${error.name} [${code}]: ${message}`, enumerable: false, configurable: true });
  error.stack = error.stack?.replace(error.name, `${error.name} [${code}]`);
  return error;
}

/** What several attempts said (autoSelectFamily): the code is the first one's. */
export function attemptsError(errors: readonly Error[]): AggregateError & { code?: string } {
  const error = new AggregateError(errors) as AggregateError & { code?: string };
  error.code = (errors[0] as { code?: string } | undefined)?.code;
  return error;
}
