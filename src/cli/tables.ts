/** Route tables for the commands: those that ship with the package, or the user's file. */
import { readFile } from "node:fs/promises";
import { LoomError } from "../base/errors.ts";
import { type Columns4, type Columns6, RouteSet } from "../base/routes.ts";
import { loadRoutes } from "../rib/load.ts";
import type { Progress } from "./output.ts";

/** A file of the user's, with a sentence when it cannot be read. */
export async function readInput(path: string, what: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : (error as Error).message;
    throw new LoomError("ENOENT", `cannot read ${what} ${path}: ${why}`);
  }
}

/** The Internet as RouteViews and DB-IP saw it (data/ATTRIBUTION.md). */
export async function shippedTables(): Promise<RouteSet> {
  const file = (name: string) => readFile(new URL(`../../../data/${name}.bin.gz`, import.meta.url));
  const [four, six] = await Promise.all(["internet4", "internet6"].map(async (name) => loadRoutes(new Uint8Array(await file(name)), name)));
  return join([four, six]);
}

/** Any number of files; hops of the same name are one. */
export async function userTables(paths: readonly string[], progress: Progress): Promise<RouteSet> {
  const sets: RouteSet[] = [];
  for (const path of paths) {
    const percent = (done: number, total: number) => progress.detail(`reading ${path}: ${Math.floor((100 * done) / total)}%`);
    sets.push(await loadRoutes(await readInput(path, "routes"), path, percent));
  }
  return join(sets);
}

function join(sets: readonly RouteSet[]): RouteSet {
  if (sets.length === 1) return sets[0];
  const out = new RouteSet();
  for (const set of sets) {
    const hops = new Uint16Array(set.nextHops.length + 1);
    // A group's members stand before it.
    set.nextHops.forEach(({ name, kind, members }, i) => {
      hops[i + 1] = members ? out.group(members.map((member) => ({ ...member, hop: hops[member.hop] }))) : out.hop(name, kind);
    });
    copy4(set.v4, out.v4, hops);
    copy6(set.v6, out.v6, hops);
    for (const warning of set.warnings) out.warnings.push(warning);
  }
  return out;
}

function copy4(from: Columns4, to: Columns4, hops: Uint16Array): void {
  for (let i = 0; i < from.count; i++) to.add(from.addresses[i], from.lengths[i], hops[from.hops[i]]);
}

function copy6(from: Columns6, to: Columns6, hops: Uint16Array): void {
  for (let i = 0; i < from.count; i++) to.add(from.high[i], from.low[i], from.lengths[i], hops[from.hops[i]]);
}
