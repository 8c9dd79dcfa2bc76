/** Programs for test/posix-kernel.test.ts: Unix domain sockets. See program.ts for the language. */
import { ALL } from "./common.ts";

export const UNIX: Record<string, string> = {
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
  "unix: what waits to be read, as the kernel counts it": `
    a b = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    ioctl $a TIOCOUTQ
    send $a "one"
    ioctl $a TIOCOUTQ
    send $a "two"
    ioctl $a TIOCOUTQ
    recv $b 2
    ioctl $a TIOCOUTQ
    recv $b 10
    ioctl $a TIOCOUTQ
    ioctl $b TIOCOUTQ
    c d = socketpair AF_UNIX SOCK_DGRAM|SOCK_NONBLOCK
    send $c "one"
    send $c "two"
    ioctl $c TIOCOUTQ
    recv $d 2
    ioctl $c TIOCOUTQ
    close $d
    ioctl $c TIOCOUTQ`,
  "unix seqpacket: an error comes before what lies in the queue": `
    a b = socketpair AF_UNIX SOCK_SEQPACKET|SOCK_NONBLOCK
    send $a "one"
    send $b "two"
    close $b
    recv $a 10
    recv $a 10
    recv $a 10
    send $a "x"
    c d = socketpair AF_UNIX SOCK_STREAM|SOCK_NONBLOCK
    send $c "one"
    send $d "two"
    close $d
    recv $c 10
    recv $c 10
    recv $c 10`,
};
