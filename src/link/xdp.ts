/**
 * An interface's queue taken over by AF_XDP: the kernel writes received frames into the engine's own buffers and reads
 * sent ones from wherever their pieces lie; JavaScript copies nothing. The engine's memory from its buffers to the end of
 * the application's region is the UMEM.
 *
 * Buffers are an odd number of cache lines long, which the kernel allows with XDP_UMEM_UNALIGNED_CHUNK_FLAG: a chunk is a
 * buffer with its headroom, 2,048 to 4,096 bytes. Of it the kernel leaves the first 256 free, so a frame has what remains.
 * Buffers cross pages that are not neighbours in physical memory, so the driver cannot use them by DMA: the kernel copies
 * (XDP_COPY), between its own buffer and ours.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { checkOptions, oneOf, type Shape, text, whole } from "../base/options.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { Bpf, redirectProgram, XDP_MODES } from "./bpf.ts";
import { KernelDevice } from "./kernel-device.ts";
import { inNamespace, loadLibc, struct, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";
import { XdpReceiver } from "./xdp-receiver.ts";
import { SOL_XDP, sizeRing, XdpRing } from "./xdp-rings.ts";
import { XdpSender } from "./xdp-sender.ts";

export interface XdpOptions {
  /** Name of the interface, such as "eth1". */
  interface: string;
  /** A network namespace of /run/netns, or a path to one. Default: the process's own. */
  namespace?: string;
  /** Queue of the interface. Those without a socket stay the kernel's: `ethtool -L eth1 combined 1` leaves one. Default 0. */
  queue?: number;
  /** Where the program runs: in the driver, behind it for any driver, or wherever it can. Default "auto". */
  mode?: "native" | "generic" | "auto";
  /** Entries of each ring, a power of two from 64 to 4096; as many buffers wait in the fill ring. Default 1024. */
  ring?: number;
  /**
   * "trust": do not verify checksums of TCP and UDP. A veth hands over frames of the same machine whose checksums were
   * never computed, and XDP cannot tell; `ethtool -K PEER tx off` is the other way. Default "verify".
   */
  checksums?: "verify" | "trust";
}

const XDP: Shape<XdpOptions> = {
  interface: text,
  namespace: text,
  queue: whole(0, 255),
  mode: oneOf("native", "generic", "auto"),
  ring: (value) =>
    Number.isInteger(value) && Math.log2(value as number) % 1 === 0 && (value as number) >= 64 && (value as number) <= 4096
      ? undefined
      : "a power of two from 64 to 4096",
  checksums: oneOf("verify", "trust"),
};

const AF_XDP = 44;
const SOCK_RAW = 3;
const CLOEXEC = 0x80000;
const XDP_UMEM_REG = 4;
const XDP_STATISTICS = 7;
const XDP_UMEM_UNALIGNED_CHUNK_FLAG = 1;
const XDP_COPY = 2;
const XDP_USE_NEED_WAKEUP = 8;
const XDP_USE_SG = 16;
const PAGE = 4096;
const EINVAL = 22;
const MOST_QUEUES = 256;
/** The number of a sent piece's record is taken off its address (xdp-sender.ts): so much must lie in front of the buffers. */
const FOREGROUND = 8192;
/** Buffers that a frame may lie in, as the kernel counts them (MAX_SKB_FRAGS), and bytes in front of its packet. */
const MOST_PIECES = 16;
const ETHERNET = 18;

/** Longest pause before a busy queue is believed to be somebody else's. */
const LONGEST_WAIT_MS = 320;

/** Takes an interface's queue over and returns what a host's interface wants as its `device`. */
export function xdp(options: XdpOptions): (engine: Engine, port: Port) => Promise<XdpDevice> {
  checkOptions("xdp", XDP, options, ["interface"]);
  return async (engine, port) => {
    const libc = await loadLibc();
    // The kernel takes a closed socket off its queue a little later: whoever comes right after it waits.
    for (let wait = 5; ; wait *= 2) {
      try {
        return new XdpDevice(libc, engine, port, options);
      } catch (error) {
        if ((error as LoomError).code !== "EBUSY" || wait > LONGEST_WAIT_MS) throw error;
      }
      await engine.clock.sleep(wait);
    }
  };
}

/** What is to be undone, the last first. */
type Undo = (() => void)[];

export class XdpDevice extends KernelDevice {
  /** Where the program runs. */
  readonly mode: "native" | "generic";
  private readonly receiver: XdpReceiver;
  private readonly sender: XdpSender;
  /** Largest MTU whose frames fit. */
  private readonly mostMtu: number;
  private readonly undo: Undo = [];
  /** dropped, invalid to receive, invalid to send, ring full, nothing to fill, nothing to send. */
  private readonly statistics = new BigUint64Array(6);
  private readonly seen = new BigUint64Array(6);
  private closeSocket = () => {};

  constructor(libc: Libc, engine: Engine, port: Port, options: XdpOptions) {
    const { ring = 1024, queue = 0, mode = "auto", namespace } = options;
    super(libc, engine, port, options);
    this.undo.push(() => this.kernel.close());
    try {
      this.fd = this.open(namespace);
      const umem = this.registerMemory();
      for (const kind of ["fill", "completion", "rx", "tx"] as const) sizeRing(libc, this.fd, kind, ring);
      const [fill, completion, rx, tx] = (["fill", "completion", "rx", "tx"] as const).map((kind) => this.map(kind, ring));
      const trusted = options.checksums === "trust";
      this.receiver = new XdpReceiver(engine, port, { fill, rx, umem, trusted });
      this.sender = new XdpSender(libc, this.fd, engine, port, { completion, tx, umem });
      this.undo.push(() => this.receiver.close());
      this.undo.push(() => this.sender.close());
      this.undo.push(this.closeSocket);
      const chains = this.bind(queue);
      this.mode = this.redirect(queue, mode, namespace);
      this.mostMtu = this.receiver.frameLimit * (chains ? MOST_PIECES : 1) - ETHERNET;
      port.configure({
        mac: this.kernel.mac,
        mtu: this.mtu,
        offload: { chains, segmentation: false, partialChecksum: false },
      });
      const stop = libc.watch?.(this.fd, () => engine.wake());
      if (stop) this.undo.push(stop);
    } catch (error) {
      this.fd = -1;
      this.unwind();
      throw error;
    }
  }

  private open(namespace: string | undefined): number {
    const { libc } = this;
    const fd = inNamespace(libc, namespace, () => libc.socket(AF_XDP, SOCK_RAW | CLOEXEC, 0));
    if (fd < 0) throw systemError("cannot open an AF_XDP socket", libc.errno(), "CAP_NET_RAW");
    // Twice on the list: before what the kernel had is given back, and whatever happens.
    let isOpen = true;
    this.closeSocket = () => {
      if (isOpen) libc.close(fd);
      isOpen = false;
    };
    this.undo.push(this.closeSocket);
    return fd;
  }

  /** Gives the kernel the engine's memory; returns where in it addresses begin. */
  private registerMemory(): number {
    const { memory } = this.engine;
    const { stride } = memory.layout;
    if (stride < 2048 || stride > PAGE) {
      throw new LoomError("ENOTSUP", `a buffer of this engine has ${stride} bytes with its headroom; AF_XDP takes 2048 to ${PAGE}`);
    }
    const buffers = memory.base(abi.REGION_BUFFERS);
    const start = Math.max(0, buffers - FOREGROUND) & ~(PAGE - 1);
    const end = Math.max(memory.base(abi.REGION_APP) + memory.size(abi.REGION_APP), buffers + memory.size(abi.REGION_BUFFERS));
    const request = struct(32, [
      [0, 8, this.libc.address(memory.buffer) + BigInt(start)],
      [8, 8, Math.ceil((end - start) / PAGE) * PAGE],
      [16, 4, stride],
      [24, 4, XDP_UMEM_UNALIGNED_CHUNK_FLAG],
    ]);
    if (this.libc.setsockopt(this.fd, SOL_XDP, XDP_UMEM_REG, request, 32) < 0) {
      throw systemError("cannot give the engine's memory to AF_XDP", this.libc.errno());
    }
    return start;
  }

  private map(kind: "fill" | "completion" | "rx" | "tx", entries: number): XdpRing {
    const ring = new XdpRing(this.libc, this.fd, kind, entries);
    this.undo.push(() => ring.close());
    return ring;
  }

  /** Binds to the queue; true when packets may have several pieces (Linux 6.6). */
  private bind(queue: number): boolean {
    const { libc, fd, kernel } = this;
    const attempts = [XDP_USE_SG, 0].map((several) => {
      const address = struct(16, [
        [0, 2, AF_XDP],
        [2, 2, XDP_COPY | XDP_USE_NEED_WAKEUP | several],
        [4, 4, kernel.index],
        [8, 4, queue],
      ]);
      return { several: several !== 0, call: () => (libc.bind(fd, address, 16) < 0 ? libc.errno() : 0) };
    });
    let errno = 0;
    for (const { several, call } of attempts) {
      errno = call();
      if (errno === 0) return several;
    }
    if (errno === EINVAL && queue > 0) {
      throw invalid(
        `cannot bind to queue ${queue} of ${this.name}: it has no such queue; \`ethtool -l ${this.name}\` shows how many there are`,
      );
    }
    throw systemError(`cannot bind to queue ${queue} of ${this.name}`, errno, "CAP_NET_RAW");
  }

  private redirect(queue: number, wanted: "native" | "generic" | "auto", namespace: string | undefined): "native" | "generic" {
    const { libc, kernel } = this;
    const bpf = new Bpf(libc);
    const keep = (fd: number) => {
      this.undo.push(() => libc.close(fd));
      return fd;
    };
    const map = keep(bpf.createSocketMap(MOST_QUEUES));
    const program = keep(bpf.load(redirectProgram(map)));
    bpf.setSocket(map, queue, this.fd);
    const attach = (mode: "native" | "generic") => {
      keep(inNamespace(libc, namespace, () => bpf.attach(program, kernel.index, XDP_MODES[mode], this.name)));
      return mode;
    };
    if (wanted !== "auto") return attach(wanted);
    try {
      return attach("native");
    } catch (error) {
      if ((error as LoomError).code !== "ENOTSUP" && (error as LoomError).code !== "EINVAL") throw error;
      return attach("generic");
    }
  }

  override get mtu(): number {
    return Math.min(this.kernel.mtu, this.mostMtu);
  }

  /** The interface's MTU and MAC are the port's. */
  changed(): void {
    const { mtu } = this.port;
    if (mtu > this.mostMtu) throw invalid(`mtu is ${mtu}; AF_XDP takes ${this.mostMtu} at most with buffers of this size`);
    this.kernel.setMtu(mtu);
    this.kernel.setMac(this.port.macBytes);
  }

  /** @internal */
  protected exchange(budget: number): number {
    return this.receiver.receive(budget) + this.sender.transmit(budget);
  }

  /** @internal */
  protected countLosses(): void {
    const { port, seen, statistics } = this;
    const bytes = new Uint8Array(statistics.buffer);
    if (this.libc.getsockopt(this.fd, SOL_XDP, XDP_STATISTICS, bytes, struct(4, [[0, 4, 48]])) < 0) return;
    const [dropped, badReceive, badSend, full, unfilled] = statistics.map((value, i) => value - seen[i]);
    seen.set(statistics);
    if (dropped > 0n) port.countLoss("rxDropped", Number(dropped));
    if (badReceive > 0n) port.countLoss("rxErrors", Number(badReceive));
    if (badSend > 0n) port.countLoss("txErrors", Number(badSend));
    if (full + unfilled > 0n) port.countLoss("rxMissed", Number(full + unfilled));
  }

  close(): void {
    if (this.fd < 0) return;
    this.fd = -1;
    this.unwind();
  }

  private unwind(): void {
    for (const step of this.undo.splice(0).reverse()) step();
  }
}
