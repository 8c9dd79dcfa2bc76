/** `nft list …`, `nft -f FILE`, `nft add rule …`: nft(8) against the router's rules. */
import { type Command, usage } from "./command.ts";

export const nft: Command = ({ rules }, words, input) => {
  const options = words.filter((word) => word.startsWith("-"));
  const isJson = options.some((word) => word === "-j" || word === "--json");
  const commands = words.filter((word) => !["-j", "--json", "-a", "--handle", "-n"].includes(word));
  const { engine } = rules;
  if (!engine) throw usage("Error: this router has no room for rules");
  if (commands[0] === "-f" || commands[0] === "--file") {
    engine.apply(input ?? "");
    return {};
  }
  if (commands[0] !== "list") {
    engine.apply(commands.join(" "));
    return {};
  }
  if (isJson) return { stdout: `${JSON.stringify(engine.json())}\n` };
  return { stdout: listed(engine.list(), commands.slice(1)) };
};

const NONE = "Error: No such file or directory";

/** The part of a ruleset that is asked for. */
export function listed(ruleset: string, [what = "ruleset", ...names]: readonly string[]): string {
  const tables = blocks(ruleset, "");
  const families = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];
  const family = families.includes(names[0]) ? names[0] : undefined;
  if (what === "ruleset") return joined(tables.filter(({ head }) => !family || head.startsWith(`table ${family} `)));
  if (what === "tables")
    return tables
      .filter(({ head }) => !family || head.startsWith(`table ${family} `))
      .map(({ head }) => `${head}\n`)
      .join("");
  const [table, name] = family ? names.slice(1) : names;
  const found = tables.find(({ head }) => head === `table ${family ?? "ip"} ${table}`);
  if (what === "table") {
    if (!found) throw usage(NONE);
    return joined([found]);
  }
  if (!["chain", "set", "map", "counter", "quota", "limit"].includes(what)) throw usage(`Error: syntax error, unexpected ${what}`);
  const part = found && blocks(found.body, "\t").find(({ head }) => head === `\t${what} ${name}`);
  if (!found || !part) throw usage(NONE);
  return `${found.head} {\n${part.text}}\n`;
}

interface Block {
  readonly head: string;
  readonly body: string;
  readonly text: string;
}

const joined = (found: readonly Block[]) => found.map(({ text }) => text).join("");

/** What stands between "HEAD {" and "}" of one depth of indentation. */
function blocks(text: string, indent: string): Block[] {
  const out: Block[] = [];
  let head: string | undefined;
  let body = "";
  for (const line of text.split("\n")) {
    if (head === undefined) {
      if (!line.startsWith(indent) || /^\s/.test(line.slice(indent.length)) || !line.endsWith(" {")) continue;
      head = line.slice(0, -2);
      body = "";
    } else if (line === `${indent}}`) {
      out.push({ head, body, text: `${head} {\n${body}${indent}}\n` });
      head = undefined;
    } else body += `${line}\n`;
  }
  return out;
}
