/**
 * A TAP device of Linux: the kernel on one side, a port on the other. With IFF_VNET_HDR and its offloads, checksums
 * stay open and segments of up to 64 KiB cross in one call, straight out of and into the engine's memory.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import { checkOptions, type Shape, text, yesNo } from "../base/options.ts";
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { LEAST_FRAME } from "./frames.ts";
import { checkName, KernelLink } from "./kernel-link.ts";
import { inNamespace, loadLibc, struct, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";
import { readVnet, writeVnet } from "./vnet.ts";

export interface TapOptions {
  /** Name of the device, at most 15 characters; the kernel chooses when it is left out. */
  name?: string;
  /** A network namespace of /run/netns, or a path to one. Default: the process's own. */
  namespace?: string;
  /** Open checksums and large segments. Default true. */
  offload?: boolean;
}

const TAP: Shape<TapOptions> = { name: text, namespace: text, offload: yesNo };
const O_RDWR = 2;
const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x80000;
const TUNSETIFF = 0x400454ca;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETCARRIER = 0x400454e2;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** Checksum, TSO4, TSO6, TSO with ECN; then USO4 and USO6 (Linux 6.2). */
const OFFLOADS = 1 | 2 | 4 | 8;
const OFFLOADS_USO = OFFLOADS | 32 | 64;
const EIO = 5;
const EAGAIN = 11;

/** Bytes of struct virtio_net_hdr_mrg_rxbuf. */
const VNET = 12;

/** Slabs side by side for one large frame, and how many such places there are. */
const RUN = 4;
const PLACES = 32;
const MOST_PIECES = 64;

/** Opens a TAP device and returns what a host's interface wants as its `device`. */
export function tap(options: TapOptions = {}): (engine: Engine, port: Port) => Promise<TapDevice> {
  checkOptions("tap", TAP, options);
  return async (engine, port) => {
    const libc = await loadLibc();
    const { fd, name } = open(libc, options);
    try {
      const kernel = new KernelLink(libc, options.namespace, name, () => engine.wake());
      return new TapDevice(libc, fd, kernel, engine, port, options.offload ?? true);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  };
}

function open(libc: Libc, options: TapOptions): { fd: number; name: string } {
  const name = checkName(options.name ?? "");
  return inNamespace(libc, options.namespace, () => {
    const fd = libc.open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) throw systemError("cannot open /dev/net/tun", libc.errno());
    const request = struct(40, [[16, 2, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR]]);
    new TextEncoder().encodeInto(name, request);
    if (libc.ioctl(fd, TUNSETIFF, request) < 0) {
      const errno = libc.errno();
      libc.close(fd);
      throw systemError(`cannot make ${name === "" ? "a TAP device" : `the TAP device ${name}`}`, errno);
    }
    return { fd, name: new TextDecoder().decode(request.subarray(0, request.indexOf(0))) };
  });
}

export class TapDevice implements Device {
  readonly name: string;
  private readonly libc: Libc;
  /** The other end, which the kernel's side has. */
  private readonly kernel: KernelLink;
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly base: bigint;
  private readonly places: number[] = [];
  private readonly stop: (() => void) | undefined;
  private readonly iov = new BigUint64Array(2 * MOST_PIECES);
  private readonly iovBytes = new Uint8Array(this.iov.buffer);
  private readonly headerAt: number;
  private fd: number;

  constructor(libc: Libc, fd: number, kernel: KernelLink, engine: Engine, port: Port, offload: boolean) {
    this.libc = libc;
    this.fd = fd;
    this.kernel = kernel;
    this.name = kernel.name;
    this.engine = engine;
    this.port = port;
    this.base = libc.address(engine.memory.buffer);
    libc.ioctl(fd, TUNSETVNETHDRSZ, struct(4, [[0, 4, VNET]]));
    if (!offload) libc.ioctlNumber(fd, TUNSETOFFLOAD, 0);
    else if (libc.ioctlNumber(fd, TUNSETOFFLOAD, OFFLOADS_USO) < 0) libc.ioctlNumber(fd, TUNSETOFFLOAD, OFFLOADS);
    port.configure({ offload: { chains: true, segmentation: offload, partialChecksum: offload } });
    for (let i = 0; i < PLACES; i++) {
      const run = engine.slabs.takeRun(RUN);
      if (run !== 0) this.places.push(run);
    }
    if (this.places.length < 2) throw new LoomError("ENOMEM", "a TAP device needs appBytes of 256 KiB at least");
    this.headerAt = this.places.pop() as number;
    this.stop = libc.watch?.(fd, () => engine.wake());
  }

  /** The kernel's side is up. */
  get carrier(): boolean {
    return this.kernel.up;
  }

  /** MTU and state are the kernel's side's too: a port that is down takes its carrier away. */
  changed(): void {
    this.kernel.setMtu(this.port.mtu);
    this.libc.ioctl(this.fd, TUNSETCARRIER, struct(4, [[0, 4, this.port.up ? 1 : 0]]));
  }

  poll(budget: number): number {
    if (this.fd < 0) return 0;
    this.kernel.poll();
    return this.receive(budget) + this.transmit(budget);
  }

  // ── From the kernel ───────────────────────────────────────────────────────────────────────────

  private receive(budget: number): number {
    const { libc, engine } = this;
    const { memory } = engine;
    let moved = 0;
    while (moved < budget) {
      const place = this.places.find((at) => memory.getU32(engine.slabs.cookie(at)) === 0);
      if (place === undefined) break;
      const n = Number(libc.read(this.fd, this.base + BigInt(place), engine.slabs.runBytes(RUN)));
      if (n <= 0) {
        if (n < 0 && libc.errno() !== EAGAIN) this.port.countLoss("rxErrors");
        break;
      }
      moved++;
      this.accept(place, n);
    }
    return moved;
  }

  /** A frame lies behind its header at `place`: small ones are copied into a buffer, large ones stay where they are. */
  private accept(place: number, bytes: number): void {
    const { port } = this;
    const { memory, plane, slabs } = this.engine;
    const length = bytes - VNET;
    if (length < LEAST_FRAME) {
      port.countLoss("rxErrors");
      return;
    }
    const small = length <= port.frameLimit;
    const id = (small ? plane.bufferTake(0) : plane.bareTake(0)) >>> 0;
    if (id === abi.NONE) {
      port.countLoss("rxDropped");
      return;
    }
    const d = memory.descriptor(id);
    if (small) memory.u8.copyWithin(memory.getU32(d + abi.DESC_DATA), place + VNET, place + bytes);
    else {
      memory.setU32(d + abi.DESC_DATA, place + VNET);
      memory.setU32(d + abi.DESC_COOKIE, slabs.cookie(place));
      memory.setU32(slabs.cookie(place), 1);
    }
    memory.setU32(d + abi.DESC_LENGTH, length);
    memory.setU32(d + abi.DESC_PACKET_LENGTH, length);
    readVnet(memory.u8, place, memory.u8[place + VNET + 12] === 0x86, memory, d);
    port.offer(id);
  }

  // ── To the kernel ─────────────────────────────────────────────────────────────────────────────

  private transmit(budget: number): number {
    return this.port.takeTransmitted((id) => this.send(id), budget);
  }

  private send(id: number): void {
    const { memory } = this.engine;
    const d = memory.descriptor(id);
    const at = this.headerAt;
    writeVnet(memory, d, memory.u8, at);
    memory.setU16(at + 10, 0);
    let pieces = 0;
    this.piece(pieces++, at, VNET);
    for (let s = id; s !== abi.NONE && pieces < MOST_PIECES; s = memory.getU32(memory.descriptor(s) + abi.DESC_NEXT)) {
      const piece = memory.descriptor(s);
      this.piece(pieces++, memory.getU32(piece + abi.DESC_DATA), memory.getU32(piece + abi.DESC_LENGTH));
    }
    if (Number(this.libc.writev(this.fd, this.iovBytes, pieces)) >= 0) return;
    const errno = this.libc.errno();
    const reason = errno === EAGAIN ? "txDropped" : errno === EIO ? "txCarrier" : "txErrors";
    this.port.countLoss(reason, 1, memory.getU32(d + abi.DESC_PACKET_LENGTH));
  }

  private piece(index: number, at: number, bytes: number): void {
    this.iov[2 * index] = this.base + BigInt(at);
    this.iov[2 * index + 1] = BigInt(bytes);
  }

  close(): void {
    if (this.fd < 0) return;
    this.stop?.();
    this.kernel.close();
    this.libc.close(this.fd);
    this.fd = -1;
    for (const place of [...this.places, this.headerAt]) this.engine.slabs.giveRun(place, RUN);
  }
}
