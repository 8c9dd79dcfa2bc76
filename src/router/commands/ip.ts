/** `ip [-4|-6|-s] addr|link|route|neigh|rule …`: ip(8) against the router. */
import { IpAddress, networkOf } from "../../base/ip-address.ts";
import type { Host, LinkInfo, RuleOptions } from "../../host/host.ts";
import { ruleOf as madeRule } from "../../host/rule-options.ts";
import type { AddressInfo, AddressOptions } from "../../ip/addresses.ts";
import type { Rule } from "../../ip/rule.ts";
import type { Router } from "../router.ts";
import { type Command, type Output, pick, refused, takeWord, usage } from "./command.ts";
import { addressJson, linkJson, ruleJson } from "./ip-json.ts";
import { neighbour } from "./ip-neighbour.ts";
import { route } from "./ip-route.ts";
import { LOCAL_TABLE } from "./ip-routes.ts";
import { addressText, briefText, flagsOf, linkText, oneLines, ruleText, type ShownAddress, tableNumber } from "./ip-show.ts";
import { type Asked, deviceOf, done, interfaceOf, isShow, lines, missing, numberOf, shown } from "./ip-words.ts";

const HELP = `Usage: ip [ -4 | -6 ] [ -s ] [ -j ] [ -br ] [ -o ] OBJECT COMMAND
       ip link [ show [ DEV ] ]
       ip link set DEV [ up | down ] [ mtu MTU ] [ address MAC ] [ master BRIDGE | nomaster ]
       ip address [ show [ DEV ] ]
       ip address { add | del } PREFIX dev DEV
       ip route { show | flush } [ [ exact ] PREFIX ] [ root PREFIX ] [ match PREFIX ] [ table { TABLE | all } ] [ dev DEV ]
                [ via ADDRESS ] [ proto PROTO ] [ scope SCOPE ] [ type TYPE ]
       ip route get ADDRESS
       ip route { add | append | replace | change | del } [ unicast | blackhole | unreachable | prohibit ] PREFIX
                [ via ADDRESS ] [ dev DEV ] [ metric N ] [ table TABLE ] [ nexthop via ADDRESS [ dev DEV ] [ weight N ] ] ...
       ip neigh [ show [ DEV ] ]
       ip neigh { add | change | replace } ADDRESS lladdr MAC dev DEV
       ip neigh del ADDRESS dev DEV | flush dev DEV
       ip rule [ show ]
       ip rule { add | del } [ not ] [ from PREFIX ] [ to PREFIX ] [ iif DEV ] [ oif DEV ] [ fwmark MARK[/MASK] ]
               [ ipproto PROTO ] [ sport PORTS ] [ dport PORTS ] [ priority N ] [ table TABLE | blackhole | unreachable | prohibit ]
`;
const FAMILIES = ["-4", "-6"];
const STATS = ["-s", "-stats", "-statistics"];
const JSON_WORDS = ["-j", "-json"];
const BRIEF = ["-br", "-brief"];
const ONELINE = ["-o", "-oneline"];

export const ip: Command = (router, words) => {
  const options = words.filter((word) => word.startsWith("-"));
  const [object, ...rest] = words.slice(options.length);
  if (words.includes("help") || options.includes("-help") || options.includes("-h")) return { stdout: HELP };
  const unknown = options.find((word) => ![...FAMILIES, ...STATS, ...JSON_WORDS, ...BRIEF, ...ONELINE, "-c=never"].includes(word));
  if (unknown) throw usage(`Option "${unknown}" is unknown, try "ip -help".`);
  const family = options.includes("-4") ? 4 : options.includes("-6") ? 6 : undefined;
  const has = (names: readonly string[]) => options.some((word) => names.includes(word));
  const asked: Asked = { family, withStats: has(STATS), json: has(JSON_WORDS), brief: has(BRIEF), oneline: has(ONELINE) };
  const kind =
    object === undefined ? undefined : pick(object, ["link", "address", "route", "neighbour", "neighbor", "rule"] as const, "link");
  if (!kind) throw usage(`Object "${object ?? ""}" is unknown, try "ip help".`);
  if (kind === "link") return link(router, rest, asked);
  if (kind === "address") return address(router, rest, asked);
  if (kind === "route") return route(router, rest, asked);
  return kind === "rule" ? rule(router, rest, asked) : neighbour(router, rest, asked);
};

function devices({ host }: Router, name: string | undefined) {
  const links = host.links().filter((each) => name === undefined || each.name === name);
  if (name !== undefined && links.length === 0) throw usage(`Device "${name}" does not exist.`);
  return links;
}

function link(router: Router, [verb, ...words]: readonly string[], asked: Asked): Output {
  if (verb !== "set") {
    if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip link help".`);
    const { withStats, brief } = asked;
    const text = (each: LinkInfo) =>
      brief ? briefText(each, [each.mac, `<${flagsOf(each).join(",")}>`]) : linkText(router, each, withStats);
    return shown(asked, devices(router, deviceOf(words)), text, (each) => linkJson(router, each, withStats));
  }
  const [named, others] = takeWord(words, "dev");
  const [name, ...rest] = named === undefined ? words : [named, ...others];
  if (!name) throw usage('Not enough information: "dev" argument is required.');
  interfaceOf(router.host, name);
  // All words are understood before one of them is done.
  const changes: (() => void)[] = [];
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i];
    const value = () => rest[++i] ?? missing(word);
    if (word === "up" || word === "down") changes.push(() => router.host.setUp(name, word === "up"));
    else if (word === "nomaster") changes.push(() => router.host.setMaster(name, undefined));
    else if (word === "mtu") {
      const mtu = numberOf(value(), "mtu");
      changes.push(() => router.host.setMtu(name, mtu));
    } else if (word === "master") {
      const master = value();
      changes.push(() => enslave(router, name, master));
    } else if (word === "address") {
      const mac = value();
      changes.push(() => router.host.setMac(name, mac));
    } else throw usage(`Error: either "dev" is duplicate, or "${word}" is a garbage.`);
  }
  for (const change of changes) change();
  return done;
}

function enslave({ host }: Router, name: string, master: string): void {
  if (!host.links().some((each) => each.name === master)) throw usage(`Error: argument "${master}" is wrong: Device does not exist`);
  host.setMaster(name, master);
}

function address(router: Router, [verb, ...words]: readonly string[], asked: Asked): Output {
  const { host } = router;
  if (verb === "add" || verb === "del" || verb === "delete") {
    const [name, [given = missing("local"), ...rest]] = takeWord(words, "dev");
    if (!name) throw usage('Not enough information: "dev" argument is required.');
    interfaceOf(host, name);
    if (verb === "add") host.addAddress(name, given, lifetimesOf(rest));
    else removeAddress(router, name, given, rest);
    return done;
  }
  if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip address help".`);
  const { family, brief } = asked;
  const every = devices(router, deviceOf(words)).map((each) => [each, addressesOf(host, each.name, family)] as const);
  if (asked.oneline && !asked.json && !brief) return lines(every.flatMap(([each, own]) => oneLines(router, each, own)));
  return shown(
    asked,
    every.filter(([, own]) => family === undefined || own.length > 0),
    ([each, own]) =>
      brief
        ? briefText(
            each,
            own.map((one) => `${one.address}/${one.length}`),
          )
        : addressText(router, each, own, family),
    ([each, own]) => addressJson(router, each, own, family),
  );
}

/**
 * Addresses of an interface in a kernel's order: of IPv4 those that are the first of their subnet, then the others; of IPv6 the widest scope first, and in
 * it the newest.
 */
function addressesOf(host: Host, name: string, family: 4 | 6 | undefined): ShownAddress[] {
  const own = host.addresses().filter((each) => each.interface === name);
  const is4 = ({ address }: AddressInfo) => !address.includes(":");
  const subnet = ({ address, length }: AddressInfo) => String(networkOf(IpAddress.parse(address), length)) + length;
  const four = own.filter(is4).map((each, i, all) => ({ ...each, secondary: all.findIndex((one) => subnet(one) === subnet(each)) < i }));
  const six = own.filter((each) => !is4(each)).map((each) => ({ ...each, secondary: false }));
  const ordered = six.reverse().sort((a, b) => SCOPES.indexOf(a.scope) - SCOPES.indexOf(b.scope));
  return [...(family === 6 ? [] : four.sort((a, b) => Number(a.secondary) - Number(b.secondary))), ...(family === 4 ? [] : ordered)];
}

const SCOPES: readonly string[] = ["global", "link", "host"];

/** `valid_lft` and `preferred_lft`, in seconds or "forever"; `brd +` is what every address has. */
function lifetimesOf(words: readonly string[]): AddressOptions {
  const options: AddressOptions = {};
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const value = words[++i] ?? missing(word);
    const ms = () => (value === "forever" ? Number.POSITIVE_INFINITY : numberOf(value, word) * 1000);
    if (word === "valid_lft") options.validMs = ms();
    else if (word === "preferred_lft") options.preferredMs = ms();
    else if (!((word === "brd" || word === "broadcast") && value === "+"))
      throw usage(`Error: either "local" is duplicate, or "${word}" is a garbage.`);
  }
  return options;
}

/** With a length, the one of that length. */
function removeAddress({ host }: Router, name: string, given: string, [extra]: readonly string[]): void {
  if (extra !== undefined) throw usage(`Error: either "local" is duplicate, or "${extra}" is a garbage.`);
  const [text, length] = given.split("/");
  const address = IpAddress.parse(text);
  const own = host.addresses().filter((each) => each.interface === name && IpAddress.parse(each.address).equals(address));
  if (!own.some((each) => length === undefined || String(each.length) === length))
    throw refused(`Error: ipv${address.family}: ${address.family === 4 ? "Address" : "address"} not found.`);
  host.removeAddress(name, text);
}

function rule({ host }: Router, [verb, ...words]: readonly string[], asked: Asked): Output {
  const { family } = asked;
  const { rules } = host.ip;
  const [given, rest] = takeWord(
    words.map((word) => (["prio", "pref", "preference", "order"].includes(word) ? "priority" : word)),
    "priority",
  );
  /** Rules that say what the words say, of that priority or of any. */
  const alike = () => {
    const interfaceOf = (name: string) => host.ip.interface(name);
    const of = (priority: number) => ruleText(madeRule(ruleOf(rest, priority), interfaceOf));
    const candidates = rules.list().filter(({ priority }) => given === undefined || priority === Number(given));
    return candidates.filter((each) => rest.length === 0 || ruleText(each) === of(each.priority));
  };
  if (verb === "del" || verb === "delete") {
    const [found] = given === undefined && rest.length === 0 ? [] : alike();
    if (!found) throw refused("RTNETLINK answers: No such file or directory");
    host.removeRule(found.priority);
    return done;
  }
  if (verb === "add") {
    if (rest.length === 0 && given === undefined) throw usage('"ip rule add" requires arguments.');
    if (given !== undefined) numberOf(given, "preference");
    if (rest.length > 0 && alike().length > 0) throw refused("RTNETLINK answers: File exists");
    const lowest = Math.min(...rules.list().map(({ priority }) => priority));
    host.addRule(ruleOf(rest, given === undefined ? lowest - 1 : Number(given)));
    return done;
  }
  if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip rule help".`);
  const wanted = rules
    .list()
    .filter(({ from, to }) => (from ?? to)?.address.family === undefined || (from ?? to)?.address.family === (family ?? 4));
  const ends = family === 6 ? [] : [DEFAULT_RULE];
  const all = [LOCAL_RULE, ...wanted, ...ends].sort((a, b) => a.priority - b.priority);
  return shown(asked, all, ruleText, ruleJson);
}

/** The one in front of all, which nobody takes away here. */
const LOCAL_RULE: Rule = { priority: 0, table: LOCAL_TABLE };
/** And the one behind all, of IPv4, whose table is empty unless somebody fills it. */
const DEFAULT_RULE: Rule = { priority: 32_767, table: 253 };

/** Names of ip(8) for what our rules look at. */
const SELECTORS: Readonly<Record<string, (value: string) => Partial<RuleOptions>>> = {
  from: (value) => (value === "all" ? {} : { from: value }),
  to: (value) => (value === "all" ? {} : { to: value }),
  iif: (value) => ({ interface: value }),
  dev: (value) => ({ interface: value }),
  oif: (value) => ({ boundTo: value }),
  fwmark: (value) => {
    const [mark, markMask] = value.split("/").map((each) => maskOf(each));
    return { mark, ...(markMask !== undefined && { markMask }) };
  },
  ipproto: (value) => ({ protocol: (/^\d+$/.test(value) ? Number(value) : value) as RuleOptions["protocol"] }),
  sport: (value) => ({ sourcePort: portsOf(value) }),
  dport: (value) => ({ destinationPort: portsOf(value) }),
  lookup: (value) => ({ table: tableNumber(value) }),
  table: (value) => ({ table: tableNumber(value) }),
};

/** Decimal, or hexadecimal behind 0x. */
function maskOf(word: string): number {
  return /^0x[0-9a-f]{1,8}$/i.test(word) ? Number(word) : numberOf(word, "fwmark");
}

function portsOf(value: string): number | [number, number] {
  const [low, high] = value.split("-").map((each) => numberOf(each, "port"));
  return high === undefined ? low : [low, high];
}

function ruleOf(words: readonly string[], priority: number): RuleOptions {
  let made: RuleOptions = { priority };
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === "not") made = { ...made, not: true };
    else if (word === "blackhole" || word === "unreachable" || word === "prohibit") made = { ...made, action: word };
    else {
      const selector = Object.hasOwn(SELECTORS, word) ? SELECTORS[word] : undefined;
      if (!selector) throw usage(`Error: argument "${word}" is wrong: Failed to parse rule type`);
      made = { ...made, ...selector(words[++i] ?? missing(word)) };
    }
  }
  return made;
}
