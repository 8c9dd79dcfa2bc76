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
};
