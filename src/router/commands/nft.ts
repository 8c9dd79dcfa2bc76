/** `nft list …`, `nft -f FILE`, `nft add rule …`: nft(8) against the router's rules. */
import type { FirewallApplyOptions } from "../../filter/firewall.ts";
import { type Command, usage } from "./command.ts";

type Switch = "json" | "handles" | "stateless" | "check" | "file" | "numeric";
const LETTERS: Readonly<Record<string, Switch>> = { j: "json", a: "handles", s: "stateless", c: "check", f: "file", n: "numeric" };
const WORDS: Readonly<Record<string, Switch>> = { json: "json", handle: "handles", stateless: "stateless", check: "check", file: "file" };
const EXPECTED = "expected -f FILE, -j, -a, -s, -c or -n";

/** `input`: the text of the file behind `-f`. */
export const nft: Command = ({ rules }, words, input) => {
  const { engine } = rules;
  if (!engine) throw usage("Error: this router has no room for rules");
  const { switches, file, rest } = read(words);
  const options: FirewallApplyOptions = {
    json: switches.has("json"),
    handles: switches.has("handles"),
    stateless: switches.has("stateless"),
    check: switches.has("check"),
    file: file ?? "",
  };
  const printed = engine.apply(file === undefined ? rest.join(" ") : (input ?? ""), options);
  return printed === "" ? {} : { stdout: printed.endsWith("\n") ? printed : `${printed}\n` };
};

/** Options stand before the command, and several letters may stand together: `-af FILE`. */
function read(words: readonly string[]) {
  const switches = new Set<Switch>();
  let at = 0;
  let file: string | undefined;
  for (; at < words.length && words[at].startsWith("-"); at++) {
    const word = words[at];
    const named = word.startsWith("--") ? [WORDS[word.slice(2)]] : [...word.slice(1)].map((letter) => LETTERS[letter]);
    for (const each of named) {
      if (each === undefined) throw usage(`Error: unknown option ${word}; ${EXPECTED}`);
      switches.add(each);
    }
    if (named.includes("file")) file = words[++at];
  }
  const rest = words.slice(at);
  if (file === undefined && rest.length === 0) throw usage("Error: a command is missing, such as `list ruleset`, or -f FILE");
  return { switches, file, rest };
}
