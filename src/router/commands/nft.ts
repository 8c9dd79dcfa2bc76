/** `nft list …`, `nft -f FILE`, `nft add rule …`: nft(8) against the router's rules. */
import { type Command, usage } from "./command.ts";

export const nft: Command = ({ rules }, words, input) => {
  const isJson = words.some((word) => word === "-j" || word === "--json");
  const commands = words.filter((word) => !["-j", "--json", "-a", "--handle", "-n"].includes(word));
  const { engine } = rules;
  if (!engine) throw usage("Error: this router has no room for rules");
  if (isJson) {
    if (commands.join(" ") !== "list ruleset") throw usage("Error: JSON is for `nft -j list ruleset`");
    return { stdout: `${JSON.stringify(engine.json())}\n` };
  }
  const isFile = commands[0] === "-f" || commands[0] === "--file";
  const printed = engine.apply(isFile ? (input ?? "") : commands.join(" "));
  return printed === "" ? {} : { stdout: printed.endsWith("\n") ? printed : `${printed}\n` };
};
