"""The kernel's sockets at the command of a test: orders as JSON lines on stdin, reports on stdout."""
import hashlib
import json
import socket
import struct
import sys
import threading

TCP_CONGESTION = 13
TCP_FASTOPEN = 23
MSG_FASTOPEN = 0x20000000
output = threading.Lock()


def say(message):
    with output:
        print(json.dumps(message), flush=True)


def body(length):
    return bytes(((i * 0x9E3779B1) & 0xFFFFFFFF) >> 24 for i in range(length))


bodies = {}


def cached(length):
    if length not in bodies:
        bodies[length] = body(length)
    return bodies[length]


def receive(connection):
    digest, count = hashlib.sha256(), 0
    while True:
        piece = connection.recv(65536)
        if not piece:
            return digest.hexdigest(), count
        digest.update(piece)
        count += len(piece)


def facts(connection):
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    congestion = connection.getsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, 16)
    return {
        "options": info[5],
        "retransmissions": int.from_bytes(info[100:104], sys.byteorder),
        "congestion": congestion.split(b"\0")[0].decode(),
    }


def make(order):
    family = socket.AF_INET6 if ":" in order["address"] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    # A blocking socket with kernel timeouts: Python's own would make it non-blocking, and sendto fail in progress.
    for which in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        made.setsockopt(socket.SOL_SOCKET, which, struct.pack("ll", 20, 0))
    made.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, order["congestion"].encode())
    return made


def serve(order):
    listener = make(order)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if order.get("fastOpen"):
        listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
    listener.bind((order["address"], order["port"]))
    listener.listen()
    say({"id": order["id"], "listening": True})
    connection, _ = listener.accept()
    listener.close()
    with connection:
        digest, count = receive(connection)
        connection.sendall(cached(order["send"]))
        connection.shutdown(socket.SHUT_WR)
        return {"sha": digest, "bytes": count, **facts(connection)}


def call(order):
    data = cached(order["send"])
    with make(order) as connection:
        sent = 0
        if order.get("fastOpen"):
            sent = connection.sendto(data, MSG_FASTOPEN, (order["address"], order["port"]))
        else:
            connection.connect((order["address"], order["port"]))
        connection.sendall(data[sent:])
        connection.shutdown(socket.SHUT_WR)
        digest, count = receive(connection)
        return {"sha": digest, "bytes": count, **facts(connection)}


def sysctl(order):
    for name, value in order["values"].items():
        with open("/proc/sys/net/ipv4/" + name, "w") as file:
            file.write(str(value))
    return {}


def work(order):
    try:
        say({"id": order["id"], **globals()[order["role"]](order)})
    except Exception as error:
        say({"id": order["id"], "error": repr(error)})


for line in sys.stdin:
    order = json.loads(line)
    # Sysctls take effect before the orders that follow.
    if order["role"] == "sysctl":
        work(order)
    else:
        threading.Thread(target=work, args=(order,), daemon=True).start()
