/** Run by Deno: the suite over its own sockets and over ours; prints both outcomes as JSON. */

import { forHost } from "../../src/deno/index.ts";
import { Engine, Host, joinPorts } from "../../src/index.ts";
import { type DenoPlace, outcomes } from "./suite.ts";

const { Deno } = globalThis as unknown as { Deno?: DenoPlace["near"] & { errors: Record<string, unknown> } };

const engine = await Engine.create({ ports: 2, tables: 4, appBytes: 32 << 20, bareDescriptors: 8192 });
const host = (i: number) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`] }] });
const [client, server] = [await host(0), await host(1)];
joinPorts(engine, engine.port(0), engine.port(1));
// The process ends by itself when everything is closed: the suite has to close it all.
engine.start();
engine.unref();

const [near, far] = [forHost(client), forHost(server)];
const ours = await outcomes({ near, far, address: "10.0.0.2", nearAddress: "10.0.0.1" });
const own = Deno && (await outcomes({ near: Deno, far: Deno, address: "127.0.0.1", nearAddress: "127.0.0.1" }));
const sameClasses = Deno ? Object.entries(near.errors).every(([name, known]) => Deno.errors[name] === known) : undefined;
console.log(JSON.stringify({ ours, own, sameClasses }));
