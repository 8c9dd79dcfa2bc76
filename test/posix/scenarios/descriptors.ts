/** Programs for test/posix-kernel.test.ts: descriptors, and options of sockets. See program.ts for the language. */
import { ALL, PAIR4 } from "./common.ts";

export const DESCRIPTORS: Record<string, string> = {
  "bad descriptors, not sockets": `
    bind 99 4:127.0.0.1:0
    recv 99 5
    close 99
    poll 99 POLLIN
    fcntl 99 F_GETFL
    r w = pipe2 O_NONBLOCK
    recv $r 5
    bind $r 4:127.0.0.1:0
    listen $w 5
    getsockopt $r SOL_SOCKET SO_TYPE
    socket 77 SOCK_STREAM
    socket AF_INET 77
    socket AF_INET SOCK_STREAM IPPROTO_UDP
    socket AF_INET SOCK_DGRAM IPPROTO_TCP
    socket AF_INET SOCK_SEQPACKET
    socketpair AF_INET SOCK_STREAM
    socketpair AF_UNIX 77`,
  "dup shares, the last close closes": `${PAIR4}
    d = dup $c
    close $c
    settle
    poll $a ${ALL}
    send $d "still here"
    settle
    recv $a 20
    fcntl $d F_SETFL 0
    fcntl $d F_GETFL
    fcntl $d F_SETFL O_NONBLOCK
    close $d
    settle
    recv $a 20`,
  "SOL_SOCKET options": `
    s = tcp4
    getsockopt $s SOL_SOCKET SO_TYPE
    getsockopt $s SOL_SOCKET SO_DOMAIN
    getsockopt $s SOL_SOCKET SO_PROTOCOL
    getsockopt $s SOL_SOCKET SO_ACCEPTCONN
    setsockopt $s SOL_SOCKET SO_TYPE 1
    setsockopt $s SOL_SOCKET SO_RCVBUF 50000
    getsockopt $s SOL_SOCKET SO_RCVBUF
    setsockopt $s SOL_SOCKET SO_RCVBUF 1
    getsockopt $s SOL_SOCKET SO_RCVBUF
    setsockopt $s SOL_SOCKET SO_SNDBUF 1
    getsockopt $s SOL_SOCKET SO_SNDBUF
    setsockopt $s SOL_SOCKET SO_SNDBUF 60000
    getsockopt $s SOL_SOCKET SO_SNDBUF
    setsockopt $s SOL_SOCKET SO_SNDBUF 100000
    getsockopt $s SOL_SOCKET SO_SNDBUF
    setsockopt $s SOL_SOCKET SO_LINGER int:1,7
    getsockopt $s SOL_SOCKET SO_LINGER 8
    setsockopt $s SOL_SOCKET SO_LINGER 1
    setsockopt $s SOL_SOCKET SO_RCVLOWAT 0
    getsockopt $s SOL_SOCKET SO_RCVLOWAT
    setsockopt $s SOL_SOCKET SO_RCVLOWAT -1
    getsockopt $s SOL_SOCKET SO_RCVLOWAT
    setsockopt $s SOL_SOCKET SO_RCVTIMEO int:1,0,500000,0
    getsockopt $s SOL_SOCKET SO_RCVTIMEO 16
    setsockopt $s SOL_SOCKET SO_RCVTIMEO int:1,0,5000000,0
    setsockopt $s SOL_SOCKET SO_KEEPALIVE 5
    getsockopt $s SOL_SOCKET SO_KEEPALIVE
    getsockopt $s SOL_SOCKET SO_TYPE 2
    setsockopt $s SOL_SOCKET SO_KEEPALIVE "x"
    setsockopt $s SOL_SOCKET 9999 1
    setsockopt $s 9999 1 1
    getsockopt $s SOL_SOCKET SO_BROADCAST
    setsockopt $s SOL_SOCKET SO_BROADCAST 1
    getsockopt $s SOL_SOCKET SO_BROADCAST
    getsockopt $s SOL_SOCKET SO_SNDLOWAT
    setsockopt $s SOL_SOCKET SO_SNDLOWAT 1`,
  "TCP options": `
    s = tcp4
    getsockopt $s IPPROTO_TCP TCP_NODELAY
    setsockopt $s IPPROTO_TCP TCP_NODELAY 1
    getsockopt $s IPPROTO_TCP TCP_NODELAY
    getsockopt $s IPPROTO_TCP TCP_MAXSEG
    setsockopt $s IPPROTO_TCP TCP_MAXSEG 20
    setsockopt $s IPPROTO_TCP TCP_MAXSEG 1000
    getsockopt $s IPPROTO_TCP TCP_MAXSEG
    getsockopt $s IPPROTO_TCP TCP_KEEPIDLE
    setsockopt $s IPPROTO_TCP TCP_KEEPIDLE 0
    setsockopt $s IPPROTO_TCP TCP_KEEPIDLE 40000
    setsockopt $s IPPROTO_TCP TCP_KEEPIDLE 10
    getsockopt $s IPPROTO_TCP TCP_KEEPIDLE
    getsockopt $s IPPROTO_TCP TCP_KEEPINTVL
    getsockopt $s IPPROTO_TCP TCP_KEEPCNT
    setsockopt $s IPPROTO_TCP TCP_KEEPCNT 200
    getsockopt $s IPPROTO_TCP TCP_SYNCNT
    setsockopt $s IPPROTO_TCP TCP_SYNCNT 3
    getsockopt $s IPPROTO_TCP TCP_SYNCNT
    getsockopt $s IPPROTO_TCP TCP_LINGER2
    setsockopt $s IPPROTO_TCP TCP_LINGER2 -5
    getsockopt $s IPPROTO_TCP TCP_LINGER2
    setsockopt $s IPPROTO_TCP TCP_LINGER2 500
    getsockopt $s IPPROTO_TCP TCP_LINGER2
    setsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT 1
    getsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT
    setsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT 5
    getsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT
    setsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT 400
    getsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT
    setsockopt $s IPPROTO_TCP TCP_WINDOW_CLAMP 100
    getsockopt $s IPPROTO_TCP TCP_WINDOW_CLAMP
    setsockopt $s IPPROTO_TCP TCP_USER_TIMEOUT -1
    setsockopt $s IPPROTO_TCP TCP_USER_TIMEOUT 5000
    getsockopt $s IPPROTO_TCP TCP_USER_TIMEOUT
    getsockopt $s IPPROTO_TCP TCP_QUICKACK
    setsockopt $s IPPROTO_TCP TCP_CONGESTION "nonesuch"
    setsockopt $s IPPROTO_TCP TCP_CONGESTION "reno"
    getsockopt $s IPPROTO_TCP TCP_CONGESTION 16
    setsockopt $s IPPROTO_TCP TCP_NOTSENT_LOWAT 1000
    getsockopt $s IPPROTO_TCP TCP_NOTSENT_LOWAT
    setsockopt $s IPPROTO_TCP TCP_INQ 2
    setsockopt $s IPPROTO_TCP TCP_INQ 1
    setsockopt $s IPPROTO_TCP TCP_FASTOPEN 5
    getsockopt $s IPPROTO_TCP TCP_FASTOPEN
    setsockopt $s IPPROTO_TCP 9999 1
    getsockopt $s IPPROTO_TCP 9999`,
  "IP options": `
    s = tcp4
    getsockopt $s IPPROTO_IP IP_TTL
    setsockopt $s IPPROTO_IP IP_TTL 0
    setsockopt $s IPPROTO_IP IP_TTL 256
    setsockopt $s IPPROTO_IP IP_TTL 9
    getsockopt $s IPPROTO_IP IP_TTL
    setsockopt $s IPPROTO_IP IP_TTL -1
    getsockopt $s IPPROTO_IP IP_TTL
    getsockopt $s IPPROTO_IP IP_MTU
    setsockopt $s IPPROTO_IPV6 IPV6_UNICAST_HOPS 5
    d = tcp6
    setsockopt $d IPPROTO_IPV6 IPV6_UNICAST_HOPS 5
    getsockopt $d IPPROTO_IPV6 IPV6_UNICAST_HOPS
    setsockopt $d IPPROTO_IPV6 IPV6_UNICAST_HOPS 300
    getsockopt $d IPPROTO_IPV6 IPV6_V6ONLY
    setsockopt $d IPPROTO_IP IP_TTL 7`,
  "options are inherited by connections": `
    s = tcp4
    setsockopt $s IPPROTO_TCP TCP_NODELAY 1
    setsockopt $s SOL_SOCKET SO_KEEPALIVE 1
    setsockopt $s IPPROTO_TCP TCP_KEEPIDLE 33
    setsockopt $s SOL_SOCKET SO_LINGER int:1,3
    setsockopt $s SOL_SOCKET SO_RCVBUF 40000
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    a = accept4 $s
    getsockopt $a IPPROTO_TCP TCP_NODELAY
    getsockopt $a SOL_SOCKET SO_KEEPALIVE
    getsockopt $a IPPROTO_TCP TCP_KEEPIDLE
    getsockopt $a SOL_SOCKET SO_LINGER 8
    getsockopt $a SOL_SOCKET SO_RCVBUF
    getsockopt $a SOL_SOCKET SO_ACCEPTCONN
    fcntl $a F_GETFL`,
};
