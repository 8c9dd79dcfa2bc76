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
  const error = build(`getaddrinfo ${code} ${hostname}`, code, "getaddrinfo", {}) as SystemError & { hostname: string };
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

/** A port number, as text or number; throws ERR_SOCKET_BAD_PORT. */
export function checkPort(value: unknown, name: string, allowZero = true): number {
  const isText = typeof value === "string" && value.trim() !== "";
  const port = typeof value === "number" || isText ? Number(value) : Number.NaN;
  if (Number.isInteger(port) && port >= (allowZero ? 0 : 1) && port <= 65_535) return port;
  const range = allowZero ? ">= 0" : "> 0";
  throw nodeError("ERR_SOCKET_BAD_PORT", `${name} should be ${range} and < 65536. Received ${describe(value)}.`, RangeError);
}

/** A path of up to 107 bytes, which is what `sun_path` holds (unix(7)); throws EINVAL. */
export function checkPath(path: string): string {
  if (new TextEncoder().encode(path).length <= 107) return path;
  throw systemError("EINVAL", "connect", { address: path });
}

/** "type number (70000)", for messages. */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value === "object") return `an instance of ${value.constructor?.name ?? "Object"}`;
  return `type ${typeof value} (${typeof value === "string" ? `'${value}'` : String(value)})`;
}

export function wrongType(name: string, expected: string, value: unknown): Error {
  const what = name.includes(" ") ? `The ${name}` : `The "${name}" ${name.includes(".") ? "property" : "argument"}`;
  return nodeError("ERR_INVALID_ARG_TYPE", `${what} must be ${expected}. Received ${describe(value)}`, TypeError);
}
