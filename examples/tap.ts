/**
 * A host in this process that the Linux kernel can reach: a namespace with a TAP device, an HTTP server on our side,
 * `ping` and `curl` on the kernel's. Needs root, iproute2, curl and `npm install koffi`; removes what it made.
 *
 *   npx esbuild examples/tap.ts --format=esm --outfile=tap.mjs && node tap.mjs
 */
import { execFileSync, spawn } from "node:child_process";
import { Host, type TcpSocket } from "packetloom";
import { tap } from "packetloom/tap";

if (process.getuid?.() !== 0) {
  console.error("tap.mjs makes a network namespace and a device in it, for which it needs root on Linux: sudo node tap.mjs");
  process.exit(1);
}

const name = `loom-example-${process.pid}`;
const ip = (...args: string[]) => execFileSync("ip", args, { stdio: "inherit" });
const inside = (...command: string[]) =>
  new Promise((resolve) => spawn("ip", ["netns", "exec", name, ...command], { stdio: "inherit" }).on("close", resolve));

ip("netns", "add", name);
try {
  const host = await Host.create({ interfaces: [{ device: tap({ name: "tap0", namespace: name }), addresses: ["10.99.0.2/24"] }] });
  ip("-n", name, "link", "set", "tap0", "up");
  ip("-n", name, "addr", "add", "10.99.0.1/24", "dev", "tap0");

  const listener = host.listen({ port: 80 });
  (async () => {
    for await (const socket of listener) void serve(socket);
  })();

  await inside("ping", "-c", "2", "-i", "0.2", "10.99.0.2");
  await inside("curl", "-s", "http://10.99.0.2/");
  console.log(await host.ping("10.99.0.1"));
  listener.close();
  await host.close();
} finally {
  ip("netns", "del", name);
}

async function serve(socket: TcpSocket): Promise<void> {
  const reader = socket.readable.getReader();
  await reader.read();
  const writer = socket.writable.getWriter();
  const body = "Hello from a TCP stack in JavaScript.\n";
  await writer.write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`));
  await writer.close();
}
