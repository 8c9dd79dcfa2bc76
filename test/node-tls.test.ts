/**
 * TLS of hosts against TLS of Node over loopback: the same programs in both places, and what each end is told, in which order, must be
 * the same. What two ends are told is not compared in time.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import * as nodeHttps from "node:https";
import * as nodeNet from "node:net";
import { after, before, describe, it } from "node:test";
import nodeTls from "node:tls";
import { forHost } from "../src/node/index.ts";
import { CERTIFICATE, KEY } from "./node/certificate.ts";
import { type Pair, pair } from "./node/places.ts";

interface Modules {
  readonly tls: typeof nodeTls;
  readonly net: typeof nodeNet;
  readonly https: typeof nodeHttps;
}

interface Place {
  readonly near: Modules;
  readonly far: Modules;
  readonly address: string;
}

const SECURE = { key: KEY, cert: CERTIFICATE };
const EVENTS = ["lookup", "connect", "ready", "secureConnect", "secure", "end", "finish", "close", "error", "timeout"] as const;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What an end of a connection was told. */
class Log {
  readonly lines: string[] = [];

  note(...words: unknown[]): void {
    this.lines.push(words.join(" "));
  }

  watch(socket: nodeNet.Socket, data = true): void {
    for (const event of EVENTS) {
      socket.on(event as "error", (told: unknown) => {
        const { code, message } = (told ?? {}) as NodeJS.ErrnoException;
        if (event === "error") this.note(event, code, message?.replace(/ [\d.:]+$/, "").replace(/^\w+:error/, "error"));
        else this.note(event, ...(event === "close" ? [told] : []));
      });
    }
    if (data) socket.on("data", (bytes: Buffer) => this.note("data", bytes.length));
  }
}

interface Stage extends Place {
  readonly client: Log;
  readonly server: Log;
  /** A TLS server that listens; what it accepts is watched, then given to `accepted`. */
  serve(accepted: (socket: nodeTls.TLSSocket) => void, options?: nodeTls.TlsOptions): Promise<number>;
  /** A server without TLS. */
  plain(accepted: (socket: nodeNet.Socket) => void): Promise<number>;
  /** A watched client of it. */
  dial(port: number, options?: nodeTls.ConnectionOptions, data?: boolean): nodeTls.TLSSocket;
  /** Waits until a socket is gone, and the other end had time to hear of it. */
  gone(socket: nodeNet.Socket): Promise<void>;
}

async function play(place: Place, program: (stage: Stage) => Promise<void>): Promise<{ client: string[]; server: string[] }> {
  const [client, server] = [new Log(), new Log()];
  const servers: nodeNet.Server[] = [];
  const listening = async (each: nodeNet.Server) => {
    servers.push(each);
    each.listen(0, place.address);
    await once(each, "listening");
    return (each.address() as nodeNet.AddressInfo).port;
  };
  const stage: Stage = {
    ...place,
    client,
    server,
    serve: (accepted, options) => {
      const each = place.far.tls.createServer({ ...SECURE, ...options }, (socket) => {
        server.watch(socket);
        accepted(socket);
      });
      each.on("tlsClientError", (error: NodeJS.ErrnoException) => server.note("tlsClientError", error.code, error.message));
      return listening(each);
    },
    plain: (accepted) => listening(place.far.net.createServer((socket) => accepted(socket.on("error", () => {})))),
    dial: (port, options, data) => {
      const socket = place.near.tls.connect({ port, host: place.address, rejectUnauthorized: false, ...options });
      client.watch(socket, data);
      return socket;
    },
    gone: async (socket) => {
      if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
      await sleep(50);
    },
  };
  await program(stage);
  for (const each of servers) each.close();
  return { client: directions(client), server: directions(server) };
}

/** "finish" is of the other direction than the rest: when it comes among that is chance. */
function directions({ lines }: Log): string[] {
  return [...lines.filter((line) => line !== "finish"), ...lines.filter((line) => line === "finish")];
}

const PROGRAMS: Record<string, (stage: Stage) => Promise<void>> = {
  "both ends speak and end": async ({ serve, dial, gone, client }) => {
    const socket = dial(await serve((each) => each.end("hello")));
    const state = () => client.note(socket.connecting, socket.pending, socket.readyState);
    state();
    socket.once("secureConnect", state);
    await gone(socket);
    state();
  },
  "what has come is read after both have ended": async ({ serve, dial, gone, client }) => {
    const socket = dial(await serve((each) => each.resume().end("hello world")), {}, false);
    socket.end("question");
    await sleep(150);
    client.note("not read yet", socket.destroyed);
    socket.on("data", (bytes) => client.note(String(bytes)));
    await gone(socket);
  },
  "200 kB are read late": async ({ serve, dial, gone, client }) => {
    const socket = dial(await serve((each) => each.end(Buffer.alloc(200_000))), {}, false);
    await sleep(150);
    let bytes = 0;
    socket.on("data", (chunk) => {
      bytes += chunk.length;
    });
    await gone(socket);
    client.note(bytes);
  },
  "a server reads late, and answers": async ({ serve, dial, gone }) => {
    const port = await serve((each) => {
      each.pause();
      setTimeout(() => each.resume().on("end", () => each.end("answer")), 100);
    });
    const socket = dial(port);
    socket.end("question");
    await gone(socket);
  },
  "`end` before the handshake": async ({ serve, dial, gone }) => {
    const socket = dial(await serve((each) => each.resume()));
    socket.end();
    await gone(socket);
  },
  "`end` with data before the handshake": async ({ serve, dial, gone }) => {
    const socket = dial(await serve((each) => each.resume()));
    socket.end("data");
    await gone(socket);
  },
  "destroyed at once": async ({ serve, dial, gone, client }) => {
    const socket = dial(await serve((each) => each.resume()));
    socket.destroy();
    await gone(socket);
    client.note(socket.connecting, socket.readyState);
  },
  "destroyed when connected": async ({ serve, dial, gone }) => {
    const socket = dial(await serve((each) => each.resume()));
    socket.once("connect", () => socket.destroy());
    await gone(socket);
  },
  refused: async ({ dial, gone, client }) => {
    const socket = dial(1);
    await gone(socket);
    client.note(socket.connecting, socket.readyState);
  },
  "a name that nobody has": async ({ dial, gone }) => {
    const lookup: nodeNet.LookupFunction = (name, _options, done) => {
      setImmediate(() => done(Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: "ENOTFOUND" }), []));
    };
    await gone(dial(5, { host: "nobody.invalid", lookup }));
  },
  "no TLS at the other end": async ({ plain, dial, gone }) => {
    await gone(dial(await plain((each) => each.end("HTTP/1.1 400 Bad Request\r\n\r\n"))));
  },
  "the other end closes at once": async ({ plain, dial, gone }) => {
    await gone(dial(await plain((each) => each.resume().end())));
  },
  "the other end resets in the handshake": async ({ plain, dial, gone }) => {
    await gone(dial(await plain((each) => each.once("data", () => each.resetAndDestroy()))));
  },
  "a certificate of nobody": async ({ serve, dial, gone, client }) => {
    const socket = dial(await serve((each) => each.resume()), { rejectUnauthorized: true });
    await gone(socket);
    client.note(socket.authorized, socket.authorizationError);
  },
  "aborted in the middle": async ({ serve, dial, gone }) => {
    const stop = new AbortController();
    const socket = dial(await serve((each) => each.resume()), { signal: stop.signal } as nodeTls.ConnectionOptions);
    socket.once("secureConnect", () => setTimeout(() => stop.abort(), 20));
    await gone(socket);
  },
  "options that are none": async ({ far, address, near, client }) => {
    let connections = 0;
    const server = far.net.createServer(() => connections++).listen(0, address);
    await once(server, "listening");
    const { port } = server.address() as nodeNet.AddressInfo;
    for (const options of [{ cert: "nonsense", key: "nonsense" }, { minVersion: "TLSv9" as nodeTls.SecureVersion }])
      try {
        near.tls.connect({ port, host: address, ...options });
      } catch (error) {
        client.note((error as NodeJS.ErrnoException).code);
      }
    await sleep(50);
    client.note(connections);
    server.close();
  },
  "a timeout among the options": async ({ serve, dial, gone, client }) => {
    const socket = dial(await serve((each) => each.resume()), { timeout: 100 });
    await once(socket, "timeout");
    client.note(socket.timeout);
    socket.destroy();
    await gone(socket);
  },
  "`setTimeout`": async ({ serve, dial, gone }) => {
    const socket = dial(await serve((each) => each.resume()));
    socket.setTimeout(100, () => socket.destroy());
    await gone(socket);
  },
  "half open": async ({ serve, dial, gone }) => {
    const port = await serve((each) => each.end("bye"), { allowHalfOpen: true });
    const socket = dial(port, { allowHalfOpen: true } as nodeTls.ConnectionOptions);
    socket.on("end", () => setTimeout(() => socket.end("late"), 20));
    await gone(socket);
  },
  "destroyed in the middle": async ({ serve, dial, gone }) => {
    const socket = dial(await serve((each) => setTimeout(() => each.destroy(), 50)));
    await gone(socket);
  },
  "reset in the middle": async ({ far, address, near, client }) => {
    const server = far.tls.createServer(SECURE, (each) => each.on("error", () => {}));
    const raws: nodeNet.Socket[] = [];
    server.on("connection", (raw) => raws.push(raw)).listen(0, address);
    await once(server, "listening");
    const { port } = server.address() as nodeNet.AddressInfo;
    const socket = near.tls.connect({ port, host: address, rejectUnauthorized: false });
    client.watch(socket);
    socket.once("secureConnect", () => setTimeout(() => raws[0].resetAndDestroy(), 20));
    await new Promise((resolve) => socket.once("close", resolve));
    server.close();
  },
  "written after the end": async ({ serve, dial, gone, client }) => {
    const socket = dial(await serve((each) => each.end("x")));
    await gone(socket);
    socket.write("y", (error) => client.note("written", (error as NodeJS.ErrnoException).code));
    await sleep(20);
  },
  "over a socket that connects": async ({ serve, dial, near, address, gone, client }) => {
    const raw = near.net.connect(await serve((each) => each.end("x")), address);
    const socket = dial(0, { socket: raw });
    client.note(socket.connecting);
    await gone(socket);
  },
  "over a socket that connects later": async ({ serve, dial, near, address, gone, client }) => {
    const port = await serve((each) => each.write("x"));
    const raw = new near.net.Socket();
    const socket = dial(0, { socket: raw });
    socket.once("data", () => socket.destroy());
    client.note(socket.connecting, socket instanceof near.net.Socket);
    raw.connect(port, address);
    await gone(socket);
  },
  "a request over a socket that is given": async ({ far, near, address, client }) => {
    const server = far.https.createServer(SECURE, (_request, response) => response.end("ok")).listen(0, address);
    await once(server, "listening");
    const { port } = server.address() as nodeNet.AddressInfo;
    const raw = near.net.connect(port, address);
    await once(raw, "connect");
    const options = { path: "/", socket: raw, agent: false as const, rejectUnauthorized: false };
    const [response] = (await once(near.https.get(options as never), "response")) as [AsyncIterable<Buffer>];
    let text = "";
    for await (const chunk of response) text += chunk;
    client.note(text, raw.destroyed);
    const agent = new near.https.Agent({ rejectUnauthorized: false });
    const { createConnection } = agent as unknown as { createConnection(port: number, host: string, options: object): nodeTls.TLSSocket };
    const direct = createConnection.call(agent, port, address, { rejectUnauthorized: false });
    await once(direct, "secureConnect");
    client.note(direct.encrypted, direct.remotePort === port);
    direct.destroy();
    server.close();
    await once(server, "close");
  },
  "versions that hold for all, and classes without new": async ({ serve, dial, near, gone, client }) => {
    const { tls } = near;
    const before = tls.DEFAULT_MAX_VERSION;
    (tls as { DEFAULT_MAX_VERSION: string }).DEFAULT_MAX_VERSION = "TLSv1.2";
    try {
      const socket = dial(await serve((each) => each.end("x")));
      socket.once("secureConnect", () => client.note(socket.getProtocol(), tls.DEFAULT_MAX_VERSION));
      await gone(socket);
    } finally {
      (tls as { DEFAULT_MAX_VERSION: string }).DEFAULT_MAX_VERSION = before;
    }
    const make = (of: unknown, ...args: unknown[]) => (of as (...all: unknown[]) => object)(...args);
    client.note(make(tls.Server, SECURE) instanceof tls.Server);
  },
  "over a socket that is connected": async ({ serve, dial, near, address, gone, client }) => {
    const raw = near.net.connect(await serve((each) => each.end("x")), address);
    await once(raw, "connect");
    const socket = dial(0, { socket: raw });
    client.note(socket.connecting, socket.remotePort === raw.remotePort, socket.remoteFamily);
    await gone(socket);
  },
  "TLS begins in the middle, at both ends": async ({ plain, dial, far, near, address, gone, server }) => {
    const port = await plain((each) => {
      each.once("data", () => {
        each.write("go");
        const secure = new far.tls.TLSSocket(each, { isServer: true, ...SECURE });
        server.watch(secure);
        secure.once("data", () => secure.end("ok"));
      });
    });
    const raw = near.net.connect(port, address);
    raw.write("STARTTLS");
    await once(raw, "data");
    const socket = dial(0, { socket: raw });
    socket.write("hey");
    await gone(socket);
  },
  "what a socket knows, and what can be set": async ({ serve, dial, gone, client, server, near, far }) => {
    const port = await serve((each) => server.note(typeof each.address(), each.localPort === port, each instanceof far.tls.TLSSocket));
    const socket = dial(port);
    await once(socket, "secureConnect");
    const { address, port: own, family } = socket.address() as nodeNet.AddressInfo;
    client.note(own === socket.localPort, family, address === socket.localAddress, socket.remotePort === port);
    client.note(socket instanceof near.tls.TLSSocket, socket instanceof near.tls.TLSSocket && socket.encrypted);
    for (const set of [socket.setNoDelay(), socket.setKeepAlive(true, 1000), socket.unref(), socket.ref()]) client.note(set === socket);
    socket.end();
    await gone(socket);
  },
  "an HTTPS answer of 300 kB is read late": async ({ far, near, address, client }) => {
    const server = far.https.createServer(SECURE, (_, response) => response.setHeader("connection", "close").end(Buffer.alloc(300_000)));
    server.listen(0, address);
    await once(server, "listening");
    const { port } = server.address() as nodeNet.AddressInfo;
    const asked = near.https.get({ port, host: address, rejectUnauthorized: false, agent: false, timeout: 5000 });
    asked.on("socket", (socket) => socket.on("close", (failed) => client.note("close", failed)));
    const [response] = await once(asked, "response");
    await sleep(150);
    let bytes = 0;
    for await (const chunk of response) bytes += chunk.length;
    client.note(response.complete, bytes);
    await sleep(50);
    server.close();
  },
};

describe("TLS of hosts tells what Node's tells", { timeout: 60_000 }, () => {
  let hosts: Pair;
  let ours: Place;
  const both = { tls: nodeTls, net: nodeNet, https: nodeHttps };
  const node: Place = { near: both, far: both, address: "127.0.0.1" };

  before(async () => {
    hosts = await pair();
    ours = {
      near: forHost(hosts.client) as unknown as Modules,
      far: forHost(hosts.server) as unknown as Modules,
      address: "10.0.0.2",
    };
  });
  after(async () => {
    await hosts.close();
    assert.equal(hosts.engine.pool().inFlight, 0);
  });

  for (const [name, program] of Object.entries(PROGRAMS)) {
    it(name, { timeout: 10_000 }, async () => {
      const wanted = await play(node, program);
      assert.deepEqual(await play(ours, program), wanted);
    });
  }

  // Not compared: Node's own connects all the same, and may end the process.
  it("one that is aborted before it begins does not connect", async () => {
    const stage = await play(ours, async ({ serve, dial, gone, client }) => {
      const socket = dial(await serve((each) => each.resume()), { signal: AbortSignal.abort() } as nodeTls.ConnectionOptions);
      await gone(socket);
      client.note(socket.connecting);
    });
    assert.deepEqual(stage, { client: ["error ABORT_ERR The operation was aborted", "close ", "false"], server: [] });
  });

  it("a host that closes under connections ends them with an error that their owners are told", async () => {
    const { client, server, close } = await pair();
    const [near, far] = [forHost(client), forHost(server)];
    const listener = far.tls.createServer(SECURE, (each) => each.on("error", () => {}).resume());
    listener.listen(0, "10.0.0.2");
    await once(listener, "listening");
    const { port } = listener.address() as nodeNet.AddressInfo;
    const socket = near.tls.connect({ port, host: "10.0.0.2", rejectUnauthorized: false });
    await once(socket, "secureConnect");
    const told = new Log();
    told.watch(socket);
    const gone = new Promise((resolve) => socket.once("close", resolve));
    await client.close();
    await gone;
    assert.deepEqual(told.lines, ["error ENETDOWN read ENETDOWN", "close true"]);
    await close();
  });
});
