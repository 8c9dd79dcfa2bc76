/** The cases that the kernel answered once: those written by hand (cases/), those generated (corpus.txt.gz), and which of them are open. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type Case, parseCases } from "./case.ts";
import { compare } from "./compare.ts";
import { type Router, run } from "./router.ts";

export const FOLDER = "test/netfilter/cases";
export const CORPUS = "test/netfilter/corpus.txt.gz";
/** Titles of the cases that packetloom does not answer as the kernel does, a line each: defects.md says why. */
const OPEN = "test/netfilter/open.txt";

export const files = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".txt"))
  .map((name) => `${FOLDER}/${name}`);

export function readCases(file: string): Case[] {
  const bytes = readFileSync(file);
  return parseCases((file.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString());
}

export const openTitles = (): ReadonlySet<string> => new Set(readFileSync(OPEN, "utf8").split("\n").filter(Boolean));
export const writeOpen = (titles: readonly string[]) => writeFileSync(OPEN, `${titles.join("\n")}\n`);

/** What differs on a recorded case, as text; undefined when nothing does, or when the kernel drew lots. */
export async function differenceOf(router: Router, it: Case): Promise<string | undefined> {
  if (it.varies) return undefined;
  try {
    return compare(it, await run(router, it))?.text;
  } catch (error) {
    return `${(error as Error).stack}`;
  }
}
