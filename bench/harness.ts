/** What every profile shares: tables, readings with warm-up and spread, one line of JSON. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { progress } from "../src/cli/output.ts";
import { shippedTables, userTables } from "../src/cli/tables.ts";
import type { RouteSet } from "../src/index.ts";

export interface Result {
  readonly profile: string;
  readonly value: number;
  readonly unit: string;
  /** Slowest and fastest run, as a share of the median. */
  readonly spread: [number, number];
  /** Ratios to others measured in the same run. */
  readonly vs: Record<string, number>;
  /** The output was checked against the oracle in this run. */
  readonly verified: boolean;
  readonly note?: string;
}

export interface Context {
  /** Runs of each measurement and milliseconds of each. */
  readonly runs: number;
  readonly ms: number;
  routes(): Promise<RouteSet>;
}

export type Profile = (context: Context) => Promise<Result[]>;

const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** A result from the rates of several runs. */
export function result(profile: string, unit: string, rates: number[], rest: Partial<Result> = {}): Result {
  const value = median(rates);
  // Of nothing there is no share.
  const share = (rate: number) => (value === 0 ? 1 : rate / value);
  return { profile, value, unit, spread: [share(Math.min(...rates)), share(Math.max(...rates))], vs: {}, verified: true, ...rest };
}

/** Calls `run` once to warm up, then as often as the context says, on one core where the system lets us choose it. */
export function repeat(context: Context, run: () => number): number[] {
  const all = pin(String(availableParallelism() - 1));
  try {
    run();
    return Array.from({ length: context.runs }, run);
  } finally {
    if (all) pin(all);
  }
}

/** Moves the main thread to these cores; returns where it was, or undefined where that cannot be chosen. */
function pin(cores: string): string | undefined {
  try {
    const said = execFileSync("taskset", ["-cp", cores, String(process.pid)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return /current affinity list: (\S+)/.exec(said)?.[1];
  } catch {
    return undefined;
  }
}

/** The full tables where PACKETLOOM_DATA has them, the files given, or the shipped ones. */
export async function benchRoutes(files: readonly string[]): Promise<RouteSet> {
  const data = process.env.PACKETLOOM_DATA;
  const full = data ? ["full4", "full6"].map((name) => join(data, "rib", `${name}.txt.gz`)) : [];
  if (files.length) return userTables(files, progress(1, true));
  return full.length && full.every((path) => existsSync(path)) ? userTables(full, progress(1, true)) : shippedTables();
}

export function machine(): string {
  const [cpu] = cpus();
  return `${cpu?.model.trim() ?? "unknown"} ×${cpus().length}, Node ${process.versions.node}`;
}

export function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "unknown";
  }
}
