/** What the objects of ip(8) have in common: words that choose, and how what was found is printed. */
import { tryParsePrefix } from "../../base/address.ts";
import { IpAddress } from "../../base/ip-address.ts";
import type { Host } from "../../host/host.ts";
import type { NetInterface } from "../../ip/interface.ts";
import { type Output, pick, takeWord, usage } from "./command.ts";

export interface Asked {
  readonly family: 4 | 6 | undefined;
  readonly withStats: boolean;
  readonly json: boolean;
  readonly brief: boolean;
  /** One line an item (-o). */
  readonly oneline: boolean;
}

export const lines = (texts: readonly string[]): Output => ({ stdout: texts.map((text) => `${text}\n`).join("") });
export const done: Output = {};

/** What is shown, as text or (-j) as iproute2's JSON. */
export function shown<T>({ json, oneline }: Asked, items: readonly T[], text: (item: T) => string, object: (item: T) => unknown): Output {
  if (json) return { stdout: `${JSON.stringify(items.map(object))}\n` };
  return lines(items.map((item) => (oneline ? text(item).replaceAll("\n", "\\") : text(item))));
}

export const isShow = (word: string | undefined) => pick(word, ["show", "list", "lst"] as const, "show") !== undefined;
export const deviceOf = (words: readonly string[]) => {
  const [name, rest] = takeWord(words, "dev");
  return name ?? rest[0];
};

export function missing(word: string): never {
  throw usage(`Command line is not complete. Try option "help": ${word} has no value`);
}

export function numberOf(word: string, what: string): number {
  if (!/^\d{1,10}$/.test(word)) throw usage(`Error: argument "${word}" is wrong: "${what}" value is invalid`);
  return Number(word);
}

export function interfaceOf(host: Host, name: string): NetInterface {
  const iface = host.ip.interfaces.find((each) => each.name === name);
  if (!iface) throw usage(`Cannot find device "${name}"`);
  return iface;
}

export function addressNamed(word: string, what = "address"): IpAddress {
  const prefix = tryParsePrefix(word);
  if (typeof prefix === "string" || word.includes("/")) throw usage(`Error: any valid ${what} is expected rather than "${word}".`);
  return IpAddress.parse(word);
}
