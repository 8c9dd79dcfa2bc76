/** Programs for test/posix-kernel.test.ts: datagrams. See program.ts for the language. */
import { ALL } from "./common.ts";

export const UDP: Record<string, string> = {
  "udp: send, receive, truncate, peek": `
    a = udp4
    bind $a 4:127.0.0.1:0
    p = port $a
    b = udp4
    send $b "x"
    recv $b 5
    sendto $b "hello" 0 4:127.0.0.1:$p
    q = port $b
    settle
    poll $a ${ALL}
    ioctl $a FIONREAD
    recvfrom $a 3 MSG_PEEK
    recvfrom $a 3
    recv $a 5
    sendto $b "" 0 4:127.0.0.1:$p
    sendto $b "again" 0 4:127.0.0.1:$p
    settle
    poll $a POLLIN
    recvfrom $a 5
    recv $a 2 MSG_TRUNC
    getsockname $b
    getpeername $b
    sendto $b "x" 0 4:127.0.0.1:0
    sendto $b "x" 0 6:::1:$p
    sendto $b zeros:70000 0 4:127.0.0.1:$p
    sendto $b zeros:65507 0 4:127.0.0.1:$p
    sendto $b zeros:65508 0 4:127.0.0.1:$p`,
  "udp: connected, refused, disconnected": `
    t = udp4
    bind $t 4:127.0.0.1:0
    p = port $t
    close $t
    a = udp4
    connect $a 4:127.0.0.1:$p
    getpeername $a
    getsockname $a
    q = port $a
    send $a "x"
    settle
    poll $a ${ALL}
    send $a "y"
    send $a "z"
    settle
    recv $a 5
    recv $a 5
    connect $a nobody
    getpeername $a
    send $a "x"`,
  "udp: only the peer is heard": `
    a = udp4
    bind $a 4:127.0.0.1:0
    p = port $a
    b = udp4
    bind $b 4:127.0.0.1:0
    q = port $b
    connect $a 4:127.0.0.1:$q
    c = udp4
    sendto $c "stranger" 0 4:127.0.0.1:$p
    sendto $b "friend" 0 4:127.0.0.1:$p
    settle
    recv $a 20
    recv $a 20
    sendto $a "elsewhere" 0 4:127.0.0.1:$p
    settle
    recv $a 20`,
  "udp: bind conflicts": `
    a = udp4
    bind $a 4:127.0.0.1:0
    p = port $a
    b = udp4
    bind $b 4:127.0.0.1:$p
    setsockopt $b SOL_SOCKET SO_REUSEADDR 1
    bind $b 4:127.0.0.1:$p
    setsockopt $a SOL_SOCKET SO_REUSEADDR 1
    bind $b 4:127.0.0.1:$p
    bind $b 4:127.0.0.1:0
    c = udp4
    setsockopt $c SOL_SOCKET SO_REUSEPORT 1
    bind $c 4:127.0.0.1:$p`,
  "udp: shutdown": `
    a = udp4
    shutdown $a SHUT_RD
    poll $a ${ALL}
    recv $a 5
    b = udp4
    bind $b 4:127.0.0.1:0
    p = port $b
    c = udp4
    connect $c 4:127.0.0.1:$p
    shutdown $c SHUT_WR
    send $c "x"
    poll $c ${ALL}
    shutdown $c SHUT_RD
    poll $c ${ALL}
    recv $c 5`,
  "udp: both families": `
    a = udp6
    bind $a 6::::0
    p = port $a
    b = udp4
    sendto $b "four" 0 4:127.0.0.1:$p
    q = port $b
    settle
    recvfrom $a 10
    sendto $a "back" 0 6:::ffff:127.0.0.1:$q
    settle
    recvfrom $b 10
    c = udp6
    connect $c 6:::1:$p
    getsockname $c
    send $c "six"
    settle
    recv $a 10`,
  "udp: broadcast needs permission": `
    a = udp4
    sendto $a "x" 0 4:255.255.255.255:9
    connect $a 4:255.255.255.255:9`,
  "udp: a datagram in pieces, by UDP_CORK and MSG_MORE": `
    a = udp4
    bind $a 4:127.0.0.1:0
    p = port $a
    b = udp4
    getsockopt $b IPPROTO_UDP UDP_CORK
    setsockopt $b IPPROTO_UDP UDP_CORK 1
    getsockopt $b IPPROTO_UDP UDP_CORK
    send $b "nobody"
    sendto $b "one " 0 4:127.0.0.1:$p
    settle
    recv $a 20
    send $b "two "
    sendto $b "three" 0 4:127.0.0.1:9
    settle
    recv $a 20
    setsockopt $b IPPROTO_UDP UDP_CORK 0
    settle
    recv $a 20
    sendto $b "more " MSG_MORE 4:127.0.0.1:$p
    sendto $b "and " MSG_MORE 4:127.0.0.1:$p
    settle
    recv $a 20
    sendto $b "end" 0 4:127.0.0.1:$p
    settle
    recv $a 20
    recv $a 20
    sendto $b zeros:65000 MSG_MORE 4:127.0.0.1:$p
    sendto $b zeros:600 MSG_MORE 4:127.0.0.1:$p
    sendto $b "rest" 0 4:127.0.0.1:$p
    settle
    recv $a 20
    sendto $b "" MSG_MORE 4:127.0.0.1:$p
    setsockopt $b IPPROTO_UDP UDP_CORK 1
    setsockopt $b IPPROTO_UDP UDP_CORK 0
    settle
    recv $a 20
    sendto $b "left" MSG_MORE 4:127.0.0.1:$p
    close $b
    settle
    recv $a 20`,
  "udp: a port that was chosen goes back, an address that was asked for stays": `
    t = udp4
    bind $t 4:127.0.0.1:0
    p = port $t
    a = udp4
    connect $a 4:127.0.0.1:$p
    q = port $a
    connect $a nobody
    getsockname $a
    getpeername $a
    connect $a 4:127.0.0.1:$p
    r = port $a
    send $a "again"
    settle
    recvfrom $t 20
    b = udp4
    bind $b 4:127.0.0.1:0
    connect $b 4:127.0.0.1:$p
    connect $b nobody
    getsockname $b
    d = udp4
    bind $d 4:0.0.0.0:40123
    connect $d 4:127.0.0.1:$p
    connect $d nobody
    getsockname $d
    e = udp4
    setsockopt $e IPPROTO_IP IP_BIND_ADDRESS_NO_PORT 1
    bind $e 4:127.0.0.1:0
    connect $e 4:127.0.0.1:$p
    connect $e nobody
    getsockname $e`,
  "udp: source filters as a whole (IP_MSFILTER, MCAST_MSFILTER, MCAST_BLOCK_SOURCE)": `
    namespace
    u = udp4
    bind $u 4:0.0.0.0:0
    getsockopt $u IPPROTO_IP IP_MSFILTER 20
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:e8000001c00002010000000000000000
    setsockopt $u IPPROTO_IP IP_ADD_MEMBERSHIP hex:e8000001c0000201
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:e8000001c00002010100000002000000c6336401c6336402
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:e8000001c00002010200000001000000c6336401
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:e8000001c00002010100000003000000c6336401c6336402
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:0a000001c00002010100000001000000c6336401
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:e8000001c0000201
    setsockopt $u IPPROTO_IP IP_ADD_SOURCE_MEMBERSHIP hex:e8000001c0000201c6336403
    setsockopt $u IPPROTO_IP IP_ADD_SOURCE_MEMBERSHIP hex:e8000001c0000201c6336401
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:e8000001c00002010000000001000000c6336401
    setsockopt $u IPPROTO_IP IP_UNBLOCK_SOURCE hex:e8000001c0000201c6336401
    setsockopt $u IPPROTO_IP IP_UNBLOCK_SOURCE hex:e8000001c0000201c6336401
    setsockopt $u IPPROTO_IP IP_MSFILTER hex:e8000001c00002010100000000000000
    setsockopt $u IPPROTO_IP IP_DROP_MEMBERSHIP hex:e8000001c0000201`,
  "udp: bound again, it is the same socket: what waits, groups and options stay": `
    namespace
    t = udp4
    bind $t 4:127.0.0.1:0
    p = port $t
    a = udp4
    setsockopt $a IPPROTO_IP IP_RECVERR 1
    setsockopt $a IPPROTO_IP IP_ADD_MEMBERSHIP hex:e8000001c0000201
    setsockopt $a IPPROTO_IP IP_ADD_MEMBERSHIP hex:e8000001c0000201
    connect $a 4:127.0.0.1:$p
    q = port $a
    sendto $t "one" 0 4:127.0.0.1:$q
    settle
    connect $a nobody
    poll $a POLLIN|POLLERR
    bind $a 4:127.0.0.1:0
    poll $a POLLIN|POLLERR
    recv $a 20
    setsockopt $a IPPROTO_IP IP_DROP_MEMBERSHIP hex:e8000001c0000201
    setsockopt $a IPPROTO_IP IP_DROP_MEMBERSHIP hex:e8000001c0000201
    getsockopt $a IPPROTO_IP IP_RECVERR
    connect $a 4:127.0.0.1:9
    send $a "x"
    settle
    poll $a POLLIN|POLLERR`,
  "udp: a wrong option before there is a port is told at once, and binds": `
    namespace
    a = udp4
    setsockopt $a IPPROTO_IP IP_MSFILTER hex:e8000001c00002010100000001000000c6336401
    bind $a 4:127.0.0.1:0
    b = udp6
    setsockopt $b IPPROTO_IPV6 IPV6_MULTICAST_ALL 2
    getsockopt $b IPPROTO_IPV6 IPV6_MULTICAST_ALL
    d = udp4
    setsockopt $d IPPROTO_IP IP_MULTICAST_ALL 2`,
  "udp: pieces go where the first of them was to": `
    t = udp4
    bind $t 4:127.0.0.1:0
    p = port $t
    a = udp4
    connect $a 4:127.0.0.1:$p
    setsockopt $a IPPROTO_UDP UDP_CORK 1
    send $a "one"
    connect $a nobody
    send $a "two"
    setsockopt $a IPPROTO_UDP UDP_CORK 0
    settle
    recv $t 20
    u = udp4
    bind $u 4:127.0.0.1:0
    q = port $u
    setsockopt $a IPPROTO_UDP UDP_CORK 1
    sendto $a "three" 0 4:127.0.0.1:$p
    connect $a 4:127.0.0.1:$q
    send $a "four"
    setsockopt $a IPPROTO_UDP UDP_CORK 0
    settle
    recv $t 20
    recv $u 20
    v = udp6
    bind $v 6:::1:0
    r = port $v
    b = udp6
    setsockopt $b IPPROTO_UDP UDP_CORK 1
    sendto $b "five" 0 6:::1:$r
    connect $b 6:::1:9
    send $b "six"
    setsockopt $b IPPROTO_UDP UDP_CORK 0
    settle
    recv $v 20`,
  "udp: what speaks against a piece is said with it": `
    a = udp4
    connect $a 4:127.0.0.1:9
    send $a "x"
    settle
    send $a "one" MSG_MORE
    send $a "two" MSG_MORE
    setsockopt $a IPPROTO_UDP UDP_CORK 1
    b = udp4
    setsockopt $b IPPROTO_UDP UDP_CORK 1
    sendto $b zeros:65508 0 4:127.0.0.1:9
    sendto $b zeros:65507 0 4:127.0.0.1:9
    t = udp4
    bind $t 4:127.0.0.1:0
    p = port $t
    d = udp4
    sendto $d "y" MSG_MORE 4:127.0.0.1:$p
    sendto $d zeros:70000 MSG_MORE 4:127.0.0.1:$p
    sendto $d "z" 0 4:127.0.0.1:$p
    settle
    recv $t 20`,
  "udp: a send that fails has given a port": `
    a = udp4
    send $a "x"
    bind $a 4:127.0.0.1:0
    b = udp4
    sendto $b "x" 0 4:127.0.0.1:0
    bind $b 4:127.0.0.1:0`,
  "udp: names of IPv4 on a socket of IPv6": `
    t = udp4
    bind $t 4:127.0.0.1:0
    p = port $t
    a = udp6
    sendto $a "one" 0 4:127.0.0.1:$p
    settle
    recv $t 20
    bind $a 4:127.0.0.1:0
    connect $a 4:127.0.0.1:$p
    getpeername $a
    send $a "two"
    settle
    recv $t 20
    b = udp6
    setsockopt $b IPPROTO_IPV6 IPV6_V6ONLY 1
    sendto $b "x" 0 4:127.0.0.1:$p
    connect $b 4:127.0.0.1:$p
    v = udp6
    bind $v 6:::1:0
    q = port $v
    d = udp6
    sendto $d "three" MSG_MORE 6:::1:$q
    sendto $d "x" MSG_MORE 4:127.0.0.1:$p
    sendto $d "x" MSG_MORE 6:::ffff:127.0.0.1:$p
    sendto $d "four" 0 6:::1:9
    settle
    recv $v 20
    sendto $d "five" MSG_MORE 4:127.0.0.1:$p
    sendto $d "six" 0 6:::1:$q
    settle
    recv $t 20`,
  "udp: an error is told before datagrams that came before it, which are there all the same": `
    a = udp4
    bind $a 4:127.0.0.1:0
    p = port $a
    b = udp4
    bind $b 4:127.0.0.1:0
    q = port $b
    connect $a 4:127.0.0.1:$q
    connect $b 4:127.0.0.1:$p
    send $b "one"
    send $b "two"
    settle
    ioctl $a FIONREAD
    close $b
    send $a "three"
    settle
    poll $a POLLIN|POLLOUT|POLLERR|POLLHUP
    ioctl $a FIONREAD
    recv $a 10
    poll $a POLLIN|POLLOUT|POLLERR|POLLHUP
    recv $a 10
    recv $a 10
    recv $a 10`,
};
