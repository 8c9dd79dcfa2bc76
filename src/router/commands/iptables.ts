/** `iptables -A …`, `iptables-restore < FILE` and their sisters for IPv6: iptables(8) against the router's rules, translated to nft's. */
import type { Router } from "../router.ts";
import { type Command, type Output, usage } from "./command.ts";

type Family = "ip" | "ip6";

function engineOf({ rules: { engine } }: Router) {
  if (!engine) throw usage("Error: this router has no room for rules");
  return engine;
}
/** One word of a line again, as the shell had it. */
const word = (text: string): string => (/^[^\s"'#\\]+$/.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`);

const single =
  (family: Family): Command =>
  (router, words): Output => {
    const name = family === "ip" ? "iptables" : "ip6tables";
    const broken = words.find((each) => each.includes("\n"));
    if (broken !== undefined) throw usage(`Error: ${JSON.stringify(broken)} is more than one line`);
    if (words.length === 0) throw usage(`Error: a command is missing, such as \`${name} -A INPUT -p tcp --dport 22 -j ACCEPT\``);
    engineOf(router).applyIptables([name, ...words].map(word).join(" "), { family, file: name });
    return {};
  };

const NOFLUSH = new Set(["-n", "--noflush"]);
const TEST = new Set(["-t", "--test"]);
const NO_MATTER = new Set(["-c", "--counters", "-v", "--verbose", "-w", "--wait"]);

/** The file among the words of iptables-restore; undefined: the standard input. A number behind `-w` is how long to wait for a lock. */
export function restoredFile(words: readonly string[]): string | undefined {
  return words.find((each, i) => !each.startsWith("-") && !(/^\d+$/.test(each) && /^(-w|-W|--wait)$/.test(words[i - 1] ?? "")));
}

const restore =
  (family: Family): Command =>
  (router, words, input = ""): Output => {
    const options = words.filter((each) => each.startsWith("-"));
    const named = restoredFile(words);
    const unknown = options.find((each) => !NOFLUSH.has(each) && !TEST.has(each) && !NO_MATTER.has(each));
    if (unknown !== undefined)
      throw usage(`Error: unknown option ${unknown}; expected --noflush, --test, --counters or --wait, and a file`);
    const file = named ?? "stdin";
    const check = options.some((each) => TEST.has(each));
    engineOf(router).applyIptables(input, { family, file, check, restore: !options.some((each) => NOFLUSH.has(each)) });
    return {};
  };

export const iptables = single("ip");
export const ip6tables = single("ip6");
export const iptablesRestore = restore("ip");
export const ip6tablesRestore = restore("ip6");
