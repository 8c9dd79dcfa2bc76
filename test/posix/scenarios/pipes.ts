/** Programs for test/posix-kernel.test.ts: pipes, splice, epoll. See program.ts for the language. */
import { ALL, PAIR4 } from "./common.ts";

export const PIPES: Record<string, string> = {
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
