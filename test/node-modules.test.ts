/**
 * Node's own `http`, `https`, `http2` and `tls`, and `express`, `ws` and `undici` from npm, unchanged, between two hosts of
 * ours; both roles where there are two.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import * as nodeHttp from "node:http";
import type { AddressInfo, Server as NodeServer } from "node:net";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import express from "express";
import { Agent, fetch, request } from "undici";
import { WebSocket, WebSocketServer } from "ws";
import { forHost, type HostModules, onHost, undiciConnector } from "../src/node/index.ts";
import { CERTIFICATE, KEY } from "./node/certificate.ts";
import { type Pair, pair } from "./node/places.ts";

const SECURE = { key: KEY, cert: CERTIFICATE };
const TRUST = { ca: CERTIFICATE, servername: "server.test" };
const body = (length: number) => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 24));
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("modules of Node and npm over hosts", { timeout: 60_000 }, () => {
  let hosts: Pair;
  let near: HostModules;
  let far: HostModules;

  before(async () => {
    hosts = await pair();
    near = forHost(hosts.client);
    far = forHost(hosts.server);
  });
  after(async () => {
    near.http.globalAgent.destroy();
    near.https.globalAgent.destroy();
    // Their last segments, too, are to be on their way.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await hosts.close();
    assert.equal(hosts.engine.pool().inFlight, 0);
  });

  const test = (name: string, run: () => Promise<void>) => it(name, { timeout: 10_000 }, run);
  const listening = async (server: unknown): Promise<number> => {
    (server as NodeServer).listen(0, "10.0.0.2");
    await once(server as NodeServer, "listening");
    return ((server as NodeServer).address() as AddressInfo).port;
  };
  const closing = (server: { close(done: () => void): unknown }) => new Promise<void>((resolve) => server.close(() => resolve()));
  const answerOf = (made: nodeHttp.ClientRequest) => once(made, "response").then(([response]) => response as nodeHttp.IncomingMessage);

  test("servers of Node's end once, however they are asked to", async () => {
    const servers: [string, () => NodeServer][] = [
      ["http", () => far.http.createServer() as NodeServer],
      ["https", () => far.https.createServer({ cert: CERTIFICATE, key: KEY }) as NodeServer],
      ["tls", () => far.tls.createServer({ cert: CERTIFICATE, key: KEY }) as NodeServer],
      ["http2", () => far.http2.createServer() as unknown as NodeServer],
    ];
    for (const [name, make] of servers)
      for (const end of ["close", "dispose"]) {
        const server = make();
        let ends = 0;
        server.on("close", () => ends++);
        await listening(server);
        if (end === "close") await closing(server);
        else await (server as unknown as AsyncDisposable)[Symbol.asyncDispose]();
        await new Promise((resolve) => setTimeout(resolve, 10));
        assert.deepEqual([name, end, ends, server.listening], [name, end, 1, false]);
      }
  });

  test("http: requests, bodies both ways, keep-alive over one connection", async () => {
    const server = far.http.createServer((incoming, response) => {
      const hash = createHash("sha256");
      incoming.on("data", (chunk) => hash.update(chunk));
      incoming.on("end", () =>
        response.end(
          `${incoming.method} ${incoming.url} ${incoming.socket.remoteAddress} ${incoming.socket.remotePort} ${hash.digest("hex")}`,
        ),
      );
    });
    const port = await listening(server);
    const agent = new near.http.Agent({ keepAlive: true });
    const sent = body(2_000_000);
    const ports = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const made = near.http.request({ host: "10.0.0.2", port, path: `/${i}`, method: "POST", agent });
      made.end(sent);
      const [method, path, address, from, digest] = (await text(await answerOf(made))).split(" ");
      assert.deepEqual([method, path, address, digest], ["POST", `/${i}`, "10.0.0.1", sha(sent)]);
      ports.add(from);
    }
    assert.equal(ports.size, 1);
    agent.destroy();
    await closing(server);
    assert.equal(server.listening, false);
  });

  test("http: large answers, chunked, through get and the global agent; a closed server closes idle connections", async () => {
    const sent = body(5_000_000);
    const server = far.http.createServer((_, response) => {
      for (let i = 0; i < sent.length; i += 50_000) response.write(sent.subarray(i, i + 50_000));
      response.end();
    });
    const port = await listening(server);
    const response = await answerOf(near.http.get(`http://10.0.0.2:${port}/large`));
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    assert.equal(response.headers["transfer-encoding"], "chunked");
    assert.equal(sha(Buffer.concat(chunks)), sha(sent));
    // The agent's connection idles: close must not wait for it.
    await closing(server);
    const [error] = (await once(near.http.get(`http://10.0.0.2:${port}/`, { agent: false }), "error")) as [NodeJS.ErrnoException];
    assert.equal(error.message, `connect ECONNREFUSED 10.0.0.2:${port}`);
  });

  test("http: a hundred requests at a time, upgrade, timeouts of the server", async () => {
    const server = far.http.createServer((incoming, response) => response.end(incoming.url));
    server.on("upgrade", (_, socket, head) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
      socket.write(head);
      socket.pipe(socket);
    });
    const port = await listening(server);
    const agent = new near.http.Agent({ keepAlive: true, maxSockets: 10 });
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => text(await answerOf(near.http.get({ host: "10.0.0.2", port, path: `/${i}`, agent })))),
    );
    assert.deepEqual(
      answers,
      Array.from({ length: 100 }, (_, i) => `/${i}`),
    );
    agent.destroy();
    const made = near.http.get({ host: "10.0.0.2", port, headers: { connection: "Upgrade", upgrade: "echo" } });
    const [, socket] = await once(made, "upgrade");
    socket.write("over it");
    const [data] = await once(socket, "data");
    assert.equal(String(data), "over it");
    socket.destroy();
    server.setTimeout(50);
    const silent = near.net.connect(port, "10.0.0.2");
    await once(silent.resume(), "close");
    await closing(server);
  });

  test("https: a certificate is checked, sessions are reused, addresses are known", async () => {
    const server = far.https.createServer(SECURE, (incoming, response) => {
      const { remoteAddress, localPort } = incoming.socket;
      response.end(`${remoteAddress} ${localPort}`);
    });
    const port = await listening(server);
    const agent = new near.https.Agent({ ...TRUST, keepAlive: false });
    const reused: boolean[] = [];
    for (let i = 0; i < 2; i++) {
      const made = near.https.get({ host: "10.0.0.2", port, agent });
      const response = await answerOf(made);
      reused.push((response.socket as unknown as { isSessionReused(): boolean }).isSessionReused());
      assert.equal(await text(response), `10.0.0.1 ${port}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(reused, [false, true]);
    const [error] = (await once(near.https.get({ host: "10.0.0.2", port }), "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "DEPTH_ZERO_SELF_SIGNED_CERT");
    await closing(server);
  });

  test("tls: both roles, either side over a plain socket, half-close, a megabyte both ways", async () => {
    const server = far.tls.createServer(SECURE, (socket) => socket.pipe(socket));
    const port = await listening(server);
    const sent = body(1_000_000);
    for (const how of ["connect", "socket"] as const) {
      const raw = how === "socket" ? near.net.connect(port, "10.0.0.2") : undefined;
      const socket = near.tls.connect({ ...TRUST, host: "10.0.0.2", port, ...(raw && { socket: raw as never }) });
      await once(socket, "secureConnect");
      assert.equal(socket.authorized, true);
      assert.deepEqual([socket.remoteAddress, socket.remotePort], ["10.0.0.2", port]);
      socket.end(sent);
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk);
      assert.equal(sha(Buffer.concat(chunks)), sha(sent));
    }
    await closing(server);
    const plain = far.net.createServer();
    const plainPort = await listening(plain);
    const socket = near.tls.connect({ ...TRUST, host: "10.0.0.2", port: plainPort });
    const [raw] = await once(plain, "connection");
    raw.end("this is no TLS");
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    assert.match(String(error.code), /^ERR_SSL_/);
    plain.close();
  });

  for (const secure of [false, true]) {
    test(`http2, ${secure ? "over TLS" : "in the clear"}: streams at a time, the compatibility API, where the peer is`, async () => {
      const listener = (
        incoming: { stream?: unknown; url: string; socket: { remoteAddress?: string } },
        response: nodeHttp.ServerResponse,
      ) => {
        response.setHeader("x-peer", String(incoming.socket.remoteAddress));
        response.end(`you asked for ${incoming.url}`);
      };
      const server = secure ? far.http2.createSecureServer(SECURE, listener as never) : far.http2.createServer(listener as never);
      const port = await listening(server);
      const session = near.http2.connect(`http${secure ? "s" : ""}://10.0.0.2:${port}`, secure ? TRUST : {});
      const answers = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const stream = session.request({ ":path": `/${i}` });
          const [headers] = await once(stream, "response");
          assert.equal(headers["x-peer"], "10.0.0.1");
          return text(stream);
        }),
      );
      assert.deepEqual(
        answers,
        Array.from({ length: 20 }, (_, i) => `you asked for /${i}`),
      );
      session.close();
      await closing(server);
    });
  }

  test("express: an application behind onHost and a server of node:http", async () => {
    const app = express();
    app.use(express.json());
    app.post("/sum", (incoming, response) => {
      response.json({ sum: incoming.body.numbers.reduce((a: number, b: number) => a + b, 0), from: incoming.ip });
    });
    const server = onHost(hosts.server, nodeHttp.createServer(app));
    const port = await listening(server);
    const made = near.http.request({
      host: "10.0.0.2",
      port,
      path: "/sum",
      method: "POST",
      headers: { "content-type": "application/json" },
    });
    made.end(JSON.stringify({ numbers: [1, 2, 3, 4] }));
    assert.deepEqual(JSON.parse(await text(await answerOf(made))), { sum: 10, from: "10.0.0.1" });
    await closing(server);
  });

  for (const secure of [false, true]) {
    test(`ws: a server and its clients, ${secure ? "wss" : "ws"}`, async () => {
      const server = secure ? far.https.createServer(SECURE) : far.http.createServer();
      const sockets = new WebSocketServer({ server });
      sockets.on("connection", (socket, incoming) => {
        socket.on("message", (data, isBinary) => socket.send(isBinary ? data : `${incoming.url} ${data}`, { binary: isBinary }));
      });
      const port = await listening(server);
      const agent = secure ? new near.https.Agent(TRUST) : near.http.globalAgent;
      const client = new WebSocket(`${secure ? "wss" : "ws"}://10.0.0.2:${port}/chat`, { agent, perMessageDeflate: true });
      await once(client, "open");
      client.send("hello");
      assert.equal(String((await once(client, "message"))[0]), "/chat hello");
      const sent = body(3_000_000);
      client.send(sent);
      assert.equal(sha((await once(client, "message"))[0]), sha(sent));
      client.ping();
      await once(client, "pong");
      client.close(4000, "done");
      const [code, reason] = await once(client, "close");
      assert.deepEqual([code, String(reason)], [4000, "done"]);
      if (!secure) {
        const other = new WebSocket(`ws://10.0.0.2:${port}/`, { createConnection: near.net.connect as never });
        await once(other, "open");
        other.terminate();
      }
      sockets.close();
      await closing(server);
    });
  }

  test("undici: request and fetch through a connector, plain, TLS and HTTP/2", async () => {
    const plain = far.http.createServer((incoming, response) => incoming.pipe(response));
    const secure = far.https.createServer(SECURE, (_, response) => response.end("secured"));
    const two = far.http2.createSecureServer(SECURE, (incoming, response) => response.end(`version ${incoming.httpVersion}`));
    const [port, securePort, twoPort] = [await listening(plain), await listening(secure), await listening(two)];
    const dispatcher = new Agent({ connect: undiciConnector(hosts.client, { ca: CERTIFICATE, allowH2: true, servername: "server.test" }) });
    const sent = body(500_000);
    const posted = await request(`http://10.0.0.2:${port}/`, { method: "POST", body: sent, dispatcher });
    assert.equal(sha(new Uint8Array(await posted.body.arrayBuffer())), sha(sent));
    const fetched = await fetch(`https://10.0.0.2:${securePort}/`, { dispatcher });
    assert.equal(await fetched.text(), "secured");
    assert.equal(await (await fetch(`https://10.0.0.2:${twoPort}/`, { dispatcher })).text(), "version 2.0");
    await assert.rejects(request("http://10.0.0.2:9/", { dispatcher }), { code: "ECONNREFUSED" });
    await dispatcher.close();
    await Promise.all([closing(plain), closing(secure), closing(two)]);
  });
});
