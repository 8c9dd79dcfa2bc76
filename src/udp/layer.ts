/** UDP of one host: which endpoints a datagram is for, and which ports are taken. */
import * as abi from "../../assembly/abi.ts";
import { u16 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { DatagramBatch } from "../datagram/datagram.ts";
import type { EndpointOptions, Envelope } from "../datagram/endpoint.ts";
import { copyChain } from "../engine/port.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack, Transport } from "../ip/stack.ts";
import type { EndpointFacts, Ends } from "../ip/types.ts";
import { ANY6 } from "../ip/wildcard.ts";
import { UdpEndpoint, type UdpWorld } from "./endpoint.ts";
import { Transmitter } from "./transmit.ts";

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
  private readonly transmitter: Transmitter;
  /** Keys the choice within a group of sockets, so that nobody outside can steer it. */
  private readonly key: number;
  /** Why nothing can be bound any more. */
  private over: LoomError | undefined;
  private lastSource = ANY6;
  private lastDestination = ANY6;

  constructor(stack: IpStack) {
    this.stack = stack;
    this.transmitter = new Transmitter(stack, this.counters);
    this.key = stack.random.u32();
    stack.setTransport(17, this);
  }

  /** Ends everything: sockets are told `why`, memory goes back; nothing can be bound afterwards. */
  close(why: LoomError): void {
    if (this.over) return;
    this.over = why;
    for (const endpoint of [...this.ports.values()].flat()) endpoint.close(why);
    this.transmitter.close();
  }

  /** An endpoint on a port (0: any free one) of one address or of all. */
  bind(local: IpAddress | undefined, port: number, options: EndpointOptions = {}, device?: NetInterface): UdpEndpoint {
    const endpoint = this.open(local, options);
    endpoint.device = device;
    endpoint.hash(endpoint.local, port);
    return endpoint;
  }

  /** An endpoint without a port, which hears nothing yet. */
  open(local: IpAddress = ANY6, options: EndpointOptions = {}): UdpEndpoint {
    return new UdpEndpoint(this, local, options);
  }

  hash(endpoint: UdpEndpoint, local: IpAddress, port: number): void {
    if (this.over) throw this.over;
    if (!this.stack.isBindable(local)) {
      throw new LoomError("EADDRNOTAVAIL", `${local} is not an address of this host`);
    }
    const chosen = port || this.ephemeral();
    const there = this.ports.get(chosen) ?? [];
    const before = endpoint.local;
    endpoint.local = local;
    if (there.some((other) => overlaps(other, endpoint) && !sharesPort(other.options, endpoint.options))) {
      endpoint.local = before;
      throw new LoomError("EADDRINUSE", `UDP port ${chosen} is in use`);
    }
    endpoint.port = chosen;
    this.ports.set(chosen, [...there, endpoint]);
    if (there.length === 0) this.stack.ownPort(chosen, 1);
  }

  private ephemeral(): number {
    const { first, last } = this.stack.localPorts;
    const count = last - first + 1;
    const start = this.stack.random.below(count);
    for (let i = 0; i < count; i++) {
      const port = first + ((start + i) % count);
      if (!this.ports.has(port)) return port;
    }
    throw new LoomError("EADDRINUSE", "all dynamic UDP ports are in use");
  }

  /** Is it anybody's port here? */
  uses(port: number): boolean {
    return this.ports.has(port);
  }

  release(endpoint: UdpEndpoint): void {
    const rest = (this.ports.get(endpoint.port) ?? []).filter((other) => other !== endpoint);
    if (rest.length) this.ports.set(endpoint.port, rest);
    else if (this.ports.delete(endpoint.port)) this.stack.ownPort(endpoint.port, -1);
  }

  transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void {
    this.transmitter.transmit(envelope, parts, from, to);
  }

  receive(id: number): void {
    const { stack } = this;
    const { words } = stack;
    const endpoints = this.ports.get(words[abi.SEG_DESTINATION_PORT / 4]);
    const address = this.sourceOf(words);
    const port = words[abi.SEG_SOURCE_PORT / 4];
    const destination = this.destinationOf(words);
    const iface = stack.ingress(id);
    const isForMany = destination.isMulticast || (destination.family === 4 && (iface?.isBroadcast(destination) ?? false));
    const takers = isForMany
      ? (endpoints ?? []).filter((each) => takes(each, destination, address, port, iface) && this.hears(each, destination, iface, address))
      : this.choose(endpoints, destination, address, port, iface);
    const length = words[abi.SEG_PAYLOAD_LENGTH / 4];
    const segmentSize = words[abi.SEG_PIECE / 4];
    const count = length > segmentSize ? Math.ceil(length / segmentSize) : 1;
    if (takers.length === 0) {
      this.counters.no_ports += count;
      // Never about what went to many (RFC 1122 §3.2.2, RFC 4443 §2.4e): `deservesError` sees to it.
      stack.sendErrorFor(id, "portUnreachable", 0);
      return;
    }
    const [trafficClass, hopLimit] = [(words[0] >>> 16) & 255, words[0] >>> 24];
    const data = this.payload(id, length);
    const batch: DatagramBatch = { data, segmentSize, address, port, destination, iface, hopLimit, trafficClass, at: stack.now };
    for (const endpoint of takers) {
      if (endpoint.deliver(batch)) this.counters.in_datagrams += count;
      else this.counters.rcvbuf_errors += count;
    }
  }

  endpoint({ local, localPort, remote, remotePort, iface }: Ends): EndpointFacts | undefined {
    const [found] = this.choose(this.ports.get(localPort), local, remote, remotePort, iface);
    return found && { mark: found.mark, isWildcard: found.local.isUnspecified };
  }

  private hears(endpoint: UdpEndpoint, destination: IpAddress, iface: NetInterface | undefined, source: IpAddress): boolean {
    return !destination.isMulticast || endpoint.hears(destination, iface, source);
  }

  private readonly none: readonly UdpEndpoint[] = [];
  private readonly single: UdpEndpoint[] = [];

  /** The closest endpoint: connected before bound to an address before bound to all; of a group alike, the flow decides. */
  private choose(
    endpoints: readonly UdpEndpoint[] | undefined,
    destination: IpAddress,
    source: IpAddress,
    port: number,
    iface: NetInterface | undefined,
  ): readonly UdpEndpoint[] {
    if (!endpoints) return this.none;
    let best: UdpEndpoint | undefined;
    let score = -1;
    let alike = 0;
    for (const each of endpoints) {
      if (!takes(each, destination, source, port, iface)) continue;
      const own = closeness(each);
      if (own < score) continue;
      alike = own === score && each.options.reusePort ? alike + 1 : 1;
      score = own;
      // The last one bound, unless they share.
      best = each;
    }
    if (!best) return this.none;
    if (alike > 1) {
      const group = endpoints.filter(
        (each) => each.options.reusePort && closeness(each) === score && takes(each, destination, source, port, iface),
      );
      best = group[this.flowHash(source, port) % group.length];
    }
    this.single[0] = best;
    return this.single;
  }

  private flowHash(source: IpAddress, port: number): number {
    let hash = this.key ^ Math.imul(source.d ^ Math.imul(source.b ^ source.c ^ source.a, 0x85ebca6b), 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ port, 0xc2b2ae35);
    return (hash ^ (hash >>> 13)) >>> 0;
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

  /** A copy of the payload. */
  private payload(id: number, length: number): Uint8Array {
    const { words, engine } = this.stack;
    const { memory } = engine;
    const start = words[abi.SEG_PAYLOAD / 4];
    const d = memory.descriptor(id);
    if (memory.getU32(d + abi.DESC_NEXT) === abi.NONE) {
      const at = memory.getU32(d + abi.DESC_DATA) + start;
      return memory.u8.slice(at, at + length);
    }
    const whole = new Uint8Array(start + length);
    copyChain(memory, id, whole);
    return whole.subarray(start);
  }

  failed(report: IcmpErrorReport): boolean {
    const [sourcePort, port] = [u16(report.transport, 0), u16(report.transport, 2)];
    let sent = false;
    for (const endpoint of this.ports.get(sourcePort) ?? []) {
      if (!endpoint.hasSent(report, port)) continue;
      sent = true;
      endpoint.failed(report);
    }
    return sent;
  }
}

/** Two that may be on one port: both say so, in the same way. */
function sharesPort(a: EndpointOptions, b: EndpointOptions): boolean {
  return (a.reusePort === true && b.reusePort === true) || (a.reuseAddress === true && b.reuseAddress === true);
}

function overlaps(a: UdpEndpoint, b: UdpEndpoint): boolean {
  if (a.device && b.device && a.device !== b.device) return false;
  return a.covers(b.local) || b.covers(a.local);
}

function takes(endpoint: UdpEndpoint, destination: IpAddress, source: IpAddress, port: number, iface: NetInterface | undefined): boolean {
  if (!endpoint.covers(destination) || !endpoint.accepts(source, port)) return false;
  return !endpoint.device || endpoint.device === iface;
}

function closeness({ remote, local, device }: UdpEndpoint): number {
  return (remote ? 4 : 0) + (local.isUnspecified ? 0 : 2) + (device ? 1 : 0);
}
