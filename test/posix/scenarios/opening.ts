/** Programs for test/posix-kernel.test.ts: opening connections. See program.ts for the language. */
import { ALL, PAIR4 } from "./common.ts";

export const OPENING: Record<string, string> = {
  "connect: in progress, already, done, is connected": `
    s = tcp4
    bind $s 4:127.0.0.1:0
    p = port $s
    accept4 $s
    listen $s 5
    accept4 $s
    c = tcp4
    poll $c ${ALL}
    connect $c 4:127.0.0.1:$p
    settle
    poll $c ${ALL}
    poll $s ${ALL}
    getsockopt $c SOL_SOCKET SO_ERROR
    connect $c 4:127.0.0.1:$p
    connect $c 4:127.0.0.1:$p
    a = accept4 $s SOCK_NONBLOCK
    poll $a ${ALL}
    getpeername $c
    getsockname $a
    listen $c 5
    bind $c 4:127.0.0.1:0`,
  "connect: refused, error once": `
    t = tcp4
    bind $t 4:127.0.0.1:0
    p = port $t
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    poll $c ${ALL}
    getsockopt $c SOL_SOCKET SO_ERROR
    getsockopt $c SOL_SOCKET SO_ERROR
    poll $c ${ALL}
    recv $c 10
    send $c "x"
    connect $c 4:127.0.0.1:$p
    connect $c 4:127.0.0.1:$p
    settle
    connect $c 4:127.0.0.1:$p`,
  "connect: refused, told by connect, by recv, by send": `
    t = tcp4
    bind $t 4:127.0.0.1:0
    p = port $t
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    connect $c 4:127.0.0.1:$p
    connect $c 4:127.0.0.1:$p
    settle
    recv $c 5
    recv $c 5
    d = tcp4
    connect $d 4:127.0.0.1:$p
    settle
    send $d "x"
    send $d "x"`,
  "connect: to a listening socket of one's own, and to oneself": `
    s = tcp4
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 1
    connect $s 4:127.0.0.1:$p
    send $s "x"
    recv $s 5
    getpeername $s
    c = tcp4
    bind $c 4:127.0.0.1:0
    q = port $c
    connect $c 4:127.0.0.1:$q
    settle
    getsockopt $c SOL_SOCKET SO_ERROR
    send $c "to myself"
    settle
    recv $c 20`,
  "connect: to any address is to this host": `
    s = tcp4
    bind $s 4:0.0.0.0:0
    p = port $s
    listen $s 1
    c = tcp4
    connect $c 4:0.0.0.0:$p
    settle
    getpeername $c
    d = tcp6
    connect $d 6::::$p
    settle
    getsockopt $d SOL_SOCKET SO_ERROR`,
  "connect: wrong family, nowhere": `
    c = tcp4
    connect $c 6:::1:80
    bind $c 6:::1:0
    bind $c 4:198.51.100.7:0
    d = tcp6
    connect $d 4:127.0.0.1:80
    bind $d 4:127.0.0.1:0`,
  "dual stack": `
    s = tcp6
    bind $s 6::::0
    p = port $s
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    a = accept4 $s SOCK_NONBLOCK
    getpeername $c
    getsockname $a
    d = tcp6
    connect $d 6:::ffff:127.0.0.1:$p
    settle
    getpeername $d
    t = tcp4
    bind $t 4:0.0.0.0:$p`,
  IPV6_V6ONLY: `
    s = tcp6
    setsockopt $s IPPROTO_IPV6 IPV6_V6ONLY 1
    bind $s 6::::0
    setsockopt $s IPPROTO_IPV6 IPV6_V6ONLY 0
    getsockopt $s IPPROTO_IPV6 IPV6_V6ONLY
    p = port $s
    listen $s 5
    t = tcp4
    bind $t 4:0.0.0.0:$p
    listen $t 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    accept4 $s
    accept4 $t
    d = tcp6
    setsockopt $d IPPROTO_IPV6 IPV6_V6ONLY 1
    connect $d 6:::ffff:127.0.0.1:$p`,
  "bind: twice, in use, reuse": `
    s = tcp4
    bind $s 4:127.0.0.1:0
    bind $s 4:127.0.0.1:0
    p = port $s
    t = tcp4
    bind $t 4:127.0.0.1:$p
    bind $t 4:0.0.0.0:$p
    bind $t 4:127.0.0.2:$p
    u = tcp4
    setsockopt $u SOL_SOCKET SO_REUSEADDR 1
    bind $u 4:127.0.0.1:$p
    setsockopt $s SOL_SOCKET SO_REUSEADDR 1
    bind $u 4:127.0.0.1:$p
    listen $s 1
    listen $u 1
    v = tcp4
    setsockopt $v SOL_SOCKET SO_REUSEADDR 1
    bind $v 4:127.0.0.1:$p`,
  "bind: SO_REUSEPORT": `
    s = tcp4
    setsockopt $s SOL_SOCKET SO_REUSEPORT 1
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 1
    t = tcp4
    bind $t 4:127.0.0.1:$p
    setsockopt $t SOL_SOCKET SO_REUSEPORT 1
    bind $t 4:127.0.0.1:$p
    listen $t 1`,
  "bind: where connections of a closed listener live on": `${PAIR4}
    close $s
    t = tcp4
    bind $t 4:127.0.0.1:$p
    setsockopt $t SOL_SOCKET SO_REUSEADDR 1
    bind $t 4:127.0.0.1:$p
    shutdown $a SHUT_WR
    settle
    close $c
    close $a
    settle
    u = tcp4
    bind $u 4:127.0.0.1:$p`,
  "bind: SO_REUSEADDR over TIME-WAIT": `
    s = tcp4
    setsockopt $s SOL_SOCKET SO_REUSEADDR 1
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    a = accept4 $s SOCK_NONBLOCK
    close $a
    settle
    close $c
    close $s
    settle
    t = tcp4
    bind $t 4:127.0.0.1:$p
    setsockopt $t SOL_SOCKET SO_REUSEADDR 1
    bind $t 4:127.0.0.1:$p
    listen $t 1`,
  "listen: unbound, again, not a stream": `
    s = tcp4
    listen $s 0
    getsockopt $s SOL_SOCKET SO_ACCEPTCONN
    listen $s 7
    u = udp4
    listen $u 1
    accept4 $u
    accept4 $s 12345`,
  "listen: backlog": `
    s = tcp4
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 0
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    d = tcp4
    connect $d 4:127.0.0.1:$p
    settle
    connect $c 4:127.0.0.1:$p
    connect $d 4:127.0.0.1:$p`,
  "accept: after the peer reset": `
    s = tcp4
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    send $c "before"
    settle
    setsockopt $c SOL_SOCKET SO_LINGER int:1,0
    close $c
    settle
    poll $s ${ALL}
    a = accept4 $s SOCK_NONBLOCK
    recv $a 20
    recv $a 20
    recv $a 20`,
  "accept: closing a listener resets those who wait": `
    s = tcp4
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    close $s
    settle
    poll $c ${ALL}
    recv $c 10
    recv $c 10`,
};
