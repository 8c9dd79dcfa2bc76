"""Runs little programs of system calls against the kernel: JSON in, what each call returned out.

Input: [[step, ...], ...]; step: {"call", "args", "out"}. An argument is a number, {"var"}, {"hex"}, {"zeros"} or
{"name": hex of a sockaddr, "port": variable}. Output: for each step {"ret", "data"?, "name"?, "list"?}.
"""
import ctypes
import json
import multiprocessing
import os
import select
import socket
import struct
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
ROOM = 1 << 20


def result(value):
    return {"ret": value if value >= 0 else -ctypes.get_errno()}


class Run:
    def __init__(self, prefix):
        self.vars = {}
        self.prefix = prefix

    def value(self, arg):
        if isinstance(arg, (int, float)):
            return int(arg)
        if "var" in arg:
            return self.vars.get(arg["var"], -1)
        if "hex" in arg:
            return bytes.fromhex(arg["hex"])
        if "zeros" in arg:
            return bytes(arg["zeros"])
        name = bytearray.fromhex(arg["name"])
        if "port" in arg:
            name[2:4] = struct.pack(">H", self.vars[arg["port"]])
        if name[:1] == b"\x01":
            name = name.replace(b"PREFIX", self.prefix)
        return bytes(name)

    def step(self, step):
        args = [self.value(arg) for arg in step["args"]]
        ctypes.set_errno(0)
        out = getattr(self, step["call"])(*args)
        names = step.get("out", [])
        for name, value in zip(names, out.pop("vars", [out["ret"]])):
            self.vars[name] = value
        return out

    def socket(self, domain, kind, protocol=0):
        return result(libc.socket(domain, kind, protocol))

    def bind(self, fd, name):
        return result(libc.bind(fd, name, len(name)))

    def connect(self, fd, name):
        return result(libc.connect(fd, name, len(name)))

    def listen(self, fd, backlog):
        return result(libc.listen(fd, backlog))

    def accept4(self, fd, flags=0):
        return result(libc.accept4(fd, None, None, flags))

    def shutdown(self, fd, how):
        return result(libc.shutdown(fd, how))

    def close(self, fd):
        return result(libc.close(fd))

    def dup(self, fd):
        return result(libc.dup(fd))

    def send(self, fd, data, flags=0):
        return result(libc.send(fd, data, len(data), flags | socket.MSG_NOSIGNAL))

    def write(self, fd, data):
        return result(libc.write(fd, data, len(data)))

    def sendto(self, fd, data, flags, name):
        return result(libc.sendto(fd, data, len(data), flags | socket.MSG_NOSIGNAL, name, len(name)))

    def recv(self, fd, size, flags=0):
        room = ctypes.create_string_buffer(max(size, 1))
        out = result(libc.recv(fd, room, size, flags))
        if out["ret"] > 0:
            out["data"] = room.raw[: min(size, out["ret"])].hex()
        return out

    def read(self, fd, size):
        room = ctypes.create_string_buffer(max(size, 1))
        out = result(libc.read(fd, room, size))
        if out["ret"] > 0:
            out["data"] = room.raw[: out["ret"]].hex()
        return out

    def recvfrom(self, fd, size, flags=0):
        room = ctypes.create_string_buffer(max(size, 1))
        name, length = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        out = result(libc.recvfrom(fd, room, size, flags, name, ctypes.byref(length)))
        if out["ret"] >= 0:
            out["data"] = room.raw[: min(size, out["ret"])].hex()
            out["name"] = name.raw[: length.value].hex()
        return out

    def recvmsg(self, fd, size, flags=0):
        try:
            with socket.socket(fileno=os.dup(fd)) as s:
                s.setblocking(False)
                data, control, flags, _ = s.recvmsg(size, 4096, flags)
        except OSError as error:
            return {"ret": -error.errno}
        for level, kind, value in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = list(struct.unpack(f"{len(value) // 4}i", value))
                return {"ret": len(data), "data": data.hex(), "flags": flags, "list": [len(fds)], "vars": fds}
        return {"ret": len(data), "data": data.hex(), "flags": flags, "list": [[a, b, c.hex()] for a, b, c in control]}

    def sendrights(self, fd, data, *fds):
        try:
            with socket.socket(fileno=os.dup(fd)) as s:
                s.setblocking(False)
                return {"ret": s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))])}
        except OSError as error:
            return {"ret": -error.errno}

    def fill(self, fd):
        data, total = bytes(1000), 0
        while True:
            out = result(libc.send(fd, data, len(data), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL))
            if out["ret"] < 0:
                return out
            total += out["ret"]

    def drain(self, fd):
        room = ctypes.create_string_buffer(65536)
        out = {"ret": 1}
        while out["ret"] > 0:
            out = result(libc.recv(fd, room, 65536, socket.MSG_DONTWAIT))
        return out

    def getsockname(self, fd, call="getsockname"):
        name, length = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        out = result(getattr(libc, call)(fd, name, ctypes.byref(length)))
        if out["ret"] >= 0:
            out["name"] = name.raw[: length.value].hex()
        return out

    def getpeername(self, fd):
        return self.getsockname(fd, "getpeername")

    def port(self, fd):
        name = bytes.fromhex(self.getsockname(fd)["name"])
        return {"ret": struct.unpack(">H", name[2:4])[0]}

    def setsockopt(self, fd, level, name, value):
        data = value if isinstance(value, bytes) else struct.pack("i", value)
        return result(libc.setsockopt(fd, level, name, data, len(data)))

    def getsockopt(self, fd, level, name, size=4):
        room, length = ctypes.create_string_buffer(max(size, 1)), ctypes.c_uint(size)
        out = result(libc.getsockopt(fd, level, name, room, ctypes.byref(length)))
        if out["ret"] >= 0:
            out["ret"] = length.value
            out["data"] = room.raw[: length.value].hex()
        return out

    def length(self, fd, level, name, size):
        """How much getsockopt has to say, whatever it is."""
        return {"ret": self.getsockopt(fd, level, name, size)["ret"]}

    def poll(self, fd, events):
        poller = select.poll()
        poller.register(fd, events)
        ready = poller.poll(0)
        return {"ret": ready[0][1] if ready else 0}

    def fcntl(self, fd, command, argument=0):
        return result(libc.fcntl(fd, command, ctypes.c_long(argument)))

    def ioctl(self, fd, request, argument=0):
        value = ctypes.c_int(argument)
        out = result(libc.ioctl(fd, ctypes.c_ulong(request), ctypes.byref(value)))
        return {"ret": value.value} if out["ret"] == 0 and request != 0x5421 else out

    def pipe2(self, flags=0):
        pair = (ctypes.c_int * 2)()
        out = result(libc.pipe2(pair, flags))
        return {**out, "vars": list(pair)}

    def socketpair(self, domain, kind, protocol=0):
        pair = (ctypes.c_int * 2)()
        out = result(libc.socketpair(domain, kind, protocol, pair))
        return {**out, "vars": list(pair)}

    def splice(self, source, target, size, flags):
        return result(libc.splice(source, None, target, None, ctypes.c_size_t(size), flags))

    def epoll(self):
        return result(libc.epoll_create1(0))

    def epollctl(self, epfd, operation, fd, events=0, data=0):
        event = struct.pack("<IQ", events, data)
        return result(libc.epoll_ctl(epfd, operation, fd, event))

    def epollwait(self, epfd, most=8):
        room = ctypes.create_string_buffer(12 * max(most, 1))
        out = result(libc.epoll_wait(epfd, room, most, 0))
        if out["ret"] > 0:
            out["list"] = [struct.unpack_from("<IQ", room, 12 * i) for i in range(out["ret"])]
        return out

    def unlink(self, name):
        return result(libc.unlink(name[2:]))

    def recvpacket(self, *args):
        return self.recvfrom(*args)

    def namespace(self):
        """A network of its own for the rest of the program, with everybody allowed to ping."""
        out = result(libc.unshare(0x40000000))
        if out["ret"] == 0:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            subprocess.run(["ip", "address", "add", "192.0.2.1/24", "dev", "lo"], check=True)
            with open("/proc/sys/net/ipv4/ping_group_range", "w") as file:
                file.write("0 2147483647")
        return out

    def settle(self, ms=15):
        time.sleep(ms / 1000)
        return {"ret": 0}


def run(number, steps):
    prefix = b"%06d" % ((os.getpid() * 1000 + number) % 1000000)
    program = Run(prefix)
    try:
        return [program.step(step) for step in steps]
    except Exception as error:
        raise RuntimeError(f"program {number}") from error


programs = json.load(sys.stdin)
os.chdir(sys.argv[1])
# A process for each: descriptors are a process's.
with multiprocessing.get_context("fork").Pool(12, maxtasksperchild=1) as pool:
    json.dump(pool.starmap(run, enumerate(programs), 1), sys.stdout)
