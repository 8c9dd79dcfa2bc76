/** Groups of a socket of datagrams (ip(7), RFC 3678, RFC 3493 §5.2): who is heard, and how groups are sent to. */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { DatagramEndpoint } from "../datagram/endpoint.ts";
import type { NetInterface } from "../ip/interface.ts";
import * as c from "./constants.ts";
import { interfaceAt } from "./datagram-control.ts";
import { DatagramSocket } from "./datagram-socket.ts";
import { EADDRNOTAVAIL, EINVAL, ENOPROTOOPT } from "./errno.ts";
import type { InetSocket } from "./inet-socket.ts";
import { decodeName } from "./names.ts";
import type { OptionTable, OptionValue, SocketOption } from "./options.ts";
import { FILTER4, GROUP_FILTER } from "./options-source-filter.ts";

type Act = (endpoint: DatagramEndpoint) => void;

/** An option that is a command to the endpoint; `read` throws, or gives undefined for a value of the wrong size. */
function command(read: (socket: DatagramSocket, value: OptionValue) => Act | undefined): SocketOption<InetSocket> {
  return {
    set(socket, value) {
      if (!(socket instanceof DatagramSocket)) return -ENOPROTOOPT;
      const act = read(socket, value);
      if (!act) return -EINVAL;
      act(socket.endpoint);
      return 0;
    },
  };
}

const address4 = (value: OptionValue, at: number) => IpAddress.fromBytes(value.bytes.subarray(at, at + 4));

/** The interface that an address of this host is on; undefined for the unspecified one. */
function interfaceOf(socket: DatagramSocket, address: IpAddress): NetInterface | undefined {
  if (address.isUnspecified) return undefined;
  const iface = socket.host.ip.interfaces.find((each) => each.owns(address));
  if (!iface) throw new LoomError("ENODEV", `${address} is on no interface of this host`);
  return iface;
}

/** struct ip_mreq (group, own address) or ip_mreqn (and an interface's index). */
function membership4(
  act: (endpoint: DatagramEndpoint, group: IpAddress, iface: NetInterface | undefined) => void,
): SocketOption<InetSocket> {
  return command((socket, value) => {
    if (value.bytes.length < 8) return undefined;
    const index = value.bytes.length >= 12 ? value.word(2) : 0;
    const iface = index ? interfaceAt(socket.host, index) : interfaceOf(socket, address4(value, 4));
    return (endpoint) => act(endpoint, address4(value, 0), iface);
  });
}

/** struct ip_mreq_source: group, own address, source. */
function source4(
  act: (endpoint: DatagramEndpoint, group: IpAddress, source: IpAddress, iface: NetInterface | undefined) => void,
): SocketOption<InetSocket> {
  return command((socket, value) => {
    if (value.bytes.length < 12) return undefined;
    const iface = interfaceOf(socket, address4(value, 4));
    return (endpoint) => act(endpoint, address4(value, 0), address4(value, 8), iface);
  });
}

/** struct ipv6_mreq: group, interface's index. */
function membership6(
  act: (endpoint: DatagramEndpoint, group: IpAddress, iface: NetInterface | undefined) => void,
): SocketOption<InetSocket> {
  return command((socket, value) => {
    if (value.bytes.length < 20) return undefined;
    const iface = value.word(4) ? interfaceAt(socket.host, value.word(4)) : undefined;
    return (endpoint) => act(endpoint, IpAddress.fromBytes(value.bytes.subarray(0, 16)), iface);
  });
}

/** struct group_req and group_source_req: interface's index, then one or two struct sockaddr_storage. */
function request(
  sources: boolean,
  act: (endpoint: DatagramEndpoint, group: IpAddress, options: { iface?: NetInterface; sources?: IpAddress[] }) => void,
) {
  const STORAGE = 128;
  return command((socket, value) => {
    if (value.bytes.length < 8 + STORAGE * (sources ? 2 : 1)) return undefined;
    const at = (offset: number) => {
      const name = decodeName(value.bytes.subarray(offset, offset + STORAGE));
      return typeof name !== "number" && "address" in name ? IpAddress.parse(name.address) : undefined;
    };
    const [group, source] = [at(8), sources ? at(8 + STORAGE) : undefined];
    if (sources && (!group || group.family !== source?.family))
      throw new LoomError("EADDRNOTAVAIL", "a group and a source are of one family");
    if (!group) return undefined;
    const iface = value.word(0) ? interfaceAt(socket.host, value.word(0)) : undefined;
    return (endpoint) => act(endpoint, group, source ? { iface, sources: [source] } : { iface });
  });
}

/** An int that the socket remembers and the endpoint is told. */
function remembered(
  key: "multicastTtl" | "multicastLoop" | "multicastAll",
  low: number,
  high: number,
  tell: (endpoint: DatagramEndpoint, value: number) => void,
) {
  const option: SocketOption<InetSocket> = {
    get: (socket) => (socket instanceof DatagramSocket ? socket.multicast[key] : 1),
    set(socket, value) {
      // Linux takes a single byte, too.
      const given = value.isInt ? value.int : value.bytes[0];
      const int = key === "multicastTtl" && given === -1 ? 1 : given;
      if (!(socket instanceof DatagramSocket)) return -ENOPROTOOPT;
      if (int === undefined || int < low || int > high) return -EINVAL;
      socket.multicast[key] = int;
      tell(socket.endpoint, int);
      return 0;
    },
  };
  return option;
}

const join = (endpoint: DatagramEndpoint, group: IpAddress, iface: NetInterface | undefined) => endpoint.join(group, { iface });
const leave = (endpoint: DatagramEndpoint, group: IpAddress, iface: NetInterface | undefined) => endpoint.leave(group, { iface });
const ttl = remembered("multicastTtl", 0, 255, (endpoint, value) => endpoint.setMulticastTtl(value));
const loop = remembered("multicastLoop", 0, 1, (endpoint, value) => endpoint.setMulticastLoop(value !== 0));
const all4 = remembered("multicastAll", 0, 1, (endpoint, value) => {
  endpoint.multicastAll = value !== 0;
});
/** Over IPv6 anything but 0 is on. */
const all6: SocketOption<InetSocket> = {
  get: all4.get,
  set(socket, value) {
    if (!(socket instanceof DatagramSocket)) return -ENOPROTOOPT;
    if (!value.isInt) return -EINVAL;
    socket.multicast.multicastAll = value.int === 0 ? 0 : 1;
    socket.endpoint.multicastAll = value.int !== 0;
    return 0;
  },
};
const block = (
  endpoint: DatagramEndpoint,
  group: IpAddress,
  { iface, sources = [] }: { iface?: NetInterface; sources?: IpAddress[] },
  on: boolean,
) => {
  for (const source of sources) endpoint.blockSource(group, source, on, iface);
};
const groups: OptionTable<InetSocket> = {
  [c.MCAST_JOIN_GROUP]: request(false, (endpoint, group, options) => endpoint.join(group, options)),
  [c.MCAST_LEAVE_GROUP]: request(false, (endpoint, group, options) => endpoint.leave(group, options)),
  [c.MCAST_JOIN_SOURCE_GROUP]: request(true, (endpoint, group, options) => endpoint.join(group, options)),
  [c.MCAST_LEAVE_SOURCE_GROUP]: request(true, (endpoint, group, options) => endpoint.leave(group, options)),
  [c.MCAST_BLOCK_SOURCE]: request(true, (endpoint, group, options) => block(endpoint, group, options, true)),
  [c.MCAST_UNBLOCK_SOURCE]: request(true, (endpoint, group, options) => block(endpoint, group, options, false)),
  [c.MCAST_MSFILTER]: GROUP_FILTER,
};

/** struct in_addr, ip_mreq or ip_mreqn. */
const interface4: SocketOption<InetSocket> = {
  set(socket, value) {
    if (!(socket instanceof DatagramSocket)) return -ENOPROTOOPT;
    const { bytes } = value;
    if (bytes.length < 4) return -EINVAL;
    const address = address4(value, bytes.length >= 8 ? 4 : 0);
    const index = bytes.length >= 12 ? value.word(2) : 0;
    const iface = index
      ? interfaceAt(socket.host, index)
      : address.isUnspecified
        ? undefined
        : socket.host.ip.interfaces.find((each) => each.owns(address));
    if (!iface && !address.isUnspecified) return -EADDRNOTAVAIL;
    socket.endpoint.setMulticastInterface(iface);
    return 0;
  },
};

export const MULTICAST4: OptionTable<InetSocket> = {
  ...groups,
  [c.IP_MULTICAST_TTL]: ttl,
  [c.IP_MULTICAST_LOOP]: loop,
  [c.IP_MULTICAST_ALL]: all4,
  [c.IP_MULTICAST_IF]: interface4,
  [c.IP_MSFILTER]: FILTER4,
  [c.IP_ADD_MEMBERSHIP]: membership4(join),
  [c.IP_DROP_MEMBERSHIP]: membership4(leave),
  [c.IP_ADD_SOURCE_MEMBERSHIP]: source4((endpoint, group, source, iface) => endpoint.join(group, { iface, sources: [source] })),
  [c.IP_DROP_SOURCE_MEMBERSHIP]: source4((endpoint, group, source, iface) => endpoint.leave(group, { iface, sources: [source] })),
  [c.IP_BLOCK_SOURCE]: source4((endpoint, group, source, iface) => endpoint.blockSource(group, source, true, iface)),
  [c.IP_UNBLOCK_SOURCE]: source4((endpoint, group, source, iface) => endpoint.blockSource(group, source, false, iface)),
};

export const MULTICAST6: OptionTable<InetSocket> = {
  ...groups,
  [c.IPV6_MULTICAST_HOPS]: ttl,
  [c.IPV6_MULTICAST_LOOP]: loop,
  [c.IPV6_MULTICAST_ALL]: all6,
  [c.IPV6_MULTICAST_IF]: command((socket, value) => {
    if (!value.isInt) return undefined;
    const iface = value.int ? interfaceAt(socket.host, value.int) : undefined;
    return (endpoint) => endpoint.setMulticastInterface(iface);
  }),
  [c.IPV6_JOIN_GROUP]: membership6(join),
  [c.IPV6_LEAVE_GROUP]: membership6(leave),
};
