/** Programs for test/posix-kernel.test.ts: raw sockets and sockets of ICMP echo, each program in a network namespace of its own. */
import { ALL } from "./common.ts";

const ECHO = "hex:080096fd0001000161";
const ECHO6 = "hex:8000000000010001616263";

export const RAW: Record<string, string> = {
  "raw: packets of one protocol, with their header": `
    namespace
    a = socket AF_INET SOCK_RAW|SOCK_NONBLOCK 253
    b = socket AF_INET SOCK_RAW|SOCK_NONBLOCK 253
    c = socket AF_INET SOCK_RAW|SOCK_NONBLOCK 254
    getsockname $a
    getsockopt $a SOL_SOCKET SO_TYPE
    getsockopt $a SOL_SOCKET SO_PROTOCOL
    getpeername $a
    recv $a 10
    poll $a ${ALL}
    send $b "x"
    sendto $b "hello" 0 4:127.0.0.1:0
    settle
    poll $a ${ALL}
    ioctl $a FIONREAD
    recvpacket $a 100 MSG_PEEK
    recvpacket $a 100
    recvpacket $b 100
    recv $c 100
    sendto $b "hello" 0 4:127.0.0.1:999
    sendto $b "" 0 4:127.0.0.1:1
    settle
    recvfrom $a 3
    recvpacket $a 100 MSG_TRUNC
    recv $a 1
    listen $a 1
    shutdown $a SHUT_WR
    setsockopt $a IPPROTO_IP IP_TTL 7
    setsockopt $a IPPROTO_IP IP_TOS 8
    setsockopt $a IPPROTO_UDP UDP_SEGMENT 100
    setsockopt $a IPPROTO_TCP TCP_NODELAY 1
    sendto $a "x" 0 4:127.0.0.1:0
    settle
    recvpacket $a 100
    sendto $a "x" 0 6:::1:0`,
  "raw: which protocols": `
    namespace
    socket AF_INET SOCK_RAW 0
    socket AF_INET6 SOCK_RAW 0
    socket AF_INET SOCK_RAW -1
    socket AF_INET SOCK_RAW 300
    socket AF_INET SOCK_RAW 255
    socket AF_INET SOCK_RAW 6
    socket AF_INET6 SOCK_RAW 58
    socket AF_INET SOCK_DGRAM 6
    socket AF_INET SOCK_STREAM 1
    socket AF_INET SOCK_DGRAM 58
    socket AF_INET6 SOCK_DGRAM 1
    socket AF_INET SOCK_DGRAM 300`,
  "raw: bound and connected": `
    namespace
    a = socket AF_INET SOCK_RAW|SOCK_NONBLOCK 253
    b = socket AF_INET SOCK_RAW|SOCK_NONBLOCK 253
    bind $a 4:203.0.113.9:0
    bind $a 4:127.0.0.1:5
    getsockname $a
    bind $a 4:0.0.0.0:0
    getsockname $a
    bind $a 4:127.0.0.1:0
    connect $b 4:127.0.0.1:77
    getpeername $b
    getsockname $b
    send $b "x"
    settle
    recvpacket $a 100
    recvpacket $b 100
    bind $b 4:127.0.0.1:0
    connect $b nobody
    getpeername $b
    send $b "x"`,
  "raw: a header of the program's own": `
    namespace
    a = socket AF_INET SOCK_RAW|SOCK_NONBLOCK 253
    b = socket AF_INET SOCK_RAW|SOCK_NONBLOCK IPPROTO_RAW
    getsockopt $a IPPROTO_IP IP_HDRINCL
    getsockopt $b IPPROTO_IP IP_HDRINCL
    setsockopt $a IPPROTO_IP IP_HDRINCL 1
    getsockopt $a IPPROTO_IP IP_HDRINCL
    sendto $a "short" 0 4:127.0.0.1:0
    sendto $a zeros:70000 0 4:127.0.0.1:0
    sendto $a hex:4500000000000000091200000000000000000000686579 0 4:127.0.0.1:0
    sendto $a hex:450000000000000009fd000000000000000000007f000001686579 0 4:127.0.0.1:0
    sendto $b hex:450000000000000009fd0000000000007f0000017f00000168657921 0 4:127.0.0.1:0
    settle
    recvpacket $a 100
    recvpacket $a 100
    recv $a 100
    recv $b 100
    u = udp4
    setsockopt $u IPPROTO_IP IP_HDRINCL 1`,
  "raw: ICMP, and what is not heard of it": `
    namespace
    a = socket AF_INET SOCK_RAW|SOCK_NONBLOCK IPPROTO_ICMP
    getsockopt $a SOL_RAW ICMP_FILTER
    sendto $a ${ECHO} 0 4:127.0.0.1:0
    settle
    recvpacket $a 100
    recvpacket $a 100
    recv $a 100
    setsockopt $a SOL_RAW ICMP_FILTER int:256
    getsockopt $a SOL_RAW ICMP_FILTER
    sendto $a ${ECHO} 0 4:127.0.0.1:0
    settle
    recvpacket $a 100
    recv $a 100
    b = socket AF_INET SOCK_RAW|SOCK_NONBLOCK 253
    setsockopt $b SOL_RAW ICMP_FILTER int:256
    getsockopt $b SOL_RAW ICMP_FILTER`,
  "raw: IPv6, without its header": `
    namespace
    a = socket AF_INET6 SOCK_RAW|SOCK_NONBLOCK 253
    getsockname $a
    sendto $a "hello" 0 6:::1:0
    sendto $a "again" 0 6:::1:253
    sendto $a "wrong" 0 6:::1:254
    settle
    recvfrom $a 100
    recvfrom $a 100
    recv $a 100
    getsockopt $a IPPROTO_IPV6 IPV6_CHECKSUM
    setsockopt $a IPPROTO_IPV6 IPV6_CHECKSUM 3
    setsockopt $a IPPROTO_IPV6 IPV6_CHECKSUM 2
    getsockopt $a IPPROTO_IPV6 IPV6_CHECKSUM
    sendto $a hex:00000000616263 0 6:::1:0
    settle
    recvfrom $a 100
    setsockopt $a SOL_RAW IPV6_CHECKSUM -5
    getsockopt $a SOL_RAW IPV6_CHECKSUM
    bind $a 6:::1:0
    connect $a 6:::1:9
    getpeername $a
    send $a "x"
    settle
    recvfrom $a 10`,
  "raw: ICMPv6, summed by the host": `
    namespace
    a = socket AF_INET6 SOCK_RAW|SOCK_NONBLOCK IPPROTO_ICMPV6
    getsockopt $a IPPROTO_IPV6 IPV6_CHECKSUM
    setsockopt $a IPPROTO_IPV6 IPV6_CHECKSUM 4
    sendto $a ${ECHO6} 0 6:::1:0
    settle
    recvfrom $a 100
    recvfrom $a 100
    setsockopt $a IPPROTO_ICMPV6 ICMPV6_FILTER int:0,0,0,0,1,0,0,0
    getsockopt $a IPPROTO_ICMPV6 ICMPV6_FILTER 32
    sendto $a ${ECHO6} 0 6:::1:0
    settle
    recvfrom $a 100
    recv $a 100`,
  "raw: UDP, beside the sockets it is for": `
    namespace
    a = socket AF_INET SOCK_RAW|SOCK_NONBLOCK IPPROTO_UDP
    u = udp4
    bind $u 4:127.0.0.1:7000
    v = udp4
    bind $v 4:127.0.0.1:7001
    sendto $v "both" 0 4:127.0.0.1:7000
    settle
    recv $u 100
    recvpacket $a 26`,
  "ping sockets: requests with an identifier, replies to it": `
    namespace
    a = socket AF_INET SOCK_DGRAM|SOCK_NONBLOCK IPPROTO_ICMP
    getsockname $a
    bind $a 4:0.0.0.0:77
    getsockname $a
    b = socket AF_INET SOCK_DGRAM|SOCK_NONBLOCK IPPROTO_ICMP
    bind $b 4:0.0.0.0:77
    bind $b 4:203.0.113.9:78
    sendto $a "short" 0 4:127.0.0.1:0
    sendto $a hex:000000000000000161 0 4:127.0.0.1:0
    sendto $a hex:080100000000000161 0 4:127.0.0.1:0
    sendto $a hex:080000000000000161 0 4:127.0.0.1:0
    settle
    poll $a ${ALL}
    recvfrom $a 100
    recv $a 100
    connect $b 4:127.0.0.1:0
    p = port $b
    getpeername $b
    send $b hex:0800000000000002
    settle
    recvfrom $b 3
    recv $b 100
    recv $a 100
    getsockopt $a SOL_SOCKET SO_TYPE
    getsockopt $a SOL_SOCKET SO_PROTOCOL`,
  "ping sockets: IPv6": `
    namespace
    a = socket AF_INET6 SOCK_DGRAM|SOCK_NONBLOCK IPPROTO_ICMPV6
    bind $a 6::::77
    sendto $a hex:080000000000000161 0 6:::1:0
    sendto $a hex:800000000000000161 0 6:::1:0
    settle
    recvfrom $a 100
    recv $a 100`,
  "ping sockets: several with one identifier": `
    namespace
    a = socket AF_INET SOCK_DGRAM|SOCK_NONBLOCK IPPROTO_ICMP
    bind $a 4:0.0.0.0:77
    b = socket AF_INET SOCK_DGRAM|SOCK_NONBLOCK IPPROTO_ICMP
    bind $b 4:0.0.0.0:77
    sendto $a hex:080000000000000161 0 4:127.0.0.1:0
    settle
    recv $b 100
    recv $a 100
    sendto $a zeros:70000 0 4:127.0.0.1:0
    setsockopt $a SOL_SOCKET SO_REUSEADDR 0
    c = socket AF_INET SOCK_DGRAM|SOCK_NONBLOCK IPPROTO_ICMP
    bind $c 4:0.0.0.0:77`,
};
