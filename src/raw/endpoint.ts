/** A raw endpoint: sends packets of one protocol, and hears those that come, beside whoever else they are for (raw(7), RFC 3542 §3). */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { DatagramEndpoint, type Envelope } from "../datagram/endpoint.ts";
import type { IpStack } from "../ip/stack.ts";
import { ANY4, ANY6 } from "../ip/wildcard.ts";
import { PROTOCOL } from "../wire/index.ts";

/** Sends packets of any protocol, and hears none (raw(7), IPPROTO_RAW). */
export const IPPROTO_RAW = 255;

/** What an endpoint needs of its layer. */
export interface RawWorld {
  readonly stack: IpStack;
  checkLocal(address: IpAddress): void;
  transmit(endpoint: RawEndpoint, envelope: Envelope, data: Uint8Array): void;
  release(endpoint: RawEndpoint): void;
}

export class RawEndpoint extends DatagramEndpoint {
  readonly family: 4 | 6;
  /** What is sent begins with the program's own IP header (IP_HDRINCL, IPV6_HDRINCL). */
  header: boolean;
  /** A bit for each ICMP type, set: messages of it are not delivered (ICMP_FILTER, RFC 3542 §3.2). */
  readonly blocked = new Uint32Array(8);
  /** Where the Internet checksum stands in payloads of IPv6: written, and verified (IPV6_CHECKSUM, RFC 3542 §3.1); -1: none. */
  checksumAt: number;
  private readonly layer: RawWorld;

  constructor(layer: RawWorld, family: 4 | 6, protocol: number) {
    super(layer.stack, protocol, family === 4 ? ANY4 : ANY6, 0, { v6Only: true });
    this.layer = layer;
    this.family = family;
    this.header = protocol === IPPROTO_RAW;
    this.checksumAt = family === 6 && protocol === PROTOCOL.icmpv6 ? 2 : -1;
  }

  /** Has it asked not to hear of ICMP messages of this type? */
  blocks(type: number): boolean {
    if (this.protocol !== (this.family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) return false;
    return ((this.blocked[type >>> 5] >>> (type & 31)) & 1) !== 0;
  }

  /** Hears and sends by this address alone from now on; EADDRNOTAVAIL when it is none of ours, unless that is `free` (IP_FREEBIND). */
  bind(address: IpAddress, isFree = false): void {
    if (!isFree) this.layer.checkLocal(address);
    this.forgetPath();
    this.local = address;
  }

  /** Hears nothing any more. */
  unhash(): void {
    this.layer.release(this);
  }

  override connect(remote: IpAddress, port: number, zone?: Parameters<DatagramEndpoint["connect"]>[2]): void {
    this.checkFamily(remote);
    super.connect(remote, port, zone);
  }

  override accepts(source: IpAddress): boolean {
    return this.remote?.equals(source) ?? true;
  }

  protected override envelope(...args: Parameters<DatagramEndpoint["envelope"]>): Envelope {
    if (args[0]) this.checkFamily(args[0]);
    if (args[2] !== 0) throw new LoomError("EINVAL", "raw sockets send no segments; expected no segmentSize");
    return super.envelope(...args);
  }

  private checkFamily(address: IpAddress): void {
    if (address.family !== this.family) throw new LoomError("EINVAL", `${address} is no IPv${this.family} address, as this socket's are`);
  }

  protected transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void {
    for (let i = from; i < to; i++) this.layer.transmit(this, envelope, parts[i]);
  }

  protected release(): void {
    this.layer.release(this);
  }

  /** Protocols without ports take whatever stands there. */
  protected checkPort(): void {}
}
