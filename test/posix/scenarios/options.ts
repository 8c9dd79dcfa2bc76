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
};
