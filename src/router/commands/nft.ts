/** `nft list …`, `nft -f FILE`, `nft add rule …`: nft(8) against the router's rules. */
import type { FirewallApplyOptions } from "../../filter/firewall.ts";
import { TraceText } from "../../filter/trace.ts";
import type { Router } from "../router.ts";
import { type Command, type Output, usage } from "./command.ts";

/** Options by their letter and their name; of each what it switches on. */
const SWITCHES = {
  json: "j",
  handle: "a",
  stateless: "s",
  terse: "t",
  check: "c",
  file: "f",
  numeric: "n",
  "numeric-priority": "y",
  "numeric-protocol": "p",
  "numeric-time": "T",
  guid: "u",
  service: "S",
  define: "D",
} as const;
type Switch = keyof typeof SWITCHES;
const LETTERS = new Map(Object.entries(SWITCHES).map(([name, letter]) => [letter as string, name as Switch]));
const EXPECTED = "expected -f FILE, -j, -a, -s, -t, -c, -n, -y, -p, -T, -u, -S or -D NAME=VALUE";

/** `input`: the text of the file behind `-f`. */
export const nft: Command = ({ rules, host }, words, input) => {
  const { engine } = rules;
  if (!engine) throw usage("Error: this router has no room for rules");
  const { switches, file, definitions, rest } = read(words);
  if (file === undefined && rest[0] === "monitor") return monitor(host, rest.slice(1));
  const options: FirewallApplyOptions = {
    json: switches.has("json"),
    handles: switches.has("handle"),
    stateless: switches.has("stateless"),
    terse: switches.has("terse"),
    numeric: switches.has("numeric"),
    numericPriority: switches.has("numeric-priority"),
    numericTime: switches.has("numeric-time"),
    numericProtocol: switches.has("numeric-protocol"),
    userNames: switches.has("guid"),
    serviceNames: switches.has("service"),
    check: switches.has("check"),
  };
  const text = file === undefined ? rest.join(" ") : (input ?? "");
  const defined = definitions.map((each) => `define ${each}\n`).join("");
  // Lines are counted from where the text begins.
  const printed = engine.apply([{ name: file ?? "", text: `${defined}${text}`, lines: -definitions.length }], options);
  return printed === "" ? {} : { stdout: printed.endsWith("\n") ? printed : `${printed}\n` };
};

/** `nft monitor trace`: what rules do with the packets that `meta nftrace set 1` follows. */
function monitor(host: Router["host"], words: readonly string[]): Output {
  if (words.length !== 1 || words[0] !== "trace")
    throw usage(`Error: monitor ${words.join(" ")} is not known here; expected monitor trace`);
  const text = new TraceText();
  return { follow: (print) => host.onTrace((entry) => print(text.lines(entry))) };
}

/** Options stand before the command, and several letters may stand together: `-af FILE`. */
function read(words: readonly string[]) {
  const switches = new Set<Switch>();
  let at = 0;
  let file: string | undefined;
  const definitions: string[] = [];
  for (; at < words.length && words[at].startsWith("-"); at++) {
    const word = words[at];
    const named = word.startsWith("--") ? [nameOf(word.slice(2))] : [...word.slice(1)].map((letter) => LETTERS.get(letter));
    for (const each of named) {
      if (each === undefined) throw usage(`Error: unknown option ${word}; ${EXPECTED}`);
      switches.add(each);
    }
    if (named.includes("define")) definitions.push(definition(words[++at]));
    if (named.includes("file")) {
      file = words[++at];
      if (file === undefined) throw usage("Error: -f needs the name of a file");
    }
  }
  const rest = words.slice(at);
  if (definitions.length > 0 && file === undefined) throw usage("Error: -D/--define can only be used with -f/--filename");
  if (file === undefined && rest.length === 0) throw usage("Error: a command is missing, such as `list ruleset`, or -f FILE");
  return { switches, file, definitions, rest };
}

function definition(word: string | undefined): string {
  const [, name, value] = /^([A-Za-z_][\w/.\\-]*)=([^\n]+)$/.exec(word ?? "") ?? [];
  if (name === undefined) throw usage(`Error: ${word === undefined ? "-D stands alone" : `-D ${word}`}; expected NAME=VALUE`);
  return `${name} = ${value}`;
}

const nameOf = (word: string): Switch | undefined => (Object.hasOwn(SWITCHES, word) ? (word as Switch) : undefined);
