/** Datagrams into packets: payload into memory that packets refer to, headers by the data plane's record (RFC 768, RFC 8200 §8.1). */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Envelope } from "../datagram/endpoint.ts";
import { SLAB_BYTES, type SlabPool } from "../engine/slabs.ts";
import type { IpStack } from "../ip/stack.ts";
import { serializeUdp } from "../wire/l4.ts";

/** Payloads up to this size share a slab; larger ones have slabs of their own. */
const SMALL = 2048;

export interface TransmitCounters {
  out_datagrams: number;
  sndbuf_errors: number;
}

export class Transmitter {
  private readonly stack: IpStack;
  private readonly counters: TransmitCounters;
  private staging = 0;
  private staged = 0;

  constructor(stack: IpStack, counters: TransmitCounters) {
    this.stack = stack;
    this.counters = counters;
  }

  /** The slab that small payloads share goes back. */
  close(): void {
    if (this.staging !== 0) this.stack.slabs.give(this.staging, "sending");
    this.staging = 0;
  }

  /** Sends `parts[from..to)`: one datagram, or one after the other in one packet that is cut below. */
  transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void {
    const { path, segmentSize } = envelope;
    const headers = (envelope.to.family === 4 ? 20 : 40) + 8;
    const length = to - from === 1 ? parts[from].length : total(parts, from, to);
    // Only IPv4 counts its header in the length field.
    const most = envelope.to.family === 4 ? 65_507 : 65_527;
    if (length > most) throw new LoomError("EMSGSIZE", `a datagram of ${length} bytes; the most is ${most}`);
    const piece = segmentSize === 0 ? length : Math.min(segmentSize, length);
    if (headers + piece > path.mtu) {
      if (segmentSize !== 0 || !envelope.mayFragment) {
        throw new LoomError("EMSGSIZE", `datagrams of ${piece} bytes; the path takes ${path.mtu - headers}`);
      }
      this.transmitLarge(envelope, parts[from]);
      return;
    }
    this.describe(envelope);
    const own = this.attach(parts, from, to, length);
    try {
      if (envelope.loop) this.send(envelope, true);
      if (!envelope.to.isMulticast || envelope.hopLimit > 0) this.send(envelope, false);
    } finally {
      // Whoever refers to them now keeps them.
      if (own) for (const slab of own) this.stack.slabs.give(slab, "sending");
    }
    this.counters.out_datagrams += segmentSize === 0 ? 1 : Math.ceil(length / segmentSize);
  }

  private describe({ to, source, sourcePort, port, hopLimit, trafficClass, segmentSize, mayBeCut, path }: Envelope): void {
    const { stack } = this;
    const { out } = stack;
    out[abi.SEG_FAMILY / 4] = to.family | (17 << 8) | (trafficClass << 16) | (hopLimit << 24);
    out[abi.SEG_FLOW_LABEL / 4] = 0;
    source.write(out, abi.SEG_SOURCE / 4);
    to.write(out, abi.SEG_DESTINATION / 4);
    out[abi.SEG_SOURCE_PORT / 4] = sourcePort;
    out[abi.SEG_DESTINATION_PORT / 4] = port;
    out[abi.OUT_IDENTIFICATION / 4] =
      to.family === 6 ? 0 : mayBeCut || path.mayBeCut ? this.cuttable(source, to) : stack.identifications.nextAtomic(source, to);
    out[abi.OUT_SEGMENT_SIZE / 4] = segmentSize;
  }

  private cuttable(source: IpAddress, to: IpAddress): number {
    return (this.stack.identifications.next(source, to, 17) & 0xffff) | abi.OUT_MAY_BE_CUT;
  }

  private send({ to, path, mark }: Envelope, loop: boolean): void {
    const { stack } = this;
    const id = stack.engine.plane.udpBuild(0, stack.outAddress) >>> 0;
    if (id === abi.NONE) throw this.noBuffers();
    if (mark !== 0) stack.engine.memory.setU32(stack.engine.memory.descriptor(id) + abi.DESC_MARK, mark);
    if (loop && path.iface) stack.loopBack(id, path.iface);
    else stack.route(id, to.family, path.hop, path.iface);
  }

  private noBuffers(): LoomError {
    this.counters.sndbuf_errors++;
    return new LoomError("ENOBUFS", "no buffers for a datagram");
  }

  /** What the path does not take in one piece goes in fragments. */
  private transmitLarge({ source, sourcePort, to, port, path, hopLimit, trafficClass, loop, mark }: Envelope, payload: Uint8Array): void {
    const { stack } = this;
    const addresses = { source: source.bytes(), destination: to.bytes() };
    const datagram = serializeUdp({ sourcePort, destinationPort: port, payload }, addresses);
    const packet = stack.packetOf(source, to, 17, datagram, hopLimit, trafficClass);
    if (loop && path.iface) {
      const copy = stack.chainOf(packet);
      if (copy !== undefined) stack.loopBack(copy, path.iface);
    }
    if ((!to.isMulticast || hopLimit > 0) && !stack.sendPacket(packet, path, { mark })) throw this.noBuffers();
    this.counters.out_datagrams++;
  }

  /** Puts payload where packets can refer to it; returns the slabs that were taken for it alone. */
  private attach(parts: readonly Uint8Array[], from: number, to: number, length: number): number[] | undefined {
    const { slabs, engine, out } = this.stack;
    const { u8 } = engine.memory;
    if (length <= SMALL || to - from > 1) {
      if (length > SLAB_BYTES) throw new LoomError("EMSGSIZE", `${length} bytes in one run; the most is ${SLAB_BYTES}`);
      const start = this.stage(length);
      let at = start;
      for (let i = from; i < to; i++) {
        u8.set(parts[i], at);
        at += parts[i].length;
      }
      this.piece(0, start, length, slabs.cookie(this.staging));
      out[abi.OUT_PIECES / 4] = length === 0 ? 0 : 1;
      return undefined;
    }
    const data = parts[from];
    const own: number[] = [];
    for (let done = 0; done < length; done += SLAB_BYTES) {
      const n = Math.min(length - done, SLAB_BYTES);
      const slab = this.take(slabs, own);
      u8.set(data.subarray(done, done + n), slab);
      this.piece(own.length - 1, slab, n, slabs.cookie(slab));
    }
    out[abi.OUT_PIECES / 4] = own.length;
    return own;
  }

  private piece(index: number, at: number, bytes: number, cookie: number): void {
    const { out } = this.stack;
    const word = (abi.OUT_PIECE + index * abi.OUT_PIECE_SIZE) / 4;
    out[word] = at;
    out[word + 1] = bytes;
    out[word + 2] = cookie;
  }

  private take(slabs: SlabPool, own: number[]): number {
    const slab = slabs.take("sending");
    if (slab === 0) {
      for (const each of own) slabs.give(each, "sending");
      throw new LoomError("ENOBUFS", "no memory for a datagram");
    }
    own.push(slab);
    return slab;
  }

  /** Room in the slab that small payloads share: its address. */
  private stage(bytes: number): number {
    const { slabs } = this.stack;
    if (this.staging === 0 || this.staged + bytes > SLAB_BYTES) {
      if (this.staging !== 0) slabs.give(this.staging, "sending");
      this.staging = slabs.take("sending");
      this.staged = 0;
      if (this.staging === 0) throw new LoomError("ENOBUFS", "no memory for a datagram");
    }
    const at = this.staging + this.staged;
    this.staged += (bytes + 7) & ~7;
    return at;
  }
}

function total(parts: readonly Uint8Array[], from: number, to: number): number {
  let bytes = 0;
  for (let i = from; i < to; i++) bytes += parts[i].length;
  return bytes;
}
