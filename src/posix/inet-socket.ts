/** What TCP and UDP sockets share: addresses of one or both families, binding to ports. */
import { type IpAddress, LOOPBACK } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
import { ANY4, ANY6 } from "../ip/wildcard.ts";
import type { Bindings, Bound } from "./bindings.ts";
import { AF_INET, AF_INET6 } from "./constants.ts";
import { EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENETUNREACH, ENODEV } from "./errno.ts";
import { addressOf, nameOf, type SocketName } from "./names.ts";
import { newSettings, type Settings } from "./settings.ts";
import { Socket } from "./socket.ts";

export abstract class InetSocket extends Socket implements Bound {
  readonly host: Host;
  /** What the socket is bound to; port 0: not yet. */
  address: IpAddress;
  port = 0;
  /** The port was asked for, so that it stays the socket's when a connection or a listener ends. */
  protected isPortFixed = false;

  constructor(host: Host, domain: number, type: number, protocol: number, settings: Settings = newSettings()) {
    super(domain, type, protocol, settings);
    this.host = host;
    this.address = domain === AF_INET ? ANY4 : ANY6;
  }

  /** Who has which port; undefined where ports are nothing that is bound. */
  protected abstract readonly bindings: Bindings | undefined;
  protected abstract freePort(): number;
  abstract get reuseAddress(): boolean;
  abstract set reuseAddress(on: boolean);

  /** Time to live or hop limit of what is sent. */
  abstract get hopLimit(): number;
  abstract set hopLimit(value: number);
  /** TOS or traffic class of what is sent. */
  abstract get trafficClass(): number;
  abstract set trafficClass(value: number);
  /** Whom the socket is connected to. */
  abstract get peerAddress(): IpAddress | undefined;

  get reusePort(): boolean {
    return this.settings.reusePort;
  }

  get v6Only(): boolean {
    return this.settings.v6Only;
  }

  get device(): string | undefined {
    return this.settings.device;
  }

  bind(name: SocketName): number {
    const address = this.addressIn(name);
    if (typeof address === "number") return address;
    if (!this.host.ip.isBindable(address) && !this.settings.freeBind) return -EADDRNOTAVAIL;
    if (this.port !== 0 || !("port" in name)) return -EINVAL;
    const zoned = this.bindZone(name, address);
    if (zoned < 0) return zoned;
    if (this.settings.bindWithoutPort && name.port === 0 && !address.isUnspecified) {
      this.address = address;
      return 0;
    }
    return this.take(address, name.port);
  }

  /** Binds to a port (0: a free one) when everybody there agrees. */
  protected take(address: IpAddress, port: number): number {
    const before = this.address;
    this.address = address;
    const chosen = port || this.freePort();
    if ((this.bindings?.check(chosen, this) ?? 0) < 0) {
      this.address = before;
      return -EADDRINUSE;
    }
    this.port = chosen;
    this.isPortFixed = port !== 0;
    this.bindings?.add(chosen, this);
    return 0;
  }

  /** A port that was given and not asked for goes back; an address that was asked for stays. */
  protected giveBackPort(): void {
    if (this.isPortFixed) return;
    const { address } = this;
    const isOurs = this.bindings?.holds(this.port, this);
    this.unbind();
    if (isOurs) this.address = address;
  }

  protected unbind(): void {
    if (this.port !== 0) this.bindings?.remove(this.port, this);
    this.port = 0;
    this.address = this.domain === AF_INET ? ANY4 : ANY6;
  }

  /** The interface it is bound to. */
  get boundInterface(): NetInterface | undefined {
    const { device } = this.settings;
    return device === undefined ? undefined : this.host.ip.interfaces.find((each) => each.name === device);
  }

  /** The interface of a link-local address in a name (sin6_scope_id): the one the socket is bound to, or a negative error. */
  protected zoneIn(name: SocketName, address: IpAddress): NetInterface | number | undefined {
    const bound = this.boundInterface;
    if (address.family !== 6 || !address.isLinkLocal) return bound;
    const { scopeId } = name as { scopeId?: number };
    if (!scopeId) return bound ?? -EINVAL;
    const iface = this.host.ip.interfaces.find((each) => each.index === scopeId);
    if (!iface) return -ENODEV;
    return bound && bound !== iface ? -EINVAL : iface;
  }

  /** A socket with a link-local address is bound to its interface from then on, as in Linux. */
  protected bindZone(name: SocketName, address: IpAddress): number {
    if (address.family !== 6 || !address.isLinkLocal) return 0;
    const zone = this.zoneIn(name, address);
    if (typeof zone === "number") return zone;
    if (zone && this.settings.device !== zone.name) {
      this.settings.device = zone.name;
      this.settingChanged("device");
    }
    return 0;
  }

  /** An address as this socket shows it, with the interface of a link-local one. */
  protected shown(address: IpAddress, port: number, iface = this.boundInterface): SocketName {
    return nameOf(address, port, this.domain, address.family === 6 && address.isLinkLocal ? iface?.index : undefined);
  }

  /** An address that this socket may use, or a negative error; `::` and `0.0.0.0` stand for all. */
  protected addressIn(name: SocketName): IpAddress | number {
    const address = addressOf(name, this.domain);
    if (typeof address === "number") return address;
    return this.domain === AF_INET6 && address.family === 4 && this.v6Only ? -ENETUNREACH : address;
  }

  /** As `addressIn`, for a peer: nobody is this host itself. */
  protected peerIn(name: SocketName): IpAddress | number {
    const address = this.addressIn(name);
    if (typeof address === "number" || !address.isUnspecified) return address;
    return LOOPBACK[address.family];
  }

  protected isBroadcast(address: IpAddress): boolean {
    if (address.family === 4 && address.v4 === 0xffff_ffff) return true;
    return this.host.ip.interfaces.some((iface) => iface.isBroadcast(address));
  }

  localName(): SocketName {
    return this.shown(this.address, this.port);
  }
}
