/** A UDP socket (udp(7)). */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { UdpEndpoint } from "../udp/endpoint.ts";
import { type Bindings, bindingsOf } from "./bindings.ts";
import { AF_INET, AF_INET6, IPPROTO_UDP, MSG_MORE, MSG_OOB, SOCK_DGRAM } from "./constants.ts";
import { type Addressed, DatagramSocket } from "./datagram-socket.ts";
import { attempt, EAFNOSUPPORT, EINVAL, EMSGSIZE, EOPNOTSUPP } from "./errno.ts";
import { gather, type Message, sizeOf } from "./message.ts";
import type { SocketName } from "./names.ts";

/** What the length field of UDP over IPv4 leaves; IPv6 has 20 bytes more. */
const MOST_BYTES = { 4: 65_507, 6: 65_527 } as const;
const MOST_IN_A_SEND = 65_535;

/** A datagram that is written in pieces: addressed by the first. */
interface Unfinished extends Addressed {
  to: IpAddress;
  /** Bytes that it may have. */
  readonly most: number;
  readonly pieces: Uint8Array[];
  length: number;
}

export class UdpSocket extends DatagramSocket<UdpEndpoint> {
  protected readonly bindings: Bindings;
  /** All that is sent is one datagram, until this ends (UDP_CORK). */
  corked = false;
  private unfinished: Unfinished | undefined;

  constructor(host: Host, domain: number) {
    super(host, domain, SOCK_DGRAM, IPPROTO_UDP);
    this.bindings = bindingsOf(host).udp;
    this.adopt(host.udp.open(this.address));
  }

  protected hash(address: IpAddress, port: number): void {
    const { reusePort, reuseAddress, v6Only, endpoint } = this;
    Object.assign(endpoint.options, { reusePort, reuseAddress, v6Only });
    endpoint.hash(address, port);
  }

  protected unhash(): void {
    this.endpoint.unhash();
  }

  protected checkPort(port: number): number {
    return port === 0 ? -EINVAL : 0;
  }

  /** An IPv6 socket takes names of IPv4 as well (udpv6_sendmsg, ip6_datagram_connect). */
  protected override peerIn(name: SocketName): IpAddress | number {
    return super.peerIn(this.domain === AF_INET6 && name.family === AF_INET ? { ...name, family: AF_INET6 } : name);
  }

  /** Over IPv4 what was begun goes to the new peer: Linux keeps the address of the two in one place. */
  override connect(name: SocketName): number {
    if (this.domain === AF_INET6 && name.family === AF_INET && this.v6Only) return this.autobind() || -EAFNOSUPPORT;
    const result = super.connect(name);
    const { unfinished, peerAddress, endpoint } = this;
    if (result === 0 && unfinished?.to.family === 4 && peerAddress?.family === 4)
      Object.assign(unfinished, { to: peerAddress, port: endpoint.remotePort });
    return result;
  }

  /** A piece of a datagram that was begun needs no address, and of its own no more is looked at than the family (udp_sendmsg). */
  override send(message: Message, flags: number): number {
    const { unfinished } = this;
    if (!unfinished) return super.send(message, flags);
    const bound = this.autobind();
    if (bound < 0) return bound;
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    const named = this.domain === AF_INET6 && message.name ? this.peerIn(message.name) : unfinished.to;
    if (typeof named === "number") return named;
    if (named.family === 4 && unfinished.to.family === 6) return -EINVAL;
    const added = this.add(gather(message.iov));
    if (added < 0 || this.waits(flags)) return added;
    const pushed = this.push();
    return pushed < 0 ? pushed : sizeOf(message.iov);
  }

  protected override deliver(address: Addressed, data: Uint8Array, flags: number): void {
    if (!this.waits(flags)) super.deliver(address, data, flags);
    else this.begin(address, data);
  }

  /** The first piece says where it goes and how; what speaks against that is said at once. */
  private begin(address: Addressed, data: Uint8Array): void {
    const { endpoint } = this;
    const [to, port] = address.to ? [address.to, address.port] : [endpoint.remote as IpAddress, endpoint.remotePort];
    const most = Math.min(MOST_BYTES[to.family], endpoint.roomFor(to, port, address.options));
    if (data.length > most) throw new LoomError("EMSGSIZE", `${data.length} bytes; expected at most ${most}`);
    const options = { ...address.options, trafficClass: address.options?.trafficClass ?? endpoint.trafficClass };
    this.unfinished = { ...address, to, port, options, most, pieces: [data.slice()], length: data.length };
  }

  private waits(flags: number): boolean {
    return this.corked || (flags & MSG_MORE) !== 0;
  }

  /** Too much of it, and all of it is gone; but not for a piece that never fits. */
  private add(data: Uint8Array): number {
    const unfinished = this.unfinished as Unfinished;
    if (data.length > MOST_IN_A_SEND) return -EMSGSIZE;
    if (unfinished.length + data.length > unfinished.most) {
      this.unfinished = undefined;
      return -EMSGSIZE;
    }
    if (data.length > 0) unfinished.pieces.push(data.slice());
    unfinished.length += data.length;
    return data.length;
  }

  /** What was begun leaves as it is. */
  push(): number {
    const { unfinished } = this;
    if (!unfinished) return 0;
    this.unfinished = undefined;
    const whole = new Uint8Array(unfinished.length);
    let at = 0;
    for (const piece of unfinished.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return attempt(() => {
      super.deliver(unfinished, whole, 0);
      return 0;
    });
  }

  protected override release(): void {
    this.unfinished = undefined;
    super.release();
  }
}
