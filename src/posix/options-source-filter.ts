/** The whole source filter of a group at once (RFC 3678 §4.2, §5.2): IP_MSFILTER with struct ip_msfilter, MCAST_MSFILTER with struct group_filter. */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "../ip/interface.ts";
import * as c from "./constants.ts";
import { interfaceAt } from "./datagram-control.ts";
import { DatagramSocket } from "./datagram-socket.ts";
import { EINVAL, ENOBUFS, ENOPROTOOPT } from "./errno.ts";
import type { InetSocket } from "./inet-socket.ts";
import { decodeName, encodeName } from "./names.ts";
import { intBytes, type SocketOption } from "./options.ts";

/** Linux's igmp_max_msf and mld_max_msf. */
const MOST_SOURCES = { 4: 10, 6: 64 } as const;

/** Where the struct's fields lie, and how its addresses are written. */
interface Layout {
  /** Bytes before the sources. */
  readonly head: number;
  /** Of one source. */
  readonly size: number;
  readonly mode: number;
  readonly count: number;
  group(bytes: Uint8Array): IpAddress | undefined;
  iface(bytes: Uint8Array, socket: DatagramSocket): NetInterface | undefined;
  read(bytes: Uint8Array): IpAddress | undefined;
  write(source: IpAddress): Uint8Array;
}

/** Group, address of the interface, mode, number of sources. */
const IP_MSFILTER: Layout = {
  head: 16,
  size: 4,
  mode: 8,
  count: 12,
  group: (bytes) => IpAddress.fromBytes(bytes.subarray(0, 4)),
  iface(bytes, { host }) {
    const address = IpAddress.fromBytes(bytes.subarray(4, 8));
    return address.isUnspecified ? undefined : (host.ip.interfaces.find((each) => each.owns(address)) ?? noInterface(String(address)));
  },
  read: (bytes) => IpAddress.fromBytes(bytes.subarray(0, 4)),
  write: (source) => source.bytes(),
};

const STORAGE = 128;

/** Index of the interface, group as struct sockaddr_storage, mode, number of sources. */
const GROUP_REQ: Layout = {
  head: 8 + STORAGE + 8,
  size: STORAGE,
  mode: 8 + STORAGE,
  count: 8 + STORAGE + 4,
  group: (bytes) => stored(bytes.subarray(8, 8 + STORAGE)),
  iface(bytes, { host }) {
    const index = word(bytes, 0);
    return index ? interfaceAt(host, index) : undefined;
  },
  read: stored,
  write(source) {
    const out = new Uint8Array(STORAGE);
    out.set(encodeName({ family: source.family === 4 ? c.AF_INET : c.AF_INET6, address: String(source), port: 0 }));
    return out;
  },
};

function noInterface(what: string): never {
  throw new LoomError("ENODEV", `${what} is on no interface of this host`);
}

function word(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at, true);
}

function stored(bytes: Uint8Array): IpAddress | undefined {
  const name = decodeName(bytes);
  return typeof name !== "number" && "address" in name ? IpAddress.parse(name.address) : undefined;
}

/** The group and the interface that a struct is about. Throws EINVAL, ENODEV. */
function subject(layout: Layout, bytes: Uint8Array, socket: DatagramSocket): { group: IpAddress; iface: NetInterface } {
  const group = layout.group(bytes);
  if (!group?.isMulticast) throw new LoomError("EINVAL", `${group ?? "that"} is not a group address`);
  const iface = layout.iface(bytes, socket) ?? socket.host.ip.pathTo(group).iface ?? noInterface(String(group));
  return { group, iface };
}

function filter(layout: Layout): SocketOption<InetSocket> {
  const { head, size } = layout;
  return {
    get(socket, place) {
      if (!(socket instanceof DatagramSocket)) throw new LoomError("ENOPROTOOPT", "groups are of sockets of datagrams");
      if (!place || place.length < head) throw new LoomError("EINVAL", `room for ${place?.length ?? 0} bytes; expected ${head} or more`);
      const { group, iface } = subject(layout, place, socket);
      const known = socket.endpoint.sourceFilter(group, iface);
      if (!known) throw new LoomError("EADDRNOTAVAIL", `the socket is not in ${group} on ${iface.name}`);
      const sources = [...known.sources.values()];
      const fit = Math.min(sources.length, word(place, layout.count), Math.floor((place.length - head) / size));
      const out = new Uint8Array(head + size * fit);
      out.set(place.subarray(0, head));
      out.set(intBytes(known.mode === "include" ? c.MCAST_INCLUDE : c.MCAST_EXCLUDE, sources.length), layout.mode);
      for (const [i, source] of sources.slice(0, fit).entries()) out.set(layout.write(source), head + size * i);
      return out;
    },
    set(socket, { bytes }) {
      if (!(socket instanceof DatagramSocket)) return -ENOPROTOOPT;
      if (bytes.length < head) return -EINVAL;
      const count = word(bytes, layout.count);
      const mode = word(bytes, layout.mode);
      if (count > MOST_SOURCES[socket.domain === c.AF_INET ? 4 : 6]) return -ENOBUFS;
      if (head + size * count > bytes.length || mode > c.MCAST_INCLUDE) return -EINVAL;
      const { group, iface } = subject(layout, bytes, socket);
      const sources = Array.from({ length: count }, (_, i) => layout.read(bytes.subarray(head + size * i, head + size * (i + 1))));
      if (sources.some((source) => source?.family !== group.family)) return -EINVAL;
      const { endpoint } = socket;
      // Nothing of a group is not to be in it; else the socket has to be.
      if (mode === c.MCAST_INCLUDE && count === 0) endpoint.leave(group, { iface });
      else if (!endpoint.sourceFilter(group, iface)) throw new LoomError("EINVAL", `the socket is not in ${group} on ${iface.name}`);
      else endpoint.setSourceFilter(group, iface, mode === c.MCAST_INCLUDE ? "include" : "exclude", sources as IpAddress[]);
      return 0;
    },
  };
}

export const FILTER4 = filter(IP_MSFILTER);
export const GROUP_FILTER = filter(GROUP_REQ);
