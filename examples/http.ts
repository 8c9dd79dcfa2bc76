/**
 * An HTTP server by Node's `http`, on a host in this process, reached by the Linux kernel's `curl` over TAP; and the other
 * way, a request from the host to a server of Node on the kernel's side. Needs root, iproute2, curl and
 * `npm install koffi`; removes what it made.
 *
 *   npx esbuild examples/http.ts --format=esm --outfile=http.mjs && node http.mjs
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { Host } from "packetloom";
import { forHost } from "packetloom/node";
import { tap } from "packetloom/tap";

if (process.getuid?.() !== 0) {
  console.error("http.mjs makes a network namespace and a device in it, for which it needs root on Linux: sudo node http.mjs");
  process.exit(1);
}

const name = `loom-http-${process.pid}`;
const ip = (...args: string[]) => execFileSync("ip", args, { stdio: "inherit" });
const inside = (...command: string[]) => spawn("ip", ["netns", "exec", name, ...command], { stdio: ["ignore", "pipe", "inherit"] });

ip("netns", "add", name);
try {
  const host = await Host.create({ interfaces: [{ device: tap({ name: "tap0", namespace: name }), addresses: ["10.99.0.2/24"] }] });
  ip("-n", name, "link", "set", "tap0", "up");
  ip("-n", name, "addr", "add", "10.99.0.1/24", "dev", "tap0");

  const { http } = forHost(host);
  const server = http.createServer((request, response) => {
    response.end(`Hello ${request.socket.remoteAddress}, this is ${request.url} from a TCP stack in JavaScript.\n`);
  });
  server.listen(80, "10.99.0.2");
  await once(server, "listening");
  console.log(await text(inside("curl", "-s", "http://10.99.0.2/index.html").stdout));

  const program = `require("http").createServer((q, r) => r.end("Hello " + q.socket.remoteAddress + ", says the kernel.")).listen(8080, "10.99.0.1", () => console.log("ready"))`;
  const kernel = inside(process.execPath, "-e", program);
  await once(kernel.stdout, "data");
  const [response] = await once(http.get("http://10.99.0.1:8080/"), "response");
  console.log(await text(response));

  kernel.kill();
  http.globalAgent.destroy();
  server.close();
  await host.close();
} finally {
  ip("netns", "del", name);
}
