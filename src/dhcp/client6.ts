/**
 * The DHCPv6 client of one interface (RFC 8415 §18.2): addresses (IA_NA), delegated prefixes (IA_PD), or what there is to
 * know alone (stateless, §18.2.6). Everything goes to the servers' group.
 */
import type { Alarms } from "../base/alarms.ts";
import type { Random } from "../base/random.ts";
import {
  type Association6,
  type Dhcp6Message,
  decodeDhcp6,
  encodeDhcp6,
  type Grant6,
  INFINITY6,
  OPTION6,
  STATUS6,
  TYPE6,
} from "./message6.ts";
import { isGenuine, shownKey } from "./reconfigure6.ts";
import { isAssignable6, restful, SendRate } from "./sanity.ts";

export interface Dhcp6Lease {
  readonly addresses: readonly Grant6[];
  readonly prefixes: readonly Grant6[];
  readonly dns: readonly string[];
  readonly search: readonly string[];
  /** Who gave it: a DUID. */
  readonly server: Uint8Array;
  /** Seconds, Infinity for never. */
  readonly t1Seconds: number;
  readonly t2Seconds: number;
}

export interface Dhcp6ClientOptions {
  /** Sends from port 546 of the link-local address to ff02::1:2 port 547. */
  send(message: Uint8Array): void;
  /** The client's identifier (§11). */
  readonly duid: Uint8Array;
  readonly iaid: number;
  readonly alarms: Alarms;
  readonly random: Random;
  /** Whether the addresses are free (duplicate address detection); those that are not come back. They become the interface's. */
  claim(lease: Dhcp6Lease): Promise<readonly string[]>;
  renewed(lease: Dhcp6Lease): void;
  lost(lease: Dhcp6Lease, why: "expired" | "refused" | "released" | "stopped"): void;
  /** Stateless: name servers, without addresses. */
  informed?(info: Pick<Dhcp6Lease, "dns" | "search">): void;
  /** Default true. */
  readonly addresses?: boolean;
  /** Ask for a prefix to be delegated. Default false. */
  readonly prefixes?: boolean;
  /** Only ask what there is to know. Default false. */
  readonly stateless?: boolean;
  /** Default true. */
  readonly rapidCommit?: boolean;
  /** Let the server call for a renewal, signed with the key it showed (§18.2.11, §20.4). Default false. */
  readonly reconfigure?: boolean;
}

export type Dhcp6State =
  | "stopped"
  | "soliciting"
  | "requesting"
  | "probing"
  | "bound"
  | "confirming"
  | "renewing"
  | "rebinding"
  | "informing"
  | "informed";

/** First and longest wait (ms), and how often at most (§7.6). */
interface Pace {
  readonly type: number;
  readonly first: number;
  readonly longest: number;
  readonly most: number;
  /** Longest time (ms) in all. */
  readonly within?: number;
}

const NEVER = Number.POSITIVE_INFINITY;
const PACES: Partial<Record<Dhcp6State, Pace>> = {
  soliciting: { type: TYPE6.SOLICIT, first: 1000, longest: 3_600_000, most: NEVER },
  requesting: { type: TYPE6.REQUEST, first: 1000, longest: 30_000, most: 10 },
  confirming: { type: TYPE6.CONFIRM, first: 1000, longest: 4000, most: NEVER, within: 10_000 },
  renewing: { type: TYPE6.RENEW, first: 10_000, longest: 600_000, most: NEVER },
  rebinding: { type: TYPE6.REBIND, first: 10_000, longest: 600_000, most: NEVER },
  informing: { type: TYPE6.INFORMATION_REQUEST, first: 1000, longest: 3_600_000, most: NEVER },
};
/** Bounds (s) of SOL_MAX_RT and INF_MAX_RT (§21.24), and of the time until what there is to know is asked for again (§21.23). */
const [LEAST_RT, MOST_RT] = [60, 86_400];
const [REFRESH, LEAST_REFRESH] = [86_400, 600];
const AT_ONCE = 255;
const WANTED = [OPTION6.dns, OPTION6.search, OPTION6.solMaxRt];
const WANTED_STATELESS = [OPTION6.dns, OPTION6.search, OPTION6.refreshTime, OPTION6.infMaxRt];
const PAUSE = 10_000;

export class Dhcp6Client {
  readonly counters = { sent: 0, received: 0, ignored: 0, throttled: 0, declined: 0 };
  private readonly options: Dhcp6ClientOptions;
  private readonly rate: SendRate;
  private current: Dhcp6State = "stopped";
  private held: Dhcp6Lease | undefined;
  private best: Dhcp6Message | undefined;
  private xid = 0;
  private began = 0;
  private wait = 0;
  private tries = 0;
  private solMax: number | undefined;
  private infMax: number | undefined;
  /** What the server signs with, and the last counter that was seen under it. */
  private key: { readonly key: Uint8Array; readonly server: Uint8Array; last: bigint } | undefined;
  /** Of an Information-request beside a lease. */
  private besideXid: number | undefined;
  private cancel = () => {};
  private cancelDeadline = () => {};

  constructor(options: Dhcp6ClientOptions) {
    this.options = options;
    this.rate = new SendRate(options.alarms.now());
  }

  get state(): Dhcp6State {
    return this.current;
  }

  get lease(): Dhcp6Lease | undefined {
    return this.held;
  }

  start(): void {
    if (this.current === "stopped") this.enter(this.options.stateless ? "informing" : "soliciting");
  }

  stop(): void {
    this.drop("stopped");
    this.enter("stopped");
  }

  /** The interface may be on another link now: is what it has still of this one (§18.2.12)? */
  linkChanged(): void {
    const { current, held } = this;
    if (current === "informed" || current === "informing") this.enter("informing");
    else if (current === "soliciting") this.enter("soliciting");
    else if (held && (current === "bound" || current === "confirming" || current === "renewing" || current === "rebinding")) {
      // Nothing can be confirmed of a prefix: it is bound anew.
      this.enter(held.prefixes.length > 0 ? "rebinding" : "confirming");
    }
  }

  /** Gives everything back. One message: a server that does not hear it waits for the lifetimes to end. */
  release(): void {
    const { held } = this;
    if (held) {
      this.began = this.options.alarms.now();
      this.xid = this.newXid();
      this.out(TYPE6.RELEASE, { serverId: held.server, associations: this.ask(held) });
    }
    this.drop("released");
    this.enter("stopped");
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────────

  private newXid(): number {
    return this.options.random.u32() >>> 8;
  }

  private enter(state: Dhcp6State): void {
    this.cancel();
    this.cancel = () => {};
    if (state !== "renewing" && state !== "rebinding" && state !== "confirming") this.cancelDeadline();
    this.current = state;
    const pace = PACES[state];
    if (!pace) return;
    if (state === "soliciting") this.best = undefined;
    this.xid = this.newXid();
    this.began = this.options.alarms.now();
    this.tries = 0;
    this.wait = 0;
    this.transmit(pace);
  }

  /** §15: the wait doubles, give or take a tenth, up to its most. */
  private transmit(pace: Pace): void {
    const { current, best } = this;
    if (current === "soliciting" && best) {
      this.enter("requesting");
      return;
    }
    if (pace.within !== undefined && this.options.alarms.now() - this.began >= pace.within) {
      // Nobody says anything: what is had holds as long as it held before.
      this.current = "bound";
      return;
    }
    if (this.tries++ >= pace.most) {
      this.enter("soliciting");
      return;
    }
    const { alarms, random } = this.options;
    const spread = 0.1 * (current === "soliciting" && this.tries === 1 ? random.float() : random.float() * 2 - 1);
    const own = current === "soliciting" ? this.solMax : current === "informing" ? this.infMax : undefined;
    const longest = own === undefined ? pace.longest : own * 1000;
    const next = this.wait === 0 ? pace.first * (1 + spread) : this.wait * (2 + spread);
    this.wait = next > longest ? longest * (1 + spread) : next;
    this.cancel = alarms.after(this.wait, () => this.transmit(pace));
    this.out(pace.type, this.contents());
  }

  private contents(): Partial<Dhcp6Message> {
    const { current, held, best, options } = this;
    if (current === "informing") return { requested: WANTED_STATELESS };
    if (current === "confirming") return { associations: this.ask(held && { ...held, addresses: held.addresses.map(without) }) };
    if (current === "soliciting") {
      return { requested: WANTED, rapidCommit: options.rapidCommit !== false, associations: this.ask(undefined) };
    }
    if (current === "requesting")
      return { requested: WANTED, serverId: best?.serverId, associations: this.ask(best && this.leaseOf(best)) };
    return { requested: WANTED, serverId: current === "renewing" ? held?.server : undefined, associations: this.ask(held) };
  }

  /** The associations, with what was offered or is had. */
  private ask(lease: Pick<Dhcp6Lease, "addresses" | "prefixes"> | undefined): Association6[] {
    const { iaid, addresses = true, prefixes = false } = this.options;
    const of = (kind: "na" | "pd", grants: readonly Grant6[]) => ({ kind, iaid, t1: 0, t2: 0, grants });
    return [...(addresses ? [of("na", lease?.addresses ?? [])] : []), ...(prefixes ? [of("pd", lease?.prefixes ?? [])] : [])];
  }

  private out(type: number, fields: Partial<Dhcp6Message>): void {
    const now = this.options.alarms.now();
    const elapsed = Math.min(Math.floor((now - this.began) / 10), 0xffff);
    // §14.1: there is a rate that a client keeps to, whatever a server says. What is not sent now is repeated later.
    if (!this.rate.take(now)) {
      this.counters.throttled++;
      return;
    }
    this.counters.sent++;
    const { duid, reconfigure } = this.options;
    const reconfigureAccept = reconfigure === true && fields.requested !== undefined;
    this.options.send(encodeDhcp6({ type, xid: this.xid, clientId: duid, elapsed, reconfigureAccept, ...fields }));
  }

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────────

  /** A datagram to port 546 of the interface. */
  receive(bytes: Uint8Array): void {
    let message: Dhcp6Message | undefined;
    try {
      message = decodeDhcp6(bytes);
    } catch {}
    const isCall = message?.type === TYPE6.RECONFIGURE;
    if (message && (isCall ? this.called(message, bytes) : this.isForUs(message) && this.take(message))) this.counters.received++;
    else this.counters.ignored++;
  }

  private isForUs({ xid, clientId, serverId }: Dhcp6Message): boolean {
    return (xid === this.xid || xid === this.besideXid) && same(clientId, this.options.duid) && serverId !== undefined;
  }

  private take(message: Dhcp6Message): boolean {
    const { current } = this;
    const within = (seconds: number | undefined) =>
      seconds !== undefined && seconds >= LEAST_RT && seconds <= MOST_RT ? seconds : undefined;
    this.solMax = within(message.solMaxRt) ?? this.solMax;
    this.infMax = within(message.infMaxRt) ?? this.infMax;
    if (current === "soliciting" && message.type === TYPE6.ADVERTISE) return this.compare(message);
    if (message.type !== TYPE6.REPLY) return false;
    this.noteKey(message);
    if (message.xid === this.besideXid) return this.informBeside(message);
    if (current === "confirming") return this.confirmed(message);
    if (current === "soliciting") return message.rapidCommit === true && this.accept(message);
    if (current === "informing") return this.inform(message);
    if (current === "requesting") return same(message.serverId, this.best?.serverId) && this.accept(message);
    return (current === "renewing" || current === "rebinding") && this.accept(message);
  }

  /** The server's key, when it shows one (§20.4.3). */
  private noteKey({ auth, serverId }: Dhcp6Message): void {
    const key = this.options.reconfigure ? shownKey(auth) : undefined;
    if (key && serverId) this.key = { key, server: serverId, last: auth?.replay ?? 0n };
  }

  private confirmed({ status = STATUS6.Success }: Dhcp6Message): boolean {
    if (status === STATUS6.NotOnLink) {
      this.drop("refused");
      this.enter("soliciting");
    } else {
      this.cancel();
      this.current = "bound";
    }
    return true;
  }

  /** The server calls for a message (§18.2.11): only the one with the key, only when nothing is being asked, only once each. */
  private called(message: Dhcp6Message, bytes: Uint8Array): boolean {
    const { key, current, options } = this;
    const { clientId, serverId, reconfigure, associations } = message;
    if (!key || !same(clientId, options.duid) || !same(serverId, key.server) || associations.length > 0) return false;
    if (!isGenuine(message, bytes, key.key, key.last)) return false;
    key.last = message.auth?.replay ?? key.last;
    if (current !== "bound" && current !== "informed") return false;
    if (reconfigure === TYPE6.INFORMATION_REQUEST) {
      if (current === "informed") this.enter("informing");
      else this.askBeside();
    } else if (current === "bound" && reconfigure === TYPE6.RENEW) this.enter("renewing");
    else if (current === "bound" && reconfigure === TYPE6.REBIND) this.enter("rebinding");
    else return false;
    return true;
  }

  /** What there is to know, beside a lease. The server repeats its call when this is lost. */
  private askBeside(): void {
    const { xid } = this;
    this.xid = this.besideXid = this.newXid();
    this.began = this.options.alarms.now();
    this.out(TYPE6.INFORMATION_REQUEST, { requested: WANTED_STATELESS });
    this.xid = xid;
  }

  private informBeside({ dns = [], search = [] }: Dhcp6Message): boolean {
    this.besideXid = undefined;
    if (!this.held) return false;
    this.held = { ...this.held, dns, search };
    this.options.renewed(this.held);
    return true;
  }

  /** The best advertisement that comes before the first wait is over; afterwards the first one (§18.2.1). */
  private compare(message: Dhcp6Message): boolean {
    if (!this.leaseOf(message)) return false;
    const preference = message.preference ?? 0;
    if (!this.best || preference > (this.best.preference ?? 0)) this.best = message;
    if (preference === AT_ONCE || this.tries > 1) this.enter("requesting");
    return true;
  }

  private inform(message: Dhcp6Message): boolean {
    this.options.informed?.({ dns: message.dns ?? [], search: message.search ?? [] });
    this.enter("informed");
    const seconds = Math.max(message.refreshTime ?? REFRESH, LEAST_REFRESH);
    if (message.refreshTime !== INFINITY6) this.cancel = this.options.alarms.after(seconds * 1000, () => this.enter("informing"));
    return true;
  }

  private accept(message: Dhcp6Message): boolean {
    const { current, held } = this;
    const ours = message.associations.filter(({ iaid }) => iaid === this.options.iaid);
    if (ours.some(({ status }) => status === STATUS6.NoBinding) && held) {
      // The server knows nothing of it: it is asked for anew (§18.2.10.1).
      this.best = { ...message, associations: this.ask(held) };
      if (current === "renewing" || current === "rebinding") this.enter("requesting");
      return true;
    }
    const lease = this.leaseOf(message);
    if (!lease) {
      // What was offered is not to be had: begin anew. A renewal goes on until the times are over.
      if (current === "requesting") this.pause();
      return current === "requesting";
    }
    if (held && sameGrants(held.addresses, lease.addresses) && sameGrants(held.prefixes, lease.prefixes)) {
      this.options.renewed(lease);
      this.bind(lease);
      return true;
    }
    this.drop("refused");
    this.enter("probing");
    const { xid } = this;
    this.options.claim(lease).then(
      (taken) => this.current === "probing" && this.xid === xid && this.claimed(lease, taken),
      () => this.current === "probing" && this.xid === xid && this.pause(),
    );
    return true;
  }

  private claimed(lease: Dhcp6Lease, taken: readonly string[]): void {
    if (taken.length === 0) {
      this.bind(lease);
      return;
    }
    this.counters.declined++;
    this.began = this.options.alarms.now();
    this.xid = this.newXid();
    const addresses = lease.addresses.filter(({ address }) => taken.includes(address));
    this.out(TYPE6.DECLINE, {
      serverId: lease.server,
      associations: this.ask({ addresses, prefixes: [] }).filter(({ kind }) => kind === "na"),
    });
    this.options.lost(lease, "refused");
    this.pause();
  }

  private pause(): void {
    this.enter("probing");
    this.cancel = this.options.alarms.after(PAUSE, () => this.enter("soliciting"));
  }

  private bind(lease: Dhcp6Lease): void {
    const { alarms } = this.options;
    this.held = lease;
    const start = alarms.now();
    this.enter("bound");
    const left = (seconds: number) => Math.max(start + 1000 * seconds - alarms.now(), 0);
    const valid = validOf([...lease.addresses, ...lease.prefixes]);
    if (lease.t1Seconds === NEVER) return;
    this.cancelDeadline = alarms.after(left(lease.t1Seconds), () => {
      this.enter("renewing");
      this.cancelDeadline = alarms.after(left(lease.t2Seconds), () => {
        this.enter("rebinding");
        if (valid === NEVER) return;
        this.cancelDeadline = alarms.after(left(valid), () => {
          this.drop("expired");
          this.enter("soliciting");
        });
      });
    });
  }

  private drop(why: "expired" | "refused" | "released" | "stopped"): void {
    const { held } = this;
    this.held = undefined;
    if (held) this.options.lost(held, why);
  }

  /** What a message grants of what was asked for; undefined when that is nothing. */
  private leaseOf(message: Dhcp6Message): Dhcp6Lease | undefined {
    // T1 beyond T2 makes an association invalid (§21.4), a preferred lifetime beyond the valid one a grant (§21.6).
    const ours = message.associations.filter(
      ({ iaid, t1, t2, status }) => iaid === this.options.iaid && !(t2 > 0 && t1 > t2) && (status ?? 0) === STATUS6.Success,
    );
    const granted = (kind: "na" | "pd") =>
      ours
        .filter((each) => each.kind === kind)
        .flatMap(({ grants }) => grants)
        .filter(({ preferred, valid, status }) => valid > 0 && preferred <= valid && (status ?? 0) === STATUS6.Success)
        .filter(({ address, length }) => length > 0 && isAssignable6(address));
    const [addresses, prefixes] = [granted("na"), granted("pd")];
    const all = [...addresses, ...prefixes];
    if (all.length === 0 || !message.serverId || (message.status ?? 0) !== STATUS6.Success) return undefined;
    const shortest = Math.min(...all.map(({ preferred }) => seconds(preferred)));
    const time = (key: "t1" | "t2", share: number) => {
      const given = ours.map((each) => each[key]).filter((each) => each > 0);
      return given.length ? Math.min(...given.map(seconds)) : shortest * share;
    };
    const t2Seconds = time("t2", 0.8);
    return {
      addresses,
      prefixes,
      dns: message.dns ?? [],
      search: message.search ?? [],
      server: message.serverId,
      ...restful(Math.min(time("t1", 0.5), t2Seconds), t2Seconds, validOf(all)),
    };
  }
}

/** An address that is asked about and nothing more (§18.2.3). */
const without = (grant: Grant6): Grant6 => ({ ...grant, preferred: 0, valid: 0 });

/** When the last of several grants ends (s). */
function validOf(grants: readonly Grant6[]): number {
  return Math.max(...grants.map(({ valid }) => seconds(valid)));
}

function seconds(lifetime: number): number {
  return lifetime === INFINITY6 ? NEVER : lifetime;
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function sameGrants(a: readonly Grant6[], b: readonly Grant6[]): boolean {
  const keys = (list: readonly Grant6[]) =>
    list
      .map(({ address, length }) => `${address}/${length}`)
      .sort()
      .join();
  return keys(a) === keys(b);
}
