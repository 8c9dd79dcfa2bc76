/** Interfaces on their way: a port of the engine and what moves its frames, before the host has anything of them. */
import { LoomError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import type { InterfaceOptions } from "./options.ts";

/** `Host.addPrepared` makes it an interface; what is not to be one is closed. */
export class PreparedInterface {
  readonly options: InterfaceOptions;
  readonly port: Port;
  readonly device: Device | undefined;
  private readonly ports: HostPorts;
  private isDone = false;

  constructor(ports: HostPorts, options: InterfaceOptions, port: Port, device: Device | undefined) {
    this.ports = ports;
    this.options = options;
    this.port = port;
    this.device = device;
  }

  /** From here on the device and the port are the interface's. */
  taken(): void {
    if (this.isDone) throw new LoomError("EINVAL", `interface ${this.options.name ?? ""}: what was prepared is used or closed already`);
    this.isDone = true;
  }

  /** Closes the device and gives the port back, unless there is an interface of it. */
  close(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.device?.close?.();
    if (!this.options.port) this.ports.give(this.port);
  }
}

/** The engine's ports as one host uses them: in order, first those that interfaces have given back. */
export class HostPorts {
  private readonly engine: Engine;
  private readonly random: Random;
  private readonly freed: Port[] = [];
  private next = 0;

  constructor(engine: Engine, random: Random) {
    this.engine = engine;
    this.random = random;
  }

  /** Throws ENOMEM when the engine has no more. */
  private take(): Port {
    const { portCount } = this.engine;
    if (this.freed.length === 0 && this.next >= portCount)
      throw new LoomError("ENOMEM", `all ${portCount} ports of this engine have interfaces; create it with more ports`);
    const port = this.freed.pop() ?? this.engine.port(this.next);
    this.next = Math.max(this.next, port.index + 1);
    return port.configure({ mtu: 1500, promiscuous: false, offload: { chains: false, segmentation: false, partialChecksum: false } });
  }

  give(port: Port): void {
    this.freed.push(port);
  }

  /** Opens the device of an interface that is to be. When it cannot be opened, nothing is left. */
  async prepare(options: InterfaceOptions): Promise<PreparedInterface> {
    const port = options.port ?? this.take();
    try {
      port.configure({ mac: options.mac ?? randomMac(this.random), mtu: options.mtu, up: true });
      const device = await options.device?.(this.engine, port);
      // What was asked for counts more than what the device brought along.
      port.configure({ mac: options.mac, mtu: options.mtu });
      return new PreparedInterface(this, options, port, device);
    } catch (error) {
      if (!options.port) this.give(port);
      throw error;
    }
  }
}

/** A locally administered unicast address (IEEE 802 §8.4). */
function randomMac(random: Random): string {
  const bytes = random.fill(new Uint8Array(6));
  bytes[0] = (bytes[0] & 0xfc) | 2;
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(":");
}
