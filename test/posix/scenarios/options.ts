/** Programs for test/posix-kernel.test.ts: options of sockets and what they tell. See program.ts for the language. */
import { PAIR4 } from "./common.ts";

const TX = "SOF_TIMESTAMPING_TX_SOFTWARE|SOF_TIMESTAMPING_TX_SCHED|SOF_TIMESTAMPING_OPT_ID|SOF_TIMESTAMPING_OPT_TSONLY";

export const OPTIONS: Record<string, string> = {
  "SO_TIMESTAMPING: what was sent as datagrams, by number": `
    s = udp4
    bind $s 4:127.0.0.1:0
    p = port $s
    c = udp4
    connect $c 4:127.0.0.1:$p
    setsockopt $c SOL_SOCKET SO_TIMESTAMPING ${TX}
    getsockopt $c SOL_SOCKET SO_TIMESTAMPING
    poll $c POLLERR
    send $c "one"
    poll $c POLLERR
    recvmsg $c 20 MSG_ERRQUEUE
    recvmsg $c 20 MSG_ERRQUEUE
    recvmsg $c 20 MSG_ERRQUEUE
    send $c "two"
    recvmsg $c 20 MSG_ERRQUEUE
    poll $c POLLERR
    setsockopt $c SOL_SOCKET SO_TIMESTAMPING 0
    send $c "three"
    recvmsg $c 20 MSG_ERRQUEUE
    recvmsg $c 20 MSG_ERRQUEUE`,
  "SO_TIMESTAMPING: of a stream the last byte of each send, when it left and when it was acknowledged": `${PAIR4}
    send $c "before"
    settle 250
    setsockopt $c SOL_SOCKET SO_TIMESTAMPING ${TX}|SOF_TIMESTAMPING_TX_ACK
    send $c "hello"
    settle 250
    recvmsg $c 20 MSG_ERRQUEUE
    recvmsg $c 20 MSG_ERRQUEUE
    recvmsg $c 20 MSG_ERRQUEUE
    recvmsg $c 20 MSG_ERRQUEUE
    send $c "there"
    settle 250
    recvmsg $c 20 MSG_ERRQUEUE`,
  "SO_TIMESTAMPING: what cannot be asked for": `
    u = udp4
    setsockopt $u SOL_SOCKET SO_TIMESTAMPING SOF_TIMESTAMPING_OPT_STATS
    setsockopt $u SOL_SOCKET SO_TIMESTAMPING SOF_TIMESTAMPING_OPT_ID_TCP
    setsockopt $u SOL_SOCKET SO_TIMESTAMPING SOF_TIMESTAMPING_OPT_ID_TCP|SOF_TIMESTAMPING_OPT_ID
    setsockopt $u SOL_SOCKET SO_TIMESTAMPING 16777216
    t = tcp4
    setsockopt $t SOL_SOCKET SO_TIMESTAMPING SOF_TIMESTAMPING_OPT_ID
    setsockopt $t SOL_SOCKET SO_TIMESTAMPING SOF_TIMESTAMPING_TX_ACK
    getsockopt $t SOL_SOCKET SO_TIMESTAMPING`,
  "SO_TIMESTAMP takes the place of SO_TIMESTAMPNS": `
    u = udp4
    setsockopt $u SOL_SOCKET SO_TIMESTAMPNS 1
    getsockopt $u SOL_SOCKET SO_TIMESTAMPNS
    setsockopt $u SOL_SOCKET SO_TIMESTAMP 1
    getsockopt $u SOL_SOCKET SO_TIMESTAMPNS
    getsockopt $u SOL_SOCKET SO_TIMESTAMP
    setsockopt $u SOL_SOCKET SO_TIMESTAMP 0
    getsockopt $u SOL_SOCKET SO_TIMESTAMP`,
  "IP_FREEBIND: an address of nobody's": `
    u = udp4
    bind $u 4:198.51.100.7:0
    setsockopt $u IPPROTO_IP IP_FREEBIND 1
    getsockopt $u IPPROTO_IP IP_FREEBIND
    t = tcp4
    bind $t 4:198.51.100.7:0
    setsockopt $t IPPROTO_IP IP_FREEBIND 1
    bind $t 4:198.51.100.7:0
    listen $t 1
    getsockname $t`,
  "options of IPPROTO_IP in one byte": `
    t = tcp4
    setsockopt $t IPPROTO_IP IP_TOS "A"
    getsockopt $t IPPROTO_IP IP_TOS
    setsockopt $t IPPROTO_IP IP_MTU_DISCOVER IP_PMTUDISC_DONT
    getsockopt $t IPPROTO_IP IP_MTU_DISCOVER
    setsockopt $t IPPROTO_IP IP_MTU_DISCOVER 6
    setsockopt $t IPPROTO_IP IP_TTL "B"
    getsockopt $t IPPROTO_IP IP_TTL`,
  "SO_MARK is kept, and goes to connections": `
    s = tcp4
    setsockopt $s SOL_SOCKET SO_MARK 7
    getsockopt $s SOL_SOCKET SO_MARK
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    c = tcp4
    setsockopt $c SOL_SOCKET SO_MARK 9
    connect $c 4:127.0.0.1:$p
    settle
    a = accept4 $s SOCK_NONBLOCK
    send $c "marked"
    settle
    recv $a 20`,
  "timers of a connection: TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_DELACK_MAX_US, TCP_THIN_*": `${PAIR4}
    getsockopt $c IPPROTO_TCP TCP_RTO_MAX_MS
    setsockopt $c IPPROTO_TCP TCP_RTO_MAX_MS 999
    setsockopt $c IPPROTO_TCP TCP_RTO_MAX_MS 120001
    setsockopt $c IPPROTO_TCP TCP_RTO_MAX_MS 5000
    getsockopt $c IPPROTO_TCP TCP_RTO_MAX_MS
    getsockopt $c IPPROTO_TCP TCP_RTO_MIN_US
    setsockopt $c IPPROTO_TCP TCP_RTO_MIN_US 200001
    setsockopt $c IPPROTO_TCP TCP_RTO_MIN_US 48000
    getsockopt $c IPPROTO_TCP TCP_RTO_MIN_US
    getsockopt $c IPPROTO_TCP TCP_DELACK_MAX_US
    setsockopt $c IPPROTO_TCP TCP_DELACK_MAX_US 0
    setsockopt $c IPPROTO_TCP TCP_DELACK_MAX_US 20000
    getsockopt $c IPPROTO_TCP TCP_DELACK_MAX_US
    getsockopt $c IPPROTO_TCP TCP_THIN_LINEAR_TIMEOUTS
    setsockopt $c IPPROTO_TCP TCP_THIN_LINEAR_TIMEOUTS 2
    setsockopt $c IPPROTO_TCP TCP_THIN_LINEAR_TIMEOUTS 1
    getsockopt $c IPPROTO_TCP TCP_THIN_LINEAR_TIMEOUTS
    setsockopt $c IPPROTO_TCP TCP_THIN_DUPACK 1
    getsockopt $c IPPROTO_TCP TCP_THIN_DUPACK
    getsockopt $c IPPROTO_TCP TCP_IS_MPTCP
    send $c "after all"
    settle
    recv $a 20`,
  "timers of a listener are those of its connections": `
    s = tcp4
    setsockopt $s IPPROTO_TCP TCP_RTO_MAX_MS 7000
    setsockopt $s IPPROTO_TCP TCP_RTO_MIN_US 32000
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    a = accept4 $s SOCK_NONBLOCK
    getsockopt $a IPPROTO_TCP TCP_RTO_MAX_MS
    getsockopt $a IPPROTO_TCP TCP_RTO_MIN_US`,
  "TCP_SAVE_SYN: its headers, once": `
    s = tcp4
    getsockopt $s IPPROTO_TCP TCP_SAVE_SYN
    setsockopt $s IPPROTO_TCP TCP_SAVE_SYN 3
    setsockopt $s IPPROTO_TCP TCP_SAVE_SYN 1
    getsockopt $s IPPROTO_TCP TCP_SAVE_SYN
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    getsockopt $s IPPROTO_TCP TCP_SAVED_SYN 100
    c = tcp4
    setsockopt $c IPPROTO_IP IP_TTL 44
    connect $c 4:127.0.0.1:$p
    settle
    a = accept4 $s SOCK_NONBLOCK
    getsockopt $a IPPROTO_TCP TCP_SAVE_SYN
    getsockopt $a IPPROTO_TCP TCP_SAVED_SYN 20
    getsockopt $a IPPROTO_TCP TCP_SAVED_SYN 1
    length $a IPPROTO_TCP TCP_SAVED_SYN 100
    getsockopt $a IPPROTO_TCP TCP_SAVED_SYN 100`,
  "TCP_CC_INFO: of BBR twenty bytes, of CUBIC nothing": `${PAIR4}
    setsockopt $c IPPROTO_TCP TCP_CONGESTION "cubic"
    getsockopt $c IPPROTO_TCP TCP_CC_INFO 40
    setsockopt $c IPPROTO_TCP TCP_CONGESTION "bbr"
    length $c IPPROTO_TCP TCP_CC_INFO 40
    length $c IPPROTO_TCP TCP_CC_INFO 10
    setsockopt $c IPPROTO_TCP TCP_CONGESTION "reno"
    getsockopt $c IPPROTO_TCP TCP_CC_INFO 40`,
  "IP_MTU_DISCOVER of datagrams: all six ways": `
    u = udp4
    getsockopt $u IPPROTO_IP IP_MTU_DISCOVER
    setsockopt $u IPPROTO_IP IP_MTU_DISCOVER IP_PMTUDISC_DONT
    getsockopt $u IPPROTO_IP IP_MTU_DISCOVER
    setsockopt $u IPPROTO_IP IP_MTU_DISCOVER IP_PMTUDISC_DO
    setsockopt $u IPPROTO_IP IP_MTU_DISCOVER IP_PMTUDISC_PROBE
    getsockopt $u IPPROTO_IP IP_MTU_DISCOVER
    setsockopt $u IPPROTO_IP IP_MTU_DISCOVER IP_PMTUDISC_INTERFACE
    setsockopt $u IPPROTO_IP IP_MTU_DISCOVER IP_PMTUDISC_OMIT
    getsockopt $u IPPROTO_IP IP_MTU_DISCOVER
    setsockopt $u IPPROTO_IP IP_MTU_DISCOVER 6
    setsockopt $u IPPROTO_IP IP_MTU_DISCOVER -1
    w = udp6
    getsockopt $w IPPROTO_IPV6 IPV6_DONTFRAG
    setsockopt $w IPPROTO_IPV6 IPV6_DONTFRAG 1
    getsockopt $w IPPROTO_IPV6 IPV6_DONTFRAG
    t = tcp6
    setsockopt $t IPPROTO_IPV6 IPV6_DONTFRAG 1
    getsockopt $t IPPROTO_IPV6 IPV6_DONTFRAG`,
  "IP_UNICAST_IF, SO_BINDTOIFINDEX: no such interface": `
    u = udp4
    getsockopt $u IPPROTO_IP IP_UNICAST_IF
    setsockopt $u IPPROTO_IP IP_UNICAST_IF int:16777343
    setsockopt $u IPPROTO_IP IP_UNICAST_IF 0
    getsockopt $u SOL_SOCKET SO_BINDTOIFINDEX
    setsockopt $u SOL_SOCKET SO_BINDTOIFINDEX -1
    setsockopt $u SOL_SOCKET SO_BINDTOIFINDEX 0
    w = udp6
    setsockopt $w IPPROTO_IPV6 IPV6_UNICAST_IF int:16777343
    getsockopt $w IPPROTO_IPV6 IPV6_UNICAST_IF
    length $u SOL_SOCKET SO_NETNS_COOKIE 8
    getsockopt $u SOL_SOCKET SO_NETNS_COOKIE 4
    length $u SOL_SOCKET SO_MEMINFO 100
    x = stream
    length $x SOL_SOCKET SO_MEMINFO 36`,
  "type of service: its low eight bits, without those of ECN for streams": `
    s = tcp4
    setsockopt $s IPPROTO_IP IP_TOS int:256
    getsockopt $s IPPROTO_IP IP_TOS 4
    setsockopt $s IPPROTO_IP IP_TOS int:511
    getsockopt $s IPPROTO_IP IP_TOS 4
    setsockopt $s IPPROTO_IP IP_TOS int:-1
    getsockopt $s IPPROTO_IP IP_TOS 4
    u = udp4
    setsockopt $u IPPROTO_IP IP_TOS int:511
    getsockopt $u IPPROTO_IP IP_TOS 4
    t = tcp6
    setsockopt $t IPPROTO_IPV6 IPV6_TCLASS int:256
    setsockopt $t IPPROTO_IPV6 IPV6_TCLASS int:255
    getsockopt $t IPPROTO_IPV6 IPV6_TCLASS 4
    setsockopt $t IPPROTO_IPV6 IPV6_TCLASS int:-1
    getsockopt $t IPPROTO_IPV6 IPV6_TCLASS 4`,
};
