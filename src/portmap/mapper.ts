/**
 * Who gets which outer port, and for how long. A client maps ports of its own address alone; what it has is its to renew and to end
 * (by the nonce, where the protocol has one). Outer ports that the router itself or its rules use are nobody's.
 */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { End, Mapping } from "../track/index.ts";

export interface PortMapperOptions {
  /** The interface that clients are to be reached by. */
  readonly external: string;
  /** Sources that leave by it get its address. Else clients are reached by their own, and a mapping is a hole in the firewall. */
  readonly masquerades: boolean;
  /** Outer ports that may be had: first and last. Default 1024 to 65535. */
  readonly ports?: readonly [number, number];
  /** Outer ports that are somebody's already: of port forwards, say. */
  readonly isTaken?: (protocol: number, port: number) => boolean;
  /** Mappings one client may have. Default 128. */
  readonly mostPerClient?: number;
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
export type Refusal = "protocol" | "no-external" | "taken" | "quota" | "no-room" | "not-yours";

type Kept = Omit<Entry, "seconds"> & { id: number };

const PROTOCOLS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
/** RFC 6887 §15: short lives are made longer. */
const SHORTEST = 120;
const TRIES = 128;
const ALL_PORTS = [1024, 65_535] as const;

const keyOf = (protocol: number, { address, port }: End) => `${protocol} ${address} ${port}`;

export class PortMapper {
  readonly options: PortMapperOptions;
  private readonly host: Host;
  /** By outer end. */
  private readonly kept = new Map<string, Kept>();
  private since: number;

  constructor(host: Host, options: PortMapperOptions) {
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

  /** What it gave and what is still there. What went without having been ended (its address did) begins a new epoch. */
  entries(): readonly Entry[] {
    const live: Entry[] = [];
    for (const [key, kept] of this.kept) {
      const mapping = this.mappingOf(kept);
      if (mapping) live.push({ ...kept, seconds: Math.ceil(mapping.expiresMs / 1000) });
      else this.kept.delete(key);
    }
    return live;
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
    return this.entries().find(
      (each) => each.protocol === protocol && each.inner.port === inner.port && each.inner.address.equals(inner.address),
    );
  }

  /** Gives a mapping, or makes the one that is there live on. */
  map(request: MapRequest): Granted | Refusal {
    const { protocol, inner, another, nonce } = request;
    if (!PROTOCOLS.has(protocol)) return "protocol";
    const external = this.external(inner.address);
    if (!external) return "no-external";
    const there = another ? undefined : this.of(protocol, inner);
    if (there && there.nonce !== undefined && there.nonce !== nonce) return "not-yours";
    const count = this.entries().filter((each) => each.inner.address.equals(inner.address)).length;
    if (!there && count >= (this.options.mostPerClient ?? 128)) return "quota";
    const seconds = Math.min(Math.max(Math.ceil(request.seconds), SHORTEST), this.options.longest ?? 86_400);
    if (!this.options.masquerades) return this.keep(request, { address: external, port: inner.port }, seconds) ?? "no-room";
    if (there) return this.keep(request, there.outer, seconds) ?? "no-room";
    return this.choose(request, external, seconds);
  }

  private choose(request: MapRequest, address: IpAddress, seconds: number): Granted | Refusal {
    const { protocol, inner, exact, another, wanted } = request;
    // Flows may have made one: it becomes one that was asked for.
    const had = another ? undefined : this.mappings.of(protocol, inner);
    if (had?.outer.address.equals(address)) return this.keep(request, had.outer, seconds) ?? "no-room";
    if (exact) return this.tries(request, address, wanted?.port ?? 0, seconds) ?? "taken";
    const [first, last] = this.options.ports ?? ALL_PORTS;
    for (const port of [wanted?.port ?? 0, inner.port]) {
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
    const { protocol } = request;
    if (port < first || port > last) return undefined;
    const isOwn = (protocol === 6 && this.host.tcp.uses(port)) || (protocol === 17 && this.host.udp.uses(port));
    if (isOwn || this.options.isTaken?.(protocol, port)) return undefined;
    const outer = { address, port };
    const there = this.entry(protocol, outer);
    if (there && !there.inner.address.equals(request.inner.address)) return undefined;
    // A client's own port may come to mean another of its services (UPnP).
    if (there && there.inner.port !== request.inner.port) this.end(there);
    return this.keep(request, outer, seconds);
  }

  private keep(request: MapRequest, outer: End, seconds: number): Granted | undefined {
    const { kind, protocol, inner, nonce, description = "" } = request;
    const mapping = this.mappings.add({ protocol, inner, outer, lifetimeMs: seconds * 1000 });
    if (!mapping) return undefined;
    this.kept.set(keyOf(protocol, outer), { kind, protocol, inner, outer, nonce, description, id: mapping.id });
    return { outer, seconds };
  }

  /** Ends an entry; connections that use it go on. */
  end({ protocol, outer }: Pick<Entry, "protocol" | "outer">): void {
    const kept = this.kept.get(keyOf(protocol, outer));
    const mapping = kept && this.mappingOf(kept);
    if (mapping) this.mappings.remove(mapping.id);
    this.kept.delete(keyOf(protocol, outer));
  }

  /** Ends what fits; "not-yours" when something of it is somebody else's by its nonce. */
  unmap(fits: (entry: Entry) => boolean, nonce?: string): "not-yours" | undefined {
    const found = this.entries().filter(fits);
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
