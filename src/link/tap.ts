/**
 * A TAP device of Linux: the kernel on one side, a port on the other. With IFF_VNET_HDR and its offloads, checksums
 * stay open and segments of up to 64 KiB cross in one call, straight out of and into the engine's memory.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { loadLibc, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";

export interface TapOptions {
  /** Name of the device, at most 15 characters; the kernel chooses when it is left out. */
  name?: string;
  /** A network namespace of /run/netns, or a path to one. Default: the process's own. */
  namespace?: string;
  /** Open checksums and large segments. Default true. */
  offload?: boolean;
}

const O_RDWR = 2;
const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x80000;
const CLONE_NEWNET = 0x40000000;
const TUNSETIFF = 0x400454ca;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** Checksum, TSO4, TSO6, TSO with ECN; then USO4 and USO6 (Linux 6.2). */
const OFFLOADS = 1 | 2 | 4 | 8;
const OFFLOADS_USO = OFFLOADS | 32 | 64;
const EAGAIN = 11;

/* struct virtio_net_hdr_mrg_rxbuf: flags u8 | gso type u8 | header length u16 | gso size u16 | csum start u16 | csum offset u16 | buffers u16 */
const VNET = 12;
const NEEDS_CSUM = 1;
const DATA_VALID = 2;
const GSO_ECN = 0x80;
const GSO_TO_VNET = [0, 1, 4, 5, 5];
const VNET_TO_GSO = new Map([
  [1, abi.GSO_TCP4],
  [4, abi.GSO_TCP6],
]);

/** Slabs side by side for one large frame, and how many such places there are. */
const RUN = 4;
const PLACES = 32;
const MOST_PIECES = 64;

export interface TapStatistics {
  rxPackets: number;
  rxBytes: number;
  rxErrors: number;
  rxDropped: number;
  txPackets: number;
  txBytes: number;
  txErrors: number;
  txDropped: number;
}

/** Opens a TAP device and returns what a host's interface wants as its `device`. */
export function tap(options: TapOptions = {}): (engine: Engine, port: Port) => Promise<TapDevice> {
  return async (engine, port) => {
    const libc = await loadLibc();
    const { fd, name } = open(libc, options);
    return new TapDevice(libc, fd, name, engine, port, options.offload ?? true);
  };
}

function open(libc: Libc, options: TapOptions): { fd: number; name: string } {
  const { name = "", namespace } = options;
  if (new TextEncoder().encode(name).length > 15) throw invalid(`"${name}" is too long for a device; expected at most 15 characters`);
  const home = namespace === undefined ? -1 : enter(libc, namespace);
  try {
    const fd = libc.open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) throw systemError("cannot open /dev/net/tun", libc.errno());
    const request = new Uint8Array(40);
    new TextEncoder().encodeInto(name, request);
    new DataView(request.buffer).setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
    if (libc.ioctl(fd, TUNSETIFF, request) < 0) {
      const errno = libc.errno();
      libc.close(fd);
      throw systemError(`cannot make the TAP device ${name}`, errno);
    }
    return { fd, name: new TextDecoder().decode(request.subarray(0, request.indexOf(0))) };
  } finally {
    leave(libc, home);
  }
}

/** Enters a namespace with this thread; returns a descriptor of where it came from. */
function enter(libc: Libc, namespace: string): number {
  const home = libc.open("/proc/thread-self/ns/net", O_CLOEXEC);
  const path = namespace.startsWith("/") ? namespace : `/run/netns/${namespace}`;
  const there = libc.open(path, O_CLOEXEC);
  if (there < 0) throw systemError(`cannot open network namespace ${path}`, libc.errno());
  const failed = libc.setns(there, CLONE_NEWNET) < 0;
  const errno = libc.errno();
  libc.close(there);
  if (failed) throw systemError(`cannot enter network namespace ${path}`, errno);
  return home;
}

function leave(libc: Libc, home: number): void {
  if (home < 0) return;
  libc.setns(home, CLONE_NEWNET);
  libc.close(home);
}

export class TapDevice implements Device {
  readonly name: string;
  readonly statistics: TapStatistics = {
    rxPackets: 0,
    rxBytes: 0,
    rxErrors: 0,
    rxDropped: 0,
    txPackets: 0,
    txBytes: 0,
    txErrors: 0,
    txDropped: 0,
  };
  private readonly libc: Libc;
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly base: bigint;
  private readonly places: number[] = [];
  private readonly stop: (() => void) | undefined;
  private readonly iov = new BigUint64Array(2 * MOST_PIECES);
  private readonly iovBytes = new Uint8Array(this.iov.buffer);
  private readonly headerAt: number;
  private fd: number;

  constructor(libc: Libc, fd: number, name: string, engine: Engine, port: Port, offload: boolean) {
    this.libc = libc;
    this.fd = fd;
    this.name = name;
    this.engine = engine;
    this.port = port;
    this.base = libc.address(engine.memory.buffer);
    const size = new Uint8Array(4);
    size[0] = VNET;
    libc.ioctl(fd, TUNSETVNETHDRSZ, size);
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

  poll(budget: number): number {
    if (this.fd < 0) return 0;
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
        if (n < 0 && libc.errno() !== EAGAIN) this.statistics.rxErrors++;
        break;
      }
      moved++;
      this.accept(place, n);
    }
    return moved;
  }

  /** A frame lies behind its header at `place`: small ones are copied into a buffer, large ones stay where they are. */
  private accept(place: number, bytes: number): void {
    const { statistics, port } = this;
    const { memory, plane, slabs } = this.engine;
    const length = bytes - VNET;
    statistics.rxPackets++;
    statistics.rxBytes += length;
    const small = length <= port.frameLimit;
    const id = (small ? plane.bufferTake(0) : plane.bareTake(0)) >>> 0;
    if (id === abi.NONE || length < 14) {
      if (id !== abi.NONE) plane.packetRelease(0, id);
      statistics.rxDropped++;
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
    this.readHeader(place, d);
    if (!port.offer(id)) statistics.rxDropped++;
  }

  private readHeader(at: number, d: number): void {
    const { memory } = this.engine;
    const flags = memory.u8[at];
    const known = flags & NEEDS_CSUM ? abi.FLAG_CSUM_PARTIAL : flags & DATA_VALID ? abi.FLAG_CSUM_GOOD : 0;
    memory.setU32(d + abi.DESC_FLAGS, known);
    memory.setU16(d + abi.DESC_CSUM_START, memory.getU16(at + 6));
    memory.setU16(d + abi.DESC_CSUM_OFFSET, memory.getU16(at + 8));
    const type = memory.u8[at + 1] & ~GSO_ECN;
    const is6 = memory.u8[at + VNET + 12] === 0x86;
    const kind = type === 5 ? (is6 ? abi.GSO_UDP6 : abi.GSO_UDP4) : (VNET_TO_GSO.get(type) ?? 0);
    memory.setU16(d + abi.DESC_GSO_SIZE, kind ? memory.getU16(at + 4) : 0);
    memory.setU16(d + abi.DESC_GSO_KIND, kind);
  }

  // ── To the kernel ─────────────────────────────────────────────────────────────────────────────

  private transmit(budget: number): number {
    return this.port.takeTransmitted((id) => this.send(id), budget);
  }

  private send(id: number): void {
    const { memory } = this.engine;
    const d = memory.descriptor(id);
    const at = this.headerAt;
    const flags = memory.getU32(d + abi.DESC_FLAGS);
    const kind = memory.getU16(d + abi.DESC_GSO_KIND);
    memory.u8.fill(0, at, at + VNET);
    if (flags & abi.FLAG_CSUM_PARTIAL) {
      memory.u8[at] = NEEDS_CSUM;
      memory.setU16(at + 6, memory.getU16(d + abi.DESC_CSUM_START));
      memory.setU16(at + 8, memory.getU16(d + abi.DESC_CSUM_OFFSET));
    }
    if (kind) {
      memory.u8[at + 1] = GSO_TO_VNET[kind];
      memory.setU16(at + 2, memory.getU32(d + abi.DESC_LENGTH));
      memory.setU16(at + 4, memory.getU16(d + abi.DESC_GSO_SIZE));
    }
    let pieces = 0;
    this.piece(pieces++, at, VNET);
    for (let s = id; s !== abi.NONE && pieces < MOST_PIECES; s = memory.getU32(memory.descriptor(s) + abi.DESC_NEXT)) {
      const piece = memory.descriptor(s);
      this.piece(pieces++, memory.getU32(piece + abi.DESC_DATA), memory.getU32(piece + abi.DESC_LENGTH));
    }
    const sent = Number(this.libc.writev(this.fd, this.iovBytes, pieces));
    if (sent >= 0) {
      this.statistics.txPackets++;
      this.statistics.txBytes += sent - VNET;
    } else if (this.libc.errno() === EAGAIN) this.statistics.txDropped++;
    else this.statistics.txErrors++;
  }

  private piece(index: number, at: number, bytes: number): void {
    this.iov[2 * index] = this.base + BigInt(at);
    this.iov[2 * index + 1] = BigInt(bytes);
  }

  close(): void {
    if (this.fd < 0) return;
    this.stop?.();
    this.libc.close(this.fd);
    this.fd = -1;
    for (const place of [...this.places, this.headerAt]) this.engine.slabs.giveRun(place, RUN);
  }
}
