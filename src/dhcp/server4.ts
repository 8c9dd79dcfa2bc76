/**
 * A DHCPv4 server (RFC 2131 §4.3): pools, fixed leases, relays (giaddr; RFC 3046, 3527), rapid commit (RFC 4039), the
 * client's identifier echoed (RFC 6842), refusals where a client asks for what cannot be.
 */
import type { Alarms } from "../base/alarms.ts";
import { be32 } from "../base/bytes.ts";
import { type LeaseEntry, Pool4, type Pool4Options } from "./leases4.ts";
import { type Dhcp4Message, decodeDhcp4, encodeDhcp4, OPTION4, sizeOfDhcp4, TYPE4, typeOf } from "./message4.ts";
import { address4, readAddress, readText, readU16, writeConfig } from "./options4.ts";

export interface Dhcp4ServerOptions {
  /** Own address on the link: the server's identifier, and the subnet of clients that no relay speaks for. */
  readonly address: string;
  readonly pools: readonly Pool4Options[];
  readonly alarms: Alarms;
  /** Sends a reply: to everybody on the link, to a client by its MAC address, or to an address by routing (port 67 for a relay). */
  reply(message: Uint8Array, to: ReplyTo): void;
  /** Asked before an address is offered: whether somebody has it (RFC 2131 §3.1 item 2). */
  inUse?(address: string): Promise<boolean>;
  /** Refuse unknown clients that believe to have an address. Default true: this is the network's server. */
  readonly authoritative?: boolean;
  /** Relays outside of the pools' subnets that are answered. Default none: others could have anybody answered. */
  readonly relays?: readonly string[];
  /** Largest IP packet that the link takes. Default 1500. */
  readonly mtu?: number;
  /** A lease began, went on or ended. */
  leased?(entry: LeaseEntry): void;
}

export type ReplyTo =
  | { readonly kind: "broadcast" }
  | { readonly kind: "client"; readonly mac: Uint8Array; readonly address: string }
  | { readonly kind: "address"; readonly address: string; readonly port: 67 | 68 };

export interface DhcpServerCounters {
  received: number;
  sent: number;
  /** Broken, for another server, or of clients that this one knows nothing of. */
  ignored: number;
  /** Would have been answered to a relay or an address of no subnet of this server. */
  foreign: number;
  /** No pool for the client, or none with an address left. */
  no_address: number;
  refused: number;
  declined: number;
  /** Addresses that somebody had when they were to be offered. */
  conflicts: number;
}

const NOWHERE = "0.0.0.0";
/** How long (ms) an offer is kept for its client, and an address that is somebody else's is left alone. */
const OFFER_MS = 60_000;
const DECLINED_MS = 600_000;
/** Addresses asked about before a client goes without an offer, and questions under way at once. */
const MOST_CONFLICTS = 4;
const MOST_PROBES = 64;
/** Always told; the others when the client asks for them. */
const ALWAYS = [OPTION4.subnetMask];
/** Bytes of what a reply repeats: one option of a client identifier, of what a relay added (RFC 2132 §9.14, RFC 3046 §2.0). */
const MOST_ECHO = 255;
/** What every client takes (RFC 2131 §2), and the headers in front of a message. */
const LEAST_PACKET = 576;
const HEADERS = 28;

/** Who asks, and for which link. */
interface Asking {
  readonly message: Dhcp4Message;
  readonly pool: Pool4;
  readonly client: string;
  readonly mac: string;
}

const ECHOED = [OPTION4.clientId, OPTION4.relay];
const hex = (bytes: Uint8Array, separator = "") => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(separator);

export class Dhcp4Server {
  readonly counters: DhcpServerCounters = {
    received: 0,
    sent: 0,
    ignored: 0,
    foreign: 0,
    no_address: 0,
    refused: 0,
    declined: 0,
    conflicts: 0,
  };
  readonly pools: readonly Pool4[];
  private readonly options: Dhcp4ServerOptions;
  private probes = 0;

  constructor(options: Dhcp4ServerOptions) {
    this.options = options;
    this.pools = options.pools.map((each) => new Pool4(each));
  }

  /** The lease database, to be kept somewhere. Times are what is left of them (ms). */
  export(): LeaseEntry[] {
    const now = this.options.alarms.now();
    return this.pools.flatMap((pool) => pool.list().map((entry) => ({ ...entry, expires: entry.expires - now })));
  }

  /** Takes a database back; entries of no pool are passed over. */
  import(entries: readonly LeaseEntry[]): void {
    const now = this.options.alarms.now();
    for (const entry of entries) {
      this.pools.find((pool) => pool.holds(entry.address))?.set({ ...entry, expires: now + entry.expires });
    }
  }

  /** A datagram to port 67. */
  receive(bytes: Uint8Array): void {
    let message: Dhcp4Message | undefined;
    try {
      message = decodeDhcp4(bytes);
    } catch {}
    if (message?.op !== 1 || message.chaddr.length === 0 || ECHOED.some((code) => (message.options.get(code)?.length ?? 0) > MOST_ECHO)) {
      this.counters.ignored++;
      return;
    }
    this.counters.received++;
    if (this.isForeign(message)) {
      this.counters.foreign++;
      return;
    }
    const pool = this.poolOf(message);
    if (!pool) {
      this.counters.no_address++;
      return;
    }
    const id = message.options.get(OPTION4.clientId);
    const client = id?.length ? hex(id) : hex(message.chaddr);
    this.answer({ message, pool, client, mac: hex(message.chaddr, ":") });
  }

  /** Replies go where a message says: only to what is of the networks served here, or anybody could be flooded with them. */
  private isForeign(message: Dhcp4Message): boolean {
    const { giaddr, ciaddr } = message;
    const isOurs = (address: string) => this.pools.some((pool) => pool.holds(address));
    if (giaddr !== NOWHERE) return !isOurs(giaddr) && !this.options.relays?.includes(giaddr);
    // A request for a foreign address is refused, to everybody on the link.
    return typeOf(message) === TYPE4.INFORM && ciaddr !== NOWHERE && !isOurs(ciaddr);
  }

  /** By the relay's link selection (RFC 3527), its address, the client's own, or this server's. */
  private poolOf({ giaddr, ciaddr, options }: Dhcp4Message): Pool4 | undefined {
    const selected = giaddr === NOWHERE ? undefined : linkSelection(options.get(OPTION4.relay));
    const from = selected ?? (giaddr !== NOWHERE ? giaddr : this.options.address);
    const find = (address: string) => this.pools.find((pool) => pool.holds(address));
    // A renewal by unicast comes past the relay.
    return giaddr === NOWHERE && ciaddr !== NOWHERE ? (find(ciaddr) ?? find(from)) : find(from);
  }

  private answer(asking: Asking): void {
    const { message } = asking;
    const type = typeOf(message);
    if (type === TYPE4.DISCOVER) void this.offer(asking);
    else if (type === TYPE4.REQUEST) this.request(asking);
    else if (type === TYPE4.INFORM) this.send(asking, TYPE4.ACK, NOWHERE, false);
    else if (type === TYPE4.RELEASE && this.isOurs(message)) this.end(asking, message.ciaddr, "released");
    else if (type === TYPE4.DECLINE && this.isOurs(message)) {
      this.counters.declined++;
      this.end(asking, readAddress(message.options.get(OPTION4.requested)) ?? NOWHERE, "declined");
    } else this.counters.ignored++;
  }

  private isOurs({ options }: Dhcp4Message): boolean {
    return readAddress(options.get(OPTION4.serverId)) === this.options.address;
  }

  // ── DISCOVER ──────────────────────────────────────────────────────────────────────────────────

  private async offer(asking: Asking): Promise<void> {
    const { message, pool, client, mac } = asking;
    const wish = readAddress(message.options.get(OPTION4.requested));
    for (let tries = 0; tries < MOST_CONFLICTS; tries++) {
      const address = pool.choose(client, mac, wish, this.options.alarms.now());
      if (address === undefined) break;
      const rapid = message.options.has(OPTION4.rapidCommit);
      const known = pool.get(client);
      // Kept for this client while the link is asked; a lease that is running stays one.
      if (known?.state !== "bound" || known.address !== address) this.write(asking, address, "offered", OFFER_MS);
      if (!(await this.isTaken(address, known))) {
        if (rapid) this.bind(asking, address, true);
        else this.send(asking, TYPE4.OFFER, address, true);
        return;
      }
      this.counters.conflicts++;
      pool.set({ address, client: "", mac: "", state: "declined", expires: this.options.alarms.now() + DECLINED_MS });
    }
    this.counters.no_address++;
  }

  /** A client's own running lease is not asked about: it would answer itself. */
  private async isTaken(address: string, known: LeaseEntry | undefined): Promise<boolean> {
    const { inUse } = this.options;
    if (!inUse || this.probes >= MOST_PROBES || (known?.state === "bound" && known.address === address)) return false;
    this.probes++;
    try {
      return await inUse(address);
    } finally {
      this.probes--;
    }
  }

  // ── REQUEST ───────────────────────────────────────────────────────────────────────────────────

  /** RFC 2131 §4.3.2: which of the four kinds of requests it is shows in what it carries. */
  private request(asking: Asking): void {
    const { message, pool, client, mac } = asking;
    const server = readAddress(message.options.get(OPTION4.serverId));
    const known = pool.get(client);
    if (server !== undefined && server !== this.options.address) {
      // Another server's offer was taken: ours is free again.
      if (known?.state === "offered") this.write(asking, known.address, "released", 0);
      this.counters.ignored++;
      return;
    }
    const renewal = message.ciaddr !== NOWHERE;
    const address = renewal ? message.ciaddr : (readAddress(message.options.get(OPTION4.requested)) ?? NOWHERE);
    const { authoritative = true } = this.options;
    const fixed = pool.fixedFor(client, mac, this.options.alarms.now());
    const running = known !== undefined && known.state !== "released" && known.address === address;
    // Who was forgotten may have back what nobody else has.
    const free = pool.holds(address) && pool.isFree(address, client, this.options.alarms.now());
    if (fixed === undefined ? running || (free && (renewal || authoritative)) : fixed === address) this.bind(asking, address, false);
    else if (known || server !== undefined || authoritative) this.refuse(asking);
    else this.counters.ignored++;
  }

  private bind(asking: Asking, address: string, rapid: boolean): void {
    this.write(asking, address, "bound", asking.pool.leaseSeconds * 1000);
    this.send(asking, TYPE4.ACK, address, true, rapid);
  }

  private refuse(asking: Asking): void {
    this.counters.refused++;
    const { message } = asking;
    const options = new Map([
      [OPTION4.type, Uint8Array.of(TYPE4.NAK)],
      [OPTION4.serverId, address4(this.options.address)],
    ]);
    this.transmit(message, { options: this.echoed(message, options) }, true);
  }

  private end(asking: Asking, address: string, state: "released" | "declined"): void {
    const { pool, client } = asking;
    if (pool.get(client)?.address !== address) {
      this.counters.ignored++;
      return;
    }
    if (state === "released") this.write(asking, address, state, 0);
    else pool.set({ address, client: "", mac: "", state, expires: this.options.alarms.now() + DECLINED_MS });
  }

  private write({ pool, client, mac, message }: Asking, address: string, state: LeaseEntry["state"], ms: number): void {
    const hostname = readText(message.options.get(OPTION4.hostname));
    const entry: LeaseEntry = { address, client, mac, hostname, state, expires: this.options.alarms.now() + ms };
    pool.set(entry);
    if (state === "bound" || state === "released") this.options.leased?.(entry);
  }

  // ── Replies ───────────────────────────────────────────────────────────────────────────────────

  private send({ message, pool }: Asking, type: number, yiaddr: string, lease: boolean, rapid = false): void {
    const options = new Map<number, Uint8Array>([
      [OPTION4.type, Uint8Array.of(type)],
      [OPTION4.serverId, address4(this.options.address)],
    ]);
    if (lease) {
      const seconds = pool.leaseSeconds;
      options.set(OPTION4.leaseTime, be32(seconds));
      options.set(OPTION4.t1, be32(Math.floor(seconds / 2)));
      options.set(OPTION4.t2, be32(Math.floor(seconds * 0.875)));
    }
    if (rapid) options.set(OPTION4.rapidCommit, new Uint8Array());
    this.echoed(message, options);
    this.tell(message, pool, options);
    this.transmit(message, { yiaddr, ciaddr: message.ciaddr, options }, false);
  }

  /** What a pool has to say, the most wanted first (RFC 2132 §9.8), as far as the reply has room for it (§9.10). */
  private tell(message: Dhcp4Message, pool: Pool4, options: Map<number, Uint8Array>): void {
    const taken = Math.max(readU16(message.options.get(OPTION4.maxSize)) ?? LEAST_PACKET, LEAST_PACKET);
    const room = Math.min(taken, this.options.mtu ?? 1500) - HEADERS;
    const own = writeConfig({ prefixLength: pool.prefixLength, ...pool.options });
    for (const [code, data] of Object.entries(pool.options.options ?? {})) own.set(Number(code), data);
    const wanted = [...ALWAYS, ...(message.options.get(OPTION4.parameters) ?? own.keys())];
    for (const code of new Set(wanted)) {
      const data = own.get(code);
      if (!data || options.has(code)) continue;
      options.set(code, data);
      if (sizeOfDhcp4(options) > room) options.delete(code);
    }
  }

  /** What a reply repeats: the client's identifier (RFC 6842) and what a relay added (RFC 3046 §2.2). */
  private echoed(message: Dhcp4Message, options: Map<number, Uint8Array>): Map<number, Uint8Array> {
    for (const code of ECHOED) {
      const data = message.options.get(code);
      if (data) options.set(code, data);
    }
    return options;
  }

  /** RFC 2131 §4.1: by the relay, to the client's address, to everybody, or to the client alone. */
  private transmit(message: Dhcp4Message, fields: Pick<Dhcp4Message, "options"> & Partial<Dhcp4Message>, refusal: boolean): void {
    const { xid, giaddr, chaddr, htype, ciaddr, broadcast } = message;
    const relayed = giaddr !== NOWHERE;
    const bytes = encodeDhcp4({ op: 2, xid, giaddr, chaddr, htype, broadcast: broadcast || (refusal && relayed), ...fields });
    this.counters.sent++;
    if (relayed) this.options.reply(bytes, { kind: "address", address: giaddr, port: 67 });
    else if (!refusal && ciaddr !== NOWHERE) this.options.reply(bytes, { kind: "address", address: ciaddr, port: 68 });
    else if (refusal || broadcast) this.options.reply(bytes, { kind: "broadcast" });
    else this.options.reply(bytes, { kind: "client", mac: chaddr, address: fields.yiaddr ?? NOWHERE });
  }
}

/** Suboption 5 of the relay's option (RFC 3527 §3). */
function linkSelection(data: Uint8Array | undefined): string | undefined {
  for (let at = 0; data && at + 2 <= data.length; at += 2 + data[at + 1]) {
    if (data[at] === 5) return readAddress(data.subarray(at + 2, at + 2 + data[at + 1]));
  }
  return undefined;
}
