/** What may be set on a `dgram` socket: broadcast, hop limits, groups and their interfaces. */
import { EventEmitter } from "node:events";
import { isIP } from "node:net";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { UdpEndpoint } from "../udp/endpoint.ts";
import { calledOn } from "./callable.ts";
import { checkNumber, checkText } from "./checks.ts";
import { nodeError, systemError } from "./errors.ts";

export type Setting = (endpoint: UdpEndpoint) => void;

export abstract class ConfiguredSocket extends calledOn(EventEmitter) {
  protected readonly host: Host;

  constructor(host: Host) {
    super();
    this.host = host;
  }

  /** Throws EBADF while the socket is not bound. */
  protected abstract configure(what: string, setting: Setting): void;
  /** Does it now, or as soon as the socket is bound, which it is for that. */
  protected abstract configureBound(what: string, setting: Setting): void;

  setBroadcast(on: boolean): void {
    this.configure("setBroadcast", (endpoint) => {
      endpoint.broadcast = Boolean(on);
    });
  }

  setTTL(ttl: number): number {
    const hops = checkTtl(ttl, 1, "setTTL");
    this.configure("setTTL", (endpoint) => {
      endpoint.hopLimit = hops;
    });
    return ttl;
  }

  setMulticastTTL(ttl: number): number {
    const hops = checkTtl(ttl, 0, "setMulticastTTL");
    this.configure("setMulticastTTL", (endpoint) => endpoint.setMulticastTtl(hops));
    return ttl;
  }

  setMulticastLoopback(on: boolean): boolean {
    this.configure("setMulticastLoopback", (endpoint) => endpoint.setMulticastLoop(Boolean(on)));
    return on;
  }

  setMulticastInterface(name: string): void {
    checkText(name, "interfaceAddress");
    // Node takes addresses alone here, libuv a zone with them.
    if (!isIP(name)) throw systemError("EINVAL", "setMulticastInterface");
    this.configure("setMulticastInterface", (endpoint) => endpoint.setMulticastInterface(this.#interface(name)));
  }

  addMembership(group: string, name?: string): void {
    this.#group("addMembership", group, (endpoint, address) => endpoint.join(address, { iface: this.#interface(name) }));
  }

  dropMembership(group: string, name?: string): void {
    this.#group("dropMembership", group, (endpoint, address) => endpoint.leave(address, { iface: this.#interface(name) }));
  }

  addSourceSpecificMembership(source: string, group: string, name?: string): void {
    this.#sources("addSourceSpecificMembership", source, group, (endpoint, address, sources) =>
      endpoint.join(address, { iface: this.#interface(name), sources }),
    );
  }

  dropSourceSpecificMembership(source: string, group: string, name?: string): void {
    this.#sources("dropSourceSpecificMembership", source, group, (endpoint, address, sources) =>
      endpoint.leave(address, { iface: this.#interface(name), sources }),
    );
  }

  #group(what: string, group: string, change: (endpoint: UdpEndpoint, group: IpAddress) => void): void {
    if (!group) throw nodeError("ERR_MISSING_ARGS", 'The "multicastAddress" argument must be specified', TypeError);
    if (typeof group !== "string" || !isIP(group)) throw systemError("EINVAL", what);
    this.configureBound(what, (endpoint) => change(endpoint, IpAddress.parse(group)));
  }

  #sources(
    what: string,
    source: string,
    group: string,
    change: (endpoint: UdpEndpoint, group: IpAddress, sources: IpAddress[]) => void,
  ): void {
    checkText(source, "sourceAddress");
    checkText(group, "groupAddress");
    if (!isIP(source)) throw systemError("EINVAL", what);
    this.#group(what, group, (endpoint, address) => change(endpoint, address, [IpAddress.parse(source)]));
  }

  /** By address or by name; "::%eth1" names one too. */
  #interface(name: string | undefined): NetInterface | undefined {
    if (!name) return undefined;
    const { interfaces } = this.host.ip;
    const [address, zone] = name.split("%");
    const byName = interfaces.find((iface) => iface.name === (zone ?? name));
    if (byName || !isIP(address)) {
      if (!byName) throw new LoomError("ENODEV", `there is no interface ${name}`);
      return byName;
    }
    const own = IpAddress.parse(address);
    if (own.isUnspecified) return undefined;
    const found = interfaces.find((iface) => iface.owns(own));
    if (!found) throw new LoomError("EADDRNOTAVAIL", `no interface has the address ${name}`);
    return found;
  }
}

/** As the system is given it: a whole number. */
function checkTtl(ttl: number, least: number, what: string): number {
  checkNumber(ttl, "ttl");
  const whole = ttl | 0;
  if (whole < least || whole > 255) throw systemError("EINVAL", what);
  return whole;
}
