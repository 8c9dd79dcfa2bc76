/** What the language says and no packet would ever meet here is refused when it is loaded: rules that do nothing are worse than none. */
import { LoomError } from "../base/errors.ts";
import { HELPER_NAMES, helperNumber } from "../engine/helper-names.ts";
import type { Expression, ObjectSpec, ObjectType, RulePlace, RulesetSpec } from "./expressions.ts";
import { basesOf, placeFault } from "./placement.ts";

const OBJECTS: Partial<Record<ObjectType, string>> = {
  "ct timeout": "timeouts are those of the whole table of connections",
  "ct expectation": "connections are expected by helpers only",
  secmark: "there are no security marks",
};

const NO_BRIDGES = "this engine has no bridges: no packet would meet it; create it with `bridges`";

/** A rule that is refused, and how that is said where it stands in the text that brought it; undefined: it was there before. */
export type Blame = (rule: RulePlace, why: string) => Error | undefined;

/** `bridges`: there may be some here; otherwise what is meant for one is refused. */
export function checkSupported({ tables }: RulesetSpec, bridges = false, blame?: Blame): void {
  for (const table of tables) {
    const { family, name, chains, objects } = table;
    const bases = basesOf(table);
    const where = `table ${family} ${name}`;
    for (const { name: own, object } of objects) checkHelper(object, `${where}, ct helper ${own}`);
    for (const { name: own, object } of objects)
      refuse(OBJECTS[object.type] ?? (object.type === "synproxy" ? proxyFault(object) : undefined), `${where}, ${object.type} ${own}`);
    for (const chain of chains) {
      refuse(family === "bridge" && chain.base && !bridges ? NO_BRIDGES : undefined, `${where}, chain ${chain.name}`);
      for (const { handle, expressions } of chain.rules)
        for (const each of expressions) {
          const why = missing(each) ?? misplaced(each, family, chain.base?.hook) ?? placeFault(each, bases.get(chain.name) ?? []);
          if (why === undefined) continue;
          const blamed = blame?.({ family, table: name, chain: chain.name, handle }, why);
          if (blamed) throw blamed;
          refuse(why, `${where}, chain ${chain.name}, rule with handle ${handle}`);
        }
    }
  }
}

/** Helpers of the kernel's that announce nothing here: rulesets that name them work but for what those would let in. */
const INERT_HELPERS: ReadonlySet<string> = new Set(["amanda", "h323", "irc", "netbios-ns", "pptp", "Q.931", "RAS", "sane", "snmp"]);

function checkHelper(object: ObjectSpec["object"], where: string): void {
  if (object.type !== "ct helper" || helperNumber(object.helper) > 0 || INERT_HELPERS.has(object.helper)) return;
  const known = [...HELPER_NAMES, ...INERT_HELPERS].join(", ");
  throw new LoomError("ENOENT", `${where}: there is no helper "${object.helper}"; expected one of ${known}`);
}

function missing(expression: Expression): string | undefined {
  if (expression.op === "ct-set" && expression.key === "event") return "all events are told";
  if (expression.op === "xfrm") return "there is no IPsec here";
  if (expression.op === "osf") return "there are no fingerprints of systems here";
  if (expression.op === "objref") return OBJECTS[expression.type];
  if (expression.op === "synproxy") return proxyFault(expression);
  return undefined;
}

function proxyFault({ mss, wscale }: { readonly mss: number; readonly wscale: number }): string | undefined {
  if (mss > 65_535) return `synproxy mss ${mss} is no segment's size; expected 65535 at most`;
  return wscale > 14 ? `synproxy wscale ${wscale} scales no window (RFC 7323 §2.3); expected 14 at most` : undefined;
}

const CONNECTIONS: ReadonlySet<Expression["op"]> = new Set([
  "ct",
  "ct-set",
  "connlimit",
  "notrack",
  "nat",
  "masq",
  "redir",
  "socket",
  "fib",
  "rt",
]);

/** As nft_synproxy has it: in families of the network layer, where packets come in or are forwarded. */
function misplaced(expression: Expression, family: string, hook: string | undefined): string | undefined {
  const isLink = family === "arp" || family === "bridge";
  if (isLink && expression.op === "queue") return `packets of the ${family} family do not wait for anybody's verdict`;
  if (isLink && (expression.op === "reject" || CONNECTIONS.has(expression.op)))
    return `packets of the ${family} family have no connections here, and no answer`;
  const isProxy = expression.op === "synproxy" || (expression.op === "objref" && expression.type === "synproxy");
  const isPlace = ["ip", "ip6", "inet"].includes(family) && (hook === undefined || hook === "input" || hook === "forward");
  return isProxy && !isPlace ? "handshakes are answered in hooks input and forward of ip, ip6 and inet" : undefined;
}

function refuse(why: string | undefined, where: string): void {
  if (why !== undefined) throw new LoomError("ENOTSUP", `${where}: ${why}`);
}
