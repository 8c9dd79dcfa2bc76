/** This tab's host on the LAN of all tabs: finds the others by broadcast, pings them, echoes and serves what they ask. */
import { realClock } from "../base/clock.ts";
import { secret } from "../base/random.ts";
import { Host } from "../host/host.ts";
import { channelLink } from "../link/channel.ts";
import type { DatagramSocket } from "../socket/datagram.ts";
import type { TcpSocket } from "../socket/stream.ts";
import type { FromTab, ToTab } from "./messages.ts";

const scope = globalThis as unknown as { postMessage(message: FromTab): void; onmessage: ((event: { data: ToTab }) => void) | null };
const memory = { ports: 1, buffers: 4096, appBytes: 16 << 20, routes4: 100, routes6: 100, nextHops: 256 };
const EVERYBODY = "10.99.255.255";
const [ECHO, HELLO, FILE] = [7, 9, 80];
const HELLO_MS = 1000;
/** A tab that says nothing for so long has gone; and how many are shown. */
const GONE_MS = 5000;
const MOST_PEERS = 16;
const FILE_BYTES = 16_000_000;
const CHUNK = 262_144;

interface Peer {
  heardAt: number;
  ms?: number;
}

const peers = new Map<string, Peer>();
let here: Host | undefined;
/** A broadcast is heard by who sent it, too. */
let own = "";

async function join(): Promise<Host> {
  const [x, y] = secret(2).map((byte) => 1 + (byte % 253));
  const address = `10.99.${x}.${y}`;
  // #show tabs
  const device = channelLink(new BroadcastChannel("packetloom"));
  const interfaces = [{ device, addresses: [`${address}/16`] }];
  const host = await Host.create({ memory, interfaces });
  // #end
  own = address;
  scope.postMessage({ type: "joined", address });
  return host;
}

async function serveEcho(host: Host): Promise<void> {
  // #show tabs

  for await (const socket of host.listen({ port: 7 })) void echo(socket);
  // #end
}

async function echo(socket: TcpSocket): Promise<void> {
  let bytes = 0;
  const counted = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.length;
      controller.enqueue(chunk);
    },
  });
  try {
    await socket.readable.pipeThrough(counted).pipeTo(socket.writable);
  } catch {
    // The other tab was closed in the middle.
  }
  scope.postMessage({ type: "heard", address: socket.remoteAddress.address, bytes });
}

async function serveFile(host: Host): Promise<void> {
  const chunk = new Uint8Array(CHUNK);
  for await (const socket of host.listen({ port: FILE })) {
    void (async () => {
      for (let left = FILE_BYTES; left > 0; left -= CHUNK) await socket.write(chunk.subarray(0, Math.min(left, CHUNK)));
      await socket.close();
    })().catch(() => {});
  }
}

/** Says hello every second, and pings who did so. */
async function lookAround(host: Host): Promise<void> {
  const hello = host.datagram({ port: HELLO, broadcast: true });
  void listen(hello);
  for (;;) {
    hello.send(Uint8Array.of(1), { address: EVERYBODY, port: HELLO });
    for (const [address, peer] of peers) if (realClock.now() - peer.heardAt > GONE_MS) peers.delete(address);
    await Promise.all([...peers].map(([address, peer]) => ping(host, address, peer)));
    scope.postMessage({ type: "peers", peers: [...peers].map(([address, { ms }]) => ({ address, ms })) });
    await realClock.sleep(HELLO_MS);
  }
}

async function ping(host: Host, address: string, peer: Peer): Promise<void> {
  try {
    // #show tabs

    const { time } = await host.ping(address, { timeout: 1000 }); // milliseconds
    // #end
    peer.ms = time;
  } catch {
    peer.ms = undefined;
  }
}

async function listen(hello: DatagramSocket): Promise<void> {
  for await (const { address } of hello) {
    const peer = peers.get(address);
    if (peer) peer.heardAt = realClock.now();
    else if (address !== own && peers.size < MOST_PEERS) peers.set(address, { heardAt: realClock.now() });
  }
}

/** Sends the text to the echo of every other tab, and tells what came back. */
async function say(host: Host, text: string): Promise<void> {
  await Promise.all(
    [...peers.keys()].map(async (address) => {
      const socket = await host.connect({ hostname: address, port: ECHO, signal: AbortSignal.timeout(3000) });
      await socket.write(new TextEncoder().encode(text));
      await socket.closeWrite();
      scope.postMessage({ type: "said", address, text: await new Response(socket.readable).text() });
    }),
  );
}

async function fetchFrom(host: Host, address: string): Promise<void> {
  const socket = await host.connect({ hostname: address, port: FILE, signal: AbortSignal.timeout(3000) });
  const start = realClock.now();
  let bytes = 0;
  let space = new Uint8Array(CHUNK);
  for (let n = await socket.read(space); n !== null; n = await socket.read(space)) {
    bytes += n;
    space = new Uint8Array(space.buffer);
  }
  await socket.closeWrite();
  scope.postMessage({ type: "fetched", address, mbytes: bytes / 1e6, gbps: (bytes * 8) / (realClock.now() - start) / 1e6 });
}

const fail = (error: Error) => scope.postMessage({ type: "failed", message: error.message });

async function begin(): Promise<void> {
  here = await join();
  for (const service of [serveEcho, serveFile, lookAround]) service(here).catch(fail);
}

scope.onmessage = ({ data }) => {
  if (data.type === "join") void begin().catch(fail);
  else if (here && data.type === "say") say(here, data.text).catch(fail);
  else if (here && data.type === "fetch") fetchFrom(here, data.address).catch(fail);
};
