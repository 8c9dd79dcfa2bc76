/** Programs for test/posix-kernel.test.ts: data of streams. See program.ts for the language. */
import { ALL, PAIR4 } from "./common.ts";

export const DATA: Record<string, string> = {
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
};
