/**
 * What programs take for granted of Node's modules: that one who awaits events misses none, that classes are what they are taken for, that what is put in the
 * place of a function is used. The same programs over Node's loopback and over hosts.
 */
import assert from "node:assert/strict";
import * as nodeDgram from "node:dgram";
import * as nodeDns from "node:dns";
import { EventEmitter, once } from "node:events";
import * as nodeHttp from "node:http";
import * as nodeNet from "node:net";
import { after, before, describe, it } from "node:test";
import { inherits } from "node:util";
import { forHost } from "../src/node/index.ts";
import { linesOf, type Pair, pair } from "./node/places.ts";

interface Modules {
  readonly net: typeof nodeNet;
  readonly dgram: typeof nodeDgram;
  readonly dns: typeof nodeDns;
  readonly http: typeof nodeHttp;
}

interface Place {
  readonly near: Modules;
  readonly far: Modules;
  readonly address: string;
}

type Program = (place: Place, log: (...words: unknown[]) => void) => Promise<void>;
/** What old programs do without `new`. */
type Callable = (...args: unknown[]) => object;

const portOf = (server: { address(): unknown }) => (server.address() as nodeNet.AddressInfo).port;
const ticks = async (n: number) => {
  for (let i = 0; i < n; i++) await null;
};
const closed = (what: { once(event: "close", then: () => void): unknown }) => new Promise<void>((resolve) => what.once("close", resolve));

async function listening<S extends nodeNet.Server>(server: S, address: string): Promise<S> {
  server.listen(0, address);
  await once(server, "listening");
  return server;
}

/** A class as programs made them before there were any. */
function inheriting<T extends object>(base: unknown, ...args: unknown[]): new () => T {
  function Mine(this: T & { mine?: number }) {
    Reflect.apply(base as Callable, this, args);
    this.mine = 7;
  }
  inherits(Mine, base as () => void);
  return Mine as unknown as new () => T;
}

const PROGRAMS: Record<string, Program> = {
  "classes that inherit by inherits() and call": async ({ near, far, address }, log) => {
    const MyServer = inheriting<nodeNet.Server>(far.net.Server, { allowHalfOpen: true }, (socket: nodeNet.Socket) =>
      socket.on("data", (data) => socket.end(`you said ${data}`)),
    );
    const MySocket = inheriting<nodeNet.Socket>(near.net.Socket);
    const server = await listening(new MyServer(), address);
    const socket = new MySocket();
    log(socket instanceof MySocket, socket instanceof near.net.Socket, (socket as unknown as { mine: number }).mine);
    log(server instanceof MyServer, server instanceof far.net.Server, socket.constructor === MySocket);
    const other = new MySocket();
    log(other !== socket, other.listenerCount("end") === socket.listenerCount("end"));
    socket.connect(portOf(server), address);
    await once(socket, "connect");
    socket.end("hello");
    let text = "";
    for await (const chunk of socket) text += chunk;
    log(text, socket.bytesRead, socket.bytesWritten);
    server.close();
    await once(server, "close");
    const MyDatagrams = inheriting<nodeDgram.Socket>(far.dgram.Socket, { type: "udp4" });
    const inbox = new MyDatagrams().bind(0, address);
    await once(inbox, "listening");
    const out = near.dgram.createSocket("udp4");
    out.send("datagram", inbox.address().port, address);
    const [message] = await once(inbox, "message");
    log(String(message), inbox instanceof far.dgram.Socket);
    for (const each of [inbox, out]) each.close();
  },
  "datagrams that come at once are awaited one after the other": async ({ near, far, address }, log) => {
    const inbox = far.dgram.createSocket("udp4").bind(0, address);
    await once(inbox, "listening");
    const out = near.dgram.createSocket("udp4");
    for (let i = 0; i < 5; i++) out.send(`m${i}`, inbox.address().port, address);
    for (let i = 0; i < 5; i++) {
      const [message] = await once(inbox, "message");
      await ticks(3);
      log(String(message));
    }
    for (const each of [inbox, out]) each.close();
  },
  "connections that come at once are awaited one after the other": async ({ near, far, address }, log) => {
    const server = await listening(far.net.createServer(), address);
    const clients = [0, 1, 2, 3].map(() => near.net.connect(portOf(server), address));
    const gone = clients.map((each) => closed(each.resume()));
    for (const _ of clients) {
      const [socket] = (await once(server, "connection")) as [nodeNet.Socket];
      await ticks(3);
      log(socket instanceof far.net.Socket, socket.constructor === far.net.Socket);
      socket.destroy();
    }
    await Promise.all(gone);
    server.close();
  },
  "a request whose client has ended is answered": async ({ near, far, address }, log) => {
    const server = await listening(
      far.http.createServer((request, response) => request.resume().on("end", () => response.end("bye"))),
      address,
    );
    const client = near.net.connect({ port: portOf(server), host: address, allowHalfOpen: true });
    client.end("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello");
    let text = "";
    for await (const chunk of client) text += chunk;
    log(text.split("\r\n")[0], text.endsWith("bye\r\n0\r\n\r\n") || text.endsWith("bye"));
    server.close();
  },
  "an answer after some promises reaches a client that has ended": async ({ near, far, address }, log) => {
    const server = await listening(
      far.net.createServer((socket) => {
        socket.on("error", (error) => log(error.message));
        socket.once("data", async (data) => {
          await ticks(3);
          socket.write(`echo ${data}`);
        });
      }),
      address,
    );
    const client = near.net.connect({ port: portOf(server), host: address, allowHalfOpen: true });
    client.end("hi");
    const [data] = await once(client, "data");
    log(String(data));
    client.destroy();
    server.close();
  },
  "a socket that another's message closes tells nothing more": async ({ near, far, address }, log) => {
    const [a, b] = [far.dgram.createSocket("udp4").bind(0, address), far.dgram.createSocket("udp4").bind(0, address)];
    await Promise.all([once(a, "listening"), once(b, "listening")]);
    const out = near.dgram.createSocket("udp4");
    const gone = closed(b);
    a.on("message", () => {
      log("told");
      b.close();
    });
    for (const each of [a, b]) out.send("x", each.address().port, address);
    await gone;
    for (const each of [a, out]) each.close();
  },
  "classes are called, inherited from, and what they make is of them": async ({ near: { net, http } }, log) => {
    log((net.Socket as unknown as Callable)() instanceof net.Socket, (net.Server as unknown as Callable)() instanceof net.Server);
    const server = (http.Server as unknown as Callable)(() => {});
    log(server instanceof http.Server, server instanceof net.Server, (http.Agent as unknown as Callable)() instanceof http.Agent);
    class Mine extends net.Server {}
    log(new Mine() instanceof Mine, new Mine() instanceof net.Server, server instanceof Mine, {} instanceof net.Server);
    function Old(this: unknown) {
      (http.Agent as unknown as { call(self: unknown, options: object): void }).call(this, { keepAlive: true });
    }
    inherits(Old, http.Agent);
    const agent = new (Old as unknown as new () => nodeHttp.Agent)();
    log(agent instanceof http.Agent, (agent as unknown as { keepAlive: boolean }).keepAlive);
  },
  "requests go by the agent that was put in the place of the global one, and by `new ClientRequest`": async (
    { near, far, address },
    log,
  ) => {
    const server = await listening(
      far.http.createServer((_, response) => response.end("ok")),
      address,
    );
    const { http } = near;
    const before = http.globalAgent;
    const agent = new http.Agent();
    const create = (agent as unknown as { createConnection(...args: unknown[]): unknown }).createConnection;
    (agent as unknown as { createConnection: typeof create }).createConnection = (...args) => {
      log("used");
      return create.apply(agent, args);
    };
    http.globalAgent = agent;
    for (const ask of [
      () => http.get({ port: portOf(server), host: address }),
      () => new http.ClientRequest({ port: portOf(server), host: address } as never),
    ]) {
      const request = ask();
      request.end();
      const [response] = (await once(request, "response")) as [nodeHttp.IncomingMessage];
      log(response.statusCode, request instanceof http.ClientRequest);
      response.resume();
    }
    http.globalAgent = before;
    server.closeAllConnections();
    server.close();
  },
  "a function in the place of dns.lookup is asked": async ({ near, far, address }, log) => {
    const server = await listening(
      far.net.createServer((socket) => socket.end()),
      address,
    );
    const { lookup } = near.dns;
    (near.dns as { lookup: unknown }).lookup = (name: string, options: nodeDns.LookupOptions, callback: (...args: unknown[]) => void) => {
      if (name !== "some.test") {
        (lookup as unknown as (...args: unknown[]) => void)(name, options, callback);
        return;
      }
      log("asked for", name);
      if (options.all) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    };
    const out = near.dgram.createSocket("udp4");
    await new Promise((resolve) => out.send("x", portOf(server), "some.test", resolve));
    out.close();
    (near.dns as { lookup: unknown }).lookup = lookup;
    server.close();
  },
  "what an async listener throws ends its connection": async ({ near, far, address }, log) => {
    const { captureRejections } = EventEmitter;
    EventEmitter.captureRejections = true;
    const server = far.net.createServer();
    EventEmitter.captureRejections = captureRejections;
    server.on("connection", async (socket) => {
      socket.on("error", (error) => log("socket", error.message));
      throw new Error("kaboom");
    });
    await listening(server, address);
    const client = near.net.connect(portOf(server), address).on("error", () => {});
    await closed(client.resume());
    server.close();
  },
  "onread's callback is called on its socket": async ({ near, far, address }, log) => {
    const server = await listening(
      far.net.createServer((socket) => socket.end("hello")),
      address,
    );
    const options = {
      port: portOf(server),
      host: address,
      onread: {
        buffer: Buffer.alloc(16),
        callback(this: unknown, bytes: number) {
          log(bytes, this === client);
          return true;
        },
      },
    };
    const client: nodeNet.Socket = near.net.connect(options as nodeNet.NetConnectOpts);
    await closed(client);
    server.close();
  },
};

describe("programs", { timeout: 60_000 }, () => {
  let hosts: Pair;
  let ours: Place;
  const modules: Modules = { net: nodeNet, dgram: nodeDgram, dns: { ...nodeDns } as typeof nodeDns, http: nodeHttp };
  // A copy of a module's names: nothing is put in the place of Node's own.
  const node: Place = {
    near: { ...modules, http: (nodeHttp as { default?: typeof nodeHttp }).default ?? nodeHttp },
    far: modules,
    address: "127.0.0.1",
  };

  before(async () => {
    hosts = await pair();
    ours = { near: forHost(hosts.client) as unknown as Modules, far: forHost(hosts.server) as unknown as Modules, address: "10.0.0.2" };
  });
  after(() => hosts.close());

  for (const [name, program] of Object.entries(PROGRAMS)) {
    it(name, { timeout: 10_000 }, async () => {
      const mine = await linesOf(program, ours);
      assert.ok(mine.length > 0);
      // Node's own module cannot be told what to ask here: it has been asked all the same.
      if (name.includes("dns.lookup")) assert.deepEqual(mine, ["asked for some.test"]);
      else assert.deepEqual(mine, await linesOf(program, node));
    });
  }
});
