"""A machine as QEMU's -netdev stream would plug it in, without QEMU: frames of a kernel's TAP device, each behind its
length (32 bits, big-endian), over a Unix socket. Written from the format's description, not from our code.

    qemu-peer.py SOCKET TAP
"""
import fcntl, os, select, socket, struct, sys, time

path, name = sys.argv[1:3]
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
for _ in range(100):
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.connect(path)
        break
    except OSError:
        peer.close()
        time.sleep(0.05)
print("connected", flush=True)
have = b""
while True:
    ready, _, _ = select.select([tap, peer], [], [])
    if tap in ready:
        frame = os.read(tap, 65536)
        peer.sendall(struct.pack(">I", len(frame)) + frame)
    if peer in ready:
        data = peer.recv(65536)
        if not data:
            sys.exit(0)
        have += data
        while len(have) >= 4:
            (length,) = struct.unpack(">I", have[:4])
            if len(have) < 4 + length:
                break
            try:
                os.write(tap, have[4 : 4 + length])
            except OSError:
                pass  # the device is down
            have = have[4 + length :]
