/** A UDP socket (udp(7)). */
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { UdpEndpoint } from "../udp/endpoint.ts";
import { type Bindings, bindingsOf } from "./bindings.ts";
import { IPPROTO_UDP, SOCK_DGRAM } from "./constants.ts";
import { DatagramSocket } from "./datagram-socket.ts";
import { EINVAL } from "./errno.ts";

export class UdpSocket extends DatagramSocket<UdpEndpoint> {
  protected readonly bindings: Bindings;

  constructor(host: Host, domain: number) {
    super(host, domain, SOCK_DGRAM, IPPROTO_UDP);
    this.bindings = bindingsOf(host).udp;
  }

  protected open(address: IpAddress, port: number): UdpEndpoint {
    const { reusePort, reuseAddress, v6Only } = this;
    return this.host.udp.bind(address, port, { reusePort, reuseAddress, v6Only });
  }

  protected checkPort(port: number): number {
    return port === 0 ? -EINVAL : 0;
  }
}
