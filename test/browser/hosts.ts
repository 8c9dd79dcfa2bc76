/**
 * Run by test/links-browser.test.ts inside pages and workers: a host on a channel that serves a page or asks for one, the
 * README's echo and lab, threads.
 */
import { channelLink, Engine, Host, joinPorts, Lab, type MessageChannelLike, webSocketLink } from "../../src/index.ts";

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
  const bytes = await bodyFrom(host);
  const { build } = host.engine;
  await host.close();
  return `${build} ${await hexOf(bytes)}`;
}

async function bodyFrom(host: Host): Promise<Uint8Array<ArrayBuffer>> {
  const socket = await host.connect({ hostname: "10.9.0.1", port: 80 });
  await socket.writable.close();
  return new Uint8Array(await new Response(socket.readable).arrayBuffer());
}

async function hexOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The README's two hosts and their echo; says the build and what came back. */
async function echo(): Promise<string> {
  const engine = await Engine.create({ ports: 2, tables: 4, appBytes: 16 << 20 });
  const host = (i: number) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`] }] });
  const [client, server] = [await host(0), await host(1)];
  joinPorts(engine, engine.port(0), engine.port(1));
  engine.start();
  void (async () => {
    for await (const socket of server.listen({ port: 7 })) socket.readable.pipeTo(socket.writable).catch(() => {});
  })().catch(() => {});
  const socket = await client.connect({ hostname: "10.0.0.2", port: 7 });
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode("hello"));
  const text = new TextDecoder().decode((await socket.readable.getReader().read()).value);
  await engine.close();
  return `${engine.build} ${text}`;
}

/** The README's lab: the virtual milliseconds of a ping over 20 ms each way. */
async function lab(): Promise<number> {
  const lab = await Lab.create({ seed: 1 });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
  lab.link(a, b, { delay: 20 });
  let time = 0;
  void a.ping("10.0.0.2").then((reply) => {
    time = reply.time;
  });
  await lab.run(1000);
  await lab.engine.close();
  return time;
}

/** What a program sees that asks for two threads: the build, or the reason why not. */
async function threads(): Promise<string> {
  try {
    const engine = await Engine.create({ ports: 2, threads: 2, routes4: 100, routes6: 100 });
    engine.start();
    const { build } = engine;
    await engine.close();
    return build;
  } catch (error) {
    return (error as Error).message;
  }
}

/** SHA-256 of what a host behind a WebSocket serves. */
async function askOver(url: string, format: "frames" | "batches"): Promise<string> {
  const device = webSocketLink(() => new WebSocket(url), { format });
  const host = await Host.create({ memory, interfaces: [{ device, addresses: ["10.9.0.2/24"] }] });
  const bytes = await bodyFrom(host);
  await host.close();
  return hexOf(bytes);
}

/** A host hears rubbish on its channel, then somebody who asks: errors that were counted. */
async function listenTo(channel: unknown): Promise<{ errors(): number }> {
  const host = await hostOn(channel, 1);
  return { errors: () => host.links()[0].stats.rx.errors };
}

const scope = globalThis as unknown as {
  document?: object;
  addEventListener(type: "message", listener: (event: { data: { port: unknown; bytes: number } }) => void): void;
};
// A worker is told by a message which port to serve on; a page is driven by the test.
if (scope.document) Object.assign(scope, { serve, ask, echo, lab, threads, askOver, listenTo });
else scope.addEventListener("message", ({ data }) => void serve(data.port, data.bytes));
