/** Names of values, as nft knows them. The first name of a value is the one printed. */
const table = (text: string): ReadonlyMap<string, bigint> =>
  new Map(
    text
      .trim()
      .split(/\s+/)
      .map((entry) => {
        const at = entry.lastIndexOf(":");
        return [entry.slice(0, at), BigInt(entry.slice(at + 1))] as const;
      }),
  );

export const ICMP_TYPES = table(`echo-reply:0 destination-unreachable:3 source-quench:4 redirect:5 echo-request:8 router-advertisement:9
  router-solicitation:10 time-exceeded:11 parameter-problem:12 timestamp-request:13 timestamp-reply:14 info-request:15 info-reply:16
  address-mask-request:17 address-mask-reply:18`);
export const ICMP_CODES = table(`net-unreachable:0 host-unreachable:1 prot-unreachable:2 port-unreachable:3 net-prohibited:9
  host-prohibited:10 admin-prohibited:13 frag-needed:4`);
export const ICMPV6_TYPES = table(`destination-unreachable:1 packet-too-big:2 time-exceeded:3 parameter-problem:4 echo-request:128
  echo-reply:129 mld-listener-query:130 mld-listener-report:131 mld-listener-done:132 mld-listener-reduction:132 nd-router-solicit:133
  nd-router-advert:134 nd-neighbor-solicit:135 nd-neighbor-advert:136 nd-redirect:137 router-renumbering:138 ind-neighbor-solicit:141
  ind-neighbor-advert:142 mld2-listener-report:143`);
export const ICMPV6_CODES = table("no-route:0 admin-prohibited:1 addr-unreachable:3 port-unreachable:4 policy-fail:5 reject-route:6");
export const ICMPX_CODES = table("port-unreachable:1 admin-prohibited:3 no-route:0 host-unreachable:2");
export const IGMP_TYPES = table(
  `membership-query:17 membership-report-v1:18 membership-report-v2:22 membership-report-v3:34 leave-group:23`,
);
export const MH_TYPES = table(`binding-refresh-request:0 home-test-init:1 careof-test-init:2 home-test:3 careof-test:4 binding-update:5
  binding-acknowledgement:6 binding-error:7 fast-binding-update:8 fast-binding-acknowledgement:9 fast-binding-advertisement:10
  experimental-mobility-header:11 home-agent-switch-message:12`);
export const DCCP_TYPES = table(`request:0 response:1 data:2 ack:3 dataack:4 closereq:5 close:6 reset:7 sync:8 syncack:9`);
export const ARP_OPERATIONS = table("request:1 reply:2 rrequest:3 rreply:4 inrequest:8 inreply:9 nak:10");
export const CT_STATES = table("invalid:1 new:8 established:2 related:4 untracked:64");
export const CT_STATUS = table("expected:1 seen-reply:2 assured:4 confirmed:8 snat:16 dnat:32 dying:512");
export const CT_EVENTS = table(
  "new:1 related:2 destroy:4 reply:8 assured:16 protoinfo:32 helper:64 mark:128 seqadj:256 secmark:512 label:1024",
);
export const CT_DIRECTIONS = table("original:0 reply:1");
export const DSCP = table(`cs0:0 cs1:8 cs2:16 cs3:24 cs4:32 cs5:40 cs6:48 cs7:56 df:0 be:0 lephb:1 af11:10 af12:12 af13:14 af21:18 af22:20
  af23:22 af31:26 af32:28 af33:30 af41:34 af42:36 af43:38 va:44 ef:46`);
export const ECN = table("not-ect:0 ect1:1 ect0:2 ce:3");
export const TCP_FLAGS = table("fin:1 syn:2 rst:4 psh:8 ack:16 urg:32 ecn:64 cwr:128");
export const PACKET_TYPES = table("host:0 unicast:0 broadcast:1 multicast:2 other:3");
export const ETHER_TYPES = table("ip:0x0800 arp:0x0806 ip6:0x86dd 8021q:0x8100 8021ad:0x88a8 vlan:0x8100");
export const FIB_TYPES = table(`unspec:0 unicast:1 local:2 broadcast:3 anycast:4 multicast:5 blackhole:6 unreachable:7 prohibit:8`);
export const NF_PROTOCOLS = table("ipv4:2 ipv6:10");
export const INTERFACE_TYPES = table("ether:1 ppp:512 ipip:768 ipip6:769 loopback:772 sit:776 ipgre:778");
export const DAYS = table("Sunday:0 Monday:1 Tuesday:2 Wednesday:3 Thursday:4 Friday:5 Saturday:6");
export const BOOLEAN = table("exists:1 missing:0");
export const INTERFACE_GROUPS = table("default:0");
/** Of /etc/iproute2/rt_realms, as it comes. */
export const REALMS = table("cosmos:0");
export const USERS = table("root:0");
export const IP_PROTOCOLS = table(`ip:0 hopopt:0 icmp:1 igmp:2 ggp:3 ipencap:4 st:5 tcp:6 egp:8 igp:9 pup:12 udp:17 hmp:20 xns-idp:22 rdp:27
  iso-tp4:29 dccp:33 xtp:36 ddp:37 idpr-cmtp:38 ipv6:41 ipv6-route:43 ipv6-frag:44 idrp:45 rsvp:46 gre:47 esp:50 ah:51 skip:57
  ipv6-icmp:58 icmpv6:58 ipv6-nonxt:59 ipv6-opts:60 rspf:73 vmtp:81 eigrp:88 ospf:89 ax.25:93 ipip:94 etherip:97 encap:98 pim:103 ipcomp:108
  comp:108 vrrp:112 l2tp:115 isis:124 sctp:132 fc:133 mobility-header:135 udplite:136 mpls-in-ip:137 manet:138 hip:139 shim6:140 wesp:141
  rohc:142 ethernet:143`);
