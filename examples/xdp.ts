/**
 * AF_XDP: the kernel's end of a veth pair pings and fetches from a host whose packets lie in Wasm memory from the driver
 * on. The same host at a packet socket, for comparison: `node xdp.mjs packet`. Needs root, iproute2, ethtool, curl and
 * `npm install koffi`; removes what it made.
 *
 *   npx esbuild examples/xdp.ts --format=esm --outfile=xdp.mjs && node xdp.mjs
 */
import { execFileSync, spawn } from "node:child_process";
import { Host, type TcpSocket } from "packetloom";
import { packet } from "packetloom/packet";
import { xdp } from "packetloom/xdp";

if (process.getuid?.() !== 0) {
  console.error("xdp.mjs makes a network namespace and a device in it, for which it needs root on Linux: sudo node xdp.mjs");
  process.exit(1);
}

const [near, far] = ["near", "far"].map((end) => `loom-${end}-${process.pid}`);
const ip = (...args: string[]) => execFileSync("ip", args, { stdio: "inherit" });
const inside = (...command: string[]) =>
  new Promise((resolve) => spawn("ip", ["netns", "exec", far, ...command], { stdio: "inherit" }).on("close", resolve));

ip("netns", "add", near);
ip("netns", "add", far);
try {
  ip("-n", near, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", far);
  ip("-n", near, "link", "set", "v0", "up");
  ip("-n", far, "link", "set", "v1", "up");
  ip("-n", far, "addr", "add", "10.99.0.1/24", "dev", "v1");
  // A veth leaves checksums open between the kernel's own ends, which XDP cannot see.
  await inside("ethtool", "-K", "v1", "tx", "off");

  const open = process.argv[2] === "packet" ? packet : xdp;
  const device = open({ interface: "v0", namespace: near });
  const host = await Host.create({ interfaces: [{ name: "eth0", device, addresses: ["10.99.0.2/24"] }] });
  const listener = host.listen({ port: 80 });
  (async () => {
    for await (const socket of listener) void serve(socket);
  })();

  await inside("ping", "-c", "3", "-i", "0.2", "10.99.0.2");
  await inside("curl", "-s", "-o", "/dev/null", "-w", "%{size_download} bytes, %{speed_download} bytes a second\n", "http://10.99.0.2/");
  console.log(host.links()[0]);
  listener.close();
  await host.close();
} finally {
  ip("netns", "del", near);
  ip("netns", "del", far);
}

async function serve(socket: TcpSocket): Promise<void> {
  await socket.readable.getReader().read();
  const writer = socket.writable.getWriter();
  const body = new Uint8Array(10_000_000);
  await writer.write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`));
  await writer.write(body);
  await writer.close();
}
