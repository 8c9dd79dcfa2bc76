/** Rules by feature (corpus/*.txt, one a line: family, rule), and what nft 1.0.6 made of them (recorded/*.json). */
import { existsSync, readdirSync, readFileSync } from "node:fs";

const here = new URL("./", import.meta.url);
const folder = existsSync(new URL("prelude.nft", here)) ? here : new URL("../../../test/nft/", import.meta.url);
export const file = (name: string): URL => new URL(name, folder);

export interface Recorded {
  /** Family, and the rule's text. */
  readonly rule: string;
  readonly netlink: string;
  /** The message nft ends with, or the kernel's. */
  readonly error?: string;
  /** The rule in `list chain`, and in JSON, where the kernel took it. */
  readonly list?: string;
  readonly json?: unknown;
}
export function split(line: string): readonly [family: string, rule: string] {
  const at = line.indexOf(" ");
  return [line.slice(0, at), line.slice(at + 1)];
}
const prelude = readFileSync(file("prelude.nft"), "utf8");
/** Chains, sets and objects that rules of the corpus name. */
export const preludeOf = (family: string): string => prelude.replaceAll("FAMILY", family);
export const features = (): readonly string[] =>
  readdirSync(file("corpus/"))
    .map((name) => name.replace(".txt", ""))
    .sort();
export const rulesOf = (feature: string): readonly string[] =>
  readFileSync(file(`corpus/${feature}.txt`), "utf8")
    .split("\n")
    .filter((line) => line.trim() !== "");
export const recordedOf = (feature: string): readonly Recorded[] => JSON.parse(readFileSync(file(`recorded/${feature}.json`), "utf8"));

/** Spaces at line ends, and sets that a rule makes by name, say nothing of the rule. */
export const tidy = (netlink: string): string => netlink.replace(/ +$/gm, "").replace(/^test t 21\n?.*\ntest t 0\n\n?/m, "");
