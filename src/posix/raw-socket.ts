/** A raw socket (raw(7), RFC 3542 §3): open from the beginning, and shown with its protocol for a port, as Linux has it. */
import type { Host } from "../host/host.ts";
import { IPPROTO_RAW, type RawEndpoint } from "../raw/endpoint.ts";
import { AF_INET, SOCK_RAW } from "./constants.ts";
import { DatagramSocket } from "./datagram-socket.ts";
import { attempt, EINVAL } from "./errno.ts";
import type { SocketName } from "./names.ts";

export class RawSocket extends DatagramSocket<RawEndpoint> {
  protected readonly bindings = undefined;

  /** `protocol`: 1 to 255. */
  constructor(host: Host, domain: number, protocol: number) {
    super(host, domain, SOCK_RAW, protocol);
    this.settings.v6Only = true;
    this.adopt(host.rawSockets.open(domain === AF_INET ? 4 : 6, protocol));
    this.port = protocol;
  }

  /** Again and again, if it likes to, until it is connected. */
  override bind(name: SocketName): number {
    const address = this.addressIn(name);
    if (typeof address === "number") return address;
    if (this.peerAddress) return -EINVAL;
    const zoned = this.bindZone(name, address);
    if (zoned < 0) return zoned;
    return attempt(() => {
      this.endpoint.bind(address, this.settings.freeBind);
      this.address = address;
      return 0;
    });
  }

  /** It has its protocol from the beginning; once disconnected it only sends, as in Linux. */
  protected hash(): void {}
  protected unhash(): void {
    this.endpoint.unhash();
  }
  protected override autobind(): number {
    return 0;
  }

  /** Linux does not look (raw_sendmsg). */
  protected override get mindsShutdown(): boolean {
    return false;
  }

  /** Of IPv6 it names the protocol again, or nothing (rawv6_sendmsg). */
  protected checkPort(port: number): number {
    const { protocol, domain } = this;
    return domain === AF_INET || port === 0 || port === protocol || protocol === IPPROTO_RAW ? 0 : -EINVAL;
  }
}
