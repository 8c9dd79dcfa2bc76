/** IPPROTO_IP (ip(7)) and IPPROTO_IPV6 (ipv6(7), RFC 3493, RFC 3542). */
import { LoomError } from "../base/errors.ts";
import type { DISCOVERY } from "../datagram/discovery.ts";
import * as c from "./constants.ts";
import { DatagramSocket } from "./datagram-socket.ts";
import { EADDRNOTAVAIL, EINVAL, ENOPROTOOPT } from "./errno.ts";
import type { InetSocket } from "./inet-socket.ts";
import { encodeName } from "./names.ts";
import { flag, int, type OptionTable, type SocketOption } from "./options.ts";
import { MULTICAST4, MULTICAST6 } from "./options-multicast.ts";
import { TcpSocket } from "./tcp-socket.ts";
import type { UdpSocket } from "./udp-socket.ts";

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

/** TOS or traffic class; -1 is the default. */
const trafficClass: SocketOption<InetSocket> = {
  get: (socket) => socket.trafficClass,
  set(socket, value) {
    if (!value.isInt || value.int < -1 || value.int > 255) return -EINVAL;
    socket.trafficClass = Math.max(value.int, 0);
    return 0;
  },
};

/** The low eight bits of whatever number it is. */
const typeOfService: SocketOption<InetSocket> = {
  get: trafficClass.get,
  set(socket, value) {
    if (!value.isInt) return -EINVAL;
    socket.trafficClass = value.int & 255;
    return 0;
  },
};

/** An option that only datagram sockets have a mechanism for. */
function forDatagrams(option: SocketOption<DatagramSocket>): SocketOption<InetSocket> {
  return {
    get(socket) {
      if (!(socket instanceof DatagramSocket) || !option.get) throw new LoomError("ENOPROTOOPT", "not of this kind of socket");
      return option.get(socket);
    },
    set: (socket, value) => (socket instanceof DatagramSocket && option.set ? option.set(socket, value) : -ENOPROTOOPT),
  };
}

function told(what: keyof DatagramSocket["tells"]): SocketOption<InetSocket> {
  return forDatagrams(
    flag(
      ({ tells }) => tells[what],
      ({ tells }, on) => {
        tells[what] = on;
      },
    ),
  );
}

const receiveErrors = forDatagrams(
  flag(
    (socket) => socket.endpoint.receiveErrors,
    (socket, on) => {
      socket.endpoint.receiveErrors = on;
    },
  ),
);

/** May the socket bind to what is no address of this host (IP_FREEBIND)? */
const freeBind: SocketOption<InetSocket> = flag(
  ({ settings }) => settings.freeBind,
  ({ settings }, on) => {
    settings.freeBind = on;
  },
);

/** Segments with fewer hops left are not taken (RFC 5082). */
const leastHops: SocketOption<InetSocket> = {
  get: (socket) => (socket instanceof TcpSocket ? socket.options.minHopLimit : 0),
  set(socket, value) {
    if (!(socket instanceof TcpSocket)) return -ENOPROTOOPT;
    if (!value.isInt || value.int < 0 || value.int > 255) return -EINVAL;
    socket.options.minHopLimit = value.int;
    return 0;
  },
};

/** A port that is not asked for is chosen by connect alone, when the peer is known (IP_BIND_ADDRESS_NO_PORT). */
const bindWithoutPort: SocketOption<InetSocket> = flag(
  ({ settings }) => settings.bindWithoutPort,
  ({ settings }, on) => {
    settings.bindWithoutPort = on;
  },
);

/** A stream takes all of them: its segments fit the path, whatever was asked for. */
const ofStream: SocketOption<InetSocket> = int(
  ({ settings }) => settings.discovery,
  ({ settings }, value) => {
    settings.discovery = value;
  },
  c.IP_PMTUDISC_DONT,
  c.IP_PMTUDISC_OMIT,
);

/** By their numbers. */
const WAYS = ["dont", "want", "do", "probe", "interface", "omit"] as const satisfies readonly (keyof typeof DISCOVERY)[];

const ofDatagrams = forDatagrams(
  int(
    (socket) => WAYS.indexOf(socket.discovery),
    (socket, value) => {
      socket.discovery = WAYS[value];
      socket.discover();
    },
    c.IP_PMTUDISC_DONT,
    c.IP_PMTUDISC_OMIT,
  ),
);

/** Segments of streams fit the path in any case. */
const dontFragment: SocketOption<InetSocket> = flag(
  (socket) => (socket instanceof DatagramSocket ? socket.dontFragment : socket.settings.dontFragment),
  (socket, on) => {
    if (!(socket instanceof DatagramSocket)) socket.settings.dontFragment = on;
    else {
      socket.dontFragment = on;
      socket.discover();
    }
  },
);

/** An interface's index in network order, 0 for none: unlike SO_BINDTODEVICE it holds for what is sent, and asks nothing of what comes. */
const unicastInterface = forDatagrams({
  get: (socket) => swapped(socket.unicastInterface),
  set(socket, value) {
    if (value.bytes.length !== 4) return -EINVAL;
    const index = swapped(value.int);
    const iface = socket.host.ip.interfaces.find((each) => each.index === index);
    if (index !== 0 && !iface) return -EADDRNOTAVAIL;
    if (index !== 0 && socket.settings.device !== undefined) return -EINVAL;
    socket.unicastInterface = index;
    socket.endpoint.unicastInterface = iface;
    return 0;
  },
});

function swapped(word: number): number {
  return ((word & 255) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

const discovery: SocketOption<InetSocket> = {
  get: (socket) => (socket instanceof DatagramSocket ? ofDatagrams : ofStream).get?.(socket) ?? 0,
  set: (socket, value) => (socket instanceof DatagramSocket ? ofDatagrams : ofStream).set?.(socket, value) ?? -ENOPROTOOPT,
};

/** Where a connection of a family was going before rules redirected it here, as a struct sockaddr (getorigdst of nf_conntrack). */
function originalDestination(family: typeof c.AF_INET | typeof c.AF_INET6): SocketOption<InetSocket> {
  return {
    get(socket, place) {
      const [local, remote] = [socket.localName(), socket.peerName()];
      if (socket.protocol !== c.IPPROTO_TCP) throw new LoomError("ENOPROTOOPT", "destinations are kept of connections");
      if (typeof remote === "number" || !("address" in remote) || !("address" in local))
        throw new LoomError("ENOENT", "it is not connected");
      const found = socket.host.originalDestination({ localAddress: local, remoteAddress: remote });
      const is4 = found !== undefined && !found.address.includes(":");
      if (!found || is4 !== (family === c.AF_INET)) throw new LoomError("ENOENT", "no connection of this family is tracked");
      const name = encodeName({ family, ...found });
      if (place && place.length < name.length) throw new LoomError("EINVAL", `room for ${place.length} bytes; expected ${name.length}`);
      return name;
    },
  };
}

export const UDP_OPTIONS: OptionTable<UdpSocket> = {
  [c.UDP_SEGMENT]: int(
    (socket) => socket.segmentSize,
    (socket, value) => {
      socket.segmentSize = value;
    },
    0,
    0xffff,
  ),
  [c.UDP_CORK]: flag(
    (socket) => socket.corked,
    (socket, on) => {
      socket.corked = on;
      if (!on) socket.push();
    },
  ),
  [c.UDP_GRO]: flag(
    ({ tells }) => tells.batches,
    ({ tells }, on) => {
      tells.batches = on;
    },
  ),
};

export const IP_OPTIONS: OptionTable<InetSocket> = {
  ...MULTICAST4,
  [c.IP_TOS]: typeOfService,
  [c.IP_RECVERR]: receiveErrors,
  [c.IP_MTU_DISCOVER]: discovery,
  [c.IP_FREEBIND]: freeBind,
  [c.IP_UNICAST_IF]: unicastInterface,
  [c.IP_BIND_ADDRESS_NO_PORT]: bindWithoutPort,
  [c.IP_MINTTL]: leastHops,
  [c.IP_PKTINFO]: told("info"),
  [c.IP_RECVTTL]: told("hopLimit"),
  [c.IP_RECVTOS]: told("trafficClass"),
  [c.IP_TTL]: hops(1),
  [c.IP_MTU]: pathMtu,
  [c.SO_ORIGINAL_DST]: originalDestination(c.AF_INET),
};

export const IPV6_OPTIONS: OptionTable<InetSocket> = {
  ...MULTICAST6,
  [c.IPV6_TCLASS]: trafficClass,
  [c.IPV6_RECVERR]: receiveErrors,
  [c.IPV6_MTU_DISCOVER]: discovery,
  [c.IPV6_FREEBIND]: freeBind,
  [c.IPV6_UNICAST_IF]: unicastInterface,
  [c.IPV6_DONTFRAG]: dontFragment,
  [c.IPV6_MINHOPCOUNT]: leastHops,
  [c.IPV6_RECVPKTINFO]: told("info"),
  [c.IPV6_RECVHOPLIMIT]: told("hopLimit"),
  [c.IPV6_RECVTCLASS]: told("trafficClass"),
  [c.IPV6_UNICAST_HOPS]: hops(0),
  [c.IPV6_MTU]: pathMtu,
  [c.SO_ORIGINAL_DST]: originalDestination(c.AF_INET6),
  [c.IPV6_V6ONLY]: {
    get: ({ settings }) => Number(settings.v6Only),
    set(socket, value) {
      if (!value.isInt || socket.port !== 0 || socket.domain !== c.AF_INET6) return -EINVAL;
      socket.settings.v6Only = value.int !== 0;
      return 0;
    },
  },
};
