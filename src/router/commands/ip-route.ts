/** `ip route …`: routes, shown, asked for and changed. */
import { formatPrefix, type Prefix, parsePrefix, tryParsePrefix } from "../../base/address.ts";
import { LoomError } from "../../base/errors.ts";
import { IpAddress } from "../../base/ip-address.ts";
import type { Host, RouteOptions } from "../../host/host.ts";
import { MAIN_TABLE } from "../../ip/policy-routing.ts";
import type { Route } from "../../ip/routes.ts";
import type { Router } from "../router.ts";
import { type Output, refused, takeWord, usage } from "./command.ts";
import { routeJson } from "./ip-json.ts";
import { routeGet } from "./ip-route-get.ts";
import { fits, LOCAL_TABLE, metricOf, type RouteFilter, routesOf, type ShownRoute, tablesOf } from "./ip-routes.ts";
import { protocolOf, routeText, tableNumber } from "./ip-show.ts";
import { type Asked, addressNamed, done, interfaceOf, isShow, missing, numberOf, shown } from "./ip-words.ts";

const CHANGES = ["add", "append", "replace", "change", "del", "delete"];

export function route(router: Router, [verb, ...words]: readonly string[], asked: Asked): Output {
  if (verb !== undefined && CHANGES.includes(verb)) return changeRoute(router, verb, words, asked.family);
  if (verb === "get") return routeGet(router, words, asked);
  if (verb === "flush") return flush(router, words, asked.family);
  if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip route help".`);
  const filter = filterOf(words, asked.family);
  const wanted = found(router.host, filter);
  return shown(
    asked,
    wanted,
    (each) => routeText(each, filter),
    (each) => routeJson(each, filter),
  );
}

const WORDS = ["table", "dev", "via", "proto", "protocol", "scope", "type", "root", "match", "exact"];

function filterOf(words: readonly string[], given: 4 | 6 | undefined): RouteFilter {
  const values: Record<string, string> = {};
  let exact: string | undefined;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === "to") continue;
    if (WORDS.includes(word)) values[word] = words[++i] ?? missing(word);
    else if (exact === undefined) exact = word;
    else throw usage(`Error: either "to" is duplicate, or "${word}" is a garbage.`);
  }
  const wanted = exact ?? values.exact;
  const said = [wanted, values.root, values.match, values.via].find((word) => word !== undefined && word !== "default");
  const family = given ?? (said === undefined ? (values.table === "all" ? undefined : 4) : said.includes(":") ? 6 : 4);
  const prefix = (word: string | undefined) => (word === undefined ? undefined : prefixNamed(word, family ?? 4));
  return {
    family,
    table: values.table === "all" ? undefined : values.table === undefined ? MAIN_TABLE : tableNumber(values.table),
    device: values.dev,
    via: values.via === undefined ? undefined : addressNamed(values.via, "prefix"),
    protocol: protocolOf(values.proto ?? values.protocol),
    scope: oneOf(values.scope, SCOPES, 'invalid "scope"'),
    type: oneOf(values.type, TYPES, "node type value is invalid"),
    root: prefix(values.root),
    match: prefix(values.match),
    exact: prefix(wanted),
  };
}

const TYPES = ["unicast", "local", "broadcast", "multicast", "anycast", "blackhole", "unreachable", "prohibit", "throw"];
const SCOPES = ["global", "site", "link", "host", "nowhere"];

function oneOf(word: string | undefined, known: readonly string[], why: string): string | undefined {
  if (word !== undefined && !known.includes(word)) throw usage(`Error: argument "${word}" is wrong: ${why}`);
  return word;
}

function prefixNamed(word: string, family: 4 | 6): Prefix {
  const text = word === "default" ? (family === 6 ? "::/0" : "0.0.0.0/0") : word;
  const prefix = tryParsePrefix(text);
  if (typeof prefix === "string") throw usage(`Error: any valid prefix is expected rather than "${word}".`);
  return prefix;
}

function found(host: Host, filter: RouteFilter): ShownRoute[] {
  const { table, device } = filter;
  if (device !== undefined) interfaceOf(host, device);
  const families = filter.family === undefined ? ([4, 6] as const) : [filter.family];
  if (table !== undefined) {
    const routes = routesOf(host, table, families[0]);
    if (!routes) throw refused(`Error: ipv${families[0]}: FIB table does not exist.\nDump terminated`);
    return routes.filter((each) => fits(each, filter));
  }
  return families
    .flatMap((family) => tablesOf(host).flatMap((each) => routesOf(host, each, family) ?? []))
    .filter((each) => fits(each, filter));
}

/** `ip route flush`: all that it finds, but for what this host keeps by itself. */
function flush({ host }: Router, words: readonly string[], family: 4 | 6 | undefined): Output {
  if (words.length === 0) throw usage('"ip route flush" requires arguments.');
  for (const { table, kept } of found(host, filterOf(words, family))) {
    if (kept && kept.protocol !== "kernel" && table !== LOCAL_TABLE) host.removeRoute(formatPrefix(kept.prefix), kept.metric, table);
  }
  return done;
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
  for (const name of [device, ...(hops ?? []).map((hop) => hop.interface)]) if (name !== undefined) interfaceOf(host, name);
  if (number === LOCAL_TABLE) throw refused("Error: table local has this host's own addresses; expected another table");
  const wanted: RouteOptions = {
    to: prefix,
    kind,
    via,
    interface: device,
    ...(metric !== undefined && { metric: numberOf(metric, "metric") }),
    ...(number !== undefined && { table: number }),
    ...(hops && { nextHops: hops }),
  };
  const alike = routesIn(host, number ?? MAIN_TABLE).filter((each) => formatPrefix(each.prefix) === formatPrefix(parsePrefix(prefix)));
  if (verb.startsWith("del")) {
    const isThere = number === undefined || number === MAIN_TABLE || host.ip.rules.numbers().includes(number);
    if (!isThere && !prefix.includes(":")) throw refused("Error: FIB table does not exist.");
    const found = alike.find((each) => isMeant(each, wanted));
    if (!found) throw refused("RTNETLINK answers: No such process");
    host.removeRoute(prefix, found.metric, number);
    return done;
  }
  // One that has none may be called by the one that a kernel takes for it.
  const same = alike.find((each) => metricOf(each) === metricOf({ prefix: each.prefix, metric: wanted.metric ?? 0 }));
  const made = same ? { ...wanted, metric: same.metric } : wanted;
  if (verb === "change" && !same) throw refused("RTNETLINK answers: No such file or directory");
  try {
    if (verb === "add" || verb === "append") host.addRoute(made);
    else host.replaceRoute(made);
  } catch (error) {
    if (!(error instanceof LoomError)) throw error;
    if (error.code !== "EEXIST") throw refused(`Error: ${error.message}`);
    if (verb === "add") throw refused("RTNETLINK answers: File exists");
    throw refused(`Error: of two routes to ${to} with one metric only one is kept; expected another metric`);
  }
  return done;
}

/** The routes of a table, which is not made for that. */
function routesIn({ ip }: Host, table: number): readonly Route[] {
  return table === MAIN_TABLE ? ip.routes.list() : ip.rules.numbers().includes(table) ? ip.rules.table(table).list() : [];
}

/** Is a route what the words say of one to be deleted? What they do not say may be anything. */
function isMeant(route: Route, wanted: RouteOptions): boolean {
  const { kind, nextHops } = route;
  if (kind === "local" || (wanted.kind !== undefined && kind !== wanted.kind)) return false;
  if (wanted.metric !== undefined && metricOf(route) !== wanted.metric && route.metric !== wanted.metric) return false;
  const hops = wanted.nextHops ?? (wanted.via === undefined && wanted.interface === undefined ? [] : [wanted]);
  return hops.every(({ via, interface: device }) =>
    nextHops.some(
      (each) =>
        (via === undefined || each.via?.equals(IpAddress.parse(via)) === true) && (device === undefined || each.iface.name === device),
    ),
  );
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
