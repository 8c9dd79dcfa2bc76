/** A UDP socket: what Linux's `udp_sendmsg`, `udp_recvmsg` and `datagram_poll` do around an endpoint of src/udp. */
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { Datagram, UdpEndpoint } from "../udp/endpoint.ts";
import { type Bindings, bindingsOf } from "./bindings.ts";
import {
  AF_UNSPEC,
  FIONREAD,
  IPPROTO_UDP,
  MSG_ERRQUEUE,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  POLLRDHUP,
  POLLRDNORM,
  POLLWRBAND,
  POLLWRNORM,
  SOCK_DGRAM,
  TIOCOUTQ,
} from "./constants.ts";
import { attempt, EAGAIN, EDESTADDRREQ, EINVAL, ENETUNREACH, ENOTCONN, ENOTTY, EOPNOTSUPP, EPIPE, errnoOf } from "./errno.ts";
import { InetSocket } from "./inet-socket.ts";
import { gather, type Message, scatter } from "./message.ts";
import { nameOf, type SocketName } from "./names.ts";
import type { Settings } from "./settings.ts";
import { RCV_SHUTDOWN, SEND_SHUTDOWN, shutdownMask } from "./socket.ts";

const BOTH = RCV_SHUTDOWN | SEND_SHUTDOWN;
const IN = POLLIN | POLLRDNORM;
const OUT = POLLOUT | POLLWRNORM | POLLWRBAND;

export class UdpSocket extends InetSocket {
  protected readonly bindings: Bindings;
  reuseAddress = false;
  endpoint: UdpEndpoint | undefined;
  private hops = 64;
  /** The next datagram, when somebody has looked at it. */
  private next: Datagram | undefined;

  constructor(host: Host, domain: number) {
    super(host, domain, SOCK_DGRAM, IPPROTO_UDP);
    this.bindings = bindingsOf(host).udp;
  }

  protected freePort(): number {
    return 0;
  }

  protected override take(address: IpAddress, port: number): number {
    const before = this.address;
    this.address = address;
    const conflict = port === 0 ? 0 : this.bindings.check(port, this);
    const result = conflict || attempt(() => this.open(address, port));
    if (result < 0) this.address = before;
    return result;
  }

  private open(address: IpAddress, port: number): number {
    const endpoint = this.host.udp.bind(address, port, {
      reusePort: this.reusePort,
      reuseAddress: this.reuseAddress,
      v6Only: this.v6Only,
    });
    this.endpoint = endpoint;
    endpoint.hopLimit = this.hops;
    endpoint.broadcast = this.settings.broadcast;
    endpoint.onEvent = () => this.waiters.wake(IN);
    this.port = endpoint.port;
    this.bindings.add(this.port, this);
    return 0;
  }

  /** The endpoint; bound to a free port when it is not bound yet. Or a negative error. */
  private bound(): UdpEndpoint | number {
    if (this.endpoint) return this.endpoint;
    const taken = this.take(this.address, 0);
    return taken < 0 ? taken : (this.endpoint as unknown as UdpEndpoint);
  }

  connect(name: SocketName): number {
    if (name.family === AF_UNSPEC) {
      if (this.endpoint) this.endpoint.remote = undefined;
      return 0;
    }
    const remote = this.peerIn(name);
    if (typeof remote === "number") return remote;
    if (!this.address.isUnspecified && this.address.family !== remote.family) return -EINVAL;
    const { ip } = this.host;
    if (ip.pathTo(remote).hop === 0) return -ENETUNREACH;
    const endpoint = this.bound();
    if (typeof endpoint === "number") return endpoint;
    return attempt(() => {
      endpoint.connect(remote, (name as { port: number }).port);
      return 0;
    });
  }

  get peerAddress(): IpAddress | undefined {
    return this.endpoint?.remote;
  }

  get hopLimit(): number {
    return this.hops;
  }

  set hopLimit(value: number) {
    this.hops = value;
    if (this.endpoint) this.endpoint.hopLimit = value;
  }

  override settingChanged(which: keyof Settings): void {
    if (which === "broadcast" && this.endpoint) this.endpoint.broadcast = this.settings.broadcast;
  }

  shutdown(how: number): number {
    const mask = shutdownMask(how);
    if (mask < 0) return mask;
    this.shut |= mask;
    if (!this.peerAddress) return -ENOTCONN;
    this.waiters.wake(IN | OUT | POLLRDHUP | (this.shut === BOTH ? POLLHUP : 0));
    return 0;
  }

  protected release(): void {
    this.next = undefined;
    this.endpoint?.close();
    this.unbind();
  }

  send(message: Message, flags: number): number {
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    let to: IpAddress | undefined;
    let port = 0;
    if (message.name) {
      const address = this.peerIn(message.name);
      if (typeof address === "number") return address;
      to = address;
      port = (message.name as { port: number }).port;
      if (port === 0) return -EINVAL;
    } else if (!this.peerAddress) return -EDESTADDRREQ;
    if (this.error) return this.takeError();
    if (this.shut & SEND_SHUTDOWN) return -EPIPE;
    const endpoint = this.bound();
    if (typeof endpoint === "number") return endpoint;
    const data = gather(message.iov);
    return attempt(() => {
      if (to) endpoint.send(data, to, port);
      else endpoint.send(data);
      return data.length;
    });
  }

  receive(message: Message, flags: number): number {
    message.flags = 0;
    if (flags & MSG_ERRQUEUE) return -EAGAIN;
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    this.fill();
    const datagram = this.next;
    if (this.error) return this.takeError();
    if (!datagram) return this.shut & RCV_SHUTDOWN ? 0 : -EAGAIN;
    if (!(flags & MSG_PEEK)) this.next = undefined;
    const { data } = datagram;
    const n = Math.min(scatter(data, message.iov), data.length);
    if (!message.nameless) message.name = nameOf(datagram.address, datagram.port, this.domain);
    if (n < data.length) message.flags = MSG_TRUNC;
    return flags & MSG_TRUNC ? data.length : n;
  }

  /** Takes the next datagram, or the error in front of it, out of the endpoint. */
  private fill(): void {
    if (this.next || this.error || !this.endpoint?.readable) return;
    try {
      this.next = this.endpoint.read();
    } catch (error) {
      this.error = errnoOf(error);
    }
  }

  override takeError(): number {
    this.fill();
    return super.takeError();
  }

  poll(): number {
    this.fill();
    let mask = OUT;
    if (this.error) mask |= POLLERR;
    if (this.shut & RCV_SHUTDOWN) mask |= IN | POLLRDHUP;
    if (this.shut === BOTH) mask |= POLLHUP;
    if (this.next) mask |= IN;
    return mask;
  }

  override ioctl(request: number, _argument: number): number {
    if (request === TIOCOUTQ) return 0;
    if (request !== FIONREAD) return -ENOTTY;
    this.fill();
    return this.next?.data.length ?? 0;
  }

  override localName(): SocketName {
    const remote = this.peerAddress;
    const { ip } = this.host;
    // A connected socket shows the address that it speaks with.
    const own = remote && this.address.isUnspecified ? ip.sourceFor(remote, ip.pathTo(remote)) : undefined;
    return nameOf(own ?? this.address, this.port, this.domain);
  }

  peerName(): SocketName | number {
    const remote = this.peerAddress;
    return remote ? nameOf(remote, this.endpoint?.remotePort ?? 0, this.domain) : -ENOTCONN;
  }
}
