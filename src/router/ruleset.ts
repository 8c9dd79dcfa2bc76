/**
 * The rules that a configuration's shortcuts stand for, in tables of their own beside those of the user: `rpFilter`, `nat`, `forwards`.
 * They are made again when the addresses of interfaces change, because hairpin connections need the address that was listened on.
 */
import { invalid } from "../base/errors.ts";
import { IpAddress, networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import { checkSupported, parseRuleset, Ruleset, type Source, translated } from "../filter/index.ts";
import type { AddressInfo } from "../ip/addresses.ts";
import { placeOfRules, type RulesKey } from "./config.ts";
import { egressPolicy } from "./egress.ts";
import type { ForwardConfig, RouterConfig } from "./schema.ts";
import { isAddress, parseEndpoint } from "./schema-parts.ts";

export const OWN_TABLE = "packetloom";
const WORD = { 4: "ip", 6: "ip6" } as const;
type Families = 4 | 6;

/** Tables of the shortcuts, by name; an empty text where the configuration has none. */
export function ownTables(config: RouterConfig, addresses: readonly AddressInfo[]): ReadonlyMap<string, string> {
  const chains = [...rpFilter(config), ...destinations(config, addresses), ...sources(config, addresses)];
  const own = chains.length ? `table inet ${OWN_TABLE} {\n${chains.join("\n")}\n}\n` : "";
  const egress = config.egress ? egressPolicy(config.egress) : undefined;
  return new Map([
    [OWN_TABLE, own],
    ["packetloom_egress", egress?.ruleset ?? ""],
  ]);
}

const chain = (name: string, head: string, rules: readonly string[]) =>
  `  chain ${name} {\n    type ${head}; policy accept;\n${rules.map((rule) => `    ${rule}\n`).join("")}  }`;

/** As the kernel's rp_filter: of IPv4 alone; packets without a source address are asking for one. */
function rpFilter({ rpFilter: mode = "off" }: RouterConfig): string[] {
  if (mode === "off") return [];
  const key = mode === "strict" ? "saddr . iif" : "saddr";
  return [
    chain("rpfilter", "filter hook prerouting priority raw", [`meta nfproto ipv4 ip saddr != 0.0.0.0 fib ${key} oif missing counter drop`]),
  ];
}

function destinations({ forwards = [] }: RouterConfig, addresses: readonly AddressInfo[]): string[] {
  const rules = forwards.flatMap((forward) => destinationRules(forward, addresses));
  return rules.length ? [chain("forwards", "nat hook prerouting priority dstnat", rules)] : [];
}

function destinationRules({ listen, to, protocol = "tcp" }: ForwardConfig, addresses: readonly AddressInfo[]): string[] {
  const { host, port } = end(listen, true);
  const target = IpAddress.parse(end(to).host);
  const { family } = target;
  const word = WORD[family];
  const l4 = protocol === "both" ? "meta l4proto { tcp, udp } th" : protocol;
  const action = `${l4} dport ${port} dnat ${word} to ${family === 6 ? `[${target}]` : target}:${end(to).port}`;
  if (isAddress(host)) return [`${word} daddr ${host} ${action}`];
  // From outside whatever address the interface has; from inside the addresses that it has now.
  const own = addresses.filter((each) => each.interface === host && IpAddress.parse(each.address).family === family);
  const nfproto = `meta nfproto ipv${family}`;
  const inside = own.filter(({ scope }) => scope === "global").map(({ address }) => `${word} daddr ${address} ${action}`);
  return [`iifname "${host}" ${nfproto} fib daddr type local ${action}`, ...inside];
}

function sources(config: RouterConfig, addresses: readonly AddressInfo[]): string[] {
  const { masquerade = [] } = config.nat ?? {};
  const cone = coneOf(config);
  const rules = [
    ...hairpins(config, addresses),
    ...(cone ? mappedHairpins(masquerade, addresses, cone) : []),
    ...masquerade.map((name) => `oifname "${name}" masquerade${cone && ` ${cone}`}`),
  ];
  return rules.length ? [chain("sources", "nat hook postrouting priority srcnat", rules)] : [];
}

/** The word for how sources are mapped (RFC 4787 in those of RFC 3489); empty: anew for each far end. */
function coneOf({ nat }: RouterConfig): string {
  if (nat?.mapping !== "endpoint-independent") return "";
  return {
    "endpoint-independent": "full-cone",
    "address-dependent": "restricted-cone",
    "address-and-port-dependent": "port-restricted-cone",
  }[nat.filtering ?? "address-dependent"];
}

/** What one client sends to another's outer end comes from an outer end itself (RFC 4787 REQ-9). */
function mappedHairpins(masquerade: readonly string[], addresses: readonly AddressInfo[], cone: string): string[] {
  return addresses.flatMap(({ address, interface: name, scope }) => {
    if (!masquerade.includes(name) || scope !== "global") return [];
    const { family } = IpAddress.parse(address);
    const word = WORD[family];
    const to = family === 6 ? `[${address}]` : address;
    return [`iifname != "${name}" oifname != "${name}" ct status dnat ct original ${word} daddr ${address} snat ${word} to ${to} ${cone}`];
  });
}

/** A client on the server's own link would be answered directly, by an address that it did not ask: its source is translated too. */
function hairpins({ forwards = [] }: RouterConfig, addresses: readonly AddressInfo[]): string[] {
  const rules = forwards.flatMap(({ to }) => {
    const target = IpAddress.parse(end(to).host);
    const link = addresses.find((each) => {
      const own = IpAddress.parse(each.address);
      return own.family === target.family && networkOf(own, each.length).equals(networkOf(target, each.length));
    });
    if (!link) return [];
    const { address, length } = parseInterfaceAddress(`${link.address}/${link.length}`);
    const word = WORD[address.family as Families];
    return [
      `ct status dnat ${word} saddr ${networkOf(address, length)}/${length} ${word} daddr ${target} oifname "${link.interface}" masquerade`,
    ];
  });
  return [...new Set(rules)];
}

function end(text: string, anyName = false) {
  const found = parseEndpoint(text, anyName);
  if (!found) throw invalid(`"${text}" is no address with a port`);
  return found;
}

/** The user's rules, with what they are called in messages: their file, where they are in one of their own, or where they stand in another. */
export function rulesOf(config: RouterConfig): readonly Source[] {
  const { ruleset = "", rulesetFile, iptables, iptablesFile, ip6tables, ip6tablesFile } = config;
  const placed = (key: RulesKey, file: string | undefined) => (file === undefined ? placeOfRules(config, key) : { name: file });
  const iptablesOf = (key: RulesKey, text: string | undefined, file: string | undefined, family: "ip" | "ip6") => {
    const { name, ...place } = placed(key, file);
    return text === undefined ? [] : [translated(text, { family, file: name, ...place })];
  };
  return [
    { ...placed("ruleset", rulesetFile), text: ruleset },
    ...iptablesOf("iptables", iptables, iptablesFile, "ip"),
    ...iptablesOf("ip6tables", ip6tables, ip6tablesFile, "ip6"),
  ];
}

/** One transaction: the user's rules if they changed, then in place of all there is; and every table of the shortcuts that changed. */
export function transaction(
  user: readonly Source[] | undefined,
  tables: ReadonlyMap<string, string>,
  before: ReadonlyMap<string, string>,
): readonly Source[] {
  const isAll = user !== undefined;
  const parts: string[] = [];
  for (const [name, text] of tables) {
    const old = before.get(name) ?? "";
    if (!isAll && old === text) continue;
    if (!isAll && old !== "") parts.push(`delete table inet ${name}`);
    parts.push(text);
  }
  const own = { name: "packetloom", text: parts.filter(Boolean).join("\n") };
  return [...(user ?? []), ...(own.text === "" ? [] : [own])];
}

/** Throws what the rules of a configuration would be refused for, without a router. */
export function checkRules(config: RouterConfig): void {
  const indexOf = (name: string) => config.interfaces.findIndex((each) => each.name === name) + 1 || (name === "lo" ? 0xffff : undefined);
  const ruleset = new Ruleset({ interfaceIndex: indexOf });
  for (const source of rulesOf(config)) ruleset.apply(parseRuleset(source));
  for (const own of ownTables(config, []).values()) ruleset.apply(own, { file: "packetloom" });
  checkSupported(ruleset.spec(), true, (rule, why) => ruleset.blame(rule, why));
}
