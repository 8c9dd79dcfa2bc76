"""The kernel's connections by ctnetlink (linux/netfilter/nfnetlink_conntrack.h), as lines with the words of `conntrack -L`."""
import socket
import struct

NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
GET, DELETE = 0x101, 0x102

ORIGINAL, REPLY, STATUS, PROTOINFO, HELP, TIMEOUT, MARK, COUNT_ORIGINAL, COUNT_REPLY, ZONE = 1, 2, 3, 4, 5, 7, 8, 9, 10, 18
SEEN_REPLY, ASSURED = 2, 4
NAMES = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmpv6", 132: "sctp", 136: "udplite"}
STATES = {
    1: "NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2".split(),
    3: "NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT HEARTBEAT_SENT HEARTBEAT_ACKED".split(),
}


def netfilter():
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    made.bind((0, 0))
    return made


def attributes(data):
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def number(data):
    return int.from_bytes(data or b"", "big")


def tuple_words(data):
    """The protocol of a tuple and its words."""
    parts = attributes(data)
    addresses, protocol = attributes(parts[1]), attributes(parts[2])
    v4 = 1 in addresses
    family, source, destination = (socket.AF_INET, 1, 2) if v4 else (socket.AF_INET6, 3, 4)
    words = [f"{name}={socket.inet_ntop(family, addresses[key])}" for name, key in (("src", source), ("dst", destination))]
    which = protocol[1][0]
    if which in (1, 58):
        number_at, type_at, code_at = (4, 5, 6) if which == 1 else (7, 8, 9)
        words += [f"type={number(protocol[type_at])}", f"code={number(protocol[code_at])}", f"id={number(protocol[number_at])}"]
    elif which == 47:
        words += [f"srckey=0x{number(protocol[2]):x}", f"dstkey=0x{number(protocol[3]):x}"]
    elif which in NAMES:
        words += [f"sport={number(protocol[2])}", f"dport={number(protocol[3])}"]
    return which, words


def zone_words(direction, data):
    """The zone of a tuple (CTA_TUPLE_ZONE), where it is of that direction alone."""
    zone = attributes(data).get(3)
    return [] if zone is None else [f"zone-{direction}={number(zone)}"]


def counted(data):
    if data is None:
        return []
    counters = attributes(data)
    return [f"packets={number(counters[1])}", f"bytes={number(counters[2])}"]


def line(message):
    found = attributes(message)
    protocol, original = tuple_words(found[ORIGINAL])
    _, reply = tuple_words(found[REPLY])
    status = number(found[STATUS])
    words = [NAMES.get(protocol, f"protocol {protocol}"), str(number(found[TIMEOUT]))]
    for kind, data in attributes(found.get(PROTOINFO, b"")).items():
        words.append(STATES[kind][attributes(data)[1][0]])
    words += original + zone_words("orig", found[ORIGINAL]) + counted(found.get(COUNT_ORIGINAL)) + ([] if status & SEEN_REPLY else ["[UNREPLIED]"])
    words += reply + zone_words("reply", found[REPLY]) + counted(found.get(COUNT_REPLY)) + (["[ASSURED]"] if status & ASSURED else [])
    words.append(f"mark={number(found.get(MARK))}")
    if ZONE in found:
        words.append(f"zone={number(found[ZONE])}")
    if HELP in found:
        words.append("helper=" + attributes(found[HELP])[1].rstrip(b"\0").decode())
    return " ".join(words)


def ask(asked, kind, flags):
    header = struct.pack("=IHHII", 20, kind, NLM_F_REQUEST | flags, 1, 0)
    asked.send(header + struct.pack("=BBH", socket.AF_UNSPEC, 0, 0))


def listing():
    """All connections of both families."""
    lines = []
    with netfilter() as asked:
        ask(asked, GET, NLM_F_DUMP)
        while True:
            data, at = asked.recv(1 << 17), 0
            while at < len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind == NLMSG_DONE:
                    return lines
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", data, at + 16)[0], "cannot list connections")
                lines.append(line(data[at + 20 : at + length]))
                at += (length + 3) & ~3


def flush():
    """A deletion without a tuple is of all.

    Rules that were replaced still hold the tracker until the kernel has freed them, which it does at leisure, but at the latest when
    a socket of this kind closes: so one closes before.
    """
    netfilter().close()
    with netfilter() as asked:
        ask(asked, DELETE, NLM_F_ACK)
        (error,) = struct.unpack_from("=i", asked.recv(4096), 16)
        if error:
            raise OSError(-error, "cannot delete connections")
