/** What sockets of datagrams share, whatever their protocol: `datagram_poll`, and what `udp_sendmsg`, `raw_sendmsg` and `ping_v4_sendmsg` have in common. */
import type { IpAddress } from "../base/ip-address.ts";
import type { SendOptions } from "../datagram/datagram.ts";
import { DISCOVERY } from "../datagram/discovery.ts";
import type { DatagramEndpoint } from "../datagram/endpoint.ts";
import type { NetInterface } from "../ip/interface.ts";
import {
  AF_UNSPEC,
  FIONREAD,
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
  SCM_TSTAMP_SCHED,
  SCM_TSTAMP_SND,
  SOF_TIMESTAMPING_OPT_ID,
  SOF_TIMESTAMPING_OPT_TSONLY,
  SOF_TIMESTAMPING_SOFTWARE,
  SOF_TIMESTAMPING_TX_SCHED,
  SOF_TIMESTAMPING_TX_SOFTWARE,
  TIOCOUTQ,
} from "./constants.ts";
import { type Received, sendOptions, tellAll } from "./datagram-control.ts";
import { attempt, EACCES, EAGAIN, EDESTADDRREQ, EINVAL, ENETUNREACH, ENOTCONN, ENOTTY, EOPNOTSUPP, EPIPE, errnoOf } from "./errno.ts";
import { ErrorQueue } from "./error-queue.ts";
import { InetSocket } from "./inet-socket.ts";
import { gather, type Message, scatter } from "./message.ts";
import type { SocketName } from "./names.ts";
import type { Settings } from "./settings.ts";
import { RCV_SHUTDOWN, SEND_SHUTDOWN, shutdownMask } from "./socket.ts";
import { scmTimestamping, sendFlags, tellArrival } from "./timestamping.ts";

const DEFAULT_HOPS = 64;
const BOTH = RCV_SHUTDOWN | SEND_SHUTDOWN;
const IN = POLLIN | POLLRDNORM;
const OUT = POLLOUT | POLLWRNORM | POLLWRBAND;

/** Where a datagram goes and how; without an address to the peer. */
export interface Addressed {
  readonly to: IpAddress | undefined;
  readonly port: number;
  readonly options: SendOptions | undefined;
  /** Of what time stamps it is asked to tell. */
  readonly told: number;
}

export abstract class DatagramSocket<E extends DatagramEndpoint = DatagramEndpoint> extends InetSocket {
  private mayReuse = false;
  readonly errors = new ErrorQueue();
  /** Which control messages come along with datagrams. */
  readonly tells = { info: false, hopLimit: false, trafficClass: false, batches: false };
  discovery: keyof typeof DISCOVERY = "want";
  /** What is too large for the path is an error over IPv6 (IPV6_DONTFRAG). */
  dontFragment = false;
  unicastInterface = 0;
  readonly multicast = { multicastTtl: 1, multicastLoop: 1, multicastAll: 1 };
  /** Bytes of each datagram of a send (UDP_SEGMENT); 0: one. */
  segmentSize = 0;
  /** The socket's from the beginning; it hears nothing before it is hashed. */
  endpoint!: E;
  /** The next datagram, when somebody has looked at it. */
  private next: Received | undefined;

  /** The endpoint is on an address and a port (0: any free one) from now on. Throws what binding there throws. */
  protected abstract hash(address: IpAddress, port: number): void;
  /** It hears nothing any more, and a port that was chosen goes back. */
  protected abstract unhash(): void;
  /** Does nothing leave after a shutdown for writing? */
  protected get mindsShutdown(): boolean {
    return true;
  }

  /** 0, or a negative error for a port that nothing can be sent to. */
  protected abstract checkPort(port: number): number;

  protected freePort(): number {
    return 0;
  }

  protected override take(address: IpAddress, port: number): number {
    const before = this.address;
    this.address = address;
    const conflict = port === 0 ? 0 : (this.bindings?.check(port, this) ?? 0);
    const result =
      conflict ||
      attempt(() => {
        this.hash(address, port);
        this.port = this.endpoint.port;
        this.bindings?.add(this.port, this);
        this.isPortFixed = port !== 0;
        return 0;
      });
    if (result < 0) this.address = before;
    return result;
  }

  protected adopt(endpoint: E): void {
    this.endpoint = endpoint;
    endpoint.onEvent = () => this.waiters.wake(endpoint.hasErrors ? IN | POLLERR : IN);
  }

  /** Bound to a free port when it is not bound yet (inet_autobind). 0, or a negative error. */
  protected autobind(): number {
    return this.port === 0 ? this.take(this.address, 0) : 0;
  }

  connect(name: SocketName): number {
    if (name.family === AF_UNSPEC) return this.disconnect();
    const bound = this.autobind();
    if (bound < 0) return bound;
    const remote = this.peerIn(name);
    if (typeof remote === "number") return remote;
    if (!this.address.isUnspecified && this.address.family !== remote.family) return -EINVAL;
    const { ip } = this.host;
    if (this.isBroadcast(remote) && !this.settings.broadcast) return -EACCES;
    const zoned = this.bindZone(name, remote);
    if (zoned < 0) return zoned;
    if (ip.pathTo(remote, this.boundInterface).hop === 0) return -ENETUNREACH;
    return attempt(() => {
      this.endpoint.connect(remote, (name as { port: number }).port);
      return 0;
    });
  }

  /** From now on everybody is heard, by any interface; a port that was chosen goes back (__udp_disconnect). */
  private disconnect(): number {
    const { endpoint, settings } = this;
    endpoint.remote = undefined;
    endpoint.remotePort = 0;
    if (settings.device !== undefined) {
      settings.device = undefined;
      this.settingChanged("device");
    }
    if (!this.isPortFixed) this.giveBack();
    return 0;
  }

  private giveBack(): void {
    const { bindings } = this;
    this.unhash();
    if (this.port !== 0) bindings?.remove(this.port, this);
    this.port = this.endpoint.port;
  }

  /** What `discovery` and `dontFragment` come to. */
  discover(): void {
    const { mayFragment, mayBeCut, byLink } = DISCOVERY[this.discovery];
    this.endpoint.discovery = { mayFragment: mayFragment && !this.dontFragment, mayBeCut, byLink };
  }

  get reuseAddress(): boolean {
    return this.mayReuse;
  }

  set reuseAddress(on: boolean) {
    this.mayReuse = on;
    this.endpoint.options.reuseAddress = on;
  }

  get trafficClass(): number {
    return this.endpoint.trafficClass;
  }

  set trafficClass(value: number) {
    this.endpoint.trafficClass = value;
  }

  get peerAddress(): IpAddress | undefined {
    return this.endpoint.remote;
  }

  get hopLimit(): number {
    return this.endpoint.hopLimit ?? DEFAULT_HOPS;
  }

  set hopLimit(value: number) {
    this.endpoint.hopLimit = value;
  }

  override settingChanged(which: keyof Settings): void {
    const { settings, endpoint } = this;
    if (which === "broadcast") endpoint.broadcast = settings.broadcast;
    if (which === "receiveBuffer") endpoint.receiveBuffer = settings.receiveBuffer;
    if (which === "reusePort") endpoint.options.reusePort = settings.reusePort;
    if (which === "mark") endpoint.setMark(settings.mark);
    if (which === "device") endpoint.device = settings.device === undefined ? undefined : this.host.ip.interface(settings.device);
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
    this.endpoint.close();
    this.unbind();
  }

  send(message: Message, flags: number): number {
    const bound = this.autobind();
    if (bound < 0) return bound;
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    let to: IpAddress | undefined;
    let zone: NetInterface | undefined;
    let port = 0;
    if (message.name) {
      const address = this.peerIn(message.name);
      if (typeof address === "number") return address;
      to = address;
      port = (message.name as { port: number }).port;
      const refused = this.checkPort(port);
      if (refused < 0) return refused;
      if (this.isBroadcast(to) && !this.settings.broadcast) return -EACCES;
      if (to.family === 6 && to.isLinkLocal) {
        const found = this.zoneIn(message.name, to);
        if (typeof found === "number") return found;
        zone = found;
      }
    } else if (!this.peerAddress) return -EDESTADDRREQ;
    if (this.error) return this.takeError();
    if (this.shut & SEND_SHUTDOWN && this.mindsShutdown) return -EPIPE;
    const data = gather(message.iov);
    const told = sendFlags(this.settings, message.control);
    if (told < 0) return told;
    return attempt(() => {
      const given = sendOptions(message.control, this);
      const options = to && zone && !given?.iface ? { ...given, iface: zone } : given;
      this.deliver({ to, port, options, told }, data, flags);
      return data.length;
    });
  }

  /** What was addressed goes, or waits for more of it. */
  protected deliver({ to, port, options, told }: Addressed, data: Uint8Array, _flags: number): void {
    const { endpoint } = this;
    if (to) endpoint.send(data, to, port, options);
    else endpoint.send(data, undefined, undefined, options);
    if (told > 0) this.noteTimestamps(told, data);
  }

  /** A datagram leaves at once: both times of it are the same. */
  private noteTimestamps(told: number, data: Uint8Array): void {
    const { settings, host } = this;
    const { timestamping } = settings;
    const id = timestamping & SOF_TIMESTAMPING_OPT_ID ? settings.timestampKey++ >>> 0 : 0;
    const payload = timestamping & SOF_TIMESTAMPING_OPT_TSONLY ? data.subarray(0, 0) : data.slice();
    const stamp = timestamping & SOF_TIMESTAMPING_SOFTWARE ? scmTimestamping(host, host.ip.now) : undefined;
    if (told & SOF_TIMESTAMPING_TX_SCHED) this.errors.noteTimestamp(SCM_TSTAMP_SCHED, id, payload, stamp);
    if (told & SOF_TIMESTAMPING_TX_SOFTWARE) this.errors.noteTimestamp(SCM_TSTAMP_SND, id, payload, stamp);
    this.waiters.wake(POLLERR);
  }

  /** Shut down for reading: who would wait gets nothing instead (__skb_wait_for_more_packets). */
  get isAtEnd(): boolean {
    return (this.shut & RCV_SHUTDOWN) !== 0;
  }

  receive(message: Message, flags: number): number {
    message.flags = 0;
    if (flags & MSG_ERRQUEUE) return this.receiveError(message);
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    this.fill();
    const datagram = this.next;
    if (this.error) return this.takeError();
    if (!datagram) return -EAGAIN;
    if (!(flags & MSG_PEEK)) this.next = undefined;
    const { data } = datagram;
    const n = Math.min(scatter(data, message.iov), data.length);
    if (!message.nameless) message.name = this.shown(datagram.address, datagram.port, datagram.iface);
    if (n < data.length) message.flags = MSG_TRUNC;
    if (message.control) tellArrival(message.control, this.settings, this.host, datagram.at);
    if (message.control) tellAll(message.control, datagram, this);
    return flags & MSG_TRUNC ? data.length : n;
  }

  /** Takes the next datagram out of the endpoint, and the error, which is told first, however late it came. */
  private fill(): void {
    if (!this.endpoint.readable) return;
    const error = this.endpoint.takeError();
    if (error) this.error ||= errnoOf(error);
    if (this.next || this.endpoint.nextLength < 0 || this.endpoint.isOver) return;
    this.next = this.tells.batches ? this.endpoint.readBatch() : this.endpoint.read();
  }

  private receiveError(message: Message): number {
    this.fillErrors();
    return this.errors.read(message, this.domain);
  }

  private fillErrors(): void {
    for (let error = this.endpoint.readError(); error; error = this.endpoint.readError()) this.errors.note(error, this.domain);
  }

  override held() {
    return { unread: this.endpoint.unread, unsent: 0, drops: this.endpoint.drops };
  }

  override takeError(): number {
    this.fill();
    return super.takeError();
  }

  poll(): number {
    this.fill();
    let mask = OUT;
    if (this.error || !this.errors.isEmpty || this.endpoint.hasErrors) mask |= POLLERR;
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
    const own = remote && this.address.isUnspecified ? ip.sourceFor(remote, ip.pathTo(remote, this.boundInterface)) : undefined;
    return this.shown(own ?? this.address, this.port);
  }

  peerName(): SocketName | number {
    const remote = this.peerAddress;
    const port = this.endpoint.remotePort;
    return remote && port !== 0 ? this.shown(remote, port) : -ENOTCONN;
  }
}
