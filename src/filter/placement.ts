/**
 * Where expressions may stand: by type and hook of every base chain from which jumps lead there, as nf_tables has it (nft_nat_validate and its like). Elsewhere they
 * would do nothing, or the wrong thing.
 */
import type { ChainSpec, Expression, Hook, TableSpec } from "./expressions.ts";
import { targets } from "./machine/order.ts";

type Base = NonNullable<ChainSpec["base"]>;
interface Place {
  readonly type?: "nat";
  readonly hooks: readonly Hook[];
}

const DESTINATIONS: Place = { type: "nat", hooks: ["prerouting", "output"] };
const SOURCES: Place = { type: "nat", hooks: ["input", "postrouting"] };
const MASQUERADE: Place = { type: "nat", hooks: ["postrouting"] };
const ANSWERS: Place = { hooks: ["ingress", "prerouting", "input", "forward", "output"] };
const COMING: Place = { hooks: ["ingress", "prerouting", "input", "forward"] };
const GOING: Place = { hooks: ["forward", "output", "postrouting"] };
const QUEUES: Place = { hooks: ["prerouting", "input", "forward", "output", "postrouting"] };
/** Flags of fib (linux/netfilter/nf_tables.h, NFTA_FIB_F_*). */
const FIB_IIF = 8;
const FIB_OIF = 16;

function placeOf(e: Expression): Place | undefined {
  switch (e.op) {
    case "nat":
      return e.kind === "dnat" ? DESTINATIONS : SOURCES;
    case "redir":
      return DESTINATIONS;
    case "masq":
      return MASQUERADE;
    case "reject":
      return ANSWERS;
    case "fib":
      if (e.result !== "type" || e.flags & FIB_IIF) return COMING;
      return e.flags & FIB_OIF ? GOING : undefined;
    // Nobody has taken a packet in before the first hook of its family (nft_queue_validate).
    case "queue":
      return QUEUES;
    case "rt":
      return e.key === "tcpmss" ? GOING : undefined;
    default:
      return undefined;
  }
}

const list = (words: readonly string[]) => (words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`);

/** What is wrong with an expression in a rule that these base chains lead to; undefined: nothing. */
export function placeFault(e: Expression, bases: readonly Base[]): string | undefined {
  const place = placeOf(e);
  const wrong = place && bases.find(({ type, hook }) => (place.type !== undefined && type !== place.type) || !place.hooks.includes(hook));
  if (!place || !wrong) return undefined;
  const name = e.op === "nat" ? e.kind : e.op === "masq" ? "masquerade" : e.op === "redir" ? "redirect" : e.op;
  const kind = place.type === undefined ? "" : `chains of type ${place.type} at `;
  return `${name} has no place in a chain of type ${wrong.type} at ${wrong.hook}, nor in what that jumps to; expected ${kind}${list(place.hooks)}`;
}

/** The base chains from which jumps lead to each chain, itself included. */
export function basesOf(table: TableSpec): ReadonlyMap<string, readonly Base[]> {
  const chains = new Map(table.chains.map((chain) => [chain.name, chain]));
  const out = new Map<string, Base[]>(table.chains.map(({ name }) => [name, []]));
  for (const chain of table.chains) {
    if (!chain.base) continue;
    const seen = new Set<string>([chain.name]);
    for (const name of seen) {
      out.get(name)?.push(chain.base);
      for (const next of targets(table, chains.get(name) as ChainSpec)) if (chains.has(next)) seen.add(next);
    }
  }
  return out;
}
