/** A rule of a ruleset as `nft --debug=netlink add rule …` shows it: its anonymous sets, then its expressions. */
import { linearize } from "./linearize.ts";
import { printComment, printExpressions, printSet } from "./netlink.ts";
import type { HeldRule, HeldTable } from "./tables.ts";

/** The kernel numbers anonymous sets; before that they have this name. */
const unnumbered = (text: string): string => text.replace(/__(set|map|objmap)\d+/g, "__$1%d");

export function printNetlink(table: HeldTable, chain: string, held: HeldRule): string {
  const { rule } = held;
  const sets = rule.sets.map((set) => printSet(set, table.name)).join("");
  const expressions = printExpressions(linearize(rule.statements), table.family);
  return unnumbered(`${sets}${table.family} ${table.name} ${chain}\n${expressions}${printComment(rule.comment) || "\n"}`);
}
