/** IPPROTO_IP (ip(7)) and IPPROTO_IPV6 (ipv6(7), RFC 3493, RFC 3542). */
import { LoomError } from "../base/errors.ts";
import { AF_INET6, IP_MTU, IP_TTL, IPV6_MTU, IPV6_UNICAST_HOPS, IPV6_V6ONLY } from "./constants.ts";
import { EINVAL } from "./errno.ts";
import type { InetSocket } from "./inet-socket.ts";
import { int, type OptionTable, type SocketOption } from "./options.ts";

const DEFAULT_HOPS = 64;

function hops(low: number): SocketOption<InetSocket> {
  return {
    get: (socket) => socket.hopLimit,
    set(socket, value) {
      if (!value.isInt || value.int > 255 || (value.int < low && value.int !== -1)) return -EINVAL;
      socket.hopLimit = value.int === -1 ? DEFAULT_HOPS : value.int;
      return 0;
    },
  };
}

const pathMtu: SocketOption<InetSocket> = int((socket) => {
  const remote = socket.peerAddress;
  if (!remote) throw new LoomError("ENOTCONN", "an MTU is known of a connected socket only");
  return socket.host.ip.pathTo(remote).mtu;
});

export const IP_OPTIONS: OptionTable<InetSocket> = {
  [IP_TTL]: hops(1),
  [IP_MTU]: pathMtu,
};

export const IPV6_OPTIONS: OptionTable<InetSocket> = {
  [IPV6_UNICAST_HOPS]: hops(0),
  [IPV6_MTU]: pathMtu,
  [IPV6_V6ONLY]: {
    get: ({ settings }) => Number(settings.v6Only),
    set(socket, value) {
      if (!value.isInt || socket.port !== 0 || socket.domain !== AF_INET6) return -EINVAL;
      socket.settings.v6Only = value.int !== 0;
      return 0;
    },
  },
};
