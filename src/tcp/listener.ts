/** A listening port: handshakes in progress, those that wait to be accepted, and cookies when there are too many (RFC 4987). */
import type { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "../ip/interface.ts";
import { ANY4, standsFor } from "../ip/wildcard.ts";
import type { CookieKeys } from "./fast-open.ts";
import type { Tcb, TcpOptions } from "./tcb.ts";

/** What several listeners on a port have to agree on. */
export interface ListenRules {
  /** On `::`, leave IPv4 alone (IPV6_V6ONLY). */
  v6Only?: boolean;
  /** Share the port with others that say so too; flows are spread over them (SO_REUSEPORT). */
  reusePort?: boolean;
  /** Only what comes by this interface (SO_BINDTODEVICE, or a link-local address' zone). */
  device?: NetInterface;
  /** The caller has bound the port and seen to conflicts. */
  isBound?: boolean;
}

/** Why connections broke while they waited to be accepted: their owners hear of it then. */
const broken = new WeakMap<Tcb, LoomError>();

/** What has ended a connection before it was accepted. */
export const brokenBefore = (tcb: Tcb): LoomError | undefined => broken.get(tcb);

export class TcpListener {
  readonly local: IpAddress;
  readonly port: number;
  /** Connections that may wait to be accepted, besides one. */
  backlog: number;
  readonly options: Readonly<TcpOptions>;
  private isOwned = false;
  /** Called when a connection can be accepted. */
  onConnection: ((tcb: Tcb) => void) | undefined;
  closed = false;
  /** Called when the host closes under the listener, which is closed then. */
  onShut: (() => void) | undefined;
  /** Handshakes that this listener keeps state for. */
  handshakes = 0;
  /** When a SYN was last answered with a cookie; without any none can come back. */
  lastCookieAt = Number.NEGATIVE_INFINITY;
  /** Connections that may be open before their handshake is over (TCP_FASTOPEN's queue length), and how many are. */
  fastOpenQueue = 0;
  fastOpenPending = 0;
  /** Keys of its own instead of the host's. */
  cookieKeys: CookieKeys | undefined;
  readonly rules: ListenRules;
  private readonly ready: Tcb[] = [];
  private readonly release: (listener: TcpListener) => void;

  constructor(
    local: IpAddress,
    port: number,
    backlog: number,
    options: Readonly<TcpOptions>,
    release: (listener: TcpListener) => void,
    rules: ListenRules = {},
  ) {
    this.rules = rules;
    this.local = local;
    this.port = port;
    this.backlog = backlog;
    this.options = options;
    this.release = release;
  }

  /** The options, to be changed while it listens: connections that arrive from now on have those of their time. */
  get ownOptions(): TcpOptions {
    this.isOwned = true;
    return this.options;
  }

  /** Options for a connection that arrives now. */
  get inherited(): Readonly<TcpOptions> {
    return this.isOwned ? { ...this.options } : this.options;
  }

  /** A connection's handshake begins, and is over one way or the other. */
  began(tcb: Tcb): void {
    this.handshakes++;
    tcb.inHandshake = true;
  }

  finished(tcb: Tcb): void {
    if (!tcb.inHandshake) return;
    tcb.inHandshake = false;
    this.handshakes--;
    if (tcb.isFastOpened) this.fastOpenPending--;
  }

  /** Connections that wait. */
  get waiting(): number {
    return this.ready.length;
  }

  /** As in Linux one more waits than was asked for, so that a backlog of 0 takes one. */
  get isFull(): boolean {
    return this.ready.length > this.backlog;
  }

  /** The connection that has waited longest; it may have broken since, but what came before that can be read. */
  accept(): Tcb | undefined {
    const tcb = this.ready.shift();
    if (tcb) tcb.isAccepted = true;
    return tcb;
  }

  put(tcb: Tcb): void {
    tcb.events = { closed: (error) => void (error && broken.set(tcb, error)) };
    this.ready.push(tcb);
    this.onConnection?.(tcb);
  }

  /** No more connections; returns those that nobody accepted. */
  close(): Tcb[] {
    if (this.closed) return [];
    this.closed = true;
    this.release(this);
    return this.ready.splice(0);
  }
}

/** Would a listener on `address` take connections that `other` takes? */
export function conflicts(other: TcpListener, address: IpAddress, rules: ListenRules): boolean {
  if (rules.reusePort && other.rules.reusePort) return false;
  if (rules.device && other.rules.device && rules.device !== other.rules.device) return false;
  const [a, b] = [other.local, address];
  if (!a.isUnspecified && !b.isUnspecified) return a.equals(b);
  if (!a.isUnspecified) return standsFor(b, rules.v6Only, a.family);
  if (!b.isUnspecified) return standsFor(a, other.rules.v6Only, b.family);
  return ([4, 6] as const).some((family) => standsFor(a, other.rules.v6Only, family) && standsFor(b, rules.v6Only, family));
}

/** The closest to the address: its own before its family's before both families'; of several alike the flow decides. */
export function chooseListener(
  listeners: readonly TcpListener[] | undefined,
  destination: IpAddress,
  remotePort: number,
  remoteWord: number,
  iface: NetInterface | undefined,
): TcpListener | undefined {
  let best: TcpListener | undefined;
  let bestScore = 0;
  let alike = 0;
  for (const each of listeners ?? []) {
    const score = closeness(each, destination, iface);
    if (score === 0 || score < bestScore) continue;
    alike = score === bestScore ? alike + 1 : 1;
    bestScore = score;
    // One in `alike` takes the place of the one before, by the flow: each as often as the others.
    if (alike === 1 || flowHash(remotePort, remoteWord, alike) % alike === 0) best = each;
  }
  return best;
}

function closeness(listener: TcpListener, destination: IpAddress, iface: NetInterface | undefined): number {
  const { local, rules } = listener;
  if (rules.device && rules.device !== iface) return 0;
  // Linux weighs the interface more than the address.
  const bonus = rules.device ? 4 : 0;
  if (!local.isUnspecified) return local.equals(destination) ? bonus + 3 : 0;
  if (!standsFor(local, rules.v6Only, destination.family)) return 0;
  return bonus + (local.equals(ANY4) ? 2 : 1);
}

function flowHash(port: number, word: number, salt: number): number {
  let h = Math.imul(word ^ Math.imul(port, 0x9e3779b1) ^ Math.imul(salt, 0xc2b2ae35), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
