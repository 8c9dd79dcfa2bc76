/** Programs for test/posix-kernel.test.ts: ending connections. See program.ts for the language. */
import { ALL, PAIR4 } from "./common.ts";

export const ENDING: Record<string, string> = {
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
  "tcp: what breaking a connection off by AF_UNSPEC leaves": `
    l = tcp4
    bind $l 4:127.0.0.1:0
    listen $l 5
    p = port $l
    s = tcp4
    connect $s 4:127.0.0.1:1
    settle
    connect $s nobody
    getsockopt $s SOL_SOCKET SO_ERROR 4
    connect $s 4:127.0.0.1:$p
    settle
    a = accept4 $l SOCK_NONBLOCK
    connect $s nobody
    settle
    getsockopt $s SOL_SOCKET SO_ERROR 4
    recv $s 5
    send $s "x"
    getsockopt $a SOL_SOCKET SO_ERROR 4
    connect $s 4:127.0.0.1:$p
    settle
    getsockopt $s SOL_SOCKET SO_ERROR 4
    connect $s nobody
    connect $s 4:127.0.0.1:$p
    settle
    recv $s 5
    connect $l nobody
    getsockopt $l SOL_SOCKET SO_ERROR 4`,
};
