/**
 * A virtual machine on a packetloom network, without root, TAP or FFI: QEMU's `-netdev stream` is plugged into a host of
 * this process, which serves HTTP to it.
 *
 *   npx esbuild examples/qemu.ts --format=esm --outfile=qemu.mjs && node qemu.mjs /tmp/loom.sock
 *
 *   qemu-system-x86_64 … -device virtio-net-pci,netdev=n0 \
 *     -netdev stream,id=n0,server=off,addr.type=unix,addr.path=/tmp/loom.sock
 *
 * In the guest: `ip addr add 10.99.0.1/24 dev eth0`, `ip link set eth0 up`, `wget -O - http://10.99.0.2/`.
 */
import { Host, type TcpSocket } from "packetloom";
import { qemuListen } from "packetloom/qemu";

const path = process.argv[2] ?? "/tmp/loom.sock";
const device = qemuListen({ path }, { closed: () => console.log("the machine is gone") });
const host = await Host.create({ interfaces: [{ device, addresses: ["10.99.0.2/24"] }] });
console.log(`waiting for a machine on ${path}`);

for await (const socket of host.listen({ port: 80 })) void serve(socket);

async function serve(socket: TcpSocket): Promise<void> {
  const reader = socket.readable.getReader();
  const { value } = await reader.read();
  console.log(socket.remoteAddress.address, new TextDecoder().decode(value).split("\r\n")[0], host.links()[0].stats);
  const writer = socket.writable.getWriter();
  const body = "Hello from a network in JavaScript.\n";
  await writer.write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`));
  await writer.close();
}
