/** Unix domain sockets by Node's modules: one suite over Node's own `net` and `http`, which is the oracle, and over a host's. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Host } from "../src/index.ts";
import { forHost } from "../src/node/index.ts";

interface Place {
  readonly net: typeof net;
  readonly http: typeof http;
  readonly folder: string;
  close(): Promise<void>;
}

const places: Record<string, () => Promise<Place>> = {
  "node:net": async () => {
    const folder = mkdtempSync(join(tmpdir(), "pipes-"));
    return { net, http, folder, close: async () => rmSync(folder, { recursive: true }) };
  },
  packetloom: async () => {
    const host = await Host.create();
    const modules = forHost(host) as unknown as Pick<Place, "net" | "http">;
    return { net: modules.net, http: modules.http, folder: "/run", close: () => host.close() };
  },
};

const told = (emitter: net.Server | net.Socket, event: string) => once(emitter, event);
const whole = async (socket: net.Socket) => {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
};

for (const [name, make] of Object.entries(places)) {
  describe(`pipes of ${name}`, { timeout: 30_000 }, () => {
    let place: Place;
    let count = 0;
    const path = () => join(place.folder, `s${count++}`);

    before(async () => {
      place = await make();
    });
    after(() => place.close());

    const serve = async (where: string, listener: (socket: net.Socket) => void, options: net.ServerOpts = {}) => {
      const server = place.net.createServer(options, listener).listen({ path: where });
      await told(server, "listening");
      return server;
    };
    const ended = (server: net.Server) => new Promise((resolve) => server.close(resolve));

    it("exchange data both ways, with half an end and names as Node has them", async () => {
      const where = path();
      const sent = Buffer.alloc(1_000_000, "0123456789abcdef");
      const server = await serve(where, (socket) => socket.pipe(socket), { allowHalfOpen: true });
      assert.equal(server.address(), where);
      const socket = place.net.connect({ path: where });
      assert.deepEqual([socket.connecting, socket.pending], [true, true]);
      await told(socket, "connect");
      const { remoteAddress, remotePort, remoteFamily, localAddress, localPort } = socket;
      assert.deepEqual([remoteAddress, remotePort, remoteFamily, localAddress, localPort], Array(5).fill(undefined));
      assert.deepEqual(socket.address(), {});
      socket.end(sent);
      assert.deepEqual(await whole(socket), sent);
      assert.deepEqual([socket.bytesRead, socket.bytesWritten], [sent.length, sent.length]);
      await ended(server);
    });

    it("is found by its string alone, and with a call-back", async () => {
      const where = path();
      const server = place.net.createServer((socket) => socket.end("hello"));
      await new Promise<void>((resolve) => server.listen(where, resolve));
      const socket = await new Promise<net.Socket>((resolve) => {
        const made: net.Socket = place.net.createConnection(where, () => resolve(made));
      });
      assert.equal(String(await whole(socket)), "hello");
      await ended(server);
    });

    const failure = async (socket: net.Socket) => {
      const [error] = await told(socket, "error");
      return [error.code, error.syscall, error.address, error.port, error.message];
    };

    it("says ENOENT for what is not there, and again when a server has gone", async () => {
      const where = path();
      assert.deepEqual(await failure(place.net.connect(where)), ["ENOENT", "connect", where, undefined, `connect ENOENT ${where}`]);
      await ended(await serve(where, () => {}));
      assert.deepEqual(await failure(place.net.connect(where)), ["ENOENT", "connect", where, undefined, `connect ENOENT ${where}`]);
    });

    it("says EADDRINUSE, and takes the name when it is free", async () => {
      const where = path();
      const first = await serve(where, () => {});
      const second = place.net.createServer();
      const [error] = await told(second.listen(where), "error");
      assert.deepEqual(
        [error.code, error.syscall, error.address, error.port, error.message],
        ["EADDRINUSE", "listen", where, -1, `listen EADDRINUSE: address already in use ${where}`],
      );
      assert.equal(second.listening, false);
      await ended(first);
      await told(second.listen(where), "listening");
      await ended(second);
    });

    it("tells a writer whose peer has gone", async () => {
      const where = path();
      const server = await serve(where, (socket) => socket.destroy());
      const socket = place.net.connect({ path: where, allowHalfOpen: true });
      socket.resume();
      socket.on("connect", () => {
        const timer = setInterval(() => socket.write("x"), 1);
        socket.on("close", () => clearInterval(timer));
      });
      const [error] = await told(socket, "error");
      assert.match(error.code, /EPIPE|ECONNRESET/);
      await ended(server);
    });

    it("waits with writes until somebody reads", async () => {
      const where = path();
      let peer: net.Socket | undefined;
      const server = await serve(
        where,
        (socket) => {
          peer = socket;
        },
        { pauseOnConnect: true },
      );
      const socket = place.net.connect(where);
      const big = Buffer.alloc(3_000_000, 7);
      let isWritten = false;
      socket.resume();
      socket.end(big, () => {
        isWritten = true;
      });
      await told(socket, "connect");
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(isWritten, false);
      assert.deepEqual(await whole(peer as unknown as net.Socket), big);
      await ended(server);
    });

    it("throws for what is no path", () => {
      assert.throws(() => place.net.connect({ path: 7 } as never), { code: "ERR_INVALID_ARG_TYPE" });
      assert.throws(() => place.net.createServer().listen({} as never), { code: "ERR_INVALID_ARG_VALUE" });
    });

    it("carries HTTP", async () => {
      const where = path();
      const server = place.http.createServer((request, response) => {
        response.setHeader("x-path", request.url as string);
        request.pipe(response);
      });
      await told(server.listen(where), "listening");
      const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
        const request = place.http.request({ socketPath: where, path: "/a?b", method: "POST" }, resolve);
        request.on("error", reject);
        request.end("body");
      });
      let text = "";
      for await (const chunk of answer) text += chunk;
      assert.deepEqual([answer.statusCode, answer.headers["x-path"], text], [200, "/a?b", "body"]);
      const [error] = await once(place.http.get({ socketPath: `${where}x`, path: "/" }), "error");
      assert.equal(error.code, "ENOENT");
      const closed = ended(server);
      server.closeAllConnections();
      await closed;
    });
  });
}
