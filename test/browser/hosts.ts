/** Run by test/links-browser.test.ts inside pages and workers: a host on a channel that serves a page or asks for one. */
import { channelLink, Host, type MessageChannelLike } from "../../src/index.ts";

const memory = { ports: 1, buffers: 4096, appBytes: 8 << 20, routes4: 100, routes6: 100, nextHops: 64 };

function hostOn(channel: unknown, last: number): Promise<Host> {
  const device = channelLink(channel as MessageChannelLike);
  return Host.create({ memory, interfaces: [{ device, addresses: [`10.9.0.${last}/24`] }] });
}

/** Answers every connection with `bytes` bytes, each the low byte of its place times 31. */
async function serve(channel: unknown, bytes: number): Promise<void> {
  const host = await hostOn(channel, 1);
  const body = Uint8Array.from({ length: bytes }, (_, i) => i * 31);
  for await (const socket of host.listen({ port: 80 })) {
    const writer = socket.writable.getWriter();
    void writer.write(body).then(() => writer.close());
  }
}

/** SHA-256 of what the other host serves, in hexadecimal; and which build of the engine got it. */
async function ask(channel: unknown, last: number): Promise<string> {
  const host = await hostOn(channel, last);
  const socket = await host.connect({ hostname: "10.9.0.1", port: 80 });
  await socket.writable.close();
  const bytes = new Uint8Array(await new Response(socket.readable).arrayBuffer());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const { build } = host.engine;
  await host.close();
  return `${build} ${Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

const scope = globalThis as unknown as {
  document?: object;
  addEventListener(type: "message", listener: (event: { data: { port: unknown; bytes: number } }) => void): void;
  serve: typeof serve;
  ask: typeof ask;
};
// A worker is told by a message which port to serve on; a page is driven by the test.
if (scope.document) Object.assign(scope, { serve, ask });
else scope.addEventListener("message", ({ data }) => void serve(data.port, data.bytes));
