/** What a host and its calls take and show: interfaces, connections, listeners, datagrams, routes. */

import type { EndpointOptions } from "../datagram/endpoint.ts";
import type { Device, Engine, EngineOptions } from "../engine/engine.ts";
import type { LinkStats } from "../engine/link-stats.ts";
import type { OffloadFlags, Port } from "../engine/port.ts";
import type { AdvertiseOptions } from "../ip/advertiser.ts";
import type { RouteKind } from "../ip/routes.ts";
import type { AutoconfOptions } from "../ip/slaac.ts";
import type { DatagramSettings } from "../socket/datagram-options.ts";
import type { SocketAddress } from "../socket/stream.ts";
import type { TcpOptions } from "../tcp/tcb.ts";
import type { NamesOptions } from "./names.ts";

export type { RawOptions } from "./raw-options.ts";
export type { RuleOptions } from "./rule-options.ts";

/** A device for a port that the host gives it. */
export type DeviceFor = (engine: Engine, port: Port) => Device | Promise<Device>;

export interface InterfaceOptions {
  /** Default "eth0", "eth1", … */
  name?: string;
  /** What moves the frames; without one the port is the program's (or joined to another). May bring MAC and MTU along. */
  device?: DeviceFor;
  /** A port of the host's engine; default: the next free one. */
  port?: Port;
  /** Default: the device's own, or random. */
  mac?: string;
  /** Default: the device's own, or 1500. */
  mtu?: number;
  /** "192.0.2.2/24", "2001:db8::2/64". */
  addresses?: readonly string[];
  /**
   * Addresses, routes and name servers by what routers of the link say (RFC 4862, RFC 8106): a stable address and
   * temporary ones. Addresses are then used only when nobody else answers for them. Default false.
   */
  autoconf?: boolean | AutoconfOptions;
  /** How often the link is asked before an address is used (RFC 4862, RFC 5227 asks three times). Default 0, 1 with `autoconf`. */
  probes?: number;
  /** Speak as a router on this interface (RFC 4861 §6.2); the host must forward. */
  advertise?: boolean | AdvertiseOptions;
  /** Answer for what is reached by other interfaces: proxy ARP (RFC 1027) and NDP. The host must forward. */
  proxy?: boolean;
  /**
   * The bridge that it is a port of: an interface whose device is `bridge()`. A port has no addresses of its own; `pvid` is the VLAN of its untagged frames
   * (default 1), `vlans` those that it carries tagged, on a bridge with `vlanFiltering`.
   */
  master?: string;
  pvid?: number;
  vlans?: readonly number[];
  /** Default gateways of either family. */
  gateway?: string | readonly string[];
  /** Ask the link for addresses, routes and name servers: of both families, or of one. `host.dhcp(name)` waits for them. */
  dhcp?: boolean | "v4" | "v6";
}

export interface HostOptions extends NamesOptions {
  interfaces?: readonly InterfaceOptions[];
  /** An engine that several hosts share; default: one of its own. */
  engine?: Engine;
  /** Sizes of the host's own engine. */
  memory?: EngineOptions;
  /** Forward packets for others. Default false. */
  forwarding?: boolean;
  /** Rules in nftables' language, as `nft -f` takes them. Makes room for rules and for 65,536 connections unless `memory` says otherwise. */
  ruleset?: string;
  /** Most neighbours. Default 1024. */
  neighbours?: number;
  /** Defaults of TCP connections. */
  tcp?: Partial<TcpOptions>;
  /** Handshakes kept per listener before SYN cookies are used. Default 1024. */
  handshakes?: number;
  /** Seed of everything that is left to chance, for runs that can be repeated; without it all of that is secret. */
  seed?: number;
}

/** A Unix domain socket of this host: a path, or "\0" and an abstract name. */
export interface UnixPath {
  path: string;
}

export interface ConnectOptions extends Partial<TcpOptions> {
  /** A name or an address. A name's addresses of both families are tried in turn (RFC 8305). */
  hostname: string;
  port: number;
  localAddress?: string;
  localPort?: number;
  /** Only by this interface, both ways (SO_BINDTODEVICE). A link-local address may name it instead: "fe80::1%eth0". */
  interface?: string;
  /** Gives up: resets what was begun and rejects. */
  signal?: AbortSignal;
}

export interface ListenOptions extends Partial<TcpOptions> {
  /** Default: all addresses. */
  hostname?: string;
  /** 0: any free port. */
  port: number;
  /** Only what comes by this interface (SO_BINDTODEVICE). */
  interface?: string;
  backlog?: number;
}

export interface DatagramOptions extends DatagramSettings, EndpointOptions {
  hostname?: string;
  port?: number;
  /** Only by this interface, both ways (SO_BINDTODEVICE). */
  interface?: string;
}

/** A socket's two ends: addresses with ports, or as Node's sockets have them. */
export interface BothEnds {
  readonly localAddress?: string | SocketAddress;
  readonly localPort?: number;
  readonly remoteAddress?: string | SocketAddress;
  readonly remotePort?: number;
}

export interface PingOptions {
  /** Bytes behind the header. Default 56. */
  size?: number;
  /** Milliseconds to wait for the reply. Default 1000. */
  timeout?: number;
  hopLimit?: number;
  /** Ends the lookup of a name. */
  signal?: AbortSignal;
}

/** An interface as `ip -s link` shows it. */
export interface LinkInfo {
  readonly name: string;
  /** Name of its device, if the host was given one. */
  readonly device: string | undefined;
  /** The bridge that it is a port of. */
  readonly master: string | undefined;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly offload: OffloadFlags;
  readonly stats: LinkStats;
}

export interface RouteOptions {
  to: string;
  /** Default 254, the main one. More tables need an engine with more `tables`. */
  table?: number;
  via?: string;
  interface?: string;
  metric?: number;
  kind?: RouteKind;
  /** Several next hops share the traffic. */
  nextHops?: readonly { via?: string; interface?: string; weight?: number }[];
}
