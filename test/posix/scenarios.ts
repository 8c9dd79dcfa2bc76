/** Programs for test/posix-kernel.test.ts, by what they ask. Each runs on the kernel and over a host; see program.ts for the language. */
const PAIR4 = `
  s = tcp4
  bind $s 4:127.0.0.1:0
  p = port $s
  listen $s 5
  c = tcp4
  connect $c 4:127.0.0.1:$p
  settle
  a = accept4 $s SOCK_NONBLOCK`;
const ALL = "POLLIN|POLLPRI|POLLOUT|POLLERR|POLLHUP|POLLRDNORM|POLLWRNORM|POLLRDHUP";

export const SCENARIOS: Record<string, string> = {
  // ── Opening ──
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

  // ── Ending ──
  "end of file, half-close, writes after": `${PAIR4}
    send $c "hello"
    shutdown $c SHUT_WR
    send $c "more"
    poll $c ${ALL}
    settle
    poll $a ${ALL}
    recv $a 3 MSG_PEEK
    recv $a 10
    recv $a 10
    recv $a 10
    send $a "answer"
    settle
    recv $c 10
    shutdown $a SHUT_WR
    settle
    poll $c ${ALL}
    poll $a ${ALL}
    recv $c 10
    send $a "x"
    send $c "x"
    getpeername $c
    shutdown $c SHUT_RDWR`,
  "write after the peer closed": `${PAIR4}
    close $a
    settle
    poll $c ${ALL}
    send $c "one"
    settle
    poll $c ${ALL}
    send $c "two"
    getsockopt $c SOL_SOCKET SO_ERROR
    recv $c 10`,
  "read after a reset, error once": `${PAIR4}
    send $a "left over"
    settle
    setsockopt $a SOL_SOCKET SO_LINGER int:1,0
    close $a
    settle
    poll $c ${ALL}
    recv $c 4
    recv $c 10
    recv $c 10
    recv $c 10
    send $c "x"`,
  "send after a reset, error once": `${PAIR4}
    setsockopt $a SOL_SOCKET SO_LINGER int:1,0
    close $a
    settle
    send $c "x"
    send $c "x"
    recv $c 10`,
  "close with unread data resets": `${PAIR4}
    send $c "nobody reads this"
    settle
    close $a
    settle
    poll $c ${ALL}
    recv $c 10
    recv $c 10`,
  "close with unread data after the peer's end resets": `${PAIR4}
    send $c "nobody reads this"
    shutdown $c SHUT_WR
    settle
    close $a
    settle
    recv $c 10
    recv $c 10`,
  "data after close resets": `${PAIR4}
    close $a
    settle
    send $c "x"
    settle
    recv $c 10
    send $c "y"`,
  "reset in CLOSE-WAIT is EPIPE": `${PAIR4}
    shutdown $a SHUT_WR
    settle
    setsockopt $a SOL_SOCKET SO_LINGER int:1,0
    close $a
    settle
    poll $c ${ALL}
    getsockopt $c SOL_SOCKET SO_ERROR
    recv $c 5`,
  "shutdown: not connected, wrong, reading side, listener": `
    c = tcp4
    shutdown $c SHUT_RD
    shutdown $c 3
    shutdown $c -1
    poll $c ${ALL}${PAIR4}
    shutdown $c SHUT_RD
    poll $c ${ALL}
    recv $c 5
    send $a "late"
    settle
    recv $c 5
    recv $c 5
    shutdown $s SHUT_WR
    accept4 $s
    shutdown $s SHUT_RD
    accept4 $s
    listen $s 5
    accept4 $s`,
  "shutdown while connecting": `
    s = tcp4
    bind $s 4:127.0.0.1:0
    p = port $s
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    shutdown $c SHUT_WR
    settle
    a = accept4 $s SOCK_NONBLOCK
    recv $a 5
    connect $c 4:127.0.0.1:$p`,
  "disconnect by AF_UNSPEC": `${PAIR4}
    connect $c nobody
    settle
    recv $a 5
    getpeername $c
    connect $c 4:127.0.0.1:$p
    settle
    connect $c 4:127.0.0.1:$p`,
  "both close at once": `${PAIR4}
    shutdown $a SHUT_WR
    shutdown $c SHUT_WR
    settle
    recv $a 5
    recv $c 5
    poll $a ${ALL}
    close $a
    close $c`,

  // ── Data ──
  "recv: nothing, lengths, peek, truncation, out of band": `${PAIR4}
    recv $a 10
    recv $a 0
    recv $a 10 MSG_OOB
    send $c ""
    send $c "abcdef"
    settle
    recv $a 0
    recv $a 3 MSG_PEEK
    recv $a 2 MSG_TRUNC|MSG_DONTWAIT
    recv $a 10 MSG_WAITALL
    read $a 0`,
  "urgent: apart from the stream, once": `${PAIR4}
    getsockopt $a SOL_SOCKET SO_OOBINLINE
    recv $a 5 MSG_OOB
    ioctl $a SIOCATMARK
    send $c "abc" MSG_OOB
    settle
    poll $a ${ALL}
    ioctl $a FIONREAD
    ioctl $a SIOCATMARK
    recvmsg $a 5 MSG_OOB|MSG_PEEK|MSG_DONTWAIT
    recv $a 5 MSG_OOB
    recv $a 5 MSG_OOB
    poll $a ${ALL}
    recv $a 9
    ioctl $a SIOCATMARK
    ioctl $a FIONREAD
    poll $a ${ALL}
    recv $a 9
    ioctl $a SIOCATMARK
    poll $a ${ALL}`,
  "urgent: reads stop at the mark, and go on behind it": `${PAIR4}
    send $c "abcd" MSG_OOB
    send $c "efgh"
    settle
    ioctl $a FIONREAD
    recv $a 9 MSG_PEEK
    recv $a 2
    ioctl $a SIOCATMARK
    recv $a 9
    ioctl $a SIOCATMARK
    ioctl $a FIONREAD
    recv $a 2 MSG_PEEK
    recv $a 2
    ioctl $a SIOCATMARK
    recv $a 9 MSG_OOB
    ioctl $a FIONREAD
    recv $a 9`,
  "urgent: in line": `${PAIR4}
    setsockopt $a SOL_SOCKET SO_OOBINLINE 1
    getsockopt $a SOL_SOCKET SO_OOBINLINE
    send $c "abcd" MSG_OOB
    send $c "efgh"
    settle
    poll $a ${ALL}
    ioctl $a FIONREAD
    recv $a 9 MSG_OOB
    recv $a 9
    ioctl $a SIOCATMARK
    poll $a ${ALL}
    recv $a 9 MSG_PEEK
    recv $a 9
    ioctl $a SIOCATMARK
    poll $a ${ALL}
    recv $a 9`,
  "urgent: a later mark takes the place of an earlier": `${PAIR4}
    send $c "ab" MSG_OOB
    settle
    send $c "cd" MSG_OOB
    settle
    recv $a 9 MSG_OOB
    recv $a 9
    recv $a 9
    send $c "e" MSG_OOB
    settle
    recv $a 9
    send $c "f" MSG_OOB
    settle
    ioctl $a SIOCATMARK
    recv $a 9 MSG_OOB
    recv $a 9`,
  "urgent: the reader stands at a mark when the next comes": `${PAIR4}
    send $c "ab" MSG_OOB
    settle
    recv $a 9
    ioctl $a SIOCATMARK
    send $c "cd" MSG_OOB
    settle
    ioctl $a FIONREAD
    ioctl $a SIOCATMARK
    recv $a 9
    ioctl $a SIOCATMARK
    recv $a 1 MSG_OOB
    recv $a 9`,
  "urgent: no place, thrown away, the end, the other way": `${PAIR4}
    send $c "" MSG_OOB
    send $c "xyz" MSG_OOB
    settle
    recvmsg $a 0 MSG_OOB
    recv $a 9 MSG_OOB
    recv $a 9 MSG_TRUNC
    send $c "q" MSG_OOB
    settle
    recv $a 1 MSG_OOB|MSG_TRUNC|MSG_PEEK
    shutdown $c SHUT_WR
    settle
    poll $a ${ALL}
    ioctl $a FIONREAD
    recv $a 9 MSG_OOB
    recv $a 9
    recv $a 9 MSG_OOB
    send $a "back" MSG_OOB
    settle
    recv $c 9
    recv $c 9 MSG_OOB
    close $a
    settle
    recv $c 9
    recv $c 9 MSG_OOB`,
  "urgent: a listener, what is not connected, the owner, less than the low-water mark": `${PAIR4}
    recv $s 9 MSG_OOB
    ioctl $s SIOCATMARK
    d = tcp4
    recv $d 9 MSG_OOB
    ioctl $d SIOCATMARK
    send $d "x" MSG_OOB
    fcntl $a F_GETOWN
    setsockopt $s SOL_SOCKET SO_OOBINLINE 1
    e = tcp4
    connect $e 4:127.0.0.1:$p
    settle
    b = accept4 $s SOCK_NONBLOCK
    getsockopt $b SOL_SOCKET SO_OOBINLINE
    setsockopt $a SOL_SOCKET SO_RCVLOWAT 3
    send $c "abc" MSG_OOB
    settle
    poll $a ${ALL}
    recv $a 9
    send $c "de"
    settle
    poll $a ${ALL}
    send $c "f"
    settle
    poll $a ${ALL}`,
  "urgent: splice does not go beyond the mark": `${PAIR4}
    r w = pipe2 O_NONBLOCK
    send $c "abcd" MSG_OOB
    send $c "ef"
    settle
    splice $a $w 100 SPLICE_F_NONBLOCK
    splice $a $w 100 SPLICE_F_NONBLOCK
    read $r 20
    recv $a 20`,
  "urgent: epoll tells of it once at an edge": `${PAIR4}
    e = epoll
    epollctl $e EPOLL_CTL_ADD $a EPOLLPRI|EPOLLET 7
    epollwait $e 5
    send $c "ab" MSG_OOB
    settle
    epollwait $e 5
    epollwait $e 5
    send $c "c"
    settle
    recv $a 1 MSG_OOB
    epollwait $e 5
    send $c "d" MSG_OOB
    settle
    epollwait $e 5`,
  "recv and send on what is not connected": `
    c = tcp4
    recv $c 5
    send $c "x"
    read $c 5
    write $c "x"
    getpeername $c
    getsockname $c
    ioctl $c FIONREAD
    poll $c ${ALL}`,
  "MSG_MORE and TCP_CORK hold back, closing the cork sends": `${PAIR4}
    send $c "a" MSG_MORE
    settle
    recv $a 5
    send $c "b"
    settle
    recv $a 5
    setsockopt $c IPPROTO_TCP TCP_CORK 1
    send $c "c"
    settle
    recv $a 5
    setsockopt $c IPPROTO_TCP TCP_CORK 0
    settle
    recv $a 5
    send $c "d" MSG_MORE
    settle 300
    recv $a 5
    send $c "e" MSG_MORE
    shutdown $c SHUT_WR
    settle
    recv $a 5
    recv $a 5`,
  "a full buffer, and room again": `${PAIR4}
    fill $c
    poll $c POLLOUT
    send $c "x"
    settle
    drain $a
    settle
    drain $a
    settle
    drain $a
    settle
    poll $c POLLOUT`,
  SO_RCVLOWAT: `${PAIR4}
    setsockopt $a SOL_SOCKET SO_RCVLOWAT 4
    send $c "abc"
    settle
    poll $a POLLIN
    recv $a 1
    send $c "defg"
    settle
    poll $a POLLIN`,
  "FIONREAD and SIOCOUTQ": `${PAIR4}
    send $c "hello"
    settle
    ioctl $a FIONREAD
    ioctl $c TIOCOUTQ
    ioctl $c SIOCOUTQNSD
    ioctl $s FIONREAD
    ioctl $s TIOCOUTQ
    ioctl $a FIONBIO 0
    fcntl $a F_GETFL
    ioctl $a FIONBIO 1
    fcntl $a F_GETFL`,
  TCP_INQ: `${PAIR4}
    setsockopt $a IPPROTO_TCP TCP_INQ 1
    send $c "abcdef"
    settle
    recvmsg $a 2
    recvmsg $a 9
    shutdown $c SHUT_WR
    settle
    recvmsg $a 5`,
  TCP_DEFER_ACCEPT: `
    s = tcp4
    bind $s 4:127.0.0.1:0
    p = port $s
    setsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT 3
    getsockopt $s IPPROTO_TCP TCP_DEFER_ACCEPT
    listen $s 5
    c = tcp4
    connect $c 4:127.0.0.1:$p
    settle
    connect $c 4:127.0.0.1:$p
    accept4 $s
    send $c "now"
    settle
    a = accept4 $s SOCK_NONBLOCK
    recv $a 5`,

  // ── Descriptors and options ──
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

  // ── UDP ──
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

  // ── Unix ──
  "unix stream: names, backlog, credentials": `
    s = stream
    listen $s 1
    bind $s u:sock
    bind $s u:other
    t = stream
    bind $t u:sock
    connect $t u:sock
    connect $t u:absent
    connect $t u:@absent
    listen $s 0
    connect $t u:sock
    connect $t u:sock
    v = stream
    connect $v u:sock
    send $t "early"
    poll $s ${ALL}
    a = accept4 $s SOCK_NONBLOCK
    recv $a 10
    getsockname $a
    getpeername $a
    getsockname $t
    getpeername $t
    accept4 $s
    connect $v u:sock
    close $s
    settle
    recv $v 5
    recv $v 5
    w = stream
    connect $w u:sock
    bind $w u:sock
    unlink u:sock
    unlink u:sock
    bind $w u:sock
    unlink u:sock`,
  "unix stream: data, ends, errors": `
    a b = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    recv $a 5
    send $a "one"
    send $a "two"
    recv $b 2
    recv $b 10 MSG_PEEK
    ioctl $b FIONREAD
    recv $b 10
    recv $b 10
    shutdown $a SHUT_WR
    poll $a ${ALL}
    poll $b ${ALL}
    recv $b 5
    send $a "x"
    send $b "back"
    recv $a 10
    close $b
    poll $a ${ALL}
    recv $a 10
    send $a "x"`,
  "unix stream: closed with unread data": `
    a b = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    send $a "unread"
    send $b "last words"
    close $b
    poll $a ${ALL}
    recv $a 20
    recv $a 20
    recv $a 20
    c = stream
    recv $c 5
    send $c "x"
    shutdown $c SHUT_RDWR
    poll $c ${ALL}
    getpeername $c`,
  "unix stream: a full buffer": `
    a b = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    fill $a
    poll $a POLLOUT
    drain $b
    poll $a POLLOUT`,
  "unix datagram": `
    a = dgram
    bind $a u:@in
    bind $a u:@again
    b = dgram
    send $b "x"
    sendto $b "hello" 0 u:@in
    recvfrom $a 3
    sendto $b "x" 0 u:@absent
    sendto $b "x" 0 u:absent
    bind $b u:@out
    connect $b u:@in
    send $b "named"
    send $b ""
    recvfrom $a 20
    recvfrom $a 20
    recvfrom $a 20
    getpeername $b
    c = stream
    connect $c u:@in
    listen $a 1
    close $a
    send $b "x"
    send $b "x"`,
  "unix datagram: a full queue": `
    a = dgram
    bind $a u:@full
    b = dgram
    connect $b u:@full
    fill $b
    poll $b POLLOUT
    recv $a 10
    poll $b POLLOUT
    send $b "x"
    send $b "x"`,
  "unix seqpacket": `
    a b = socketpair AF_UNIX SOCK_SEQPACKET|SOCK_NONBLOCK
    send $a "first"
    send $a "second"
    recvmsg $b 3
    recvmsg $b 20
    recv $b 5
    close $a
    recv $b 5
    send $b "x"
    poll $b ${ALL}
    c = seqpacket
    send $c "x"
    recv $c 5`,
  "unix: passing descriptors": `
    a b = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    r w = pipe2 O_NONBLOCK
    sendrights $a "take" $w
    close $w
    send $a "after"
    x = recvmsg $b 20
    recv $b 20
    read $r 5
    write $x "through"
    read $r 20
    close $x
    read $r 5
    sendrights $a "bad" 99
    sendrights $a "drop" $r $r
    recv $b 20`,
  "unix: automatic name": `
    a = dgram
    bind $a nobody`,

  // ── Pipes, splice, epoll ──
  pipe: `
    r w = pipe2 O_NONBLOCK
    read $r 5
    write $w "hello"
    poll $r ${ALL}
    poll $w ${ALL}
    ioctl $r FIONREAD
    read $r 2
    read $w 2
    write $r "x"
    fcntl $r F_GETPIPE_SZ
    fcntl $r F_SETPIPE_SZ 8000
    read $r 10
    write $w zeros:4096
    write $w zeros:4096
    write $w zeros:1
    poll $w ${ALL}
    close $w
    poll $r ${ALL}
    read $r 9000
    read $r 5
    p q = pipe2 O_NONBLOCK
    close $p
    poll $q ${ALL}`,
  splice: `${PAIR4}
    r w = pipe2 O_NONBLOCK
    splice $c $w 100 SPLICE_F_NONBLOCK
    send $a "through a pipe"
    settle
    splice $c $w 9 SPLICE_F_NONBLOCK
    splice $c $w 100 SPLICE_F_NONBLOCK
    splice $r $c 100 SPLICE_F_NONBLOCK
    settle
    recv $a 20
    splice $c $a 5 0
    splice $r $c 100 SPLICE_F_NONBLOCK
    shutdown $a SHUT_WR
    settle
    splice $c $w 100 SPLICE_F_NONBLOCK
    close $w
    splice $r $c 100 SPLICE_F_NONBLOCK`,
  "epoll: level and edge": `
    e = epoll
    a b = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    epollctl $e EPOLL_CTL_ADD $b EPOLLIN 7
    epollctl $e EPOLL_CTL_ADD $b EPOLLIN 8
    epollwait $e
    send $a "xy"
    epollwait $e
    epollwait $e
    recv $b 1
    epollwait $e
    epollctl $e EPOLL_CTL_MOD $b EPOLLIN|EPOLLET 9
    epollwait $e
    epollwait $e
    send $a "z"
    epollwait $e
    epollwait $e
    epollctl $e EPOLL_CTL_MOD $b EPOLLIN|EPOLLOUT|EPOLLONESHOT 10
    epollwait $e
    epollwait $e
    send $a "z"
    epollwait $e
    epollctl $e EPOLL_CTL_MOD $b EPOLLIN|EPOLLONESHOT 11
    epollwait $e
    epollctl $e EPOLL_CTL_DEL $b
    epollctl $e EPOLL_CTL_DEL $b
    epollctl $e EPOLL_CTL_MOD $b EPOLLIN 1
    epollctl $e EPOLL_CTL_ADD $e EPOLLIN 1
    epollctl $a EPOLL_CTL_ADD $b EPOLLIN 1
    epollctl $e EPOLL_CTL_ADD 99 EPOLLIN 1
    epollwait $e 0`,
  "epoll: hang-ups, closing, TCP": `${PAIR4}
    e = epoll
    epollctl $e EPOLL_CTL_ADD $c EPOLLIN|EPOLLRDHUP|EPOLLET 1
    epollctl $e EPOLL_CTL_ADD $s EPOLLIN 2
    epollwait $e
    shutdown $a SHUT_WR
    settle
    epollwait $e
    epollwait $e
    d = tcp4
    connect $d 4:127.0.0.1:$p
    settle
    epollwait $e
    accept4 $s SOCK_NONBLOCK
    epollwait $e
    epollctl $e EPOLL_CTL_MOD $c 0 3
    close $a
    shutdown $c SHUT_WR
    settle
    epollwait $e
    close $c
    epollwait $e
    f = tcp4
    epollctl $e EPOLL_CTL_ADD $f EPOLLIN|EPOLLOUT 4
    epollwait $e`,
  "epoll: in an epoll, exclusive": `
    e = epoll
    f = epoll
    a b = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    epollctl $f EPOLL_CTL_ADD $b EPOLLIN 1
    epollctl $e EPOLL_CTL_ADD $f EPOLLIN 2
    epollctl $f EPOLL_CTL_ADD $e EPOLLIN 3
    send $a "x"
    epollwait $e
    epollwait $f
    poll $f POLLIN
    g = epoll
    epollctl $g EPOLL_CTL_ADD $b EPOLLIN|EPOLLEXCLUSIVE 1
    epollctl $g EPOLL_CTL_MOD $b EPOLLIN 1
    epollctl $g EPOLL_CTL_ADD $a EPOLLIN|EPOLLEXCLUSIVE|EPOLLONESHOT 1
    epollwait $g`,
};
