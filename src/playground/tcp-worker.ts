/** Two hosts in one worker: a stream between them, then round trips, then connections, each measured at the socket. */
import { realClock } from "../base/clock.ts";
import { Engine } from "../engine/engine.ts";
import { Host } from "../host/host.ts";
import { joinPorts } from "../link/pair.ts";
import type { TcpSocket } from "../socket/stream.ts";
import type { FromTcp, ToTcp } from "./messages.ts";

const scope = globalThis as unknown as { postMessage(message: FromTcp): void; onmessage: ((event: { data: ToTcp }) => void) | null };
const REPORT_MS = 100;
const WARM_UP_MS = 200;
const BULK_MS = 6000;
const SMALL_MS = 1500;
const CHUNK = 262_144;
/** Connections that are asked for at the same time. */
const CALLERS = 32;

let stopped = false;
const now = () => realClock.now();

async function twoHosts(congestion: string) {
  // #show tcp
  const engine = await Engine.create({ ports: 2, tables: 4, appBytes: 64 << 20 });
  const at = (port: number, address: string) => [{ port: engine.port(port), addresses: [address] }];
  const client = await Host.create({ engine, interfaces: at(0, "10.0.0.1/24") });
  const server = await Host.create({ engine, interfaces: at(1, "10.0.0.2/24") });
  joinPorts(engine, engine.port(0), engine.port(1));
  engine.start();

  const listener = server.listen({ port: 80, backlog: 1024 });
  const socket = await client.connect({ hostname: "10.0.0.2", port: 80, congestion });
  const peer = await listener.accept();
  // #end
  return { engine, client, listener, socket, peer };
}

async function flood(socket: TcpSocket): Promise<void> {
  const chunk = new Uint8Array(CHUNK).map((_, i) => i * 7);
  // #show tcp
  while (!stopped) await socket.write(chunk);
  // #end
}

function modeOf({ control, inRecovery, cwnd, ssthresh }: ReturnType<TcpSocket["status"]>): string {
  if (typeof control.mode === "string") return control.mode.replaceAll("_", " ");
  if (inRecovery) return "recovery";
  return cwnd < (ssthresh ?? Number.POSITIVE_INFINITY) ? "slow start" : "avoidance";
}

/** Reads for some seconds and tells, ten times a second, what arrived and what the sender knows. */
async function bulk(socket: TcpSocket, peer: TcpSocket): Promise<void> {
  let space = new Uint8Array(CHUNK);
  const began = now() + WARM_UP_MS;
  let [since, bytes, all] = [now(), 0, 0];
  while (!stopped && now() - began < BULK_MS) {
    const n = await peer.read(space);
    if (n === null) throw new Error("the stream ended");
    // A byte of each chunk, against what was written at its place.
    if (space[n - 1] !== (((all + n - 1) % CHUNK) * 7) % 256) throw new Error(`a wrong byte at ${all + n - 1}`);
    all += n;
    bytes += n;
    space = new Uint8Array(space.buffer);
    const time = now();
    if (time < began) [since, bytes] = [time, 0];
    else if (time - since >= REPORT_MS) {
      const status = socket.status();
      const { cwnd, srtt, retransmissions } = status;
      const gbps = (bytes * 8) / (time - since) / 1e6;
      scope.postMessage({ type: "bulk", at: (time - began) / 1000, gbps, cwnd, srtt: srtt ?? 0, mode: modeOf(status), retransmissions });
      [since, bytes] = [time, 0];
    }
  }
}

async function echo(socket: TcpSocket): Promise<void> {
  const space = new Uint8Array(64);
  for (let n = await socket.read(space); n !== null; n = await socket.read(space)) await socket.write(space.slice(0, n));
  await socket.closeWrite();
}

/** One byte there and back, again and again. The clock of a page is coarse: the mean of them all. */
async function roundTrips(client: Host): Promise<void> {
  const socket = await client.connect({ hostname: "10.0.0.2", port: 80, noDelay: true });
  const space = new Uint8Array(1);
  const start = now();
  let trips = 0;
  for (; !stopped && now() - start < SMALL_MS; trips++) {
    await socket.write(Uint8Array.of(1));
    await socket.read(space);
  }
  const ms = now() - start;
  await socket.close();
  if (trips > 0) scope.postMessage({ type: "rtt", us: (ms * 1000) / trips, trips });
}

/** Connect, one request, one answer, close. */
async function connections(client: Host): Promise<void> {
  let done = 0;
  const start = now();
  const end = start + SMALL_MS;
  const caller = async () => {
    const space = new Uint8Array(64);
    while (!stopped && now() < end) {
      const socket = await client.connect({ hostname: "10.0.0.2", port: 80 });
      await socket.write(Uint8Array.of(1, 2, 3));
      await socket.read(space);
      await socket.closeWrite();
      await socket.read(space);
      done++;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  if (done > 0) scope.postMessage({ type: "connections", perSecond: (done * 1000) / (now() - start), done });
}

async function run(congestion: string, cut: boolean): Promise<void> {
  stopped = false;
  const { engine, client, listener, socket, peer } = await twoHosts(congestion);
  try {
    if (cut) for (const i of [0, 1]) engine.port(i).configure({ offload: { chains: false, segmentation: false, partialChecksum: false } });
    void flood(socket).catch(() => {});
    await bulk(socket, peer);
    socket.abort();
    void (async () => {
      for await (const each of listener) void echo(each).catch(() => {});
    })().catch(() => {});
    if (!stopped) await roundTrips(client);
    if (!stopped) await connections(client);
  } finally {
    await engine.close();
  }
  scope.postMessage({ type: "done", stopped });
}

scope.onmessage = ({ data }) => {
  if (data.type === "stop") stopped = true;
  else run(data.congestion, data.cut).catch((error: Error) => scope.postMessage({ type: "failed", message: error.message }));
};
