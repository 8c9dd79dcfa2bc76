/** Statements that rewrite addresses and ports: snat, dnat, masquerade, redirect, tproxy. */
import type { Node, StatementNode } from "./ast.ts";
import { resolve } from "./constants.ts";
import { Fault } from "./faults.ts";
import type { Statement, Value } from "./model.ts";
import { addressTyping, type Evaluation } from "./rule-scope.ts";
import { typeOf } from "./types.ts";
import type { Span } from "./vocabulary.ts";

const PORT = { type: typeOf("inet_service"), bits: 16, order: "big" } as const;

function port(node: Node, evaluator: Evaluation, keyword: Span): Value {
  if (!evaluator.headers.transportKnown && resolve(node, evaluator.scope).k !== "map")
    throw new Fault(node.at, "transport protocol mapping is only valid after transport protocol match", keyword);
  return evaluator.argument(node, PORT);
}
const keywordOf = (each: { readonly at: Span }, word: string): Span => ({ start: each.at.start, end: each.at.start + word.length });

/** The family of the new address: written, or that of the table, or what the rule has found out so far. */
function familyOf(
  each: { readonly at: Span; readonly family?: "ip" | "ip6"; readonly addr?: Node },
  word: string,
  evaluator: Evaluation,
): "ip" | "ip6" {
  const { family } = evaluator.scope;
  if (family === "ip" || family === "ip6") {
    if (each.family && each.family !== family)
      throw new Fault(keywordOf(each, word), `conflicting protocols specified: ${family} vs. ${each.family}`);
    return family;
  }
  const known = each.family ?? evaluator.headers.network?.name;
  if (known === "ip" || known === "ip6") return known;
  throw new Fault(keywordOf(each, word), "ip or ip6 must be specified with address for inet tables.");
}

/** Which ports a source keeps is said once, and of sources only. Words beyond nft's own: RFC 3489's, for what RFC 4787 calls mapping and filtering. */
const CONES = 0x700;
function checkCones(flags: number, word: string, keyword: Span): void {
  const cones = flags & CONES;
  if (cones === 0) return;
  if (word !== "snat" && word !== "masquerade") throw new Fault(keyword, `a cone is of sources: ${word} has none`);
  if ((cones & (cones - 1)) !== 0) throw new Fault(keyword, "expected one kind of cone");
}

export function natStatement(each: StatementNode & { k: "nat" }, evaluator: Evaluation): Statement {
  const keyword = keywordOf(each, each.type);
  checkCones(each.flags, each.type, keyword);
  const inet = evaluator.scope.family === "inet";
  const family = each.addr || !inet ? familyOf(each, each.type, evaluator) : "ip";
  const typing = addressTyping(family);
  const addr = each.addr && evaluator.argument(each.addr, typing, [typing, PORT]);
  const data = addr?.k === "map" ? addr.set.data : undefined;
  if (data?.kind === "data" && data.parts.length > 1 && !evaluator.headers.transportKnown)
    throw new Fault((each.addr as Node).at, "transport protocol mapping is only valid after transport protocol match", keyword);
  const shape = data?.kind === "data" ? { concat: data.parts.length > 1, interval: data.interval === true } : undefined;
  return {
    k: "nat",
    type: each.type,
    family: family === "ip" ? 4 : 6,
    shown: addr !== undefined && (inet || shape?.concat === true || shape?.interval === true),
    ...(addr ? { addr } : {}),
    ...(each.port ? { port: port(each.port, evaluator, keyword) } : {}),
    flags: each.flags,
    prefix: each.mode === "prefix",
  };
}
export function portsStatement(each: StatementNode & { k: "masquerade" | "redirect" }, evaluator: Evaluation): Statement {
  checkCones(each.flags, each.k, keywordOf(each, each.k));
  const to = each.port && port(each.port, evaluator, keywordOf(each, each.k));
  return { k: each.k, flags: each.flags, ...(to ? { port: to } : {}) };
}
export function tproxyStatement(each: StatementNode & { k: "tproxy" }, evaluator: Evaluation): Statement {
  if (!evaluator.headers.transport) throw new Fault(each.at, "Transparent proxy support requires transport protocol match");
  const { family: table } = evaluator.scope;
  const family = each.addr || table !== "inet" ? familyOf(each, "tproxy", evaluator) : each.family;
  const addr = each.addr && evaluator.argument(each.addr, addressTyping(family as string));
  return {
    k: "tproxy",
    family: family === undefined ? 0 : family === "ip" ? 4 : 6,
    shown: table === "inet" && family !== undefined,
    ...(addr ? { addr } : {}),
    ...(each.port ? { port: port(each.port, evaluator, keywordOf(each, "tproxy")) } : {}),
  };
}
