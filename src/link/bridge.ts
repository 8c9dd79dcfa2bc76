/**
 * A bridge as a device: the interface that has it is on the bridge itself, as Linux's `br0` is, and others become its ports.
 *
 *   await host.addInterface({ name: "br0", device: bridge(), addresses: ["192.0.2.1/24"] });
 *   await host.addInterface({ name: "lan1", device: tap({ name: "lan1" }), master: "br0" });
 */
import { checkOptions, type Shape, whole, yesNo } from "../base/options.ts";
import type { Bridge } from "../engine/bridge.ts";
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { joinPorts, partPorts } from "./pair.ts";

export interface BridgeDeviceOptions {
  /** Seconds after which an unheard station is forgotten. Default 300. */
  ageingSeconds?: number;
  /** Honour 802.1Q membership of ports. Default false: tags are payload. */
  vlanFiltering?: boolean;
  /** The VLAN that the interface itself is in, with `vlanFiltering`. Default 1. */
  pvid?: number;
}

const OPTIONS: Shape<BridgeDeviceOptions> = { ageingSeconds: whole(1, 1_000_000), vlanFiltering: yesNo, pvid: whole(1, 4094) };

export class BridgeDevice implements Device {
  readonly name = "bridge";
  readonly bridge: Bridge;
  /** Whether one of its ports has somebody on the other side; whoever adds ports knows. */
  carrier = false;
  private readonly engine: Engine;
  private readonly port: Port;

  constructor(engine: Engine, port: Port, { pvid, ...options }: BridgeDeviceOptions) {
    this.engine = engine;
    this.port = port;
    this.bridge = engine.createBridge(options);
    joinPorts(engine, port, this.bridge.own);
    this.bridge.own.configure({ mtu: port.mtu });
    this.bridge.addHost(port.mac, pvid);
  }

  poll(): number {
    return 0;
  }

  /** The interface has another address, or went up or down. */
  changed(): void {
    const { bridge, port } = this;
    if (bridge.own.mac !== port.mac) bridge.setHost(port.mac);
    if (bridge.own.mtu !== port.mtu) bridge.own.configure({ mtu: port.mtu });
    bridge.setUp(port.up);
  }

  close(): void {
    const { engine, bridge, port } = this;
    bridge.setUp(false);
    partPorts(engine, port, bridge.own);
    engine.releaseBridge(bridge);
  }
}

/** Makes a bridge for an interface. Needs room for one: `memory: { bridges: 1 }`, which a host whose options name one has. */
export function bridge(options: BridgeDeviceOptions = {}): (engine: Engine, port: Port) => BridgeDevice {
  checkOptions("bridge", OPTIONS, options);
  return (engine, port) => new BridgeDevice(engine, port, options);
}
