/**
 * Is an address somebody else's? Asked before it is used, defended while it is (RFC 4862 §5.4 with the nonce of RFC 7527
 * for links that echo, RFC 5227 for IPv4). Optimistic use (RFC 4429) is not made.
 */
import type { IpAddress } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import type { NetInterface, OwnAddress } from "./interface.ts";
import type { LinkMessages } from "./link-messages.ts";
import type { World } from "./world.ts";

/** RFC 5227 §1.1. */
const PROBE_WAIT_MS = 1000;
const PROBE_MIN_MS = 1000;
const PROBE_MAX_MS = 2000;
const ANNOUNCE_WAIT_MS = 2000;
const ANNOUNCE_INTERVAL_MS = 2000;
const DEFEND_INTERVAL_MS = 10_000;
/** RFC 4861 §10: MAX_RTR_SOLICITATION_DELAY, the most that a first question is put off. */
const FIRST_DELAY_MS = 1000;

interface Probing {
  readonly iface: NetInterface;
  readonly own: OwnAddress;
  readonly timer: Timer;
  readonly nonce: Uint8Array;
  readonly done: (unique: boolean) => void;
  left: number;
}

export class DuplicateDetection {
  private readonly world: World;
  private readonly link: LinkMessages;
  private readonly probing = new Map<OwnAddress, Probing>();
  private readonly defended = new Map<string, number>();

  constructor(world: World, link: LinkMessages) {
    this.world = world;
    this.link = link;
    link.conflicts = this;
  }

  /** Asks `probes` times; `done` hears whether nobody answered. */
  start(iface: NetInterface, own: OwnAddress, probes: number, done: (unique: boolean) => void): void {
    const { timers, random, now } = this.world;
    const nonce = random.fill(new Uint8Array(6));
    const probing: Probing = { iface, own, nonce, done, left: probes, timer: new Timer(() => this.next(probing)) };
    this.probing.set(own, probing);
    timers.arm(probing.timer, now + random.float() * (own.address.family === 4 ? PROBE_WAIT_MS : FIRST_DELAY_MS));
  }

  private next(probing: Probing): void {
    const { timers, now } = this.world;
    const { iface, own } = probing;
    if (probing.left === 0) {
      this.end(probing, true);
      return;
    }
    probing.left--;
    this.link.probe(iface, own.address, probing.nonce);
    timers.arm(probing.timer, now + this.waitAfter(probing));
  }

  private waitAfter({ own, iface, left }: Probing): number {
    if (own.address.family === 6) return iface.retransMs;
    return left === 0 ? ANNOUNCE_WAIT_MS : PROBE_MIN_MS + this.world.random.float() * (PROBE_MAX_MS - PROBE_MIN_MS);
  }

  private end(probing: Probing, unique: boolean): void {
    this.stop(probing.own);
    probing.done(unique);
  }

  stop(own: OwnAddress): void {
    const probing = this.probing.get(own);
    if (!probing) return;
    this.world.timers.remove(probing.timer);
    this.probing.delete(own);
  }

  /** Somebody speaks for an address, or asks for it as one who wants it; `nonce` tells our own question when it comes back. */
  heard(iface: NetInterface, address: IpAddress, nonce?: Uint8Array): void {
    const own = iface.find(address);
    const probing = own && this.probing.get(own);
    if (!own || !probing) return;
    if (nonce && nonce.length === 6 && nonce.every((byte, i) => byte === probing.nonce[i])) return;
    this.end(probing, false);
  }

  /** Somebody uses an address that is ours: we say so again, but not in turns without end (RFC 5227 §2.4c, RFC 4862 §5.4.4). */
  conflict(iface: NetInterface, address: IpAddress): void {
    const { counters, now } = this.world;
    counters.address_conflicts++;
    const last = this.defended.get(address.key);
    if (last !== undefined && now - last < DEFEND_INTERVAL_MS) return;
    this.defended.set(address.key, now);
    this.link.announce(iface, address);
  }

  /** Tells the link about an address: twice for IPv4 (RFC 5227 §2.3), once for IPv6 (RFC 4861 §7.2.6). */
  announce(iface: NetInterface, address: IpAddress): void {
    this.link.announce(iface, address);
    if (address.family === 6) return;
    const { timers, now } = this.world;
    const again = () => iface.owns(address) && this.link.announce(iface, address);
    timers.arm(new Timer(again), now + ANNOUNCE_INTERVAL_MS);
  }
}
