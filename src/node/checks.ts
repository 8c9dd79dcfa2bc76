/** Arguments as Node's own modules check them, with their errors: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE and their like. */
import { inspect } from "node:util";
import { nodeError, systemError } from "./errors.ts";

const MOST_SHOWN = 28;
const MOST_INSPECTED = 128;

/** "type number (70000)", for messages. */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value === "object")
    return value.constructor?.name ? `an instance of ${value.constructor.name}` : inspect(value, { depth: -1 });
  const text = inspect(value);
  return `type ${typeof value} (${text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN - 3)}...` : text})`;
}

export function wrongType(name: string, expected: string, value: unknown): Error {
  const what = name.endsWith(" argument") ? `The ${name}` : `The "${name}" ${name.includes(".") ? "property" : "argument"}`;
  return nodeError("ERR_INVALID_ARG_TYPE", `${what} must be ${expected}. Received ${describe(value)}`, TypeError);
}

export function wrongValue(name: string, value: unknown, reason = "is invalid"): Error {
  const text = inspect(value);
  const shown = text.length > MOST_INSPECTED ? `${text.slice(0, MOST_INSPECTED)}...` : text;
  const what = name.includes(".") ? "property" : "argument";
  return nodeError("ERR_INVALID_ARG_VALUE", `The ${what} '${name}' ${reason}. Received ${shown}`, TypeError);
}

export function outOfRange(name: string, range: string, value: unknown): Error {
  return nodeError(
    "ERR_OUT_OF_RANGE",
    `The value of "${name}" is out of range. It must be ${range}. Received ${inspect(value)}`,
    RangeError,
  );
}

export function checkNumber(value: unknown, name: string): asserts value is number {
  if (typeof value !== "number") throw wrongType(name, "of type number", value);
}

/** A whole number in a range. */
export function checkInteger(value: unknown, name: string, least: number, most: number): asserts value is number {
  checkNumber(value, name);
  if (!Number.isInteger(value)) throw outOfRange(name, "an integer", value);
  if (value < least || value > most) throw outOfRange(name, `>= ${least} && <= ${most}`, value);
}

export function checkBoolean(value: unknown, name: string): asserts value is boolean {
  if (typeof value !== "boolean") throw wrongType(name, "of type boolean", value);
}

export function checkText(value: unknown, name: string): asserts value is string {
  if (typeof value !== "string") throw wrongType(name, "of type string", value);
}

export function checkFunction(value: unknown, name: string): asserts value is (...args: never[]) => unknown {
  if (typeof value !== "function") throw wrongType(name, "of type function", value);
}

export function checkOneOf<T>(value: unknown, name: string, allowed: readonly T[]): asserts value is T {
  if (!allowed.includes(value as T)) throw wrongValue(name, value, `must be one of: ${allowed.map((each) => inspect(each)).join(", ")}`);
}

/** Whatever has `aborted`, as Node's modules take it. */
export function checkSignal(value: unknown, name: string): asserts value is AbortSignal {
  if (typeof value !== "object" || value === null || !("aborted" in value)) throw wrongType(name, "an instance of AbortSignal", value);
}

/** A port number, as text or number; throws ERR_SOCKET_BAD_PORT. */
export function checkPort(value: unknown, name: string, allowZero = true): number {
  const isText = typeof value === "string" && value.trim() !== "";
  const port = typeof value === "number" || isText ? Number(value) : Number.NaN;
  if (Number.isInteger(port) && port >= (allowZero ? 0 : 1) && port <= 65_535) return port;
  const range = allowZero ? ">= 0" : "> 0";
  throw nodeError("ERR_SOCKET_BAD_PORT", `${name} should be ${range} and < 65536. Received ${describe(value)}.`, RangeError);
}

/** Is the first argument of `listen` or `connect` a path: a text that is no number? */
export function isPipeName(value: unknown): value is string {
  return typeof value === "string" && !(Number(value) >= 0);
}

/** A path of up to 107 bytes, which is what `sun_path` holds (unix(7)); throws EINVAL. */
export function checkPath(path: string): string {
  if (new TextEncoder().encode(path).length <= 107) return path;
  throw systemError("EINVAL", "connect", { address: path });
}
