/** `ip [-4|-6|-s] addr|link|route|neigh|rule …`: ip(8) against the router. */
import { formatPrefix, type Prefix, parsePrefix, tryParsePrefix } from "../../base/address.ts";
import { LoomError } from "../../base/errors.ts";
import { IpAddress } from "../../base/ip-address.ts";
import type { LinkInfo, RouteOptions, RuleOptions } from "../../host/host.ts";
import { ruleOf as madeRule } from "../../host/rule-options.ts";
import type { AddressOptions } from "../../ip/addresses.ts";
import { MAIN_TABLE } from "../../ip/policy-routing.ts";
import type { Route } from "../../ip/routes.ts";
import type { Rule } from "../../ip/rule.ts";
import type { Router } from "../router.ts";
import { type Command, type Output, pick, takeWord, usage } from "./command.ts";
import { addressJson, linkJson, routeJson, ruleJson } from "./ip-json.ts";
import { neighbour } from "./ip-neighbour.ts";
import { addressText, briefText, flagsOf, linkText, routeText, ruleText, tableNumber } from "./ip-show.ts";
import { type Asked, deviceOf, done, isShow, lines, shown } from "./ip-words.ts";

const LOCAL_TABLE = 255;

const HELP = `Usage: ip [ -4 | -6 ] [ -s ] [ -j ] [ -br ] OBJECT COMMAND
       ip link [ show [ DEV ] ]
       ip link set DEV [ up | down ] [ mtu MTU ] [ address MAC ] [ master BRIDGE | nomaster ]
       ip address [ show [ DEV ] ]
       ip address { add | del } PREFIX dev DEV
       ip route [ show [ PREFIX ] [ table TABLE ] [ dev DEV ] ] | get ADDRESS
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

export const ip: Command = (router, words) => {
  const options = words.filter((word) => word.startsWith("-"));
  const [object, ...rest] = words.slice(options.length);
  if (words.includes("help") || options.includes("-help") || options.includes("-h")) return { stdout: HELP };
  const unknown = options.find((word) => ![...FAMILIES, ...STATS, ...JSON_WORDS, ...BRIEF, "-c=never"].includes(word));
  if (unknown) throw usage(`Option "${unknown}" is unknown, try "ip -help".`);
  const family = options.includes("-4") ? 4 : options.includes("-6") ? 6 : undefined;
  const has = (names: readonly string[]) => options.some((word) => names.includes(word));
  const asked: Asked = { family, withStats: has(STATS), json: has(JSON_WORDS), brief: has(BRIEF) };
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
  devices(router, name);
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

function missing(word: string): never {
  throw usage(`Command line is not complete. Try option "help": ${word} has no value`);
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
    devices(router, name);
    if (verb === "add") host.addAddress(name, given, lifetimesOf(rest));
    else removeAddress(router, name, given, rest);
    return done;
  }
  if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip address help".`);
  const { family, brief } = asked;
  const all = host.addresses().filter((each) => family === undefined || each.address.includes(":") === (family === 6));
  const every = devices(router, deviceOf(words)).map((each) => [each, all.filter((own) => own.interface === each.name)] as const);
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
    throw usage(`Error: ipv${address.family}: ${address.family === 4 ? "Address" : "address"} not found.`);
  host.removeAddress(name, text);
}

function route(router: Router, [verb, ...words]: readonly string[], asked: Asked): Output {
  const { host } = router;
  const { family } = asked;
  if (["add", "append", "replace", "change", "del", "delete"].includes(verb ?? "")) return changeRoute(router, verb, words, family);
  if (verb === "get") return routeTo(router, words, asked);
  if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip route help".`);
  const [table, rest] = takeWord(words, "table");
  const [device, left] = takeWord(rest, "dev");
  const [exact, ...more] = left.filter((word) => word !== "to" && word !== "exact");
  if (more.length > 0) throw usage(`Error: either "to" is duplicate, or "${more[0]}" is a garbage.`);
  const prefix = exact === undefined ? undefined : prefixOf(exact, family ?? (exact.includes(":") ? 6 : 4));
  const number = table === undefined ? MAIN_TABLE : tableNumber(table);
  const { rules, routes } = host.ip;
  const known =
    number === MAIN_TABLE || number === LOCAL_TABLE
      ? routes
      : rules.list().some((each) => each.table === number)
        ? rules.table(number)
        : undefined;
  if (!known) throw usage("Error: ipv4: FIB table does not exist.");
  const wanted = known.list().filter(({ prefix: own, kind, nextHops }) => {
    const isLocal = kind === "local";
    const fits = prefix ? byPrefix({ prefix } as Route, { prefix: own } as Route) === 0 : own.family === (family ?? 4);
    return fits && isLocal === (number === LOCAL_TABLE) && (!device || nextHops.some(({ iface }) => iface.name === device));
  });
  return shown(asked, wanted.sort(byPrefix), routeText, routeJson);
}

function prefixOf(word: string, family: 4 | 6): Prefix {
  const text = word === "default" ? (family === 6 ? "::/0" : "0.0.0.0/0") : word;
  const prefix = tryParsePrefix(text);
  if (typeof prefix === "string") throw usage(`Error: any valid prefix is expected rather than "${word}".`);
  return prefix;
}

/** What the kernel says of routes that lead nowhere. */
const NO_WAY: Readonly<Record<string, string>> = {
  blackhole: "Invalid argument",
  unreachable: "No route to host",
  prohibit: "Permission denied",
};

/** `ip route get`: where a packet of this router's own would go. */
function routeTo({ host }: Router, [word = missing("get"), extra]: readonly string[], { json }: Asked): Output {
  if (extra !== undefined) throw usage(`Error: ip route get ${word} ${extra}: "${extra}" is not known here; expected an address alone`);
  const prefix = tryParsePrefix(word);
  if (typeof prefix === "string" || word.includes("/")) throw usage(`Error: any valid address is expected rather than "${word}".`);
  const to = IpAddress.parse(word);
  const path = host.ip.pathTo(to);
  const source = host.ip.sourceFor(to, path);
  if (!path.isLocal && !path.iface) {
    const kind = host.ip.routes.meaning(to.family, path.hop)?.kind ?? "";
    throw usage(`RTNETLINK answers: ${Object.hasOwn(NO_WAY, kind) ? NO_WAY[kind] : "Network is unreachable"}`);
  }
  const gateway = path.neighbour && !path.neighbour.address.equals(to) ? String(path.neighbour.address) : undefined;
  if (json) {
    const way = {
      ...(path.isLocal && { type: "local" }),
      dst: word,
      ...(gateway && { gateway }),
      dev: path.isLocal ? "lo" : path.iface?.name,
      ...(path.isLocal && { table: "local" }),
    };
    const all = { ...way, ...(source && { prefsrc: String(source) }), flags: [], uid: 0, cache: path.isLocal ? ["local"] : [] };
    return { stdout: `${JSON.stringify([all])}\n` };
  }
  const router = gateway ? ` via ${gateway}` : "";
  const way = path.isLocal ? `local ${to} dev lo table local` : `${to}${router} dev ${path.iface?.name}`;
  return lines([`${way}${source ? ` src ${source}` : ""} uid 0 \n    cache ${path.isLocal ? "<local> " : ""}`]);
}

/** As the kernel walks its tries. */
function byPrefix({ prefix: a }: Route, { prefix: b }: Route): number {
  if (a.family === 4 && b.family === 4) return a.address - b.address || a.length - b.length;
  if (a.family !== 6 || b.family !== 6) return a.family - b.family;
  const order = a.high === b.high ? a.low - b.low : a.high - b.high;
  return order === 0n ? a.length - b.length : order < 0n ? -1 : 1;
}

function changeRoute({ host }: Router, verb: string, words: readonly string[], family: 4 | 6 | undefined): Output {
  const kinds = ["unicast", "blackhole", "unreachable", "prohibit"] as const;
  const kind = kinds.find((each) => each === words[0]);
  const [to = missing(`route ${verb}`), ...rest] = kind ? words.slice(1) : words;
  let options: readonly string[] = rest;
  const value = (name: string) => {
    const [found, left] = takeWord(options, name);
    options = left;
    return found;
  };
  const hopWords = rest.indexOf("nexthop");
  const hops = hopWords < 0 ? undefined : hopsOf(rest.slice(hopWords));
  if (hops) options = rest.slice(0, hopWords);
  const [via, device, metric, table] = [value("via"), value("dev"), value("metric"), value("table")];
  value("proto");
  if (options.length > 0) throw usage(`Error: either "to" is duplicate, or "${options[0]}" is a garbage.`);
  const is6 = family === 6 || via?.includes(":") || hops?.some((hop) => hop.via?.includes(":"));
  const prefix = to === "default" ? (is6 ? "::/0" : "0.0.0.0/0") : to.includes("/") ? to : `${to}/${to.includes(":") ? 128 : 32}`;
  const number = table === undefined ? undefined : tableNumber(table);
  const route: RouteOptions = {
    to: prefix,
    kind,
    via,
    interface: device,
    ...(metric !== undefined && { metric: numberOf(metric, "metric") }),
    ...(number !== undefined && { table: number }),
    ...(hops && { nextHops: hops }),
  };
  const alike = host.ip.rules
    .table(number ?? MAIN_TABLE)
    .list()
    .filter((each) => formatPrefix(each.prefix) === formatPrefix(parsePrefix(prefix)));
  if (verb.startsWith("del")) {
    const found = alike.find((each) => isMeant(each, route));
    if (!found) throw usage("RTNETLINK answers: No such process");
    host.removeRoute(prefix, found.metric, number);
  } else if (verb === "replace" || verb === "change") {
    const isThere = alike.some((each) => each.metric === (route.metric ?? 0));
    if (verb === "change" && !isThere) throw usage("RTNETLINK answers: No such file or directory");
    host.replaceRoute(route);
  } else host.addRoute(route);
  return done;
}

/** Is a route what the words say of one to be deleted? What they do not say may be anything. */
function isMeant({ kind, metric, nextHops }: Route, wanted: RouteOptions): boolean {
  if (kind === "local" || (wanted.kind !== undefined && kind !== wanted.kind)) return false;
  if (wanted.metric !== undefined && metric !== wanted.metric) return false;
  const hops = wanted.nextHops ?? (wanted.via === undefined && wanted.interface === undefined ? [] : [wanted]);
  return hops.every(({ via, interface: device }) =>
    nextHops.some(
      (each) =>
        (via === undefined || each.via?.equals(IpAddress.parse(via)) === true) && (device === undefined || each.iface.name === device),
    ),
  );
}

function numberOf(word: string, what: string): number {
  if (!/^\d{1,10}$/.test(word)) throw usage(`Error: argument "${word}" is wrong: "${what}" value is invalid`);
  return Number(word);
}

function hopsOf(words: readonly string[]) {
  return words
    .join(" ")
    .split("nexthop")
    .slice(1)
    .map((text) => {
      const given = text.trim().split(" ");
      let left: readonly string[] = given;
      const [via, device, weight] = ["via", "dev", "weight"].map((name) => {
        const [value, others] = takeWord(left, name);
        left = others;
        return value;
      });
      if (left.length > 0) throw usage(`Error: "nexthop" or end of line is expected instead of "${left[0]}"`);
      return { via, interface: device, ...(weight && { weight: numberOf(weight, "weight") }) };
    });
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
    if (!found) throw usage("RTNETLINK answers: No such file or directory");
    host.removeRule(found.priority);
    return done;
  }
  if (verb === "add") {
    if (rest.length === 0 && given === undefined) throw usage('"ip rule add" requires arguments.');
    if (given !== undefined) numberOf(given, "preference");
    if (rest.length > 0 && alike().length > 0) throw new LoomError("EEXIST", "RTNETLINK answers: File exists");
    const lowest = Math.min(...rules.list().map(({ priority }) => priority));
    host.addRule(ruleOf(rest, given === undefined ? lowest - 1 : Number(given)));
    return done;
  }
  if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip rule help".`);
  const wanted = rules
    .list()
    .filter(({ from, to }) => (from ?? to)?.address.family === undefined || (from ?? to)?.address.family === (family ?? 4));
  return shown(asked, [LOCAL_RULE, ...wanted], ruleText, ruleJson);
}

/** The one in front of all, which nobody takes away here. */
const LOCAL_RULE: Rule = { priority: 0, table: LOCAL_TABLE };

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
