/** A rule of a ruleset as `nft --debug=netlink add rule …` shows it: its anonymous sets, then its expressions. */
import { linearize } from "./linearize.ts";
import { printComment, printExpressions, printSet } from "./netlink.ts";
import { boundChains, type HeldRule, type HeldTable } from "./tables.ts";

/** The kernel numbers anonymous sets, and names chains of a rule's own; before that they have this name, and none. */
const unnumbered = (text: string): string => text.replace(/__(set|map|objmap)\d+/g, "__$1%d").replace(/ -> __chain\d+/g, "");

export function printNetlink(table: HeldTable, chain: string, held: HeldRule): string {
  const { rule } = held;
  const sets = rule.sets.map((set) => printSet(set, table.name)).join("");
  const bound = boundChains([held]).flatMap((each) => each.rules.map((inner) => printNetlink(table, "", inner)));
  const expressions = printExpressions(linearize(rule.statements), table.family);
  return unnumbered(
    `${bound.join("")}${sets}${table.family} ${table.name}${chain === "" ? "" : ` ${chain}`}\n${expressions}${printComment(rule.comment) || "\n"}`,
  );
}
