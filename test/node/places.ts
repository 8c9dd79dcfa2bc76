/** Where a suite runs: Node's own modules over loopback, which is the oracle, and two hosts of ours with a wire between them. */
import * as dgram from "node:dgram";
import * as net from "node:net";
import { Engine, Host, joinPorts } from "../../src/index.ts";
import { forHost } from "../../src/node/index.ts";

/** What a suite needs of a place. The types are Node's: ours must be usable as they are. */
export interface Place {
  readonly name: string;
  /** The client's modules, and the server's. */
  readonly near: { readonly net: typeof net; readonly dgram: typeof dgram };
  readonly far: { readonly net: typeof net; readonly dgram: typeof dgram };
  /** An address of the server, one of the client, and the server's of IPv6. */
  readonly address: string;
  readonly nearAddress: string;
  readonly address6: string;
  close(): Promise<void>;
}

export async function ofNode(): Promise<Place> {
  const both = { net, dgram };
  return {
    name: "node:net",
    near: both,
    far: both,
    address: "127.0.0.1",
    nearAddress: "127.0.0.1",
    address6: "::1",
    close: async () => {},
  };
}

export interface Pair {
  readonly engine: Engine;
  readonly client: Host;
  readonly server: Host;
  close(): Promise<void>;
}

/** Two hosts, 10.0.0.1 and 10.0.0.2, whose ports are joined. */
export async function pair(): Promise<Pair> {
  const engine = await Engine.create({ ports: 2, tables: 4, appBytes: 48 << 20, bareDescriptors: 8192 });
  const host = (i: number) =>
    Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`, `2001:db8::${i + 1}/64`] }] });
  const [client, server] = [await host(0), await host(1)];
  joinPorts(engine, engine.port(0), engine.port(1));
  engine.start();
  const close = async () => {
    await Promise.all([client.close(), server.close()]);
    await engine.close();
  };
  return { engine, client, server, close };
}

export async function ofPacketloom(): Promise<Place> {
  const { client, server, close } = await pair();
  return {
    name: "packetloom",
    near: forHost(client) as unknown as Place["near"],
    far: forHost(server) as unknown as Place["far"],
    address: "10.0.0.2",
    nearAddress: "10.0.0.1",
    address6: "2001:db8::2",
    close,
  };
}

/** What a program notes when it runs in a place. */
export async function linesOf<P>(program: (place: P, log: (...words: unknown[]) => void) => Promise<void>, place: P): Promise<string[]> {
  const lines: string[] = [];
  await program(place, (...words) => lines.push(words.join(" ")));
  return lines;
}
