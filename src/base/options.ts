/**
 * Options as a person writes them: known names, kinds, ranges. What is wrong is said in one sentence (EINVAL): what it was,
 * where, and what was expected. For the entry points alone; nothing on the data path comes here.
 */
import { invalid, type LoomError } from "./errors.ts";

/** What was expected, when the value is something else. */
export type Expectation = (value: unknown) => string | undefined;

/** Every option there is, with what it has to be. `undefined` is as if it were left out. */
export type Shape<T = Record<string, unknown>> = { readonly [K in keyof Required<T>]: Expectation };

const names = new WeakMap<object, readonly string[]>();

/**
 * Throws EINVAL unless `given` is an object, has no other names than `shape`, and each value is what it has to be.
 * `what` is what the options are of: "host", "listen".
 */
export function checkOptions(
  what: string,
  shape: Readonly<Record<string, Expectation>>,
  given: unknown,
  required: readonly string[] = [],
): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw invalid(`${what}: ${shown(given)} instead of options; expected an object${like(shape, required)}`);
  }
  for (const name of Object.keys(given)) {
    const expected = Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (!expected) throw unknownOption(what, name, namesOf(shape));
    const value = (given as Record<string, unknown>)[name];
    if (value !== undefined) checkArgument(what, name, value, expected);
  }
  for (const name of required) {
    if ((given as Record<string, unknown>)[name] === undefined)
      throw invalid(`${what}: ${name} is missing; expected an object${like(shape, required)}`);
  }
}

/** The same for one value that stands alone: an argument of `what`. */
export function checkArgument(what: string, name: string, value: unknown, expected: Expectation): void {
  const wrong = expected(value);
  if (wrong !== undefined) throw invalid(`${what}: ${name} is ${shown(value)}; expected ${wrong}`);
}

/** "there is no host option "adresses"; did you mean "addresses"?" */
export function unknownOption(what: string, name: string, known: readonly string[]): LoomError {
  const near = nearest(name, known);
  const hint = near ? `did you mean "${near}"?` : `expected ${known.length === 1 ? known[0] : `one of ${known.join(", ")}`}`;
  return invalid(`there is no ${what} option "${name}"; ${hint}`);
}

function namesOf(shape: object): readonly string[] {
  const known = names.get(shape) ?? Object.keys(shape);
  names.set(shape, known);
  return known;
}

function like(shape: object, required: readonly string[]): string {
  if (required.length > 0) return ` with ${required.join(" and ")}`;
  return ` with ${namesOf(shape).slice(0, 3).join(", ")} …`;
}

/** The known name with the fewest letters changed, if those are few; else the only one of which it is the beginning. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const each of known) {
    const n = distance(name.toLowerCase(), each.toLowerCase());
    if (n < least) [best, least] = [each, n];
  }
  const longer = known.filter((each) => name.length > 2 && each.toLowerCase().startsWith(name.toLowerCase()));
  return best ?? (longer.length === 1 ? longer[0] : undefined);
}

/** Letters put in, left out, changed or swapped with their neighbour (Damerau and Levenshtein). */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    rows.push([i]);
    for (let j = 1; j <= b.length; j++) {
      const change = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      let n = Math.min(change, rows[i - 1][j] + 1, rows[i][j - 1] + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) n = Math.min(n, rows[i - 2][j - 2] + 1);
      rows[i].push(n);
    }
  }
  return rows[a.length][b.length];
}

/** A value as it would be written, short. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return "a function";
  if (value instanceof Promise) return "a promise (await it first)";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return `an object of ${value.constructor?.name ?? "no class"}`;
  return typeof value === "bigint" ? `${value}n` : String(value);
}

// ── Expectations ──────────────────────────────────────────────────────────────────────────────────

export const anything: Expectation = () => undefined;
export const text: Expectation = (value) => (typeof value === "string" ? undefined : "a text");
export const yesNo: Expectation = (value) => (typeof value === "boolean" ? undefined : "true or false");
export const callback: Expectation = (value) => (typeof value === "function" ? undefined : "a function");
export const bytes: Expectation = (value) => (value instanceof Uint8Array ? undefined : "a Uint8Array");
export const share: Expectation = (value) => (isNumber(value) && value >= 0 && value <= 1 ? undefined : "a share from 0 to 1");
export const abortSignal: Expectation = (value) => (value instanceof AbortSignal ? undefined : "an AbortSignal");

const isNumber = (value: unknown): value is number => typeof value === "number" && !Number.isNaN(value);

/** A whole number in a range; without a high end up to 2^53. */
export function whole(low: number, high = Number.MAX_SAFE_INTEGER): Expectation {
  const range = high === Number.MAX_SAFE_INTEGER ? `, ${low} or more` : ` from ${low} to ${high}`;
  return (value) =>
    Number.isInteger(value) && (value as number) >= low && (value as number) <= high ? undefined : `a whole number${range}`;
}

/** A number of so much of something, or more; Infinity too. */
export function amount(unit: string, low = 0): Expectation {
  return (value) => (isNumber(value) && value >= low ? undefined : `a number of ${unit}, ${low} or more`);
}

export function oneOf(...values: readonly unknown[]): Expectation {
  const list = values.map((each) => (typeof each === "string" ? JSON.stringify(each) : String(each))).join(", ");
  return (value) => (values.includes(value) ? undefined : `one of ${list}`);
}

export function either(...expectations: readonly Expectation[]): Expectation {
  return (value) => {
    const wrong = expectations.map((each) => each(value));
    return wrong.includes(undefined) ? undefined : wrong.join(", or ");
  };
}

export function listOf(item: Expectation): Expectation {
  return (value) => {
    if (!Array.isArray(value)) return "a list";
    for (const each of value) {
      const wrong = item(each);
      if (wrong !== undefined) return `a list, each ${wrong} (one is ${shown(each)})`;
    }
    return undefined;
  };
}

/** An object of options of its own: its own sentence is thrown. */
export function shaped(what: string, shape: Readonly<Record<string, Expectation>>, required: readonly string[] = []): Expectation {
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return `an object${like(shape, required)}`;
    checkOptions(what, shape, value, required);
    return undefined;
  };
}

/** An object that has these methods; `what` says whose it is. */
export function having(what: string, ...methods: readonly string[]): Expectation {
  return (value) => {
    const object = value as Record<string, unknown> | null;
    const fits = typeof object === "object" && object !== null && methods.every((each) => typeof object[each] === "function");
    return fits ? undefined : what;
  };
}

const HIGHEST_PORT = 65_535;
/** A port to listen on: 0 is any free one. */
export const anyPort = whole(0, HIGHEST_PORT);
/** A port to send to. */
export const peerPort = whole(1, HIGHEST_PORT);
