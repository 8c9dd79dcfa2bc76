/** What the language says and no packet would ever meet here is refused when it is loaded: rules that do nothing are worse than none. */
import { LoomError } from "../base/errors.ts";
import type { Expression, ObjectType, RulesetSpec } from "./expressions.ts";

const OBJECTS: Partial<Record<ObjectType, string>> = {
  "ct timeout": "timeouts are those of the whole table of connections",
  "ct expectation": "connections are expected by helpers only",
  secmark: "there are no security marks",
};
const CT_SET: Readonly<Record<string, string>> = {
  zone: "zones are those of whole networks",
  event: "all events are told",
};

export function checkSupported({ tables }: RulesetSpec): void {
  for (const { family, name, chains, objects } of tables) {
    const where = `table ${family} ${name}`;
    for (const each of objects) refuse(OBJECTS[each.object.type], `${where}, ${each.object.type} ${each.name}`);
    for (const chain of chains) {
      const isForeign = chain.base !== undefined && (family === "bridge" || family === "arp");
      refuse(isForeign ? `packets of the ${family} family meet no rules here` : undefined, `${where}, chain ${chain.name}`);
      for (const { handle, expressions } of chain.rules)
        for (const each of expressions) refuse(missing(each), `${where}, chain ${chain.name}, rule with handle ${handle}`);
    }
  }
}

function missing(expression: Expression): string | undefined {
  if (expression.op === "ct-set") return CT_SET[expression.key];
  if (expression.op === "objref") return OBJECTS[expression.type];
  return undefined;
}

function refuse(why: string | undefined, where: string): void {
  if (why !== undefined) throw new LoomError("ENOTSUP", `${where}: ${why}`);
}
