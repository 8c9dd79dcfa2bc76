/**
 * Who gets which outer port, and for how long. A client maps ports of its own address alone; what it has is its to renew and to end
 * (by the nonce, where the protocol has one). Outer ports that the router itself or its rules use are nobody's.
 */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { amount, anyPort, callback, checkOptions, type Shape, text, whole, yesNo } from "../base/options.ts";
import type { Host } from "../host/host.ts";
import type { End, Mapping } from "../track/index.ts";

export interface PortMapperOptions {
  /** The interface that clients are to be reached by. */
  readonly external: string;
  /** Sources that leave by it get its address. Else clients are reached by their own, and a mapping is a hole in the firewall. */
  readonly masquerades: boolean;
  /** Outer ports that may be had: first and last. Default 1024 to 65535. */
  readonly ports?: readonly [number, number];
  /** Outer ends that are somebody's already: of port forwards, say. */
  readonly isTaken?: (protocol: number, outer: End) => boolean;
  /** Mappings one client may have. Default 128. */
  readonly mostPerClient?: number;
  /** Mappings that there may be. Default 4096, and never more than a quarter of the table of flows. */
  readonly most?: number;
  /** Seconds that a mapping lives at most without being asked for again. Default 86400. */
  readonly longest?: number;
}

export type MapKind = "pcp" | "nat-pmp" | "upnp";

export interface MapRequest {
  readonly kind: MapKind;
  readonly protocol: number;
  readonly inner: End;
  /** What it would like; nothing or port 0: any. */
  readonly wanted?: { readonly address?: IpAddress; readonly port: number };
  /** That port or none. */
  readonly exact?: boolean;
  /** Another port for an inner end that has one already (UPnP); else it keeps the one it has. */
  readonly another?: boolean;
  readonly seconds: number;
  /** Of PCP: only who knows it may change the mapping. */
  readonly nonce?: string;
  readonly description?: string;
}

export interface Entry {
  readonly kind: MapKind;
  readonly protocol: number;
  readonly inner: End;
  readonly outer: End;
  readonly nonce: string | undefined;
  readonly description: string;
  /** Seconds left. */
  readonly seconds: number;
}

export interface Granted {
  readonly outer: End;
  readonly seconds: number;
}

/** Why there is none: protocols have words of their own for these. */
export type Refusal = "protocol" | "no-external" | "taken" | "untranslated" | "quota" | "no-room" | "not-yours";

type Kept = Omit<Entry, "seconds"> & { id: number };

const PROTOCOLS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
/** RFC 6887 §15: short lives are made longer. */
const SHORTEST = 120;
const TRIES = 128;
const SWEEP_MS = 1000;
const MOST = 4096;
const ALL_PORTS = [1024, 65_535] as const;

const keyOf = (protocol: number, { address, port }: End) => `${protocol} ${address} ${port}`;

const MAPPER: Shape<PortMapperOptions> = {
  external: text,
  masquerades: yesNo,
  ports: (value) => {
    const [low, high] = Array.isArray(value) && value.length === 2 ? value.map((port) => anyPort(port)) : ["no", "range"];
    const isRange = low === undefined && high === undefined && (value as number[])[0] <= (value as number[])[1];
    return isRange ? undefined : "the first and the last port of a range, such as [1024, 65535]";
  },
  isTaken: callback,
  mostPerClient: whole(1),
  most: whole(1),
  longest: amount("seconds"),
};

export class PortMapper {
  readonly options: PortMapperOptions;
  private readonly host: Host;
  /** By outer end. */
  private readonly kept = new Map<string, Kept>();
  /** The same of each client. */
  private readonly clients = new Map<string, Map<string, Kept>>();
  private since: number;
  private nextSweep = 0;

  constructor(host: Host, options: PortMapperOptions) {
    checkOptions("port mapper", MAPPER, options, ["external", "masquerades"]);
    if (!host.network) throw new LoomError("ENOTSUP", "this host's engine tracks no connections; create it with `flows`");
    this.host = host;
    this.options = options;
    this.since = host.engine.clock.now();
    host.network.track("mappings", { 4: true, 6: true, defrag: true });
  }

  /** Seconds since the mappings that were given are all there (RFC 6887 §8.5). */
  get epoch(): number {
    return Math.floor((this.host.engine.clock.now() - this.since) / 1000);
  }

  private get mappings() {
    return this.host.conntrack.mappings;
  }

  /** The outer address for an inner one, or nothing while there is none. */
  external(inner: IpAddress): IpAddress | undefined {
    if (inner.isLinkLocal) return undefined;
    if (!this.options.masquerades) return inner;
    const own = this.host.ip.interfaces.find(({ name }) => name === this.options.external)?.addresses ?? [];
    return own.find(({ address, state }) => address.family === inner.family && !address.isLinkLocal && state === "usable")?.address;
  }

  /** What it gave and what is still there, all or a client's. What went without having been ended (its address did) begins a new epoch. */
  entries(client?: IpAddress): readonly Entry[] {
    const live: Entry[] = [];
    for (const [key, kept] of client ? (this.clients.get(String(client)) ?? []) : this.kept) {
      const mapping = this.mappingOf(kept);
      if (mapping) live.push({ ...kept, seconds: Math.ceil(mapping.expiresMs / 1000) });
      else this.forget(key);
    }
    return live;
  }

  /** One of those that fit, by its place among them. No other is looked up. */
  at(index: number, fits: (entry: Omit<Entry, "seconds">) => boolean): Entry | undefined {
    let place = 0;
    for (const kept of this.kept.values()) {
      if (!fits(kept) || place++ < index) continue;
      const entry = this.entry(kept.protocol, kept.outer);
      if (entry) return entry;
      this.forget(keyOf(kept.protocol, kept.outer));
      place--;
    }
    return undefined;
  }

  private remember(kept: Kept): void {
    const key = keyOf(kept.protocol, kept.outer);
    const client = String(kept.inner.address);
    this.forget(key);
    this.kept.set(key, kept);
    const theirs = this.clients.get(client) ?? new Map<string, Kept>();
    this.clients.set(client, theirs.set(key, kept));
  }

  private forget(key: string): void {
    const client = String(this.kept.get(key)?.inner.address);
    const theirs = this.clients.get(client);
    theirs?.delete(key);
    if (theirs?.size === 0) this.clients.delete(client);
    this.kept.delete(key);
  }

  private mappingOf({ protocol, outer, id }: Kept): Mapping | undefined {
    const mapping = this.mappings.behind(protocol, outer);
    return mapping?.isExplicit && mapping.id === id ? mapping : undefined;
  }

  entry(protocol: number, outer: End): Entry | undefined {
    const kept = this.kept.get(keyOf(protocol, outer));
    const mapping = kept && this.mappingOf(kept);
    return kept && mapping && { ...kept, seconds: Math.ceil(mapping.expiresMs / 1000) };
  }

  /** The entry of an inner end; UPnP may have made several. */
  of(protocol: number, inner: End): Entry | undefined {
    return this.entries(inner.address).find((each) => each.protocol === protocol && each.inner.port === inner.port);
  }

  /** Gives a mapping, or makes the one that is there live on. */
  map(request: MapRequest): Granted | Refusal {
    const { protocol, inner, another, nonce, exact, wanted } = request;
    if (!PROTOCOLS.has(protocol)) return "protocol";
    const external = this.external(inner.address);
    if (!external) return "no-external";
    const there = another ? undefined : this.of(protocol, inner);
    if (there && there.nonce !== undefined && there.nonce !== nonce) return "not-yours";
    if (!there && this.entries(inner.address).length >= (this.options.mostPerClient ?? 128)) return "quota";
    if (!there && !this.hasRoom()) return "no-room";
    const seconds = Math.min(Math.max(Math.ceil(request.seconds), SHORTEST), this.options.longest ?? 86_400);
    if (!this.options.masquerades) {
      if (exact && wanted?.port !== inner.port) return "untranslated";
      return this.keep(request, { address: external, port: inner.port }, seconds) ?? "no-room";
    }
    if (there) return this.keep(request, there.outer, seconds) ?? "no-room";
    return this.choose(request, external, seconds);
  }

  /** Once it is full, what has run out is looked for once a second: that reads all, 37 ms for 4,096, which no request is to cost. */
  private hasRoom(): boolean {
    const most = Math.min(this.options.most ?? MOST, this.host.conntrack.capacity >>> 2);
    const now = this.host.engine.clock.now();
    if (this.kept.size >= most && now >= this.nextSweep) {
      this.entries();
      this.nextSweep = now + SWEEP_MS;
    }
    return this.kept.size < most;
  }

  private choose(request: MapRequest, address: IpAddress, seconds: number): Granted | Refusal {
    const { protocol, inner, exact, another, wanted } = request;
    // Flows may have made one: it becomes one that was asked for.
    const had = another ? undefined : this.mappings.of(protocol, inner)?.outer;
    const flows = had?.address.equals(address) ? had.port : undefined;
    if (exact) {
      if (flows !== undefined && flows !== wanted?.port) return "taken";
      return this.tries(request, address, wanted?.port ?? 0, seconds) ?? "taken";
    }
    const [first, last] = this.options.ports ?? ALL_PORTS;
    for (const port of [flows ?? 0, wanted?.port ?? 0, inner.port]) {
      const granted = this.tries(request, address, port, seconds);
      if (granted) return granted;
    }
    for (let i = 0; i < TRIES; i++) {
      const granted = this.tries(request, address, first + this.host.ip.random.below(last - first + 1), seconds);
      if (granted) return granted;
    }
    return "no-room";
  }

  private tries(request: MapRequest, address: IpAddress, port: number, seconds: number): Granted | undefined {
    const [first, last] = this.options.ports ?? ALL_PORTS;
    const { protocol, inner, another, nonce } = request;
    if (port < first || port > last) return undefined;
    const isOwn = (protocol === 6 && this.host.tcp.uses(port)) || (protocol === 17 && this.host.udp.uses(port));
    const outer = { address, port };
    if (isOwn || this.options.isTaken?.(protocol, outer)) return undefined;
    const there = this.entry(protocol, outer);
    if (there && (!there.inner.address.equals(inner.address) || (there.nonce !== undefined && there.nonce !== nonce))) return undefined;
    if (there && there.inner.port !== inner.port) {
      // A client's own port may come to mean another of its services (UPnP).
      if (!another) return undefined;
      this.end(there);
    }
    return this.keep(request, outer, seconds);
  }

  private keep(request: MapRequest, outer: End, seconds: number): Granted | undefined {
    const { kind, protocol, inner, nonce, description = "" } = request;
    const mapping = this.mappings.add({ protocol, inner, outer, lifetimeMs: seconds * 1000 });
    if (!mapping) return undefined;
    this.remember({ kind, protocol, inner, outer, nonce, description, id: mapping.id });
    return { outer, seconds };
  }

  /** Ends an entry; connections that use it go on. */
  end({ protocol, outer }: Pick<Entry, "protocol" | "outer">): void {
    const kept = this.kept.get(keyOf(protocol, outer));
    const mapping = kept && this.mappingOf(kept);
    if (mapping) this.mappings.remove(mapping.id);
    this.forget(keyOf(protocol, outer));
  }

  /** Ends what fits of a client's; "not-yours" when something of it is somebody else's by its nonce. */
  unmap(client: IpAddress, fits: (entry: Entry) => boolean, nonce?: string): "not-yours" | undefined {
    const found = this.entries(client).filter(fits);
    if (found.some((each) => each.nonce !== undefined && each.nonce !== nonce)) return "not-yours";
    for (const each of found) this.end(each);
    return undefined;
  }

  /** The outer address went: with it what was given, and clients have to ask anew. */
  lost(): void {
    this.entries();
    this.since = this.host.engine.clock.now();
  }

  close(): void {
    for (const each of this.entries()) this.end(each);
    this.host.network?.track("mappings", { 4: false, 6: false, defrag: false });
  }
}
