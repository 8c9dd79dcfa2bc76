/** A router's interfaces, made and changed as the configuration says; what stays the same is not touched. */
import { LoomError } from "../base/errors.ts";
import type { Port } from "../engine/port.ts";
import type { DeviceFor, Host } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
import { bridge } from "../link/bridge.ts";
import { changed, same } from "./changes.ts";
import type { DeviceConfig, InterfaceConfig, OuterDevice } from "./schema.ts";

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

  /** Those that are gone, or whose device is another one, go first. */
  remove(next: readonly InterfaceConfig[], before: readonly InterfaceConfig[], leaving: (iface: NetInterface) => void): void {
    for (const old of before) {
      const now = next.find(({ name }) => name === old.name);
      const isThere = this.host.ip.interfaces.some(({ name }) => name === old.name);
      if (!isThere || (now && same(now.device, old.device))) continue;
      leaving(this.host.ip.interface(old.name));
      this.host.removeInterface(old.name);
    }
  }

  async set(next: readonly InterfaceConfig[], before: readonly InterfaceConfig[]): Promise<void> {
    // What another interface is to have now is taken from the one that had it first.
    for (const config of next) {
      const old = before.find(({ name }) => name === config.name);
      const gone =
        old && this.host.ip.interfaces.some(({ name }) => name === old.name)
          ? changed([config.gateway ?? []].flat(), [old.gateway ?? []].flat()).gone
          : [];
      for (const via of gone) this.host.removeRoute(everything(via));
    }
    // Bridges before their ports.
    const ordered = [...next].sort((a, b) => Number(a.master !== undefined) - Number(b.master !== undefined));
    for (const config of ordered) {
      const old = before.find(({ name }) => name === config.name);
      const isThere = this.host.ip.interfaces.some(({ name }) => name === config.name);
      if (isThere && old) this.change(config, old);
      else await this.add(config);
    }
  }

  private async add({ device, qdisc: _, up, ...options }: InterfaceConfig): Promise<void> {
    const { name } = options;
    const ready = this.ready[name] ?? (device && this.made(device, name));
    const mac = options.mac ?? this.macOf?.(name);
    await this.host.addInterface({ ...options, ...(mac && { mac }), device: ready, port: this.ports[name] });
    if (up === false) this.host.setUp(name, false);
  }

  private made(device: DeviceConfig, name: string): DeviceFor {
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
