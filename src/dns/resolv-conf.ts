/** `/etc/resolv.conf`: which servers, which suffixes, which habits (resolv.conf(5)). */
import { literal } from "./lookup.ts";
import type { ResolverOptions } from "./resolver.ts";

/** Servers that count: those behind the third are passed over, as by the C library; likewise of search domains six. */
const MOST_SERVERS = 3;
const MOST_DOMAINS = 6;

export type ResolvConf = Pick<ResolverOptions, "servers" | "search" | "ndots" | "timeout" | "attempts" | "rotate" | "edns">;

/** Reads the text of a file; lines that say nothing to us are passed over. */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  let search: string[] = [];
  const options: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    // A comment begins a line, or follows a blank.
    const [keyword, ...words] = line
      .replace(/(^|\s)[#;].*/, "")
      .trim()
      .split(/\s+/);
    if (keyword === "nameserver" && words[0] && literal(words[0])) servers.push(words[0]);
    else if (keyword === "search") search = words;
    else if (keyword === "domain") search = words.slice(0, 1);
    else if (keyword === "options") for (const word of words) options[word.split(":")[0]] = word.split(":")[1] ?? "";
  }
  const number = (name: string, low: number, high: number) =>
    /^\d+$/.test(options[name] ?? "") ? Math.max(low, Math.min(Number(options[name]), high)) : undefined;
  const seconds = number("timeout", 1, 30);
  return {
    servers: servers.slice(0, MOST_SERVERS),
    search: search.slice(0, MOST_DOMAINS),
    ndots: number("ndots", 0, 15),
    timeout: seconds && seconds * 1000,
    attempts: number("attempts", 1, 5),
    rotate: "rotate" in options,
    edns: !("no-edns0" in options),
  };
}
