/** An endpoint of ICMP echo: requests out with its identifier, replies with it in (Linux's ping sockets, icmp(7)). */

import { u32 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { DatagramEndpoint, type Envelope } from "../datagram/endpoint.ts";
import { type IcmpErrorReport, icmpMessage } from "../ip/icmp.ts";
import { PROTOCOL } from "../wire/index.ts";
import type { EchoLayer, EchoUser } from "./echo.ts";
import { packetAround } from "./packets.ts";
import { sendWhole } from "./send.ts";

const ICMP = { 4: PROTOCOL.icmp, 6: PROTOCOL.icmpv6 } as const;
const REQUEST = { 4: 8, 6: 128 } as const;
const ICMP_HEADER = 8;
const LARGEST = 65_535;

export class PingEndpoint extends DatagramEndpoint implements EchoUser {
  readonly family: 4 | 6;
  private readonly layer: EchoLayer;

  /** Hears nothing until it is hashed. */
  constructor(layer: EchoLayer, local: IpAddress, shares = false) {
    super(layer.stack, ICMP[local.family], local, 0, { v6Only: true, reuseAddress: shares });
    this.layer = layer;
    this.family = local.family;
  }

  /** On an address from now on. Its port is the identifier: the one asked for, or (0) any free one. Throws EADDRINUSE. */
  hash(local: IpAddress, identifier: number): void {
    const chosen = this.layer.choose([this.family], identifier, this.shares);
    this.forgetPath();
    this.local = local;
    this.port = chosen;
    this.layer.add(this, [this.family], chosen);
  }

  /** Gives its identifier back, and hears nothing, until it is hashed again. */
  unhash(): void {
    this.release();
    this.port = 0;
  }

  get shares(): boolean {
    return this.options.reuseAddress === true;
  }

  override accepts(source: IpAddress): boolean {
    return this.remote?.equals(source) ?? true;
  }

  replied(message: Uint8Array, id: number): boolean {
    const { stack } = this;
    const [address, destination, iface] = [stack.source(), stack.destination(), stack.ingress(id)];
    if (!this.covers(destination) || !this.accepts(address) || (this.device && this.device !== iface)) return false;
    const [hopLimit, trafficClass] = [stack.words[0] >>> 24, (stack.words[0] >>> 16) & 255];
    const common = { address, port: 0, destination, iface, hopLimit, trafficClass, at: stack.now };
    this.deliver({ ...common, data: message, segmentSize: message.length });
    return true;
  }

  /** Requests only: an ICMP header with type and code, a sequence number of the program's, and data. Identifier and checksum are written. */
  protected transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number): void {
    const { source, to, path, hopLimit, trafficClass, mayFragment } = envelope;
    const message = parts[from];
    if (to.family !== this.family) throw new LoomError("EINVAL", `${to} is no IPv${this.family} address, as this socket's are`);
    if (message.length > LARGEST) throw new LoomError("EMSGSIZE", `a message of ${message.length} bytes; the most is ${LARGEST}`);
    if (message.length < ICMP_HEADER || message[0] !== REQUEST[this.family] || message[1] !== 0)
      throw new LoomError("EINVAL", "a ping socket sends echo requests: 8 bytes or more, the first of them the type, the second 0");
    const rest = ((this.port << 16) | (u32(message, 4) & 0xffff)) >>> 0;
    const payload = icmpMessage(message[0], 0, rest, message.subarray(ICMP_HEADER), source, to);
    const id = to.family === 4 ? this.stack.identifications.next(source, to, this.protocol) & 0xffff : 0;
    const packet = packetAround(payload, { source, to, protocol: this.protocol, hopLimit, trafficClass, id, mtu: path.mtu });
    sendWhole(this.stack, envelope, packet, mayFragment);
  }

  toldOf(report: IcmpErrorReport): boolean {
    if (!this.hasSent(report)) return false;
    this.failed(report);
    return true;
  }

  protected release(): void {
    this.layer.release(this, [this.family], this.port);
  }

  /** There are no ports to send to. */
  protected checkPort(): void {}
}
