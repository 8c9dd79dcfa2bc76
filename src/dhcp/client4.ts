/**
 * The DHCPv4 client of one interface: the states of RFC 2131 §4.4 (figure 5), with rapid commit (RFC 4039), the client's
 * identifier (RFC 4361 §6.1 lets it be anything stable; RFC 6842), and a question to the link before an address is used.
 */
import type { Alarms } from "../base/alarms.ts";
import { be16 } from "../base/bytes.ts";
import type { Random } from "../base/random.ts";
import { type Dhcp4Message, decodeDhcp4, encodeDhcp4, OPTION4, TYPE4, typeOf } from "./message4.ts";
import { address4, ascii, type Dhcp4Config, readAddress, readConfig, readU32 } from "./options4.ts";
import { isAssignable4, restful, SendRate } from "./sanity.ts";

export interface Dhcp4Lease extends Dhcp4Config {
  readonly address: string;
  /** Who gave it. */
  readonly server: string;
  /** Seconds, Infinity for ever; counted from when it was asked for. */
  readonly leaseSeconds: number;
  readonly t1Seconds: number;
  readonly t2Seconds: number;
}

/** What the client runs over. */
export interface Dhcp4Link {
  readonly mac: Uint8Array;
  /** From 0.0.0.0 port 68 to 255.255.255.255 port 67. */
  broadcast(message: Uint8Array): void;
  /** From an address that is the interface's. */
  unicast(from: string, to: string, message: Uint8Array): void;
}

export interface Dhcp4ClientOptions {
  readonly link: Dhcp4Link;
  readonly alarms: Alarms;
  readonly random: Random;
  /** Whether an address is free on the link (RFC 5227); it becomes the interface's when it is. */
  claim(lease: Dhcp4Lease): Promise<boolean>;
  /** The same address for longer, perhaps with other options. */
  renewed(lease: Dhcp4Lease): void;
  /** The address must not be used any more. */
  lost(lease: Dhcp4Lease, why: LossReason): void;
  /** Whatever changes. */
  changed?(state: Dhcp4State): void;
  readonly hostname?: string;
  /** Default: hardware type and MAC address. */
  readonly clientId?: Uint8Array;
  /** Take an address in two messages where the server can. Default true. */
  readonly rapidCommit?: boolean;
  /** The address that was had before (INIT-REBOOT). */
  readonly previous?: string;
}

export type LossReason = "expired" | "refused" | "released" | "stopped";
export type Dhcp4State =
  | "stopped"
  | "selecting"
  | "requesting"
  | "probing"
  | "bound"
  | "renewing"
  | "rebinding"
  | "rebooting"
  | "informing"
  | "informed";

export interface DhcpClientCounters {
  sent: number;
  received: number;
  /** Broken, not for us, not what was waited for, or an offer that no interface can have. */
  ignored: number;
  /** Not sent: too many were shortly before. */
  throttled: number;
  refused: number;
  declined: number;
}

/** First wait for an answer and the longest (ms), doubled in between, give or take a second (RFC 2131 §4.1). */
const FIRST_WAIT = 4000;
const LONGEST_WAIT = 64_000;
/** Requests before the client begins anew. */
const MOST_REQUESTS = 4;
const MOST_REBOOTS = 2;
/** Wait (ms) after a conflict (§3.1 item 5) and after a refusal. */
const AFTER_DECLINE = 10_000;
const AFTER_NAK = 1000;
/** Shortest wait (ms) between renewals (§4.4.5). */
const RENEWAL_WAIT = 60_000;
const FOREVER = 0xffffffff;
const WANTED = [1, 3, 6, 12, 15, 26, 28, 42, 119, 121];
/** What we take: an Ethernet frame's worth. */
const MAX_SIZE = 1472;

export class Dhcp4Client {
  readonly counters: DhcpClientCounters = { sent: 0, received: 0, ignored: 0, throttled: 0, refused: 0, declined: 0 };
  private readonly options: Dhcp4ClientOptions;
  private readonly clientId: Uint8Array;
  private readonly rate: SendRate;
  private current: Dhcp4State = "stopped";
  private held: Dhcp4Lease | undefined;
  /** What is asked for: address and server, before the lease is there. */
  private offer: { address: string; server?: string } | undefined;
  private informed: ((config: Dhcp4Config) => void) | undefined;
  private xid = 0;
  private began = 0;
  /** When the request that may be answered was first sent: the lease counts from there (§4.4.1). */
  private askedAt = 0;
  private boundAt = 0;
  private tries = 0;
  private cancel = () => {};
  private cancelDeadline = () => {};

  constructor(options: Dhcp4ClientOptions) {
    this.options = options;
    this.rate = new SendRate(options.alarms.now());
    this.clientId = options.clientId ?? Uint8Array.of(1, ...options.link.mac);
  }

  get state(): Dhcp4State {
    return this.current;
  }

  get lease(): Dhcp4Lease | undefined {
    return this.held;
  }

  /** Begins: with the address of before, or with any. */
  start(): void {
    const { previous } = this.options;
    if (this.current !== "stopped") return;
    if (previous === undefined) this.discover();
    else {
      this.offer = { address: previous };
      this.enter("rebooting");
    }
  }

  /** Ends and keeps quiet about it: the lease stays the client's at the server. */
  stop(): void {
    this.drop("stopped");
    this.enter("stopped");
  }

  /** Gives the address back. */
  release(): void {
    const { held } = this;
    if (held) {
      this.options.link.unicast(
        held.address,
        held.server,
        this.message(TYPE4.RELEASE, { ciaddr: held.address }, [[OPTION4.serverId, address4(held.server)]]),
      );
      this.counters.sent++;
    }
    this.drop("released");
    this.enter("stopped");
  }

  /** Asks what there is to know for an address that came from elsewhere. */
  inform(address: string): Promise<Dhcp4Config> {
    this.offer = { address };
    return new Promise((resolve) => {
      this.informed = resolve;
      this.enter("informing");
    });
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────────

  private discover(): void {
    this.offer = undefined;
    this.began = this.options.alarms.now();
    this.enter("selecting");
  }

  /** A new state: what belonged to the old one is over. */
  private enter(state: Dhcp4State): void {
    this.cancel();
    if (state !== "renewing" && state !== "rebinding") this.cancelDeadline();
    this.cancel = () => {};
    this.current = state;
    this.tries = 0;
    this.options.changed?.(state);
    if (state === "stopped" || state === "bound" || state === "probing" || state === "informed") return;
    // A request goes on with the transaction of its offer; all others begin one.
    if (state !== "requesting") this.xid = this.options.random.u32();
    this.askedAt = this.options.alarms.now();
    this.send();
  }

  private send(): void {
    const { current, held } = this;
    this.tries++;
    if ((current === "requesting" && this.tries > MOST_REQUESTS) || (current === "rebooting" && this.tries > MOST_REBOOTS)) {
      this.discover();
      return;
    }
    if (current === "selecting")
      this.out(TYPE4.DISCOVER, {}, this.options.rapidCommit === false ? [] : [[OPTION4.rapidCommit, new Uint8Array()]]);
    else if (current === "requesting" || current === "rebooting") {
      const { address, server } = this.offer as { address: string; server?: string };
      const named: Extra = server === undefined ? [] : [[OPTION4.serverId, address4(server)]];
      this.out(TYPE4.REQUEST, {}, [[OPTION4.requested, address4(address)], ...named]);
    } else if (current === "renewing" && held) {
      if (this.maySend()) this.options.link.unicast(held.address, held.server, this.message(TYPE4.REQUEST, { ciaddr: held.address }, []));
    } else if (current === "rebinding" && held) this.out(TYPE4.REQUEST, { ciaddr: held.address, broadcast: false }, []);
    else if (current === "informing") this.out(TYPE4.INFORM, { ciaddr: this.offer?.address, broadcast: false }, []);
    this.cancel = this.options.alarms.after(this.wait(), () => this.send());
  }

  private wait(): number {
    const { random, alarms } = this.options;
    if (this.current !== "renewing" && this.current !== "rebinding") {
      return Math.min(FIRST_WAIT * 2 ** (this.tries - 1), LONGEST_WAIT) + (random.float() * 2 - 1) * 1000;
    }
    // Half of what is left until the next state, and no more often than once a minute.
    const lease = this.held as Dhcp4Lease;
    const end = this.boundAt + 1000 * (this.current === "renewing" ? lease.t2Seconds : lease.leaseSeconds);
    return Math.max((end - alarms.now()) / 2, RENEWAL_WAIT);
  }

  private out(type: number, fields: Partial<Dhcp4Message>, extra: Extra): void {
    if (this.maySend()) this.options.link.broadcast(this.message(type, { broadcast: true, ...fields }, extra));
  }

  /** Whatever a server says: there is a rate that a client keeps to. What is not sent now is repeated later. */
  private maySend(): boolean {
    const may = this.rate.take(this.options.alarms.now());
    this.counters[may ? "sent" : "throttled"]++;
    return may;
  }

  private message(type: number, fields: Partial<Dhcp4Message>, extra: Extra): Uint8Array {
    const { link, hostname, alarms } = this.options;
    const options = new Map<number, Uint8Array>([[OPTION4.type, Uint8Array.of(type)], [OPTION4.clientId, this.clientId], ...extra]);
    if (type !== TYPE4.RELEASE && type !== TYPE4.DECLINE) {
      options.set(OPTION4.parameters, Uint8Array.from(WANTED));
      options.set(OPTION4.maxSize, be16(MAX_SIZE));
      if (hostname) options.set(OPTION4.hostname, ascii(hostname));
    }
    const secs = Math.floor((alarms.now() - this.began) / 1000);
    return encodeDhcp4({ op: 1, xid: this.xid, secs, chaddr: link.mac, options, ...fields });
  }

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────────

  /** A datagram to port 68 of the interface. */
  receive(bytes: Uint8Array): void {
    let message: Dhcp4Message | undefined;
    try {
      message = decodeDhcp4(bytes);
    } catch {}
    if (!message || !this.isForUs(message) || !this.take(message)) this.counters.ignored++;
    else this.counters.received++;
  }

  private isForUs({ op, xid, chaddr, options }: Dhcp4Message): boolean {
    const echoed = options.get(OPTION4.clientId);
    if (op !== 2 || xid !== this.xid || !same(chaddr, this.options.link.mac)) return false;
    return !echoed || same(echoed, this.clientId);
  }

  /** False when the state waits for no such message. */
  private take(message: Dhcp4Message): boolean {
    const { current } = this;
    const type = typeOf(message);
    if (current === "selecting" && type === TYPE4.OFFER) return this.choose(message);
    if (current === "selecting") return type === TYPE4.ACK && message.options.has(OPTION4.rapidCommit) && this.accept(message);
    if (current === "informing") {
      if (type !== TYPE4.ACK) return false;
      this.informed?.(readConfig(message));
      this.enter("informed");
      return true;
    }
    if (!["requesting", "rebooting", "renewing", "rebinding"].includes(current)) return false;
    if (type === TYPE4.NAK) return this.refused(message);
    return type === TYPE4.ACK && this.accept(message);
  }

  private choose(message: Dhcp4Message): boolean {
    const server = readAddress(message.options.get(OPTION4.serverId));
    const { prefixLength } = readConfig(message);
    if (server === undefined || !isAssignable4(message.yiaddr, prefixLength)) return false;
    this.offer = { address: message.yiaddr, server };
    this.enter("requesting");
    return true;
  }

  private refused(message: Dhcp4Message): boolean {
    const server = readAddress(message.options.get(OPTION4.serverId));
    if (server === undefined || (this.current === "requesting" && server !== this.offer?.server)) return false;
    this.counters.refused++;
    this.drop("refused");
    this.pause(AFTER_NAK);
    return true;
  }

  private pause(ms: number): void {
    this.enter("probing");
    this.cancel = this.options.alarms.after(ms, () => this.discover());
  }

  private accept(message: Dhcp4Message): boolean {
    const lease = leaseOf(message);
    if (!lease || (this.current === "requesting" && lease.address !== this.offer?.address)) return false;
    if (this.held?.address === lease.address) {
      this.held = lease;
      this.options.renewed(lease);
      this.bind(lease);
      return true;
    }
    this.drop("refused");
    this.enter("probing");
    const { xid } = this;
    void this.options.claim(lease).then(
      (free) => {
        // Something else may have happened meanwhile.
        if (this.current !== "probing" || this.xid !== xid) return;
        if (free) this.bind(lease);
        else this.decline(lease);
      },
      () => this.current === "probing" && this.xid === xid && this.decline(lease),
    );
    return true;
  }

  private decline(lease: Dhcp4Lease): void {
    this.counters.declined++;
    this.out(TYPE4.DECLINE, { broadcast: false }, [
      [OPTION4.requested, address4(lease.address)],
      [OPTION4.serverId, address4(lease.server)],
    ]);
    this.pause(AFTER_DECLINE);
  }

  private bind(lease: Dhcp4Lease): void {
    const { alarms } = this.options;
    this.held = lease;
    this.boundAt = this.askedAt;
    this.enter("bound");
    if (lease.leaseSeconds === Number.POSITIVE_INFINITY) return;
    const left = (seconds: number) => Math.max(this.boundAt + 1000 * seconds - alarms.now(), 0);
    this.cancelDeadline = alarms.after(left(lease.t1Seconds), () => {
      this.enter("renewing");
      this.cancelDeadline = alarms.after(left(lease.t2Seconds), () => {
        this.enter("rebinding");
        this.cancelDeadline = alarms.after(left(lease.leaseSeconds), () => {
          this.drop("expired");
          this.discover();
        });
      });
    });
  }

  private drop(why: LossReason): void {
    const { held } = this;
    this.held = undefined;
    if (held) this.options.lost(held, why);
  }
}

type Extra = [number, Uint8Array][];

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The lease that an acknowledgement grants; undefined when it lacks what a lease must have. */
function leaseOf(message: Dhcp4Message): Dhcp4Lease | undefined {
  const { options, yiaddr } = message;
  const server = readAddress(options.get(OPTION4.serverId));
  const seconds = readU32(options.get(OPTION4.leaseTime));
  const config = readConfig(message);
  if (server === undefined || !seconds || !isAssignable4(yiaddr, config.prefixLength)) return undefined;
  const leaseSeconds = seconds === FOREVER ? Number.POSITIVE_INFINITY : seconds;
  // Defaults of §4.4.5; times that are out of order are not believed.
  const t2 = readU32(options.get(OPTION4.t2)) ?? 0;
  const t2Seconds = t2 > 0 && t2 < leaseSeconds ? t2 : leaseSeconds * 0.875;
  const t1 = readU32(options.get(OPTION4.t1)) ?? 0;
  const t1Seconds = t1 > 0 && t1 < t2Seconds ? t1 : Math.min(leaseSeconds * 0.5, t2Seconds);
  return { ...config, address: yiaddr, server, leaseSeconds, ...restful(t1Seconds, t2Seconds, leaseSeconds) };
}
