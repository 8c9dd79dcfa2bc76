/** What our ruleset makes of a line of the corpus. */
import { NftError, printNetlink, Ruleset } from "../../src/filter/language/index.ts";
import { preludeOf, type Recorded, split, tidy } from "./corpus.ts";

const preludes = new Map<string, readonly string[]>();
export function withPrelude(family: string): Ruleset {
  const ruleset = new Ruleset();
  const lines = preludes.get(family) ?? preludeOf(family).split("\n");
  preludes.set(family, lines);
  for (const line of lines) ruleset.apply(line);
  return ruleset;
}
export interface Ours {
  readonly ruleset: Ruleset;
  readonly netlink: string;
  readonly error?: NftError;
}
export function ours(line: string): Ours {
  const [family, rule] = split(line);
  const ruleset = withPrelude(family);
  try {
    ruleset.apply(`add rule ${family} t c ${rule}\n`, { file: "/dev/stdin" });
  } catch (error) {
    if (error instanceof NftError) return { ruleset, netlink: "", error };
    throw error;
  }
  const [table] = ruleset.tables;
  const chain = table.chains.get("c");
  if (!chain) throw new Error("no chain c");
  return { ruleset, netlink: printNetlink(table, "c", chain.rules[0]) };
}
const place = (message: string | undefined): string | undefined => /^\S+:(\d+:\d+-\d+): Error/.exec(message ?? "")?.[1];
/** What differs from nft's own: undefined when nothing does. Where nft refuses a rule, we must, at the same place. */
export function difference(recorded: Recorded): string | undefined {
  const result = ours(recorded.rule);
  if (recorded.netlink === "" && recorded.error) {
    const crashed = !place(recorded.error);
    if (crashed || place(result.error?.message) === place(recorded.error)) return undefined;
    return `${recorded.rule}\nnft: ${recorded.error}\nours: ${result.error?.message ?? result.netlink}`;
  }
  const text = result.error ? result.error.message : tidy(result.netlink);
  return text === recorded.netlink ? undefined : `${recorded.rule}\nnft:\n${recorded.netlink}\nours:\n${text}`;
}
