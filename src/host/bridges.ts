/**
 * Bridges of a host, as Linux has them: an interface whose device is `bridge()` is on the bridge itself, others are its ports. A port's frames are switched by the
 * engine; addresses, routes and sockets are the bridge's.
 */
import { invalid } from "../base/errors.ts";
import type { Device } from "../engine/engine.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack } from "../ip/stack.ts";
import { BridgeDevice } from "../link/bridge.ts";

export interface PortVlans {
  /** The VLAN of untagged frames. Default 1. */
  pvid?: number;
  /** Those that the port carries tagged. */
  vlans?: readonly number[];
}

/** Somebody on a bridge. */
export interface StationInfo {
  readonly mac: string;
  /** The port that it was heard by; the bridge's own name: it is the bridge. */
  readonly interface: string;
  /** 0 on a bridge without VLANs. */
  readonly vlan: number;
  /** Seconds since it was heard; undefined: it is pinned. */
  readonly age: number | undefined;
}

export interface PortVlan {
  readonly vlan: number;
  readonly tagged: boolean;
  /** Untagged frames belong to it. */
  readonly isDefault: boolean;
}

const OF_BRIDGES = ["addresses", "gateway", "dhcp", "autoconf", "advertise", "proxy"] as const;
const OF_PORTS = ["pvid", "vlans"] as const;

type OfPort = { [key in (typeof OF_BRIDGES)[number] | (typeof OF_PORTS)[number]]?: unknown };

/** Options of a bridge's port that are its bridge's; of another interface, those that only a port has. */
export function misplacedOptions(master: string | undefined, options: OfPort): (keyof OfPort)[] {
  return master === undefined ? OF_PORTS.filter((key) => options[key] !== undefined) : OF_BRIDGES.filter((key) => options[key]);
}

export function checkPort({ master, ...options }: OfPort & { master?: string }): void {
  const [wrong] = misplacedOptions(master, options);
  if (wrong === undefined) return;
  throw invalid(
    master === undefined
      ? `${wrong} is of a bridge's port; expected master with it`
      : `${wrong} of a port of ${master} is the bridge's; expected it there`,
  );
}

export class HostBridges {
  private readonly ip: IpStack;
  private readonly devices: ReadonlyMap<NetInterface, Device>;
  private readonly stopDhcp: (name: string) => void;
  /** Bridges whose MTU somebody has set: others have that of their smallest port. */
  private readonly fixed = new WeakSet<NetInterface>();

  constructor(ip: IpStack, devices: ReadonlyMap<NetInterface, Device>, stopDhcp: (name: string) => void) {
    this.ip = ip;
    this.devices = devices;
    this.stopDhcp = stopDhcp;
  }

  private deviceOf(iface: NetInterface): BridgeDevice {
    const device = this.devices.get(iface);
    if (device instanceof BridgeDevice) return device;
    throw invalid(`${iface.name} is no bridge; expected an interface whose device is bridge()`);
  }

  private portsOf(master: NetInterface): NetInterface[] {
    return this.ip.interfaces.filter((each) => each.master === master);
  }

  /** An interface was made: if it is a bridge, rules know the way to it. */
  begin(iface: NetInterface, hasMtu: boolean): void {
    const device = this.devices.get(iface);
    if (!(device instanceof BridgeDevice)) return;
    this.ip.tellPort(device.bridge.own, iface.name, 1);
    if (hasMtu) this.fixed.add(iface);
  }

  /** Somebody has said what its MTU is. */
  keepMtu(iface: NetInterface): void {
    this.fixed.add(iface);
  }

  /** Makes an interface a port of a bridge, or changes the VLANs of one that is. */
  enslave(iface: NetInterface, masterName: string, { pvid = 1, vlans = [] }: PortVlans): void {
    const master = this.ip.interface(masterName);
    const { bridge } = this.deviceOf(master);
    if (this.devices.get(iface) instanceof BridgeDevice)
      throw invalid(`${iface.name} is a bridge itself; expected an interface that frames come in by`);
    if (iface.master && iface.master !== master) this.free(iface);
    const { port } = iface;
    if (!iface.master) {
      bridge.add(port, pvid);
      this.stopDhcp(iface.name);
      this.ip.setMaster(iface, master);
    }
    const wanted = new Set([pvid, ...vlans]);
    for (const { vlan } of bridge.vlans(port)) if (!wanted.has(vlan)) bridge.deny(port, vlan);
    for (const vlan of vlans) bridge.allow(port, vlan, { tagged: true });
    bridge.setDefaultVlan(port, pvid);
    this.ip.tellPort(port, master.name, pvid);
    this.follow(master);
  }

  /** Takes a port off its bridge. */
  free(iface: NetInterface): void {
    const { master } = iface;
    if (!master) return;
    this.deviceOf(master).bridge.remove(iface.port);
    this.ip.setMaster(iface, undefined);
    this.follow(master);
  }

  /** The interface goes: a bridge without its ports, a port from its bridge. */
  remove(iface: NetInterface): void {
    const { master } = iface;
    if (master) {
      this.deviceOf(master).bridge.remove(iface.port);
      iface.master = undefined;
      this.follow(master);
    }
    for (const port of this.portsOf(iface)) this.free(port);
    const device = this.devices.get(iface);
    if (device instanceof BridgeDevice) this.ip.forgetPort(device.bridge.own);
  }

  /** Its carrier, state or MTU are others now. */
  changed(iface: NetInterface): void {
    if (!iface.master) return;
    if (!(iface.up && iface.carrier)) this.deviceOf(iface.master).bridge.flush(iface.port);
    this.follow(iface.master);
  }

  /** A bridge has a carrier while one of its ports has, and the MTU of the smallest unless it was given one. */
  private follow(master: NetInterface): void {
    const ports = this.portsOf(master);
    const device = this.deviceOf(master);
    device.carrier = ports.some(({ up, carrier }) => up && carrier);
    const mtu = Math.min(...ports.map((port) => port.mtu));
    if (ports.length === 0 || this.fixed.has(master) || mtu === master.mtu) return;
    this.ip.changes.setMtu(master, mtu);
    device.changed();
  }

  stations(master: NetInterface): StationInfo[] {
    const { bridge } = this.deviceOf(master);
    const nameOf = new Map(this.portsOf(master).map(({ port, name }) => [port, name]));
    return bridge.stations().map(({ port, ...station }) => ({ ...station, interface: nameOf.get(port) ?? master.name }));
  }

  vlans(iface: NetInterface): PortVlan[] {
    if (iface.master) return this.deviceOf(iface.master).bridge.vlans(iface.port);
    const { bridge } = this.deviceOf(iface);
    return bridge.vlans(bridge.own);
  }
}
