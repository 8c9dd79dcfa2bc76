/** A router's interfaces, made and changed as the configuration says; what stays the same is not touched. */
import { LoomError } from "../base/errors.ts";
import type { Port } from "../engine/port.ts";
import type { DeviceFor, Host, InterfaceOptions } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
import { bridge } from "../link/bridge.ts";
import { changed, same } from "./changes.ts";
import { Opening } from "./opening.ts";
import type { InterfaceConfig, OuterDevice } from "./schema.ts";

/** Makes devices: by their description, or ready ones by the interface's name. */
export type DeviceMaker = (config: OuterDevice, interfaceName: string) => DeviceFor;

/** Where interfaces get what moves their frames. */
export interface InterfaceSources {
  /** Makes the devices that the configuration describes (`deviceOf` of "packetloom/router-node"). */
  device?: DeviceMaker;
  /** Ready devices, by interface. */
  devices?: Readonly<Record<string, DeviceFor>>;
  /** Ports of the engine, by interface ("nat64" too); default: the next free ones. */
  ports?: Readonly<Record<string, Port>>;
  /** The MAC address of an interface whose configuration names none, when it is made. Default: one by chance. */
  macOf?: (interfaceName: string) => string;
}

const everything = (via: string) => (via.includes(":") ? "::/0" : "0.0.0.0/0");

const DEFAULT_MTU = 1500;

export class Interfaces {
  private readonly host: Host;
  private readonly deviceOf: DeviceMaker;
  private readonly ready: Readonly<Record<string, DeviceFor>>;
  private readonly ports: Readonly<Record<string, Port>>;

  private readonly macOf: ((name: string) => string) | undefined;

  constructor(host: Host, { device: deviceOf, devices = {}, ports = {}, macOf }: InterfaceSources) {
    this.host = host;
    this.macOf = macOf;
    this.ready = devices;
    this.ports = ports;
    this.deviceOf =
      deviceOf ??
      (({ kind }, name) => {
        throw new LoomError("ENOTSUP", `interface ${name}: nobody here makes a ${kind} device; give one in devices: { ${name}: … }`);
      });
  }

  /** Opens what the next configuration has and this one has not. When something cannot be it throws, and nothing has changed. */
  open(next: readonly InterfaceConfig[], before: readonly InterfaceConfig[]): Promise<Opening> {
    const gone = this.gone(next, before);
    // One whose device is another one has a name that is taken until that goes; what it is to have is opened all the same.
    const fresh = next.filter(({ name, device }) => device?.kind !== "bridge" && (!this.isThere(name) || gone.includes(name)));
    return Opening.open(
      this.host,
      fresh.map((config) => this.optionsOf(config)),
      gone.length > 0,
    );
  }

  private isThere(name: string): boolean {
    return this.host.ip.interfaces.some((iface) => iface.name === name);
  }

  private gone(next: readonly InterfaceConfig[], before: readonly InterfaceConfig[]): string[] {
    const stays = (old: InterfaceConfig) => next.some(({ name, device }) => name === old.name && same(device, old.device));
    return before.filter((old) => this.isThere(old.name) && !stays(old)).map(({ name }) => name);
  }

  /** Those that are gone, or whose device is another one, go first. */
  remove(next: readonly InterfaceConfig[], before: readonly InterfaceConfig[], leaving: (iface: NetInterface) => void): void {
    for (const name of this.gone(next, before)) {
      leaving(this.host.ip.interface(name));
      this.host.removeInterface(name);
    }
  }

  async set(next: readonly InterfaceConfig[], before: readonly InterfaceConfig[], opening: Opening): Promise<void> {
    // What another interface is to have now is taken from the one that had it first.
    for (const config of next) {
      const old = before.find(({ name }) => name === config.name);
      const gone = old && this.isThere(old.name) ? changed([config.gateway ?? []].flat(), [old.gateway ?? []].flat()).gone : [];
      for (const via of gone) this.host.removeRoute(everything(via));
    }
    // Bridges before their ports.
    const ordered = [...next].sort((a, b) => Number(a.master !== undefined) - Number(b.master !== undefined));
    for (const config of ordered) {
      const old = before.find(({ name }) => name === config.name);
      if (this.isThere(config.name) && old) this.change(config, old);
      else await this.add(config, opening);
    }
  }

  private async add(config: InterfaceConfig, opening: Opening): Promise<void> {
    const { host } = this;
    const prepared = opening.of(config.name);
    if (prepared) host.addPrepared(prepared);
    else await host.addInterface(this.optionsOf(config));
    if (config.up === false) host.setUp(config.name, false);
  }

  private optionsOf(config: InterfaceConfig): InterfaceOptions {
    const { device: _, qdisc: __, up: ___, ...options } = config;
    const mac = config.mac ?? this.macOf?.(config.name);
    return { ...options, ...(mac && { mac }), device: this.makerOf(config), port: this.ports[config.name] };
  }

  /** What opens an interface's device, if it has one. */
  private makerOf({ name, device }: InterfaceConfig): DeviceFor | undefined {
    const ready = this.ready[name];
    if (ready || !device) return ready;
    if (device.kind !== "bridge") return this.deviceOf(device, name);
    const { kind: _, ...options } = device;
    return bridge(options);
  }

  private change(config: InterfaceConfig, old: InterfaceConfig): void {
    const { host } = this;
    const { name } = config;
    const iface = host.ip.interface(name);
    if (config.master === undefined && iface.master) host.setMaster(name, undefined);
    // One that is not said any more is what it would be without.
    const mtu = config.mtu ?? (old.mtu === undefined ? iface.mtu : DEFAULT_MTU);
    if (mtu !== iface.mtu) host.setMtu(name, mtu);
    if (config.mac !== undefined && config.mac.toLowerCase() !== iface.port.mac) host.setMac(name, config.mac);
    const { gone, fresh } = changed(config.addresses ?? [], old.addresses ?? []);
    // The new ones first: what is sent meanwhile has an address to be sent from.
    const has = (text: string) => iface.addresses.some(({ address, length }) => `${address}/${length}` === text);
    for (const address of fresh) if (!has(address)) host.addAddress(name, address, { probes: config.autoconf ? 1 : 0 });
    for (const address of gone) host.removeAddress(name, address);
    const gateways = changed([config.gateway ?? []].flat(), [old.gateway ?? []].flat());
    for (const via of gateways.fresh) host.addRoute({ to: everything(via), via, interface: name });
    if ((config.up ?? true) !== (old.up ?? true)) host.setUp(name, config.up ?? true);
    iface.proxy = config.proxy ?? false;
    this.changeProtocols(config, old);
    const { master, pvid, vlans } = config;
    const isSame = iface.master?.name === master && same([pvid, vlans], [old.pvid, old.vlans]);
    if (master !== undefined && !isSame) host.setMaster(name, master, { pvid, vlans });
  }

  private changeProtocols(config: InterfaceConfig, old: InterfaceConfig): void {
    const { host } = this;
    const { ip } = host;
    const iface = ip.interface(config.name);
    if (!same(config.advertise, old.advertise)) {
      if (config.advertise) ip.advertiser.start(iface, config.advertise === true ? {} : config.advertise);
      else ip.advertiser.stop(iface);
    }
    if (!same(config.autoconf, old.autoconf)) {
      if (config.autoconf) ip.discovery.start(iface);
      else ip.discovery.stop(iface);
    }
    if (same(config.dhcp, old.dhcp)) return;
    host.dhcpRelease(config.name);
    const { dhcp } = config;
    if (dhcp) void host.dhcp(config.name, { family: dhcp === "v4" ? 4 : dhcp === "v6" ? 6 : undefined }).catch(() => {});
  }
}
