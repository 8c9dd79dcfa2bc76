/** Pieces of the configuration's schema: each knows the sentence that says what it has to be ("expected …"). */
import * as v from "valibot";
import { tryParsePrefix } from "../base/address.ts";
import { IpAddress, parseInterfaceAddress } from "../base/ip-address.ts";
import { unknownOption } from "../base/options.ts";

/** What `check` does not throw for is right. */
const holds = (check: (text: string) => unknown) => (text: string) => {
  try {
    return check(text) !== false;
  } catch {
    return false;
  }
};

export const isAddress = holds((text) => IpAddress.parse(text));

/** A text of some form. */
export function textLike(expected: string, check: (text: string) => unknown) {
  return v.pipe(v.string(`expected ${expected}`), v.check(holds(check), `expected ${expected}`));
}

/** A whole number of a range. */
export function whole(low: number, high: number) {
  const expected = `expected a whole number from ${low} to ${high}`;
  return v.pipe(
    v.number(expected),
    v.check((value) => Number.isInteger(value) && value >= low && value <= high, expected),
  );
}

/** An amount of something, `low` or more. */
export function amount(unit: string, low = 0) {
  const expected = `expected a number of ${unit}, ${low} or more`;
  return v.pipe(
    v.number(expected),
    v.check((value) => value >= low, expected),
  );
}

export function oneOf<const T extends readonly (string | number | boolean)[]>(...values: T) {
  return v.picklist(
    values as unknown as readonly string[],
    `expected ${values.map((each) => JSON.stringify(each)).join(", ")}`.replace(/, ([^,]*)$/, " or $1"),
  ) as unknown as v.GenericSchema<T[number]>;
}

export const list = <S extends v.GenericSchema>(item: S, of: string) => v.array(item, `expected a list of ${of}`);

/** An object of known names; those that are not known are told with the nearest that is. */
export function object<E extends v.ObjectEntries>(what: string, entries: E) {
  const names = Object.keys(entries);
  return v.strictObject(entries, (issue) => {
    const key = issue.path?.[0]?.key;
    if (issue.expected === "never") return unknownOption(what, String(key), names).message;
    if (key !== undefined) return `is missing; ${what} needs it`;
    return `expected an object with ${names.slice(0, 3).join(", ")} …`;
  });
}

export const yesNo = v.boolean("expected true or false");
export const text = v.pipe(v.string("expected a text"), v.nonEmpty("expected a text, not an empty one"));
export const port = whole(1, 65_535);
export const u32 = whole(0, 2 ** 32 - 1);
export const mtu = whole(68, 65_535);
export const address = textLike("an address, such as 192.0.2.1 or 2001:db8::1", isAddress);
export const address4 = textLike("an IPv4 address, such as 192.0.2.1", (given) => IpAddress.parse(given).family === 4);
export const interfaceAddress = textLike(
  "an address with its length, such as 192.0.2.1/24 or 2001:db8::1/64",
  (given) => given.includes("/") && parseInterfaceAddress(given),
);
export const prefix = textLike(
  "a prefix, such as 192.0.2.0/24, 2001:db8::/32 or default",
  (given) => given === "default" || typeof tryParsePrefix(given) !== "string",
);
export const mac = textLike(
  "a unicast MAC address, such as 02:00:00:00:00:01",
  (given) => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(given) && (Number.parseInt(given, 16) & 1) === 0,
);
/** As the kernel has it: at most 15 bytes, neither "/" nor blanks. */
export const interfaceName = textLike(
  'the name of an interface: 1 to 15 characters without "/" and blanks',
  (given) => /^[^\s/:"@*]{1,15}$/.test(given) && given !== "." && given !== "..",
);
/** Address and port: "192.0.2.1:80", "[2001:db8::1]:80". */
export const endpoint = textLike(
  "an address and a port, such as 10.0.0.5:80 or [2001:db8::5]:80",
  (given) => parseEndpoint(given) !== undefined,
);

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** "HOST:PORT"; an IPv6 address stands in brackets. */
export function parseEndpoint(given: string, anyName = false): Endpoint | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(given) ?? [];
  const host = bracketed ?? plain;
  const number = Number(digits);
  if (host === undefined || number < 1 || number > 65_535) return undefined;
  if (!isAddress(host) && (bracketed !== undefined || !anyName)) return undefined;
  return { host, port: number };
}
