/** UDP of one host: which endpoint a datagram is for, and which ports are taken. */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { copyChain } from "../engine/port.ts";
import { SLAB_BYTES, type SlabPool } from "../engine/slabs.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import type { IpStack, Path, Transport } from "../ip/stack.ts";
import { serializeUdp } from "../wire/l4.ts";
import { ANY4, ANY6, UdpEndpoint, type UdpWorld } from "./endpoint.ts";

/** Dynamic ports (RFC 6335 §6). */
export const FIRST_EPHEMERAL = 49_152;

/** Payloads up to this size share a slab; larger ones have slabs of their own. */
const SMALL = 2048;

function whole(slabs: SlabPool, own: number[]): [number, number] {
  const slab = slabs.take();
  if (slab === 0) {
    for (const each of own) slabs.give(each);
    throw new LoomError("ENOBUFS", "no memory for a datagram");
  }
  own.push(slab);
  return [slab, slab];
}

export interface UdpCounters {
  in_datagrams: number;
  no_ports: number;
  rcvbuf_errors: number;
  out_datagrams: number;
  sndbuf_errors: number;
}

export class UdpLayer implements Transport, UdpWorld {
  readonly stack: IpStack;
  readonly counters: UdpCounters = { in_datagrams: 0, no_ports: 0, rcvbuf_errors: 0, out_datagrams: 0, sndbuf_errors: 0 };
  private readonly ports = new Map<number, UdpEndpoint[]>();
  private lastSource = ANY6;
  private lastDestination = ANY6;
  private staging = 0;
  private staged = 0;

  constructor(stack: IpStack) {
    this.stack = stack;
    stack.setTransport(17, this);
  }

  /** An endpoint on a port (0: any free one) of one address or of all. */
  bind(local: IpAddress | undefined, port: number, options: { reusePort?: boolean } = {}): UdpEndpoint {
    const address = local ?? ANY6;
    if (local && !local.isUnspecified && !local.isMulticast && !this.stack.isLocal(local)) {
      throw new LoomError("EADDRNOTAVAIL", `${local} is not an address of this host`);
    }
    const chosen = port || this.ephemeral();
    const there = this.ports.get(chosen) ?? [];
    if (there.some((other) => overlaps(other.local, address)) && !options.reusePort) {
      throw new LoomError("EADDRINUSE", `UDP port ${chosen} is in use`);
    }
    const endpoint = new UdpEndpoint(this, address, chosen);
    this.ports.set(chosen, [...there, endpoint]);
    return endpoint;
  }

  private ephemeral(): number {
    const count = 65_536 - FIRST_EPHEMERAL;
    const first = this.stack.random.below(count);
    for (let i = 0; i < count; i++) {
      const port = FIRST_EPHEMERAL + ((first + i) % count);
      if (!this.ports.has(port)) return port;
    }
    throw new LoomError("EADDRINUSE", "all dynamic UDP ports are in use");
  }

  release(endpoint: UdpEndpoint): void {
    const rest = (this.ports.get(endpoint.port) ?? []).filter((other) => other !== endpoint);
    if (rest.length) this.ports.set(endpoint.port, rest);
    else this.ports.delete(endpoint.port);
  }

  receive(id: number): void {
    const { stack } = this;
    const { words } = stack;
    const endpoints = this.ports.get(words[abi.SEG_DESTINATION_PORT / 4]);
    const source = this.sourceOf(words);
    const port = words[abi.SEG_SOURCE_PORT / 4];
    const destination = this.destinationOf(words);
    // The usual case first: one endpoint on the port.
    const only = endpoints?.length === 1 ? endpoints[0] : undefined;
    const takers = only
      ? isFor(only.local, destination, stack) && only.accepts(source, port)
        ? endpoints
        : undefined
      : this.choose(endpoints, source, port, destination);
    if (!takers || takers.length === 0) {
      this.counters.no_ports++;
      stack.sendErrorFor(id, "portUnreachable", 0);
      return;
    }
    const length = words[abi.SEG_PAYLOAD_LENGTH / 4];
    const size = words[abi.SEG_PIECE / 4];
    if (size >= length) this.deliver(takers, this.payload(id, 0, length), source, port);
    // Several datagrams of one size that were coalesced on the way.
    else for (let at = 0; at < length; at += size) this.deliver(takers, this.payload(id, at, Math.min(size, length - at)), source, port);
  }

  /** Everybody, for what goes to many; else the closest: connected before bound, and of several alike the flow decides (SO_REUSEPORT). */
  private choose(
    endpoints: readonly UdpEndpoint[] | undefined,
    source: IpAddress,
    port: number,
    destination: IpAddress,
  ): readonly UdpEndpoint[] {
    const takers = endpoints?.filter((each) => isFor(each.local, destination, this.stack) && each.accepts(source, port)) ?? [];
    if (takers.length < 2 || destination.isMulticast || !this.stack.isLocal(destination)) return takers;
    const connected = takers.filter((each) => each.remote);
    const alike = connected.length ? connected : takers;
    return [alike[((port * 31 + source.d) >>> 0) % alike.length]];
  }

  private deliver(takers: readonly UdpEndpoint[], data: Uint8Array, address: IpAddress, port: number): void {
    for (const endpoint of takers) {
      this.counters.in_datagrams++;
      if (!endpoint.deliver({ data, address, port })) this.counters.rcvbuf_errors++;
    }
  }

  /** Datagrams come in runs from one peer: its address is made once. */
  private sourceOf(words: Int32Array): IpAddress {
    if (!this.lastSource.matches(words, abi.SEG_SOURCE / 4)) this.lastSource = this.stack.source();
    return this.lastSource;
  }

  private destinationOf(words: Int32Array): IpAddress {
    if (!this.lastDestination.matches(words, abi.SEG_DESTINATION / 4)) this.lastDestination = this.stack.destination();
    return this.lastDestination;
  }

  /** A copy of `length` bytes of the payload, from `from` on. */
  private payload(id: number, from: number, length: number): Uint8Array {
    const { words, engine } = this.stack;
    const { memory } = engine;
    const start = words[abi.SEG_PAYLOAD / 4] + from;
    const d = memory.descriptor(id);
    if (memory.getU32(d + abi.DESC_NEXT) === abi.NONE) {
      const at = memory.getU32(d + abi.DESC_DATA) + start;
      return memory.u8.slice(at, at + length);
    }
    const whole = new Uint8Array(start + length);
    copyChain(memory, id, whole);
    return whole.subarray(start);
  }

  transmit(source: IpAddress, sourcePort: number, to: IpAddress, port: number, data: Uint8Array, path: Path, hopLimit: number): void {
    const { stack } = this;
    const { out, engine } = stack;
    const headers = (to.family === 4 ? 20 : 40) + 8;
    if (data.length > 65_535 - headers)
      throw new LoomError("EMSGSIZE", `a datagram of ${data.length} bytes; the most is ${65_535 - headers}`);
    if (headers + data.length > path.mtu) {
      this.transmitLarge(source, sourcePort, to, port, data, path, hopLimit);
      return;
    }
    out[abi.SEG_FAMILY / 4] = to.family | (17 << 8) | (hopLimit << 24);
    out[abi.SEG_FLOW_LABEL / 4] = 0;
    source.write(out, abi.SEG_SOURCE / 4);
    to.write(out, abi.SEG_DESTINATION / 4);
    out[abi.SEG_SOURCE_PORT / 4] = sourcePort;
    out[abi.SEG_DESTINATION_PORT / 4] = port;
    out[abi.OUT_IDENTIFICATION / 4] = stack.nextIdentification();
    out[abi.OUT_SEGMENT_SIZE / 4] = 0;
    const own = this.attach(data);
    const id = engine.plane.udpBuild(0, stack.outAddress) >>> 0;
    // Whoever refers to them now keeps them.
    for (const slab of own) stack.slabs.give(slab);
    if (id === abi.NONE) {
      this.counters.sndbuf_errors++;
      throw new LoomError("ENOBUFS", "no buffers for a datagram");
    }
    this.counters.out_datagrams++;
    stack.route(id, to.family, path.hop);
    stack.flush();
  }

  /** What the path does not take in one piece goes in fragments. */
  private transmitLarge(
    source: IpAddress,
    sourcePort: number,
    to: IpAddress,
    port: number,
    payload: Uint8Array,
    path: Path,
    hopLimit: number,
  ): void {
    const { stack } = this;
    const addresses = { source: source.bytes(), destination: to.bytes() };
    const datagram = serializeUdp({ sourcePort, destinationPort: port, payload }, addresses);
    if (!stack.sendPacket(stack.packetOf(source, to, 17, datagram, hopLimit), path)) {
      this.counters.sndbuf_errors++;
      throw new LoomError("ENOBUFS", "no buffers for a datagram");
    }
    this.counters.out_datagrams++;
    stack.flush();
  }

  /** Puts a payload where packets can refer to it; returns the slabs that were taken for it alone. */
  private attach(data: Uint8Array): number[] {
    const { slabs, engine, out } = this.stack;
    const own: number[] = [];
    let piece = abi.OUT_PIECE / 4;
    for (let done = 0; done < data.length; piece += 3) {
      const n = Math.min(data.length - done, SLAB_BYTES);
      const [at, slab] = data.length <= SMALL ? this.stage(n) : whole(slabs, own);
      engine.memory.u8.set(n === data.length ? data : data.subarray(done, done + n), at);
      out[piece] = at;
      out[piece + 1] = n;
      out[piece + 2] = slabs.cookie(slab);
      done += n;
    }
    out[abi.OUT_PIECES / 4] = (piece - abi.OUT_PIECE / 4) / 3;
    return own;
  }

  /** Room for a small payload in the slab that small payloads share: its address and its slab. */
  private stage(bytes: number): [number, number] {
    const { slabs } = this.stack;
    if (this.staging === 0 || this.staged + bytes > SLAB_BYTES) {
      if (this.staging !== 0) slabs.give(this.staging);
      this.staging = slabs.take();
      this.staged = 0;
      if (this.staging === 0) throw new LoomError("ENOBUFS", "no memory for a datagram");
    }
    const at = this.staging + this.staged;
    this.staged += (bytes + 7) & ~7;
    return [at, this.staging];
  }

  failed(report: IcmpErrorReport): boolean {
    const [sourcePort, port] = [be16(report.transport, 0), be16(report.transport, 2)];
    let sent = false;
    for (const endpoint of this.ports.get(sourcePort) ?? []) {
      if (!endpoint.accepts(report.destination, port)) continue;
      sent = true;
      endpoint.failed(report);
    }
    return sent;
  }
}

function be16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function overlaps(a: IpAddress, b: IpAddress): boolean {
  return a.isUnspecified || b.isUnspecified || a.equals(b);
}

function isFor(local: IpAddress, destination: IpAddress, stack: IpStack): boolean {
  if (local.equals(ANY6)) return true;
  if (local.equals(ANY4)) return destination.family === 4;
  return local.equals(destination) || (!stack.isLocal(destination) && local.family === destination.family);
}
