/** `ip route get`: where a packet of this router's own would go, or (`from … iif …`) one that comes in. */
import { parsePrefix } from "../../base/address.ts";
import type { IpAddress } from "../../base/ip-address.ts";
import type { Host } from "../../host/host.ts";
import { covers, type NetInterface } from "../../ip/interface.ts";
import { MAIN_TABLE } from "../../ip/policy-routing.ts";
import type { PathHint } from "../../ip/rule.ts";
import type { Path } from "../../ip/types.ts";
import type { Router } from "../router.ts";
import { type Output, refused, usage } from "./command.ts";
import { fits, LOCAL_TABLE, routesOf, type ShownRoute } from "./ip-routes.ts";
import { isToldOf, protocolNumber, tableName } from "./ip-show.ts";
import { type Asked, addressNamed, interfaceOf, lines, missing, numberOf } from "./ip-words.ts";

/** What the kernel says of routes that lead nowhere. */
const NO_WAY: Readonly<Record<string, string>> = {
  blackhole: "Invalid argument",
  unreachable: "No route to host",
  prohibit: "Permission denied",
};

interface Question {
  /** As it was written. */
  readonly word: string;
  readonly to: IpAddress;
  readonly from: IpAddress | undefined;
  readonly iif: NetInterface | undefined;
  readonly oif: NetInterface | undefined;
  readonly mark: number;
  readonly uid: number;
  readonly hint: PathHint;
}

const VALUES = ["from", "iif", "oif", "dev", "mark", "tos", "dsfield", "uid", "ipproto", "sport", "dport"];

function questionOf(host: Host, words: readonly string[]): Question {
  const values: Record<string, string> = {};
  let word: string | undefined;
  for (let i = 0; i < words.length; i++) {
    if (VALUES.includes(words[i])) values[words[i]] = words[++i] ?? missing(words[i - 1]);
    else if (words[i] !== "to" && word === undefined) word = words[i];
    else if (words[i] !== "to") throw usage(`Error: inet prefix is expected rather than "${words[i]}".`);
  }
  if (word === undefined) throw usage("need at least a destination address");
  const { from, iif, uid = "0", ipproto, sport, dport } = values;
  const oif = values.oif ?? values.dev;
  const to = addressNamed(word);
  const source = from === undefined ? undefined : addressNamed(from.replace(/\/(32|128)$/, ""), "prefix");
  if (source && source.family !== to.family) throw usage(`Error: inet prefix is expected rather than "${from}".`);
  const inside = iif === undefined ? undefined : interfaceOf(host, iif);
  const mark = numeric(values.mark, "mark");
  const hint = {
    source,
    mark,
    iif: inside,
    ...(ipproto !== undefined && { protocol: protocolNumber(ipproto) }),
    ...(sport !== undefined && { sourcePort: numberOf(sport, "sport") }),
    ...(dport !== undefined && { destinationPort: numberOf(dport, "dport") }),
  };
  return {
    word,
    to,
    from: source,
    iif: inside,
    oif: oif === undefined ? undefined : interfaceOf(host, oif),
    mark,
    uid: numberOf(uid, "uid"),
    hint,
  };
}

/** Decimal or hexadecimal. */
function numeric(word: string | undefined, what: string): number {
  return word === undefined ? 0 : /^0x[\da-f]{1,8}$/i.test(word) ? Number(word) : numberOf(word, what);
}

export function routeGet({ host }: Router, words: readonly string[], { json }: Asked): Output {
  const asked = questionOf(host, words);
  const { to, from, iif, oif, hint } = asked;
  if (to.family === 4 && iif && !from) throw refused("RTNETLINK answers: Invalid argument");
  const path = host.ip.pathTo(to, oif, hint);
  const isNobodys = to.family === 4 && from && !iif && !host.ip.isLocal(from);
  if (isNobodys || (!path.isLocal && !path.iface)) {
    const kind = isNobodys ? "" : (host.ip.routes.meaning(to.family, path.hop)?.kind ?? "");
    throw refused(`RTNETLINK answers: ${Object.hasOwn(NO_WAY, kind) ? NO_WAY[kind] : "Network is unreachable"}`);
  }
  const found = foundOf(host, asked, path);
  if (json) return { stdout: `${JSON.stringify([to.family === 4 ? json4(asked, found) : json6(asked, found)])}\n` };
  return lines([to.family === 4 ? text4(asked, found) : text6(asked, found)]);
}

interface Found {
  readonly isLocal: boolean;
  readonly gateway: string | undefined;
  readonly dev: string;
  readonly table: number;
  readonly source: string | undefined;
  readonly route: ShownRoute | undefined;
  /** Words of the kernel's cache. */
  readonly cache: readonly string[];
}

/** Out by where it came in, from a neighbour there: who sends it is told of the shorter way. */
function isRedirected({ to, from, iif }: Question, dev: string): boolean {
  return to.family === 4 && iif?.name === dev && iif.addresses.some((own) => from !== undefined && covers(own, from));
}

function foundOf(host: Host, question: Question, path: Path): Found {
  const { to, from, iif, oif, hint } = question;
  const { isLocal } = path;
  const table = isLocal ? LOCAL_TABLE : (host.ip.rules.ruleFor(to, hint, oif)?.table ?? MAIN_TABLE);
  const gateway = path.neighbour && !path.neighbour.address.equals(to) ? String(path.neighbour.address) : undefined;
  // An IPv4 source is told where it was not given, an IPv6 one where this host sends.
  const isTold = to.family === 4 ? !from : !iif;
  const source = isTold ? host.ip.sourceFor(to, path) : undefined;
  const dev = isLocal ? "lo" : (path.iface?.name ?? "");
  const match = parsePrefix(`${to}/${to.family === 4 ? 32 : 128}`);
  const candidates = (routesOf(host, table, to.family) ?? []).filter((each) =>
    fits(each, { family: to.family, table, match, device: isLocal ? undefined : dev }),
  );
  const [route] = candidates.sort((a, b) => b.prefix.length - a.prefix.length || a.metric - b.metric);
  return {
    isLocal,
    gateway,
    dev,
    table,
    source: source && String(source),
    route,
    cache: isLocal ? ["local"] : isRedirected(question, dev) ? ["redirect"] : [],
  };
}

/** ` name value`, or nothing. */
const said = (name: string, value: unknown) => (value === undefined ? "" : ` ${name} ${value}`);
const markText = (mark: number) => (mark === 0 ? undefined : mark < 16 ? mark : `0x${mark.toString(16)}`);
const toldTable = (table: number) => (table === MAIN_TABLE ? undefined : tableName(table));

function text4({ to, from, iif, mark, uid }: Question, { isLocal, gateway, dev, table, source, cache }: Found): string {
  const way = `${isLocal ? "local " : ""}${to}${said("from", from)}${said("via", gateway)} dev ${dev}${said("table", toldTable(table))}`;
  const whose = `${said("src", source)}${said("mark", markText(mark))}${iif ? "" : ` uid ${uid}`}`;
  return `${way}${whose} \n    cache ${cache.map((word) => `<${word}> `).join("")}${iif ? `iif ${iif.name} ` : ""}`;
}

function json4({ word, from, iif, mark, uid }: Question, { isLocal, gateway, dev, table, source, cache }: Found): object {
  return {
    ...(isLocal && { type: "local" }),
    dst: word,
    ...(from && { from: String(from) }),
    ...(gateway && { gateway }),
    dev,
    ...(table !== MAIN_TABLE && { table: tableName(table) }),
    ...(source && { prefsrc: source }),
    flags: [],
    ...(mark !== 0 && { mark }),
    ...(!iif && { uid }),
    cache,
    ...(iif && { iif: iif.name }),
  };
}

const protocolToldOf = ({ route, isLocal }: Found) => (isLocal ? "kernel" : route && isToldOf(route.protocol) ? route.protocol : undefined);

function text6({ to, from, iif, mark }: Question, found: Found): string {
  const { isLocal, gateway, dev, table, source, route } = found;
  const way = `${isLocal ? "local " : ""}${to} from ${from ?? "::"}${said("via", gateway)} dev ${dev}${said("table", toldTable(table))}`;
  const whose = `${said("proto", protocolToldOf(found))}${said("src", source)} metric ${isLocal ? 0 : (route?.metric ?? 0)}`;
  return `${way}${whose}${said("mark", markText(mark))}${said("iif", iif?.name)} pref medium`;
}

function json6({ word, from, iif, mark }: Question, found: Found): object {
  const { isLocal, gateway, dev, table, source, route } = found;
  const protocol = protocolToldOf(found);
  return {
    ...(isLocal && { type: "local" }),
    dst: word,
    from: String(from ?? "::"),
    ...(gateway && { gateway }),
    dev,
    ...(table !== MAIN_TABLE && { table: tableName(table) }),
    ...(protocol && { protocol }),
    ...(source && { prefsrc: source }),
    metric: isLocal ? 0 : (route?.metric ?? 0),
    flags: [],
    ...(mark !== 0 && { mark }),
    ...(iif && { iif: iif.name }),
    pref: "medium",
  };
}
