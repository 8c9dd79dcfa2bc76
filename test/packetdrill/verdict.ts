/** One script, run with each version of IP that it is for: what came of it. */
import { readFileSync } from "node:fs";
import { configure, type IpVersion, versionsOf } from "./config.ts";
import { parse } from "./parse.ts";
import { Failure, Runner, type RunOptions } from "./runner.ts";
import { NotApplicable, ScriptError, type ScriptOption, Unsupported } from "./script.ts";
import { Wire } from "./wire.ts";

export type Status = "pass" | "fail" | "unsupported";

export interface Verdict {
  readonly file: string;
  readonly status: Status;
  /** The run that decided it. */
  readonly ipVersion?: IpVersion;
  readonly line?: number;
  readonly message?: string;
}

export interface VerdictOptions extends RunOptions {
  /** Options of the command line: over those of the script. */
  readonly options?: readonly ScriptOption[];
}

/** Runs a text; `file` says where its commands look for others. */
export async function judgeText(text: string, file: string, options: VerdictOptions = {}): Promise<Verdict> {
  try {
    const said = [...ofName(file), ...parseOptions(text), ...(options.options ?? [])];
    let other: Verdict | undefined;
    let ran = 0;
    for (const version of versionsOf(said).filter((each) => isFor(file, each))) {
      options.trace?.(`── ${file} (${version})`);
      const verdict = await judgeVersion(text, file, version, said, options);
      if (verdict === "not applicable") continue;
      ran++;
      if (verdict.status === "fail") return verdict;
      if (verdict.status === "unsupported") other ??= verdict;
    }
    return other ?? (ran > 0 ? { file, status: "pass" } : { file, status: "unsupported", message: "the script is for no version of IP" });
  } catch (error) {
    if (error instanceof ScriptError) return { file, status: "fail", line: error.line, message: error.message };
    throw error;
  }
}

/** Names of scripts for one version of IP end in it, as the public runner (run_all.py) has it. */
function isFor(file: string, version: IpVersion): boolean {
  if (file.endsWith("v6.pkt")) return version === "ipv6";
  return version !== "ipv6" || !file.endsWith("v4.pkt");
}

/** A script for IPv6 alone is written for the MTU of Ethernet; the larger one lets IPv6 pass where numbers are IPv4's. */
const ofName = (file: string): readonly ScriptOption[] => (file.endsWith("v6.pkt") ? [{ name: "mtu", value: "1500" }] : []);

export const judge = (file: string, options: VerdictOptions = {}) => judgeText(readFileSync(file, "utf8"), file, options);

/** Options stand at the beginning of a line, before everything else; the rest needs the defines of the run. */
function parseOptions(text: string): ScriptOption[] {
  return [...text.matchAll(/^--(\w+)(?:=(.*?))?\s*$/gm)].map(([, name, value]) => ({
    name,
    value: (value ?? "").replace(/^"(.*)"$/, "$1"),
  }));
}

async function judgeVersion(
  text: string,
  file: string,
  ipVersion: IpVersion,
  said: readonly ScriptOption[],
  options: VerdictOptions,
): Promise<Verdict | "not applicable"> {
  let wire: Wire | undefined;
  try {
    const config = configure(ipVersion, said);
    if (said.some(({ name }) => name === "psp_udp_port")) throw new Unsupported("PSP encryption");
    const script = parse(text, config.defines);
    wire = await Wire.create(config);
    await new Runner(wire, config, script, file, options).run();
    return { file, ipVersion, status: "pass" };
  } catch (error) {
    if (error instanceof NotApplicable) return "not applicable";
    if (error instanceof Unsupported) return { file, ipVersion, status: "unsupported", message: error.message };
    if (error instanceof Failure) return { file, ipVersion, status: "fail", line: error.line, message: error.message };
    throw error;
  } finally {
    await wire?.close();
  }
}
