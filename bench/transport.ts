/**
 * TCP and UDP between two hosts in one thread: socket API on both ends, real clock. `node:net` over the kernel's
 * loopback does the same job in the same run.
 */
import { once } from "node:events";
import * as net from "node:net";
import { Host } from "../src/host/host.ts";
import { Engine, joinPorts } from "../src/index.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import { type Context, type Profile, repeat, result } from "./harness.ts";

export const ADDRESS = ["10.0.0.1", "10.0.0.2"] as const;

/** Two hosts over joined ports; `segments`: every frame is cut to the MTU, summed, and put together again. */
export async function twoHosts(segments: boolean): Promise<{ a: Host; b: Host; engine: Engine }> {
  const engine = await Engine.create({
    ports: 2,
    tables: 4,
    buffers: 8192,
    bareDescriptors: 16_384,
    ringCapacity: 2048,
    puntCapacity: 8192,
    nextHops: 255,
    routes4: 1000,
    routes6: 1000,
    appBytes: 64 << 20,
  });
  const host = (i: 0 | 1) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`${ADDRESS[i]}/24`] }] });
  const [a, b] = [await host(0), await host(1)];
  joinPorts(engine, engine.port(0), engine.port(1));
  if (segments)
    for (const i of [0, 1]) engine.port(i).configure({ offload: { chains: false, segmentation: false, partialChecksum: false } });
  engine.start();
  return { a, b, engine };
}

/** Rates of several runs of an asynchronous measurement, behind one or more to warm up. */
export async function several(context: Context, run: () => Promise<number>, warm = 1): Promise<number[]> {
  for (let i = 0; i < warm; i++) await run();
  const rates: number[] = [];
  for (let i = 0; i < context.runs; i++) rates.push(await run());
  return rates;
}

/** A stream that never ends: `measure` reads for `ms` and says Gbit/s of what arrived and was right. */
export function endless(from: TcpSocket, to: TcpSocket): (ms: number) => Promise<number> {
  const chunk = new Uint8Array(262_144).map((_, i) => i * 7);
  const writer = from.writable.getWriter();
  const reader = to.readable.getReader({ mode: "byob" });
  void (async () => {
    for (;;) await writer.write(chunk);
  })().catch(() => {});
  let position = 0;
  let space = new Uint8Array(262_144);
  return async (ms) => {
    const start = performance.now();
    const first = position;
    while (performance.now() - start < ms) {
      const { value } = await reader.read(space);
      if (!value) throw new Error("the stream ended");
      // A byte of each chunk, at a place that moves, against what was written there.
      const probe = position % value.length;
      if (value[probe] !== chunk[(position + probe) % chunk.length]) throw new Error(`a wrong byte at ${position + probe}`);
      position += value.length;
      space = new Uint8Array(value.buffer);
    }
    return ((position - first) * 8) / (performance.now() - start) / 1e6;
  };
}

/** Gbit/s of `node:net` over loopback, both ends in this thread. */
async function loopback(ms: number): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [net.Socket];
  const chunk = Buffer.alloc(262_144, 7);
  let bytes = 0;
  socket.on("data", (data) => {
    bytes += data.length;
  });
  const fill = () => {
    while (client.write(chunk)) {}
  };
  client.on("drain", fill);
  fill();
  await new Promise((resolve) => setTimeout(resolve, ms / 4));
  bytes = 0;
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const rate = (bytes * 8) / (performance.now() - start) / 1e6;
  client.destroy();
  socket.destroy();
  server.close();
  return rate;
}

const bulk =
  (name: string, segments: boolean): Profile =>
  async (context) => {
    const { a, b, engine } = await twoHosts(segments);
    const listener = b.listen({ port: 80 });
    const client = await a.connect({ hostname: ADDRESS[1], port: 80 });
    const server = await listener.accept();
    const measure = endless(client, server);
    const rates = await several(context, () => measure(context.ms));
    const peer = await loopback(context.ms);
    const { retransmissions } = client.status();
    await engine.close();
    return [
      result(name, "Gbit/s", rates, {
        vs: { "node:net loopback": result("", "", rates).value / peer },
        note: `node:net ${peer.toFixed(1)} Gbit/s; ${retransmissions} retransmissions`,
      }),
    ];
  };

/** Before all of TCP's life of a connection is compiled, two seconds pass. */
const CRR_WARM = 4;

/** Connect, one request, one answer, close; per second. */
const connections: Profile = async (context) => {
  const { a, b, engine } = await twoHosts(false);
  const listener = b.listen({ port: 80, backlog: 4096 });
  const question = new Uint8Array(64).map((_, i) => i);
  void (async () => {
    for await (const socket of listener) void answer(socket);
  })();
  const rates = await several(
    context,
    async () => {
      let done = 0;
      const end = performance.now() + context.ms;
      const start = performance.now();
      const one = async () => {
        const space = new Uint8Array(64);
        while (performance.now() < end) {
          const socket = await a.connect({ hostname: ADDRESS[1], port: 80 });
          await socket.write(question);
          if ((await socket.read(space)) !== question.length || space[63] !== question[63]) throw new Error("a wrong answer");
          await socket.closeWrite();
          await socket.read(space);
          done++;
        }
      };
      await Promise.all(Array.from({ length: 64 }, one));
      return (done * 1000) / (performance.now() - start);
    },
    CRR_WARM,
  );
  listener.close();
  await engine.close();
  const peer = result("", "", await several(context, () => loopbackConnections(context.ms), CRR_WARM)).value;
  return [
    result("tcp-crr", "connections/s", rates, {
      vs: { "node:net loopback": result("", "", rates).value / peer },
      note: `node:net ${Math.round(peer)}/s`,
    }),
  ];
};

async function answer(socket: TcpSocket): Promise<void> {
  const space = new Uint8Array(64);
  const n = await socket.read(space);
  if (n !== null) await socket.write(n === space.length ? space : space.subarray(0, n));
  await socket.read(space);
  await socket.closeWrite();
}

async function loopbackConnections(ms: number): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) =>
    socket.on("data", (data) => socket.write(data)).on("end", () => socket.end()),
  );
  server.on("error", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  let done = 0;
  const start = performance.now();
  const one = async () => {
    while (performance.now() - start < ms) {
      const socket = net.connect(port, "127.0.0.1");
      socket.write(Buffer.alloc(64));
      await once(socket, "data");
      socket.end();
      await once(socket, "close");
      done++;
    }
  };
  await Promise.all(Array.from({ length: 64 }, one));
  server.close();
  return (done * 1000) / (performance.now() - start);
}

/** One byte there and back, one connection: median in microseconds. */
const roundTrip: Profile = async (context) => {
  const { a, b, engine } = await twoHosts(false);
  const listener = b.listen({ port: 80 });
  const client = await a.connect({ hostname: ADDRESS[1], port: 80, noDelay: true });
  const server = await listener.accept();
  server.setNoDelay();
  void (async () => {
    const space = new Uint8Array(64);
    for (let n = await server.read(space); n !== null; n = await server.read(space)) await server.write(space.subarray(0, n));
  })().catch(() => {});
  const [question, space] = [Uint8Array.of(1), new Uint8Array(64)];
  const rates = await several(context, async () => {
    const times: number[] = [];
    const end = performance.now() + context.ms;
    while (performance.now() < end) {
      const start = performance.now();
      await client.write(question);
      if ((await client.read(space)) !== 1 || space[0] !== question[0]) throw new Error("a wrong answer");
      times.push((performance.now() - start) * 1000);
    }
    return times.sort((x, y) => x - y)[times.length >> 1];
  });
  await engine.close();
  return [result("tcp-rr", "µs", rates)];
};

/** 64-byte frames one way through the socket API, in batches. */
const datagrams: Profile = async (context) => {
  const { a, b, engine } = await twoHosts(true);
  await engine.stop();
  const inbox = b.datagram({ port: 7 });
  const socket = a.datagram();
  const data = new Uint8Array(22).fill(0x5a);
  const burst = Array.from({ length: 256 }, () => data);
  const to = { address: ADDRESS[1], port: 7 };
  socket.send(data, to);
  while (engine.poll() > 0) {}
  inbox.tryReceive();
  const check = (got: Uint8Array) => {
    if (got.length !== data.length || got[0] !== data[0]) throw new Error("a wrong datagram");
  };
  const rates = repeat(context, () => {
    let received = 0;
    let sent = 0;
    const start = performance.now();
    while (performance.now() - start < context.ms) {
      socket.sendMany(burst, to);
      while (engine.poll() > 0) {}
      received += inbox.tryReceiveMany(check);
      sent += burst.length;
    }
    const rate = received / (performance.now() - start) / 1000;
    if (received !== sent) throw new Error(`${sent} datagrams were sent and ${received} arrived`);
    return rate;
  });
  await engine.close();
  return [result("udp-64", "Mpps", rates)];
};

export const transport: Record<string, Profile> = {
  "tcp-bulk": bulk("tcp-bulk", true),
  "tcp-bulk-gso": bulk("tcp-bulk-gso", false),
  "tcp-crr": connections,
  "tcp-rr": roundTrip,
  "udp-64": datagrams,
};
