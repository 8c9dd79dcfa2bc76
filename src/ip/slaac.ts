/**
 * Addresses that a host makes of routers' prefixes: one that stays the same on its network (RFC 7217), and temporary
 * ones that change (RFC 8981), with lifetimes by RFC 4862 §5.5.3.
 */
import { IpAddress, networkOf } from "../base/ip-address.ts";
import { SipHash } from "../base/siphash.ts";
import { Timer } from "../base/timers.ts";
import type { Addresses, AddressListener } from "./addresses.ts";
import { linkLocalOf, type NetInterface, type OwnAddress } from "./interface.ts";
import { type AdvertisedPrefix, FOREVER } from "./router-messages.ts";
import type { World } from "./world.ts";

export interface AutoconfOptions {
  /** Temporary addresses beside the stable one. Default true. */
  temporary?: boolean;
  /** "eui64": of the MAC, as RFC 4291 had it, and known to everybody. Default "stable". */
  identifiers?: "stable" | "eui64";
  /** Questions before an address is used (DupAddrDetectTransmits). Default 1. */
  probes?: number;
  /** Sixteen bytes that keep stable addresses the same over restarts. Default: new ones. */
  secret?: Uint8Array;
}

const HOUR_MS = 3_600_000;
/** RFC 8981 §3.8. */
const TEMP_VALID_MS = 48 * HOUR_MS;
const TEMP_PREFERRED_MS = 24 * HOUR_MS;
const MAX_DESYNC_MS = 0.4 * TEMP_PREFERRED_MS;
/** RFC 7217 §5 and RFC 8981 §3.8: other identifiers are tried this often when one is taken. */
const RETRIES = 3;
/** Prefixes that addresses are made of, on one interface, and of one router. */
const MOST_PREFIXES = 16;
const PREFIXES_EACH = 8;

/** Addresses of one prefix. */
interface Made {
  readonly prefix: IpAddress;
  /** Who said it first, and when it was said last. */
  readonly router: IpAddress;
  heard: number;
  stable: OwnAddress | undefined;
  temporary: OwnAddress | undefined;
  /** Every identifier that was tried is somebody else's. */
  isHopeless: boolean;
  noTemporary: boolean;
  readonly renewal: Timer;
  /** Lifetimes as last advertised, as moments. */
  preferredUntil: number;
  validUntil: number;
}

export class Slaac {
  private readonly world: World;
  private readonly addresses: Addresses;
  private readonly iface: NetInterface;
  private readonly options: AutoconfOptions;
  private readonly answers: (router: IpAddress) => boolean;
  private readonly hash: SipHash;
  private readonly made = new Map<string, Made>();
  /** Taken off the preferred lifetime, so that hosts do not change in step (RFC 8981 §3.8). */
  private readonly desyncMs: number;
  private readonly origins = new Map<OwnAddress, { made: Made; tries: number }>();

  private readonly listener: AddressListener = (event, own) => {
    if (event === "duplicate") this.taken(own);
    else if (event === "removed") this.origins.delete(own);
  };

  /** `answers`: whether a router is known to be there. */
  constructor(
    world: World,
    addresses: Addresses,
    iface: NetInterface,
    options: AutoconfOptions,
    answers: (router: IpAddress) => boolean = () => false,
  ) {
    this.answers = answers;
    this.world = world;
    this.addresses = addresses;
    this.iface = iface;
    this.options = options;
    this.hash = new SipHash(options.secret ?? world.random.fill(new Uint8Array(16)));
    this.desyncMs = world.random.float() * MAX_DESYNC_MS;
    addresses.listeners.add(this.listener);
  }

  /** A prefix option with the autonomous flag (RFC 4862 §5.5.3). */
  advertised({ prefix, length, validSeconds, preferredSeconds }: AdvertisedPrefix, router: IpAddress): void {
    if (prefix.isLinkLocal || prefix.isMulticast || preferredSeconds > validSeconds || length !== 64) return;
    const { now } = this.world;
    const valid = msOf(validSeconds);
    this.forgetExpired(now);
    // Bits behind the prefix mean nothing: with others it is the same prefix.
    const network = networkOf(prefix, length);
    const known = this.made.get(network.key);
    if (known) this.refresh(known, msOf(preferredSeconds), valid);
    else if (valid > 0 && this.makeRoom(router)) {
      const made: Made = {
        prefix: network,
        router,
        heard: now,
        stable: undefined,
        temporary: undefined,
        isHopeless: false,
        noTemporary: this.options.temporary === false,
        renewal: new Timer(() => this.renew(made)),
        preferredUntil: now + msOf(preferredSeconds),
        validUntil: now + valid,
      };
      this.made.set(network.key, made);
      this.makeStable(made, 0);
      if (!made.noTemporary) this.makeTemporary(made, 0);
    }
    const made = this.made.get(network.key);
    for (const own of [made?.stable, made?.temporary]) {
      if (!own) continue;
      own.advertisedBy ??= new Set();
      if (own.advertisedBy.size < 8) own.advertisedBy.add(router.key);
    }
  }

  /** The prefix that was unheard for longest gives way, with its addresses, unless its router is known to be there. */
  private makeRoom(router: IpAddress): boolean {
    const all = [...this.made.values()];
    if (all.filter((each) => each.router.equals(router)).length >= PREFIXES_EACH) return false;
    if (all.length < MOST_PREFIXES) return true;
    const [oldest] = all.filter((each) => !this.answers(each.router)).sort((a, b) => a.heard - b.heard);
    if (!oldest) return false;
    this.world.timers.remove(oldest.renewal);
    this.made.delete(oldest.prefix.key);
    const { addresses } = this.iface;
    const ours = addresses.filter((own) => this.origins.get(own)?.made === oldest);
    for (const own of ours) this.addresses.remove(this.iface, own.address);
    return true;
  }

  /** What is over makes room for other prefixes, or begins anew. */
  private forgetExpired(now: number): void {
    for (const [key, { validUntil, renewal }] of this.made) {
      if (validUntil > now) continue;
      this.world.timers.remove(renewal);
      this.made.delete(key);
    }
  }

  /** Nobody can end an address at once: two hours are left to it (RFC 4862 §5.5.3 e). */
  private refresh(made: Made, preferredMs: number, validMs: number): void {
    const { now } = this.world;
    made.heard = now;
    const left = made.validUntil - now;
    let valid = validMs;
    if (validMs <= 2 * HOUR_MS && validMs <= left) valid = left <= 2 * HOUR_MS ? left : 2 * HOUR_MS;
    made.preferredUntil = now + preferredMs;
    made.validUntil = now + valid;
    if (made.stable && this.iface.addresses.includes(made.stable)) this.addresses.setLifetimes(made.stable, preferredMs, valid);
    else if (!made.isHopeless) this.makeStable(made, 0);
    const { temporary } = made;
    if (!temporary || !this.iface.addresses.includes(temporary)) {
      // First heard deprecated, and preferred now: there was no use for one until now (RFC 8981 §3.4).
      if (!made.noTemporary && !made.renewal.armed) this.makeTemporary(made, 0);
      return;
    }
    // A temporary address lives no longer than it was made for (RFC 8981 §3.4).
    const born = this.bornAt.get(temporary) ?? now;
    const preferredLeft = Math.min(preferredMs, born + TEMP_PREFERRED_MS - this.desyncMs - now);
    this.addresses.setLifetimes(temporary, Math.max(0, preferredLeft), Math.max(0, Math.min(valid, born + TEMP_VALID_MS - now)));
  }

  private readonly bornAt = new WeakMap<OwnAddress, number>();

  private makeStable(made: Made, tries: number): void {
    const address = this.options.identifiers === "eui64" ? this.eui64(made.prefix) : this.stableAddress(made.prefix, tries);
    made.stable = this.make(made, address, "ra", made.preferredUntil - this.world.now, made.validUntil - this.world.now, tries);
  }

  private makeTemporary(made: Made, tries: number): void {
    const { now, random, timers } = this.world;
    const preferred = Math.min(made.preferredUntil - now, TEMP_PREFERRED_MS - this.desyncMs);
    const valid = Math.min(made.validUntil - now, TEMP_VALID_MS);
    // Made ahead of time, so that the next one is there when this one is not preferred any more.
    const ahead = 2000 + RETRIES * (this.options.probes ?? 1) * this.iface.retransMs;
    if (preferred <= ahead) return;
    let address: IpAddress;
    do address = new IpAddress(made.prefix.a, made.prefix.b, random.u32(), random.u32());
    while (isReserved(address));
    made.temporary = this.make(made, address, "temporary", preferred, valid, tries);
    if (made.temporary) this.bornAt.set(made.temporary, now);
    if (preferred !== Number.POSITIVE_INFINITY) timers.arm(made.renewal, now + preferred - ahead);
  }

  private renew(made: Made): void {
    const { temporary } = made;
    const { now } = this.world;
    // Advertised again since: what it was prolonged by counts.
    const ahead = 2000 + RETRIES * (this.options.probes ?? 1) * this.iface.retransMs;
    if (temporary && temporary.preferredUntil - now > ahead + 1) this.world.timers.arm(made.renewal, temporary.preferredUntil - ahead);
    else this.makeTemporary(made, 0);
  }

  private make(
    made: Made,
    address: IpAddress,
    origin: "ra" | "temporary",
    preferredMs: number,
    validMs: number,
    tries: number,
  ): OwnAddress | undefined {
    if (this.iface.find(address) || validMs <= 0) return this.iface.find(address);
    const probes = this.options.probes ?? 1;
    const own = this.addresses.add(this.iface, { address, length: 64 }, { origin, preferredMs, validMs, probes });
    this.origins.set(own, { made, tries });
    return own;
  }

  /** Somebody has it: another one, a few times (RFC 7217 §6, RFC 8981 §3.4). */
  private taken(own: OwnAddress): void {
    const from = this.origins.get(own);
    if (!from) return;
    this.addresses.remove(this.iface, own.address);
    if (from.tries >= RETRIES || (own.origin === "ra" && this.options.identifiers === "eui64")) {
      if (own.origin === "ra") from.made.isHopeless = true;
      else from.made.noTemporary = true;
      return;
    }
    if (own.origin === "temporary") this.makeTemporary(from.made, from.tries + 1);
    else this.makeStable(from.made, from.tries + 1);
  }

  /** RFC 7217 §5: a keyed hash of prefix, interface and how often the result was taken. */
  private stableAddress(prefix: IpAddress, taken: number): IpAddress {
    const name = [...this.iface.name].reduce((hash, char) => Math.imul(hash ^ char.charCodeAt(0), 0x01000193), 0x811c9dc5);
    for (let counter = taken; ; counter += RETRIES + 1) {
      const words = Int32Array.of(prefix.a, prefix.b, name, this.iface.index, counter, 0);
      const high = this.hash.hash(words, 6);
      words[5] = 1;
      const address = new IpAddress(prefix.a, prefix.b, high, this.hash.hash(words, 6));
      if (!isReserved(address)) return address;
    }
  }

  private eui64(prefix: IpAddress): IpAddress {
    const { c, d } = linkLocalOf(this.iface.mac);
    return new IpAddress(prefix.a, prefix.b, c, d);
  }

  close(): void {
    for (const { renewal } of this.made.values()) this.world.timers.remove(renewal);
    this.made.clear();
    this.addresses.listeners.delete(this.listener);
  }
}

export function msOf(seconds: number): number {
  return seconds === FOREVER ? Number.POSITIVE_INFINITY : seconds * 1000;
}

/** Identifiers that belong to somebody by their number (RFC 5453): the routers' anycast, other anycasts, proxies. */
function isReserved({ c, d }: IpAddress): boolean {
  if (c === 0 && d === 0) return true;
  if (c === (0xfdffffff | 0) && d >>> 0 >= 0xffffff80) return true;
  return c >>> 0 === 0x02005eff && d >>> 24 === 0xfe;
}
