/** A gateway between a LAN and the Internet: its rules replaced while two machines keep trying to reach each other through it. */
import { realClock } from "../base/clock.ts";
import { LoomError } from "../base/errors.ts";
import { Engine } from "../engine/engine.ts";
import { Host } from "../host/host.ts";
import { joinPorts } from "../link/pair.ts";
import type { TcpListenerSocket } from "../socket/listener.ts";
import { flowText } from "../track/text.ts";
import type { FromGateway, ToGateway, Try } from "./messages.ts";

const scope = globalThis as unknown as {
  postMessage(message: FromGateway): void;
  onmessage: ((event: { data: ToGateway }) => void) | null;
};
/** Errors to one destination are answered once a second (RFC 1812 §4.3.2.8): whoever asks more often sees some of them unanswered. */
const EVERY_MS = 1200;
const PATIENCE_MS = 400;
/** Connections that are shown. */
const MOST_FLOWS = 12;

interface Network {
  readonly engine: Engine;
  readonly client: Host;
  readonly gateway: Host;
  readonly server: Host;
}

let network: Network | undefined;
/** Counts starts and stops: what began before the last of them is over. */
let turn = 0;
const now = () => realClock.now();

async function threeMachines(): Promise<Network> {
  // #show gateway
  const engine = await Engine.create({ ports: 4, tables: 6, flows: 1024, filterBytes: 4 << 20, appBytes: 16 << 20 });
  const at = (port: number, name: string, address: string) => ({ port: engine.port(port), name, addresses: [address] });

  const client = await Host.create({ engine, interfaces: [{ ...at(0, "eth0", "10.0.0.2/24"), gateway: "10.0.0.1" }] });
  const gateway = await Host.create({
    engine,
    forwarding: true,
    interfaces: [at(1, "lan", "10.0.0.1/24"), at(2, "wan", "203.0.113.1/24")],
  });
  const server = await Host.create({ engine, interfaces: [{ ...at(3, "eth0", "203.0.113.80/24"), gateway: "203.0.113.1" }] });
  joinPorts(engine, engine.port(0), engine.port(1));
  joinPorts(engine, engine.port(2), engine.port(3));
  engine.start();
  // #end
  return { engine, client, gateway, server };
}

/** Says to whoever connects who has answered, and whom that has seen. */
async function greet(name: string, listener: TcpListenerSocket): Promise<void> {
  for await (const socket of listener) {
    const text = new TextEncoder().encode(`${name} saw ${socket.remoteAddress.address}`);
    socket
      .write(text)
      .then(() => socket.closeWrite())
      .catch(() => {});
  }
}

async function read(from: Host, hostname: string, port: number): Promise<string> {
  const socket = await from.connect({ hostname, port, signal: AbortSignal.timeout(PATIENCE_MS) });
  const space = new Uint8Array(64);
  const n = (await socket.read(space)) ?? 0;
  await socket.closeWrite();
  return `answered: ${new TextDecoder().decode(space.slice(0, n))}`;
}

async function ping(from: Host, address: string): Promise<string> {
  await from.ping(address, { timeout: PATIENCE_MS });
  return "answered";
}

const TRIES: readonly { name: string; what(n: Network): Promise<string> }[] = [
  { name: "LAN pings the server", what: ({ client }) => ping(client, "203.0.113.80") },
  { name: "LAN to the server, port 80", what: ({ client }) => read(client, "203.0.113.80", 80) },
  { name: "LAN to the server, port 25", what: ({ client }) => read(client, "203.0.113.80", 25) },
  { name: "server to the gateway, port 8080", what: ({ server }) => read(server, "203.0.113.1", 8080) },
  { name: "server to the LAN, 10.0.0.2 port 80", what: ({ server }) => read(server, "10.0.0.2", 80) },
];

/** What a failure means to who tried. */
function reasonOf(error: unknown): string {
  if (!(error instanceof LoomError)) return "no answer";
  if (error.code === "ECONNREFUSED") return "refused";
  if (error.code === "ETIMEDOUT") return "no answer";
  return error.code === "EHOSTUNREACH" || error.code === "ENETUNREACH" ? "unreachable, says the gateway" : error.message;
}

async function attempt(n: Network, { name, what }: (typeof TRIES)[number]): Promise<Try> {
  const start = now();
  try {
    const result = await what(n);
    return { name, result, isReached: true, ms: now() - start };
  } catch (error) {
    return { name, result: reasonOf(error), isReached: false, ms: now() - start };
  }
}

/** Tries everything again and again, and shows what the gateway knows of it. */
async function keepTrying(n: Network): Promise<void> {
  for (const [name, host, port] of [
    ["the server", n.server, 80],
    ["the server", n.server, 25],
    ["the LAN", n.client, 80],
  ] as const)
    void greet(name, host.listen({ port })).catch(() => {});
  while (network === n) {
    const start = now();
    const tries = await Promise.all(TRIES.map((each) => attempt(n, each)));
    if (network !== n) return;
    const flows = [...n.gateway.conntrack.list()].sort((a, b) => b.id - a.id);
    scope.postMessage({
      type: "state",
      tries,
      rules: n.gateway.firewall.list(),
      flows: flows.slice(0, MOST_FLOWS).map((flow) => flowText(flow)),
      count: flows.length,
    });
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, EVERY_MS - (now() - start))));
  }
}

/** Puts a whole ruleset in the place of the one in force, or says why not. */
function apply({ gateway }: Network, rules: string): void {
  const start = now();
  try {
    // #show gateway
    // rules as nft takes them, compiled to WebAssembly: all of them at once, between two packets
    gateway.firewall.apply(rules, { replace: true });
    // #end
    scope.postMessage({ type: "applied", ms: now() - start });
  } catch (error) {
    scope.postMessage({ type: "refused", message: (error as Error).message, hasRules: gateway.firewall.list() !== "" });
  }
}

async function run(rules: string): Promise<void> {
  const own = ++turn;
  const mine = await threeMachines();
  if (own !== turn) {
    await mine.engine.close();
    return;
  }
  network = mine;
  apply(mine, rules);
  await keepTrying(mine);
}

async function stop(): Promise<void> {
  turn++;
  const ended = network;
  network = undefined;
  await ended?.engine.close();
  scope.postMessage({ type: "stopped" });
}

scope.onmessage = ({ data }) => {
  const failed = (error: Error) => scope.postMessage({ type: "failed", message: error.message });
  if (data.type === "run") run(data.rules).catch(failed);
  else if (data.type === "stop") stop().catch(failed);
  else if (network) apply(network, data.rules);
};
