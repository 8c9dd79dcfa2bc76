/**
 * Raw sockets of one host (raw(7), RFC 3542 §3), and the sockets of ICMP echo. A raw endpoint gets a copy of every packet of its
 * protocol that is for this host and whose checksum is right, before the protocol itself: of IPv4 with the IP header, of IPv6
 * what is behind the headers. As long as nobody has one, a packet costs one look at a field.
 *
 * | part | what |
 * |---|---|
 * | `layer` | which endpoints a packet is for; packets out |
 * | `packets`, `send` | the bytes of packets: whole, cut, with the fields that a program leaves to its host; on their way |
 * | `echo`, `pinger` | echo requests and replies by their identifier; one request and its answer |
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Envelope } from "../datagram/endpoint.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack } from "../ip/stack.ts";
import type { RawReceiver } from "../ip/types.ts";
import { IPPROTO_RAW, RawEndpoint, type RawWorld } from "./endpoint.ts";
import { completed, datagramsIn, isRight, packetAround, summed } from "./packets.ts";
import { sendWhole } from "./send.ts";

export interface RawCounters {
  in_datagrams: number;
  /** Packets whose checksum, where IPV6_CHECKSUM says it is, was wrong. */
  in_csum_errors: number;
  rcvbuf_errors: number;
  out_datagrams: number;
  sndbuf_errors: number;
}

export class RawLayer implements RawReceiver, RawWorld {
  readonly stack: IpStack;
  readonly counters: RawCounters = { in_datagrams: 0, in_csum_errors: 0, rcvbuf_errors: 0, out_datagrams: 0, sndbuf_errors: 0 };
  private readonly endpoints = { 4: new Map<number, RawEndpoint[]>(), 6: new Map<number, RawEndpoint[]>() };
  private over: LoomError | undefined;

  constructor(stack: IpStack) {
    this.stack = stack;
  }

  close(why: LoomError): void {
    if (this.over) return;
    this.over = why;
    for (const family of [4, 6] as const) for (const each of [...this.endpoints[family].values()].flat()) each.close(why);
  }

  /** An endpoint for packets of a protocol, which is open at once. */
  open(family: 4 | 6, protocol: number): RawEndpoint {
    if (this.over) throw this.over;
    if (!(Number.isInteger(protocol) && protocol >= 1 && protocol <= 255))
      throw new LoomError("EINVAL", `protocol ${protocol}; expected 1 to 255`);
    const endpoint = new RawEndpoint(this, family, protocol);
    const all = this.endpoints[family];
    all.set(protocol, [...(all.get(protocol) ?? []), endpoint]);
    this.stack.setRaw(this);
    return endpoint;
  }

  release(endpoint: RawEndpoint): void {
    const all = this.endpoints[endpoint.family];
    const rest = (all.get(endpoint.protocol) ?? []).filter((each) => each !== endpoint);
    if (rest.length > 0) all.set(endpoint.protocol, rest);
    else all.delete(endpoint.protocol);
    if (this.endpoints[4].size + this.endpoints[6].size === 0) this.stack.setRaw(undefined);
  }

  /** Throws EADDRNOTAVAIL for an address that nothing can be bound to. */
  checkLocal(address: IpAddress): void {
    if (this.stack.isBindable(address)) return;
    throw new LoomError("EADDRNOTAVAIL", `${address} is not an address of this host`);
  }

  // ── In ────────────────────────────────────────────────────────────────────────────────────────

  receive(id: number): boolean {
    const { stack } = this;
    const { words } = stack;
    const family = (words[0] & 255) as 4 | 6;
    const endpoints = this.endpoints[family].get((words[0] >>> 8) & 255);
    if (!endpoints) return false;
    const [address, destination, iface] = [stack.source(), stack.destination(), stack.ingress(id)];
    const takers = endpoints.filter((each) => takes(each, destination, address, iface));
    if (takers.length === 0) return false;
    const packet = stack.packetBytes(id);
    const pieces = datagramsIn(packet, words[abi.SEG_PIECE / 4]);
    const common = {
      address,
      port: 0,
      destination,
      iface,
      hopLimit: words[0] >>> 24,
      trafficClass: (words[0] >>> 16) & 255,
      at: stack.now,
    };
    // A packet that nobody wanted to see is taken all the same (raw(7)): somebody speaks its protocol.
    for (const [i, endpoint] of takers.entries())
      for (const piece of pieces) {
        // To each its own bytes.
        const data = i === 0 ? piece : piece.slice();
        this.hand(endpoint, { ...common, data, segmentSize: data.length });
      }
    return true;
  }

  private hand(endpoint: RawEndpoint, batch: Parameters<RawEndpoint["deliver"]>[0]): void {
    const { counters } = this;
    const { data, address, destination } = batch;
    if (endpoint.blocks(data[endpoint.family === 4 ? (data[0] & 15) * 4 : 0])) return;
    if (endpoint.checksumAt >= 0 && !isRight(data, address, destination, endpoint.protocol)) counters.in_csum_errors++;
    else if (endpoint.deliver(batch)) counters.in_datagrams++;
    else counters.rcvbuf_errors++;
  }

  failed(report: IcmpErrorReport): boolean {
    let sent = false;
    for (const endpoint of this.endpoints[report.source.family].get(report.protocol) ?? []) {
      if (!endpoint.hasSent(report)) continue;
      sent = true;
      endpoint.failed(report);
    }
    return sent;
  }

  // ── Out ───────────────────────────────────────────────────────────────────────────────────────

  /** Throws EMSGSIZE, EINVAL, ENOBUFS. */
  transmit(endpoint: RawEndpoint, envelope: Envelope, data: Uint8Array): void {
    const packet = endpoint.header ? this.complete(endpoint, envelope, data) : this.wrap(endpoint, envelope, data);
    try {
      sendWhole(this.stack, envelope, packet, envelope.mayFragment && !endpoint.header);
    } catch (error) {
      if ((error as LoomError).code === "ENOBUFS") this.counters.sndbuf_errors++;
      throw error;
    }
    this.counters.out_datagrams++;
  }

  private wrap({ protocol, checksumAt }: RawEndpoint, envelope: Envelope, data: Uint8Array): Uint8Array {
    const { source, to, path, hopLimit, trafficClass } = envelope;
    const payload = checksumAt >= 0 ? summed(data, checksumAt, source, to, protocol) : data;
    const id = to.family === 4 ? this.stack.identifications.next(source, to, protocol) & 0xffff : 0;
    return packetAround(payload, { source, to, protocol, hopLimit, trafficClass, id, mtu: path.mtu });
  }

  /** What a program leaves out of its header is filled in (raw(7)). */
  private complete(endpoint: RawEndpoint, { source, to }: Envelope, data: Uint8Array): Uint8Array {
    const id = endpoint.family === 4 ? this.stack.identifications.next(source, to, endpoint.protocol) & 0xffff : 0;
    return completed(data, endpoint.family, source, id);
  }
}

function takes(endpoint: RawEndpoint, destination: IpAddress, source: IpAddress, iface: NetInterface | undefined): boolean {
  if (endpoint.protocol === IPPROTO_RAW || !endpoint.covers(destination) || !endpoint.accepts(source)) return false;
  if (endpoint.device && endpoint.device !== iface) return false;
  return !destination.isMulticast || endpoint.hears(destination, iface, source);
}
