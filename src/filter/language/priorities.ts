/** Priorities of base chains by name (linux/netfilter_ipv4.h, netfilter_bridge.h), and which types and hooks each family has. */
import type { Family, Hook } from "../expressions.ts";

const USUAL: Readonly<Record<string, number>> = { raw: -300, mangle: -150, dstnat: -100, filter: 0, security: 50, srcnat: 100 };
const BRIDGE: Readonly<Record<string, number>> = { dstnat: -300, filter: -200, out: 100, srcnat: 300 };
const named = (family: Family): Readonly<Record<string, number>> => (family === "bridge" ? BRIDGE : USUAL);

/** A name is known in some families and hooks only. */
export function priorityOf(name: string, family: Family, hook: Hook): number | undefined {
  const value = named(family)[name];
  if (value === undefined) return undefined;
  if ((family === "arp" || family === "netdev") && name !== "filter") return undefined;
  if (name === "dstnat" && hook !== "prerouting") return undefined;
  if (name === "srcnat" && hook !== "postrouting") return undefined;
  if (name === "out" && hook !== "output") return undefined;
  return value;
}
/** A name, or one and how far from it: `filter - 100`. */
export function writtenPriority(text: string, family: Family, hook: Hook): number | undefined {
  const [, name, sign, offset] = /^(\S+)(?: ([+-]) (\d+))?$/.exec(text) ?? [];
  const base = name === undefined ? undefined : priorityOf(name, family, hook);
  if (base === undefined || offset === undefined) return base;
  return sign === "-" ? base - Number(offset) : base + Number(offset);
}
/** As `list ruleset` writes it: by the nearest name within 10, else as a number. */
export function priorityText(value: number, family: Family, hook: Hook): string {
  for (const name of Object.keys(named(family))) {
    const base = priorityOf(name, family, hook);
    if (base === undefined || Math.abs(value - base) > 10) continue;
    if (value === base) return name;
    return `${name} ${value > base ? "+" : "-"} ${Math.abs(value - base)}`;
  }
  return value.toString();
}

const INET: readonly Hook[] = ["prerouting", "input", "forward", "output", "postrouting"];
const HOOKS: Readonly<Record<Family, readonly Hook[]>> = {
  ip: INET,
  ip6: INET,
  inet: [...INET, "ingress"],
  bridge: INET,
  arp: ["input", "output"],
  netdev: ["ingress", "egress"],
};
const TYPES: Readonly<Record<string, (family: Family, hook: Hook) => boolean>> = {
  filter: (family, hook) => HOOKS[family].includes(hook),
  nat: (family, hook) => ["ip", "ip6", "inet"].includes(family) && INET.includes(hook) && hook !== "forward",
  route: (family, hook) => ["ip", "ip6", "inet"].includes(family) && hook === "output",
};
/** `undefined`: the kernel has it; otherwise what nft says. */
export function chainProblem(type: string, family: Family, hook: string): "type" | "hook" | "combination" | undefined {
  if (!(type in TYPES)) return "type";
  if (!HOOKS[family].includes(hook as Hook)) return "hook";
  return TYPES[type](family, hook as Hook) ? undefined : "combination";
}
