/** A UDP socket (udp(7)). */
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { UdpEndpoint } from "../udp/endpoint.ts";
import { type Bindings, bindingsOf } from "./bindings.ts";
import { IPPROTO_UDP, MSG_MORE, MSG_OOB, SOCK_DGRAM } from "./constants.ts";
import { type Addressed, DatagramSocket } from "./datagram-socket.ts";
import { attempt, EINVAL, EMSGSIZE, EOPNOTSUPP } from "./errno.ts";
import { gather, type Message, sizeOf } from "./message.ts";

/** What the length field of UDP over IPv4 leaves; IPv6 has 20 bytes more. */
const MOST_BYTES = { 4: 65_507, 6: 65_527 } as const;

/** A datagram that is written in pieces: addressed by the first. */
interface Unfinished extends Addressed<UdpEndpoint> {
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
  }

  protected open(address: IpAddress, port: number): UdpEndpoint {
    const { reusePort, reuseAddress, v6Only } = this;
    return this.host.udp.bind(address, port, { reusePort, reuseAddress, v6Only });
  }

  protected override unhash(): void {
    if (this.port === 0) return;
    this.bindings.remove(this.port, this);
    this.endpoint?.unhash();
    this.port = 0;
  }

  protected override rehash(): number {
    const { endpoint } = this;
    if (!endpoint || this.port !== 0) return 0;
    return attempt(() => {
      endpoint.rehash();
      this.port = endpoint.port;
      this.bindings.add(this.port, this);
      return 0;
    });
  }

  protected checkPort(port: number): number {
    return port === 0 ? -EINVAL : 0;
  }

  /** A piece of a datagram that was begun needs no address, and its own is not looked at (udp_sendmsg). */
  override send(message: Message, flags: number): number {
    if (!this.unfinished) return super.send(message, flags);
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    const added = this.add(gather(message.iov));
    if (added < 0 || this.waits(flags)) return added;
    const pushed = this.push();
    return pushed < 0 ? pushed : sizeOf(message.iov);
  }

  protected override deliver(address: Addressed<UdpEndpoint>, data: Uint8Array, flags: number): void {
    if (!this.waits(flags)) super.deliver(address, data, flags);
    else this.unfinished = { ...address, pieces: [data.slice()], length: data.length };
  }

  private waits(flags: number): boolean {
    return this.corked || (flags & MSG_MORE) !== 0;
  }

  /** Too much of it, and all of it is gone. */
  private add(data: Uint8Array): number {
    const unfinished = this.unfinished as Unfinished;
    const family = (unfinished.to ?? this.peerAddress)?.family ?? 4;
    if (unfinished.length + data.length > MOST_BYTES[family]) {
      this.unfinished = undefined;
      return -EMSGSIZE;
    }
    unfinished.pieces.push(data.slice());
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
