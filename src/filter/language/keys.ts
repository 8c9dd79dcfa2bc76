/** Keys of `meta`, `ct`, `rt`, `socket` and `fib`: type, length in bits, order of bytes in the register. */
import type { CtKey, MetaKey } from "../expressions.ts";
import type { Order, TypeName } from "./type-names.ts";

export type { Order };
export interface Key<Name extends string = string> {
  readonly key: Name;
  readonly type: TypeName;
  readonly bits: number;
  readonly order: Order;
  /** As `nft --debug=netlink` calls it, where that differs. */
  readonly shown?: string;
}
const key = <Name extends string>(name: Name, type: TypeName, bits: number, order: Order = "host", shown?: string): Key<Name> => ({
  key: name,
  type,
  bits,
  order,
  shown,
});

export const META: Readonly<Record<string, Key<MetaKey>>> = {
  length: key("len", "integer", 32),
  protocol: key("protocol", "ether_type", 16, "big"),
  priority: key("priority", "classid", 32),
  mark: key("mark", "mark", 32),
  iif: key("iif", "iface_index", 32),
  iifname: key("iifname", "ifname", 128),
  iiftype: key("iiftype", "iface_type", 16),
  oif: key("oif", "iface_index", 32),
  oifname: key("oifname", "ifname", 128),
  oiftype: key("oiftype", "iface_type", 16),
  skuid: key("skuid", "uid", 32),
  skgid: key("skgid", "gid", 32),
  nftrace: key("nftrace", "integer", 1),
  rtclassid: key("rtclassid", "realm", 32),
  nfproto: key("nfproto", "nf_proto", 8),
  l4proto: key("l4proto", "inet_proto", 8),
  ibrname: key("ibrname", "ifname", 128, "host", "bri_iifname"),
  obrname: key("obrname", "ifname", 128, "host", "bri_oifname"),
  pkttype: key("pkttype", "pkt_type", 8),
  cpu: key("cpu", "integer", 32),
  iifgroup: key("iifgroup", "devgroup", 32),
  oifgroup: key("oifgroup", "devgroup", 32),
  cgroup: key("cgroup", "integer", 32),
  random: key("random", "integer", 32, "big", "prandom"),
  ipsec: key("secpath", "boolean", 8),
  secpath: key("secpath", "boolean", 8),
  iifkind: key("iifkind", "ifname", 128),
  oifkind: key("oifkind", "ifname", 128),
  ibrpvid: key("ibrpvid", "integer", 16, "host", "bri_iifpvid"),
  ibrvproto: key("ibrvproto", "ether_type", 16, "big", "bri_iifvproto"),
  time: key("time", "date", 64),
  day: key("day", "day", 8),
  hour: key("hour", "hour", 32),
  sdif: key("sdif", "iface_index", 32),
  sdifname: key("sdifname", "ifname", 128),
};
export const KNOWN_META =
  "length, protocol, priority, mark, iif, oif, iifname, oifname, iiftype, oiftype, skuid, skgid, nftrace, rtclassid, secmark, nfproto, " +
  "l4proto, ibrname, obrname, pkttype, cpu, iifgroup, oifgroup, cgroup, random, ipsec, iifkind, oifkind, ibrpvid, ibrvproto, time, day, " +
  "hour, sdif, sdifname";
/** Keys that may stand without `meta` before them; those in the second set are printed so. */
export const UNQUALIFIED = new Set(
  "mark iif iifname iiftype oif oifname oiftype skuid skgid nftrace rtclassid ibrname obrname pkttype cpu iifgroup oifgroup cgroup time day hour".split(
    " ",
  ),
);
export const PRINTED_SHORT = new Set("iif iifname oif oifname iifgroup oifgroup".split(" "));

export const CT: Readonly<Record<string, Key<CtKey>>> = {
  state: key("state", "ct_state", 32),
  direction: key("direction", "ct_dir", 8),
  status: key("status", "ct_status", 32),
  mark: key("mark", "mark", 32),
  expiration: key("expiration", "time", 32),
  helper: key("helper", "ifname", 128),
  l3proto: key("l3protocol", "nf_proto", 8),
  saddr: key("src", "ipv4_addr", 32, "big"),
  daddr: key("dst", "ipv4_addr", 32, "big"),
  protocol: key("protocol", "inet_proto", 8, "big"),
  "proto-src": key("proto_src", "inet_service", 16, "big"),
  "proto-dst": key("proto_dst", "inet_service", 16, "big"),
  label: key("label", "ct_label", 128),
  packets: key("packets", "integer", 64),
  bytes: key("bytes", "integer", 64),
  avgpkt: key("avgpkt", "integer", 64),
  zone: key("zone", "integer", 16),
  event: key("event", "ct_event", 32),
  id: key("id", "integer", 32, "big", "unknown"),
};
export const RT: Readonly<Record<string, Key<"classid" | "nexthop4" | "nexthop6" | "tcpmss" | "ipsec">>> = {
  classid: key("classid", "realm", 32),
  nexthop4: key("nexthop4", "ipv4_addr", 32, "big"),
  nexthop6: key("nexthop6", "ipv6_addr", 128, "big"),
  mtu: key("tcpmss", "integer", 16),
  ipsec: key("ipsec", "boolean", 8),
};
export const SOCKET: Readonly<Record<string, Key<"transparent" | "mark" | "wildcard" | "cgroupv2">>> = {
  transparent: key("transparent", "integer", 8),
  mark: key("mark", "mark", 32),
  wildcard: key("wildcard", "integer", 8),
  cgroupv2: key("cgroupv2", "integer", 64),
};
export const FIB: Readonly<Record<"oif" | "oifname" | "type", Key>> = {
  oif: key("oif", "iface_index", 32),
  oifname: key("oifname", "ifname", 128),
  type: key("type", "fib_addrtype", 32),
};
/** NFTA_FIB_F_*. */
export const FIB_FLAGS: Readonly<Record<string, number>> = { saddr: 1, daddr: 2, mark: 4, iif: 8, oif: 16 };
export const FIB_PRESENT = 32;
