/** Tables of iptables and the chains they begin with: there from the start, so that a text does not have to make them. */

import { isReserved } from "../vocabulary.ts";

const HOOKS: Readonly<Record<string, string>> = {
  PREROUTING: "prerouting",
  INPUT: "input",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};
const CHAINS: Readonly<Record<string, readonly string[]>> = {
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  raw: ["PREROUTING", "OUTPUT"],
  security: ["INPUT", "FORWARD", "OUTPUT"],
};
const PRIORITIES: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 };

/** nft can name a chain by any word, if not always without quotes. */
export const quoted = (name: string): string => (/^[A-Za-z_][A-Za-z0-9_/.\\-]*$/.test(name) && !isReserved(name) ? name : `"${name}"`);
export const TABLES: readonly string[] = Object.keys(CHAINS);
export const isTable = (table: string): boolean => Object.hasOwn(CHAINS, table);
export const isBuiltIn = (table: string, chain: string): boolean => CHAINS[table].includes(chain);
/** A name that some table has, if not this one. */
export const isForeign = (table: string, chain: string): boolean => Object.hasOwn(HOOKS, chain) && !isBuiltIn(table, chain);
/** The option that names the device a packet has not come from yet, or has not been sent to. */
export function deviceUnknown(chain: string): "-i" | "-o" | undefined {
  if (chain === "PREROUTING" || chain === "INPUT") return "-o";
  return chain === "OUTPUT" || chain === "POSTROUTING" ? "-i" : undefined;
}

/** A base chain: hook, type and priority follow from both names. Without a policy it has the one it had, or accepts. */
export function baseChain(table: string, chain: string, policy?: string): string {
  const type = table === "nat" ? "nat" : table === "mangle" && chain === "OUTPUT" ? "route" : "filter";
  const priority = table === "nat" ? (chain === "PREROUTING" || chain === "OUTPUT" ? -100 : 100) : PRIORITIES[table];
  return `{ type ${type} hook ${HOOKS[chain]} priority ${priority};${policy === undefined ? "" : ` policy ${policy.toLowerCase()};`} }`;
}
