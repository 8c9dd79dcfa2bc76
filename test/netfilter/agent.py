"""The kernel's router at the command of a test: orders as JSON lines on stdin, one report a line on stdout.

It runs in the namespace of the outer ends (argument 2: their names), holds a packet socket on each, then moves into the router's
namespace (argument 1), so that nft, conntrack and sysctls are the router's.

Frames are sent and heard on one CPU. A veth hands a frame to that CPU's backlog and the sender runs the backlog before its call returns; a
frame that the router sends goes to the end of the same backlog. So two marks sent through another veth, one after the other, come out
when all that a frame has caused has come out: no time is waited for.
"""
import ctypes
import json
import os
import socket
import subprocess
import sys
import time

import connections

SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 3
MARK = bytes.fromhex("020000000000020000000001" + "88b5") + bytes(46)
NOISE_IPV6 = (b"\x33\x33\x00\x00\x00\x16", b"\x33\x33\x00\x00\x00\x02")


def raw(interface):
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.bind((interface, 0))
    return made


def enter(namespace):
    with open("/run/netns/" + namespace) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")


class Nft:
    """libnftables, which is all of the nft program, without a process for each command."""

    JSON = 1 << 4

    def __init__(self):
        self.library = ctypes.CDLL("libnftables.so.1")
        self.library.nft_ctx_new.restype = ctypes.c_void_p
        self.library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        self.library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self.context = ctypes.c_void_p(self.library.nft_ctx_new(0))
        self.library.nft_ctx_buffer_output(self.context)
        self.library.nft_ctx_buffer_error(self.context)

    def run(self, text, json_output=False):
        self.library.nft_ctx_output_set_flags(self.context, self.JSON if json_output else 0)
        failed = self.library.nft_run_cmd_from_buffer(self.context, text.encode())
        output = self.library.nft_ctx_get_output_buffer(self.context).decode()
        error = self.library.nft_ctx_get_error_buffer(self.context).decode()
        if failed:
            raise RuntimeError(error.strip() or "nft failed")
        return output


class Router:
    def __init__(self, namespace, ports):
        self.cpus = os.sched_getaffinity(0)
        self.ports = {name: raw(name) for name in ports}
        self.mark_in, self.mark_out = raw("mark0"), raw("mark1")
        self.mark_out.settimeout(5)
        self.changed = {}
        self.pieces6 = 0.0
        enter(namespace)
        self.nft = Nft()

    def settle(self):
        for _ in range(2):
            self.mark_in.send(MARK)
            while self.mark_out.recv(128) != MARK:
                pass

    def came_out(self):
        self.settle()
        out = []
        for name, port in self.ports.items():
            while True:
                try:
                    frame = port.recv(65600, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                if frame[:6] not in NOISE_IPV6:
                    out.append([name, frame.hex()])
        return out

    def set_sysctls(self, values):
        for path, value in values.items():
            with open("/proc/sys/net/" + path, "r+") as file:
                self.changed.setdefault(path, file.read().strip())
                file.seek(0)
                file.write(str(value))

    def begin(self, order):
        """Forgets everything, then takes a ruleset and sysctls."""
        self.fragments_gone()
        back, self.changed = self.changed, {}
        self.set_sysctls(back)
        self.changed = {}
        self.set_sysctls(order.get("sysctls", {}))
        self.nft.run("flush ruleset\n" + order["ruleset"])
        connections.flush()
        self.came_out()
        return {}

    def fragments_gone(self):
        """Waits until the last case's incomplete datagrams have timed out (ipfrag_time is a second)."""
        time.sleep(max(0, self.pieces6 + 1.1 - time.monotonic()))
        for _ in range(60):
            text = open("/proc/net/sockstat").read() + open("/proc/net/sockstat6").read()
            if all(line.split()[2] == "0" for line in text.splitlines() if line.startswith("FRAG")):
                return
            time.sleep(0.05)

    def send(self, order):
        """Each step's frame, and what came out until everything was quiet."""
        os.sched_setaffinity(0, {min(self.cpus)})
        reports = []
        for port, frame in order["steps"]:
            try:
                self.ports[port].send(bytes.fromhex(frame))
            except OSError as error:
                raise RuntimeError(f"{port} does not take a frame of {len(frame) // 2} bytes: {error}")
            reports.append(self.came_out())
            # The tracker's own queue of IPv6 fragments is counted nowhere: what brought nothing out may wait there.
            if frame[24:28] == "86dd" and frame[40:42] == "2c":
                self.pieces6 = 0.0 if reports[-1] else time.monotonic()
        os.sched_setaffinity(0, self.cpus)
        return {"steps": reports}

    def connections(self, order):
        return {"lines": connections.listing()}

    def ruleset(self, order):
        return {"ruleset": json.loads(self.nft.run("list ruleset", json_output=True))}

    def sysctl(self, order):
        """Sysctls for good; those that this kernel does not have are named in the report."""
        absent = []
        for path, value in order["values"].items():
            try:
                self.set_sysctls({path: value})
            except OSError:
                absent.append(path)
        self.changed = {}
        return {"absent": absent}

    def shell(self, order):
        done = subprocess.run(["sh", "-c", order["command"]], capture_output=True, text=True)
        return {"code": done.returncode, "out": done.stdout + done.stderr}


router = Router(sys.argv[1], sys.argv[2:])
for line in sys.stdin:
    order = json.loads(line)
    try:
        report = getattr(router, order["do"])(order)
    except Exception as error:
        report = {"error": str(error)}
    print(json.dumps(report), flush=True)
