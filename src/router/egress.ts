/**
 * Egress policy: what machines behind a router may reach, by name and by address; everything else is refused and logged.
 *
 *   egressPolicy({ interfaces: ["lan"], allow: ["example.com", "*.github.com:443", "192.0.2.0/24:22", "2001:db8::/32"] });
 *
 * Names are allowed by what the router's DNS forwarder answers: the addresses of an answer go into sets with the answer's
 * time to live before the answer goes to who asked, for both families alike. Nothing else is a way out: other name servers cannot be
 * asked (53 and 853, datagrams and streams, are refused even to allowed addresses), names that are not allowed are refused by the forwarder, and
 * an address that no answer brought is refused. Connections that were allowed go on when their name's time is over.
 */
import { formatPrefix, tryParsePrefix } from "../base/address.ts";
import { invalid } from "../base/errors.ts";
import { IpAddress, networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import { extracted, type Pref64 } from "../dns/dns64.ts";
import { nameKey } from "../dns/hosts.ts";
import type { DnsRecord } from "../dns/records.ts";

export interface EgressOptions {
  /** Interfaces whose machines it is for. */
  readonly interfaces: readonly string[];
  /** "example.com", "*.github.com:443", "192.0.2.0/24:22", "2001:db8::/32", "[2001:db8::1]:443". */
  readonly allow: readonly string[];
  /** Log what is refused. Default true. */
  readonly log?: boolean;
  /** Names may stand for private addresses (RFC 1918, RFC 6598, RFC 4193): where they are given out by somebody trusted. Default false. */
  readonly privateAddresses?: boolean;
}

/** One line of `allow`. */
export type Allowed =
  | { readonly kind: "name"; readonly name: string; readonly isBelow: boolean; readonly port?: number }
  | { readonly kind: "prefix"; readonly family: 4 | 6; readonly prefix: string; readonly port?: number };

export const EGRESS_TABLE = "packetloom_egress";
/** A name's addresses are reachable for so long (seconds) at least: time to begin a connection after an answer that lives for 0. */
export const LEAST_TTL = 10;
/** DNS servers may say anything; a day is enough for who asks again. */
const MOST_TTL = 86_400;
/** Of one answer. */
const MOST_ADDRESSES = 64;

/** Can a name stand for it that somebody else gives out? This machine, its links, all and many are never meant (RFC 6890). */
function isOutside(address: IpAddress): boolean {
  if (address.isUnspecified || address.isLoopback || address.isMulticast || address.isLinkLocal) return false;
  return address.family === 6 || (address.v4 >>> 24 !== 0 && address.v4 >>> 28 !== 15);
}

const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"].map(parseInterfaceAddress);
/** Names that stand for other networks of one's own are how those are reached from outside ("DNS rebinding"). */
const isPrivate = (address: IpAddress) =>
  PRIVATE.some(({ address: network, length }) => network.family === address.family && networkOf(address, length).equals(network));

/** Prefixes behind which others than this router may reach IPv4: the well-known one (RFC 6052), and 6to4's (RFC 3056). */
const TRANSLATED: readonly Pref64[] = [
  { prefix: IpAddress.parse("64:ff9b::"), length: 96 },
  { prefix: IpAddress.parse("2002::"), length: 16 },
];

export function parseAllow(text: string): Allowed {
  const [, bracketed, rest] = /^\[([^\]]+)\](.*)$/.exec(text) ?? [];
  const is6 = bracketed === undefined && text.split(":").length > 2;
  const [, plain, digits] = is6 ? [text, text, undefined] : (/^(.*?)(?::(\d+))?$/.exec(bracketed === undefined ? text : `x${rest}`) ?? []);
  const host = bracketed ?? plain ?? "";
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && (port < 1 || port > 65_535)) throw invalid(`"${text}" has port ${digits}; expected 1 to 65535`);
  const prefix = tryParsePrefix(host);
  if (typeof prefix !== "string") return { kind: "prefix", family: prefix.family, prefix: formatPrefix(prefix), port };
  const isBelow = host.startsWith("*.");
  const name = isBelow ? host.slice(2) : host;
  if (!/^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i.test(name) || /^[\d.]+$/.test(name)) {
    throw invalid(`"${text}" is neither a name nor a prefix; expected one such as example.com, *.example.com:443 or 192.0.2.0/24:22`);
  }
  return { kind: "name", name: nameKey(name), isBelow, port };
}

/** What an answer opens: an address, or one with a port. */
export interface Opening {
  readonly set: string;
  readonly address: IpAddress;
  readonly port?: number;
  readonly timeoutSeconds: number;
}

/** An opening as the set's key has it: fields of a concatenation begin at whole words. */
export function openingKey({ address, port }: Opening): Uint8Array {
  const bytes = address.bytes();
  if (port === undefined) return bytes;
  const key = new Uint8Array(bytes.length + 4);
  key.set(bytes);
  key.set([port >>> 8, port & 255], bytes.length);
  return key;
}

export interface EgressPolicy {
  readonly table: string;
  /** The rules, as nft reads them. */
  readonly ruleset: string;
  /** Whether a name may be asked for. */
  allows(name: string): boolean;
  /** What an answer to a question for `name` opens. */
  openings(name: string, records: readonly DnsRecord[]): Opening[];
}

/** `pref64`: behind it this router itself reaches IPv4. */
export function egressPolicy(options: EgressOptions, pref64?: Pref64): EgressPolicy {
  const prefixes = pref64 ? [...TRANSLATED, pref64] : TRANSLATED;
  /** The address, and those of IPv4 that it may stand for. */
  const meanings = (address: IpAddress) => {
    const inside = address.family === 6 ? prefixes.map((each) => extracted(address, each)) : [];
    return [address, ...inside.filter((each) => each !== undefined)];
  };
  const mayOpen = (address: IpAddress) =>
    meanings(address).every((each) => isOutside(each) && (options.privateAddresses || !isPrivate(each)));
  const allowed = options.allow.map(parseAllow);
  const names = allowed.filter((each) => each.kind === "name");
  const covers = (name: string) => {
    const key = nameKey(name);
    return names.filter((each) => (each.isBelow ? key.endsWith(`.${each.name}`) : key === each.name));
  };
  return {
    table: EGRESS_TABLE,
    ruleset: rulesetOf(options, allowed),
    allows: (name) => covers(name).length > 0,
    openings(name, records) {
      const entries = covers(name);
      return records.slice(0, MOST_ADDRESSES).flatMap((record) => {
        if (record.type !== "A" && record.type !== "AAAA") return [];
        const address = IpAddress.parse(record.address);
        const { family } = address;
        if (!mayOpen(address)) return [];
        const timeoutSeconds = Math.min(Math.max(record.ttl, LEAST_TTL), MOST_TTL);
        return entries.map(({ port }) =>
          port === undefined
            ? { set: `names${family}`, address, timeoutSeconds }
            : { set: `ports${family}`, address, port, timeoutSeconds },
        );
      });
    },
  };
}

function rulesetOf({ interfaces, log = true }: EgressOptions, allowed: readonly Allowed[]): string {
  const from = `iifname { ${interfaces.map((name) => `"${name}"`).join(", ")} }`;
  const refused = (prefix: string) => (log ? [`log prefix "${prefix} "`] : []);
  const fixed = allowed.flatMap((each) => {
    if (each.kind !== "prefix") return [];
    const to = `${each.family === 4 ? "ip" : "ip6"} daddr ${each.prefix}`;
    return [each.port === undefined ? `${to} accept` : `${to} meta l4proto { tcp, udp } th dport ${each.port} accept`];
  });
  const set = (name: string, type: string) => `  set ${name} {\n    type ${type}\n    flags timeout\n    size 65535\n  }`;
  const chain = (name: string, rules: readonly string[]) => `  chain ${name} {\n${rules.map((rule) => `    ${rule}`).join("\n")}\n  }`;
  return [
    `table inet ${EGRESS_TABLE} {`,
    set("names4", "ipv4_addr"),
    set("names6", "ipv6_addr"),
    set("ports4", "ipv4_addr . inet_service"),
    set("ports6", "ipv6_addr . inet_service"),
    chain("forward", ["type filter hook forward priority filter; policy accept;", `${from} jump egress`]),
    chain("egress", [
      "ct state established,related accept",
      "meta l4proto { tcp, udp } th dport { 53, 853 } goto refuse",
      ...fixed,
      "ip daddr @names4 accept",
      "ip6 daddr @names6 accept",
      "meta l4proto { tcp, udp } ip daddr . th dport @ports4 accept",
      "meta l4proto { tcp, udp } ip6 daddr . th dport @ports6 accept",
      "goto refuse",
    ]),
    chain("refuse", [...refused("egress refused:"), "meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"]),
    "}",
    "",
  ].join("\n");
}
