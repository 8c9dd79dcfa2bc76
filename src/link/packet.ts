/**
 * An interface of the kernel, shared with it: a packet socket (AF_PACKET) with a ring that is mapped (TPACKET_V3), read in
 * blocks, and sendmmsg with the pieces of packets where they lie. With virtio_net_hdr in front (PACKET_VNET_HDR), large
 * segments and open checksums cross as they are.
 *
 * The kernel sees what arrives too: an interface without addresses of the kernel's own is the place for a host.
 */
import { amount, checkOptions, oneOf, type Shape, shaped, text, whole, yesNo } from "../base/options.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { KernelDevice } from "./kernel-device.ts";
import { inNamespace, loadLibc, struct, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";
import { PacketRing } from "./packet-ring.ts";
import { PacketSender } from "./packet-sender.ts";

export interface PacketOptions {
  /** Name of the interface, such as "eth1". */
  interface: string;
  /** A network namespace of /run/netns, or a path to one. Default: the process's own. */
  namespace?: string;
  /** Large segments and open checksums. Default true. */
  offload?: boolean;
  /** Hear what is for any MAC. Without it the port takes the interface's own MAC. Default true. */
  promiscuous?: boolean;
  /** Bytes of the receive ring, in blocks of 256 KiB. Default 4 MiB. */
  ringBytes?: number;
  /** Longest time (ms) that the kernel keeps an unfilled block to itself. Default 1. */
  retire?: number;
  /** Hand packets to the driver without a queue in between: faster, and dropped when the driver is busy. Default false. */
  bypassQueue?: boolean;
  /** Several sockets that share an interface's packets (PACKET_FANOUT), told apart by `group`. */
  fanout?: { group: number; mode: FanoutMode };
}

export type FanoutMode = keyof typeof FANOUT;

const FANOUT = { hash: 0, lb: 1, cpu: 2, rollover: 3, random: 4, queue: 5 } as const;

const PACKET: Shape<PacketOptions> = {
  interface: text,
  namespace: text,
  offload: yesNo,
  promiscuous: yesNo,
  ringBytes: whole(1),
  retire: amount("milliseconds"),
  bypassQueue: yesNo,
  fanout: shaped("fanout", { group: whole(0, 65_535), mode: oneOf(...Object.keys(FANOUT)) }, ["group", "mode"]),
};

const AF_PACKET = 17;
const SOCK_RAW = 3;
const NONBLOCK_CLOEXEC = 0x800 | 0x80000;
const ETH_P_ALL_BE = 0x0300;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_STATISTICS = 6;
const PACKET_VNET_HDR = 15;
const PACKET_FANOUT = 18;
const PACKET_QDISC_BYPASS = 20;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
/** What may wait in the kernel to be sent. */
const SEND_BYTES = 8 << 20;

/** Opens a packet socket and returns what a host's interface wants as its `device`. */
export function packet(options: PacketOptions): (engine: Engine, port: Port) => Promise<PacketDevice> {
  checkOptions("packet", PACKET, options, ["interface"]);
  return async (engine, port) => new PacketDevice(await loadLibc(), engine, port, options);
}

export class PacketDevice extends KernelDevice {
  private readonly ring: PacketRing;
  private readonly sender: PacketSender;
  private readonly promiscuous: boolean;
  private readonly stop: (() => void) | undefined;
  private readonly statistics = new Uint32Array(3);
  private readonly pending = new Uint8Array(4);

  constructor(libc: Libc, engine: Engine, port: Port, options: PacketOptions) {
    const { offload = true, promiscuous = true, namespace } = options;
    super(libc, engine, port, options);
    this.promiscuous = promiscuous;
    this.fd = inNamespace(libc, namespace, () => libc.socket(AF_PACKET, SOCK_RAW | NONBLOCK_CLOEXEC, 0));
    try {
      if (this.fd < 0) throw systemError("cannot open a packet socket", libc.errno(), "CAP_NET_RAW");
      this.set(PACKET_IGNORE_OUTGOING, 1);
      if (offload) this.must(PACKET_VNET_HDR, 1, "cannot exchange offloads with a packet socket");
      if (options.bypassQueue) this.set(PACKET_QDISC_BYPASS, 1);
      this.ring = new PacketRing(libc, this.fd, engine, port, { bytes: options.ringBytes, retire: options.retire, offload });
      this.bind(options);
    } catch (error) {
      this.kernel.close();
      if (this.fd >= 0) libc.close(this.fd);
      throw error;
    }
    this.sender = new PacketSender(libc, this.fd, engine, port, offload);
    port.configure({ offload: { chains: true, segmentation: offload, partialChecksum: offload }, mtu: this.kernel.mtu });
    if (!promiscuous) port.configure({ mac: this.kernel.mac });
    this.stop = libc.watch?.(this.fd, () => engine.wake());
  }

  private bind({ fanout }: PacketOptions): void {
    const { libc, fd, kernel } = this;
    const size = struct(4, [[0, 4, SEND_BYTES]]);
    if (libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, size, 4) < 0) libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, size, 4);
    const address = struct(20, [
      [0, 2, AF_PACKET],
      [2, 2, ETH_P_ALL_BE],
      [4, 4, kernel.index],
    ]);
    if (libc.bind(fd, address, 20) < 0) throw systemError(`cannot listen on ${this.name}`, libc.errno(), "CAP_NET_RAW");
    if (this.promiscuous) {
      const membership = struct(16, [
        [0, 4, kernel.index],
        [4, 2, PACKET_MR_PROMISC],
      ]);
      libc.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership, 16);
    }
    if (!fanout) return;
    const mode = FANOUT[fanout.mode];
    this.must(PACKET_FANOUT, (fanout.group & 0xffff) | (mode << 16), `cannot join fanout group ${fanout.group} of ${this.name}`);
  }

  private set(option: number, value: number): boolean {
    return this.libc.setsockopt(this.fd, SOL_PACKET, option, struct(4, [[0, 4, value]]), 4) >= 0;
  }

  private must(option: number, value: number, what: string): void {
    if (!this.set(option, value)) throw systemError(what, this.libc.errno(), "CAP_NET_RAW");
  }

  /** The interface's MTU is the port's; its MAC too, unless it hears everything. */
  changed(): void {
    this.kernel.setMtu(this.port.mtu);
    if (!this.promiscuous) this.kernel.setMac(this.port.macBytes);
  }

  /** @internal */
  protected exchange(budget: number): number {
    return this.ring.receive(budget) + this.sender.transmit(budget);
  }

  /** Reading the kernel's counters clears them; so it does with an error, which would keep the descriptor readable. @internal */
  protected countLosses(): void {
    this.libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, this.pending, struct(4, [[0, 4, 4]]));
    const bytes = new Uint8Array(this.statistics.buffer);
    if (this.libc.getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, bytes, struct(4, [[0, 4, 12]])) < 0) return;
    if (this.statistics[1] > 0) this.port.countLoss("rxMissed", this.statistics[1]);
  }

  close(): void {
    if (this.fd < 0) return;
    this.stop?.();
    this.kernel.close();
    this.sender.close();
    this.ring.close();
    this.libc.close(this.fd);
    this.fd = -1;
  }
}
