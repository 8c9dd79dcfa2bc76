/** The router's side: advertisements in turn and on request (RFC 4861 §6.2, options of RFC 4191 and RFC 8106). */
import { invalid } from "../base/errors.ts";
import { IpAddress, networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import { ALL_NODES, type NetInterface } from "./interface.ts";
import { EVERYTHING, NOTHING } from "./multicast/filter.ts";
import type { Multicast } from "./multicast/multicast.ts";
import {
  type AdvertisedPrefix,
  advertisementData,
  advertisementWord,
  FOREVER,
  type Preference,
  parseSolicitation,
  ROUTER_ADVERTISEMENT,
  ROUTER_SOLICITATION,
  type RouterAdvertisement,
} from "./router-messages.ts";
import type { IncomingIcmp } from "./types.ts";
import type { World } from "./world.ts";

export interface AdvertiseOptions {
  /** Seconds between unsolicited ones, at most (4 to 1800). Default 600. */
  interval?: number;
  /** Seconds for which hosts take this as a default router. Default: three intervals; 0: not a default router. */
  lifetime?: number;
  preference?: Preference;
  hopLimit?: number;
  managed?: boolean;
  other?: boolean;
  reachableMs?: number;
  retransMs?: number;
  mtu?: number;
  /** Default: those of the interface's own addresses. */
  prefixes?: readonly { prefix: string; onLink?: boolean; autonomous?: boolean; valid?: number; preferred?: number }[];
  routes?: readonly { prefix: string; preference?: Preference; lifetime?: number }[];
  nameServers?: readonly string[];
  searchList?: readonly string[];
}

const ALL_ROUTERS = IpAddress.parse("ff02::2");
/** RFC 4861 §6.2.1 and §10. */
const VALID_SECONDS = 2_592_000;
const PREFERRED_SECONDS = 604_800;
const INITIAL_COUNT = 3;
const INITIAL_MS = 16_000;
const FINAL_COUNT = 1;
const MIN_DELAY_MS = 3000;
const ANSWER_DELAY_MS = 500;

/** Hosts keep an address so long at least, whatever they are told (RFC 4862 §5.5.3). */
const LAST_SECONDS = 7200;

interface Advertising {
  readonly iface: NetInterface;
  readonly options: AdvertiseOptions;
  readonly timer: Timer;
  sent: number;
  lastAt: number;
  /** Prefixes that were told, by their text, with when their time is over. */
  readonly told: Map<string, { prefix: AdvertisedPrefix; until: number }>;
}

export class Advertiser {
  private readonly world: World;
  private readonly multicast: Multicast;
  private readonly active = new Map<NetInterface, Advertising>();

  constructor(world: World, multicast: Multicast) {
    this.world = world;
    this.multicast = multicast;
    world.handleIcmp(6, ROUTER_SOLICITATION, (incoming) => this.solicited(incoming));
  }

  /** Speaks as a router on an interface from now on. */
  start(iface: NetInterface, options: AdvertiseOptions = {}): void {
    if (!this.world.forwarding) throw invalid("this host does not forward; only routers advertise themselves");
    const interval = options.interval ?? 600;
    if (!(interval >= 4 && interval <= 1800)) throw invalid(`an interval of ${interval} s; expected 4 to 1800`);
    if (options.mtu !== undefined && !(options.mtu >= 1280)) throw invalid(`MTU ${options.mtu}; expected 1280 or more`);
    const before = this.forget(iface);
    const entry: Advertising = {
      iface,
      options,
      sent: 0,
      lastAt: before?.lastAt ?? Number.NEGATIVE_INFINITY,
      told: before?.told ?? new Map(),
      timer: new Timer(() => this.advertise(entry)),
    };
    // What is wrong with the options is said now, not when the timer fires.
    this.messageOf(entry);
    this.active.set(iface, entry);
    this.multicast.want(iface, ALL_ROUTERS, this, EVERYTHING);
    this.world.timers.arm(entry.timer, this.world.now + this.world.random.float() * ANSWER_DELAY_MS);
  }

  /** Says good-bye: hosts turn to other routers at once (RFC 4861 §6.2.5). */
  stop(iface: NetInterface): void {
    const entry = this.forget(iface);
    if (entry) for (let i = 0; i < FINAL_COUNT; i++) this.send(iface, { ...this.messageOf(entry), lifetimeSeconds: 0 }, ALL_NODES);
  }

  private forget(iface: NetInterface): Advertising | undefined {
    const entry = this.active.get(iface);
    if (!entry) return undefined;
    this.active.delete(iface);
    this.world.timers.remove(entry.timer);
    this.multicast.want(iface, ALL_ROUTERS, this, NOTHING);
    return entry;
  }

  /** Addresses came or went: hosts hear of it as soon as they may. */
  changed(iface: NetInterface): void {
    const entry = this.active.get(iface);
    if (entry && !entry.options.prefixes) this.soon(entry);
  }

  /** Never faster than every three seconds (RFC 4861 §6.2.6). */
  private soon(entry: Advertising): void {
    const { world } = this;
    const at = Math.max(world.now, entry.lastAt + MIN_DELAY_MS) + world.random.float() * ANSWER_DELAY_MS;
    if (at < entry.timer.at) world.timers.arm(entry.timer, at);
  }

  private advertise(entry: Advertising): void {
    const { world } = this;
    this.send(entry.iface, this.messageOf(entry), ALL_NODES);
    entry.lastAt = world.now;
    entry.sent++;
    const most = (entry.options.interval ?? 600) * 1000;
    const least = most >= 9000 ? 0.33 * most : 0.75 * most;
    const wait = least + world.random.float() * (most - least);
    world.timers.arm(entry.timer, world.now + (entry.sent < INITIAL_COUNT ? Math.min(wait, INITIAL_MS) : wait));
  }

  /** One who asks is answered soon, and everybody with it. */
  private solicited({ iface, from, hopLimit, message }: IncomingIcmp): void {
    const { world } = this;
    const entry = iface && this.active.get(iface);
    if (!iface || !entry) return;
    const mac = hopLimit === 255 ? parseSolicitation(message) : undefined;
    if (mac === undefined || (mac && from.isUnspecified)) {
      world.counters.in_addr_errors++;
      return;
    }
    if (mac) world.neighbours.heard(iface, from, mac, false, true, true);
    this.soon(entry);
  }

  private send(iface: NetInterface, said: RouterAdvertisement, to: IpAddress): void {
    const from = iface.linkLocal;
    if (from) this.world.sendIcmp(iface, from, to, ROUTER_ADVERTISEMENT, 0, advertisementWord(said), advertisementData(said), 255);
  }

  /** Prefixes as they are now; and those that hosts were told and that are none any more, which they prefer no longer (RFC 9096 §3.5). */
  private prefixesOf({ iface, options, told }: Advertising): AdvertisedPrefix[] {
    const { now } = this.world;
    const current = options.prefixes ? options.prefixes.map(prefixOption) : ownPrefixes(iface);
    const keys = new Set(current.map(keyOf));
    const gone: AdvertisedPrefix[] = [];
    for (const [key, { prefix, until }] of told) {
      if (keys.has(key)) continue;
      const validSeconds = Math.min(Math.ceil((until - now) / 1000), LAST_SECONDS);
      if (validSeconds <= 0) told.delete(key);
      else {
        told.set(key, { prefix, until: now + validSeconds * 1000 });
        gone.push({ ...prefix, preferredSeconds: 0, validSeconds });
      }
    }
    for (const prefix of current) told.set(keyOf(prefix), { prefix, until: now + prefix.validSeconds * 1000 });
    return [...current, ...gone];
  }

  private messageOf(entry: Advertising): RouterAdvertisement {
    const { iface, options } = entry;
    const lifetimeSeconds = Math.min(9000, options.lifetime ?? 3 * (options.interval ?? 600));
    const forNames = Math.max(lifetimeSeconds, 3 * (options.interval ?? 600));
    return {
      hopLimit: options.hopLimit ?? 64,
      managed: options.managed ?? false,
      other: options.other ?? false,
      preference: options.preference ?? "medium",
      lifetimeSeconds,
      reachableMs: options.reachableMs ?? 0,
      retransMs: options.retransMs ?? 0,
      sourceMac: iface.mac,
      mtu: options.mtu,
      prefixes: this.prefixesOf(entry),
      routes: (options.routes ?? []).map(({ prefix, preference = "medium", lifetime }) => {
        const { address, length } = parseInterfaceAddress(prefix);
        if (address.family !== 6) throw invalid(`${prefix} is no IPv6 prefix`);
        return { prefix: networkOf(address, length), length, preference, seconds: lifetime ?? lifetimeSeconds };
      }),
      nameServers: options.nameServers?.length ? [{ seconds: forNames, addresses: serversOf(options.nameServers) }] : [],
      searchList: options.searchList?.length ? [{ seconds: forNames, domains: domainsOf(options.searchList) }] : [],
    };
  }
}

const keyOf = ({ prefix, length }: AdvertisedPrefix) => `${prefix}/${length}`;

/** An option has room for so many (RFC 8106 §5.1, its length is a byte). */
const MOST_SERVERS = 127;
/** And for names in so many bytes (§5.2). */
const MOST_NAMES = 254 * 8;
const LABEL = /^[\x21-\x2d\x2f-\x7e]{1,63}$/;

function serversOf(given: readonly string[]): IpAddress[] {
  if (given.length > MOST_SERVERS) throw invalid(`${given.length} name servers; expected ${MOST_SERVERS} at most`);
  return given.map((text) => {
    const address = IpAddress.parse(text);
    if (address.family !== 6) throw invalid(`name server ${text} is of IPv4; expected an IPv6 address`);
    return address;
  });
}

function domainsOf(given: readonly string[]): string[] {
  const names = given.map((text) => text.replace(/\.$/, ""));
  for (const name of names) {
    const isName = name.length < 254 && name.split(".").every((label) => LABEL.test(label));
    if (!isName) throw invalid(`"${name}" is no domain; expected labels of 1 to 63 characters with dots between, 253 in all`);
  }
  const bytes = names.reduce((sum, { length }) => sum + length + 2, 0);
  if (bytes > MOST_NAMES) throw invalid(`a search list of ${bytes} bytes; expected ${MOST_NAMES} at most`);
  return names;
}

function prefixOption(given: NonNullable<AdvertiseOptions["prefixes"]>[number]): AdvertisedPrefix {
  const { address, length } = parseInterfaceAddress(given.prefix);
  if (address.family !== 6) throw invalid(`${given.prefix} is no IPv6 prefix`);
  return {
    prefix: networkOf(address, length),
    length,
    onLink: given.onLink ?? true,
    autonomous: given.autonomous ?? true,
    validSeconds: given.valid ?? VALID_SECONDS,
    preferredSeconds: Math.min(given.preferred ?? PREFERRED_SECONDS, given.valid ?? FOREVER),
  };
}

function ownPrefixes(iface: NetInterface): AdvertisedPrefix[] {
  const own = iface.addresses.filter(
    ({ address, length, state }) => state === "usable" && address.family === 6 && !address.isLinkLocal && length < 128,
  );
  const texts = new Set(own.map(({ address, length }) => `${networkOf(address, length)}/${length}`));
  return [...texts].map((prefix) => prefixOption({ prefix }));
}
