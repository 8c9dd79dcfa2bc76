/** Deno's TLS, `serve` and Unix domain sockets over a host; the other side is Node's own TLS and HTTP over `packetloom/node`. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type * as http from "node:http";
import { after, before, describe, it } from "node:test";
import { forHost, type ServeInfo } from "../src/deno/index.ts";
import { forHost as nodeForHost } from "../src/node/index.ts";
import { CERTIFICATE, KEY } from "./node/certificate.ts";
import { type Pair, pair } from "./node/places.ts";

const text = (value: string) => new TextEncoder().encode(value);
const words = (value: Uint8Array) => new TextDecoder().decode(value);

async function readOne(body: ReadableStream<Uint8Array>, cancels: boolean): Promise<void> {
  const reader = body.getReader();
  await reader.read();
  if (cancels) await reader.cancel();
}

describe("Deno's TLS, serve and Unix domain sockets", { timeout: 60_000 }, () => {
  let hosts: Pair;
  before(async () => {
    hosts = await pair();
  });
  after(() => hosts.close());

  const whole = async (conn: { read(into: Uint8Array): Promise<number | null> }) => {
    const chunks: Uint8Array[] = [];
    const into = new Uint8Array(30_000);
    for (let n = await conn.read(into); n !== null; n = await conn.read(into)) chunks.push(into.slice(0, n));
    return new Uint8Array(Buffer.concat(chunks));
  };

  it("TLS: handshake with ALPN, a megabyte and back, close_notify", async () => {
    const { listenTls } = forHost(hosts.server);
    const listener = listenTls({ port: 443, hostname: "10.0.0.2", cert: CERTIFICATE, key: KEY, alpnProtocols: ["b", "a"] });
    const echoing = (async () => {
      const conn = await listener.accept();
      assert.deepEqual(await conn.handshake(), { alpnProtocol: "b" });
      const got = await whole(conn);
      await conn.write(got);
      await conn.closeWrite();
      conn.close();
      return got.length;
    })();
    const conn = await forHost(hosts.client).connectTls({
      hostname: "10.0.0.2",
      port: 443,
      caCerts: [CERTIFICATE],
      alpnProtocols: ["a", "b"],
    });
    assert.deepEqual([conn.remoteAddr.hostname, conn.remoteAddr.port], ["10.0.0.2", 443]);
    assert.deepEqual(await conn.handshake(), { alpnProtocol: "b" });
    const sent = new Uint8Array(1_000_000).map((_, i) => i * 7);
    const reading = whole(conn);
    await conn.write(sent);
    await conn.closeWrite();
    assert.deepEqual(await reading, sent);
    assert.equal(await echoing, sent.length);
    conn.close();
    await assert.rejects(conn.read(new Uint8Array(1)), { name: "BadResource" });
    listener.close();
    await assert.rejects(listener.accept(), { name: "BadResource" });
  });

  it("TLS: Node's client is served, a wrong name and an unknown signer are refused", async () => {
    const listener = forHost(hosts.server).listenTls({ port: 444, hostname: "10.0.0.2", cert: CERTIFICATE, key: KEY });
    void (async () => {
      for await (const conn of listener) conn.readable.pipeTo(conn.writable).catch(() => {});
    })();
    const { tls } = nodeForHost(hosts.client);
    const socket = tls.connect({ host: "10.0.0.2", port: 444, ca: CERTIFICATE });
    socket.write("hello");
    assert.equal(String((await once(socket, "data"))[0]), "hello");
    socket.end();
    const { connectTls } = forHost(hosts.client);
    await assert.rejects(connectTls({ hostname: "10.0.0.2", port: 444 }), { name: "InvalidData" });
    const { connect, startTls } = forHost(hosts.client);
    const plain = await connect({ hostname: "10.0.0.2", port: 444 });
    const wrong = await startTls(plain, { hostname: "other.test", caCerts: [CERTIFICATE] });
    await assert.rejects(wrong.handshake(), { name: "InvalidData" });
    const right = await startTls(await connect({ hostname: "10.0.0.2", port: 444 }), { hostname: "server.test", caCerts: [CERTIFICATE] });
    const writer = right.writable.getWriter();
    await writer.write(text("again"));
    const reader = right.readable.getReader();
    assert.equal(words((await reader.read()).value as Uint8Array), "again");
    right.close();
    listener.close();
  });

  const ask = async (options: http.RequestOptions, body?: string) => {
    const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const request = nodeForHost(hosts.client).http.request({ host: "10.0.0.2", ...options }, resolve);
      request.on("error", reject);
      request.end(body);
    });
    let got = "";
    for await (const chunk of answer) got += chunk;
    return { status: answer.statusCode, headers: answer.headers, body: got };
  };

  it("serve: requests and responses as fetch has them", async () => {
    const addresses: unknown[] = [];
    const infos: ServeInfo[] = [];
    const server = forHost(hosts.server).serve(
      {
        port: 8000,
        hostname: "10.0.0.2",
        onListen: (addr) => addresses.push(addr),
        onError: (error) => new Response(String(error), { status: 503 }),
      },
      async (request, info) => {
        infos.push(info);
        const { pathname, searchParams } = new URL(request.url);
        if (pathname === "/throw") throw new Error("no");
        if (pathname === "/stream") {
          const parts = ["one ", "two ", "three"];
          return new Response(
            new ReadableStream({
              pull: (controller) => {
                const part = parts.shift();
                if (part === undefined) controller.close();
                else controller.enqueue(text(part));
              },
            }),
          );
        }
        if (pathname === "/none") return new Response(null, { status: 204 });
        const headers = new Headers({ "x-method": request.method, "x-query": searchParams.get("q") ?? "" });
        headers.append("set-cookie", "a=1");
        headers.append("set-cookie", "b=2");
        return new Response(`${request.headers.get("x-in")} ${await request.text()}`, { status: 201, headers });
      },
    );
    assert.deepEqual(addresses, [{ transport: "tcp", hostname: "10.0.0.2", port: 8000 }]);
    assert.deepEqual(server.addr, addresses[0]);
    const first = await ask({ port: 8000, method: "POST", path: "/a?q=5", headers: { "x-in": "in" } }, "body");
    assert.deepEqual([first.status, first.headers["x-method"], first.headers["x-query"], first.body], [201, "POST", "5", "in body"]);
    assert.deepEqual(first.headers["set-cookie"], ["a=1", "b=2"]);
    assert.equal((await ask({ port: 8000, path: "/stream" })).body, "one two three");
    assert.deepEqual(
      [(await ask({ port: 8000, path: "/throw" })).status, (await ask({ port: 8000, path: "/throw" })).body],
      [503, "Error: no"],
    );
    assert.deepEqual([(await ask({ port: 8000, path: "/none" })).status], [204]);
    const head = await ask({ port: 8000, path: "/x", method: "HEAD" });
    assert.deepEqual([head.status, head.headers["x-method"], head.body], [201, "HEAD", ""]);
    const { remoteAddr, completed } = infos[0];
    assert.deepEqual([remoteAddr.transport, (remoteAddr as { hostname: string }).hostname], ["tcp", "10.0.0.1"]);
    await completed;
    await server.shutdown();
    await server.finished;
    await assert.rejects(ask({ port: 8000, agent: false as never }), { code: "ECONNREFUSED" });
  });

  it("serve: shutdown lets a request finish, a signal does not", async () => {
    const { serve } = forHost(hosts.server);
    const none = (_: Response) => {};
    let answer = none;
    const slow = () =>
      new Promise<Response>((resolve) => {
        answer = resolve;
      });
    const server = serve({ port: 8001, hostname: "10.0.0.2" }, slow);
    const asking = ask({ port: 8001 });
    while (answer === none) await new Promise((resolve) => setTimeout(resolve, 2));
    let isOver = false;
    const stopping = server.shutdown().then(() => {
      isOver = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(isOver, false);
    answer(new Response("late"));
    const { body, headers } = await asking;
    assert.deepEqual([body, headers.connection], ["late", "close"]);
    await stopping;
    const stop = new AbortController();
    let isGone = false;
    const other = serve({ port: 8002, hostname: "10.0.0.2", signal: stop.signal }, (request) => {
      request.signal.addEventListener("abort", () => {
        isGone = true;
      });
      stop.abort();
      return new Promise(() => {});
    });
    await assert.rejects(ask({ port: 8002 }), { code: /ECONNRESET|ECONNABORTED/ });
    await other.finished;
    assert.equal(isGone, true);
  });

  for (const [what, handler, status] of [
    ["cancels it", async (body: ReadableStream<Uint8Array>) => await readOne(body, true), 200],
    [
      "leaves its loop",
      async (body: ReadableStream<Uint8Array>) => {
        for await (const _ of body) break;
      },
      200,
    ],
    [
      "throws",
      async (body: ReadableStream<Uint8Array>) => {
        await readOne(body, false);
        throw new Error("not this one");
      },
      500,
    ],
  ] as const)
    it(`serve: a handler that reads a part of the body and ${what} leaves the connection to the next request`, async () => {
      const server = forHost(hosts.server).serve({ hostname: "10.0.0.2", port: 8100 }, async (request) => {
        await handler(request.body as ReadableStream<Uint8Array>);
        return new Response("ok");
      });
      const client = nodeForHost(hosts.client).http;
      const agent = new client.Agent({ keepAlive: true, maxSockets: 1 });
      const post = async () => {
        const request = client.request({ host: "10.0.0.2", port: 8100, method: "POST", agent });
        request.end(Buffer.alloc(2_000_000));
        const [response] = (await once(request, "response")) as [http.IncomingMessage];
        response.resume();
        await once(response, "end");
        return response.statusCode;
      };
      assert.deepEqual([await post(), await post()], [status, status]);
      await server.shutdown();
      agent.destroy();
    });

  it("serve: shutdown ends connections that ask for nothing, whatever they have said", async () => {
    for (const said of ["", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHo"]) {
      const server = forHost(hosts.server).serve({ hostname: "10.0.0.2", port: 8101 }, () => new Response("ok"));
      const conn = await hosts.client.connect({ hostname: "10.0.0.2", port: 8101 });
      if (said !== "") await conn.write(text(said));
      if (said.endsWith("\r\n\r\n")) await conn.read(new Uint8Array(1000));
      await server.shutdown();
      await conn.close();
    }
  });

  it("serve: what cannot be sent is the handler's mistake; who makes a body hears that nobody is there any more", async () => {
    const used = new Response("used");
    await used.text();
    const answers: unknown[] = [undefined, Response.error(), used];
    const told: unknown[] = [];
    let gone: (reason: unknown) => void = () => {};
    const cancelled = new Promise((resolve) => {
      gone = resolve;
    });
    const server = forHost(hosts.server).serve({
      hostname: "10.0.0.2",
      port: 8102,
      onError: (error) => {
        told.push((error as Error).name);
        return new Response("mistake", { status: 500 });
      },
      handler: () =>
        answers.length > 0
          ? (answers.shift() as Response)
          : new Response(new ReadableStream({ pull: () => new Promise(() => {}), cancel: gone })),
    });
    const client = nodeForHost(hosts.client).http;
    const get = async () => {
      const [response] = (await once(client.get({ host: "10.0.0.2", port: 8102 }), "response")) as [http.IncomingMessage];
      return response;
    };
    for (let i = 0; i < 3; i++) {
      const response = await get();
      assert.equal(response.resume().statusCode, 500);
    }
    assert.deepEqual(told, ["TypeError", "TypeError", "TypeError"]);
    const conn = await hosts.client.connect({ hostname: "10.0.0.2", port: 8102 });
    await conn.write(text("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    conn.abort();
    await cancelled;
    await server.shutdown();
  });

  it("serve: what is all there goes with its length, a stream in chunks, its head before its first part; failures of bodies are told", async () => {
    const part = (value: string) => text(value);
    const told: unknown[] = [];
    let release = () => {};
    const bodies: Record<string, () => BodyInit | null> = {
      text: () => "hello",
      bytes: () => new Uint8Array(5),
      nothing: () => null,
      form: () => new URLSearchParams({ a: "b" }),
      stream: () =>
        new ReadableStream({
          async pull(controller) {
            await new Promise<void>((resolve) => {
              release = resolve;
            });
            controller.enqueue(part("abc"));
            controller.close();
          },
        }),
      failing: () => {
        let parts = 0;
        return new ReadableStream({
          pull(controller) {
            if (parts++ > 0) throw new Error("no more");
            controller.enqueue(part("abc"));
          },
        });
      },
    };
    const server = forHost(hosts.server).serve({
      hostname: "10.0.0.2",
      port: 8103,
      handler: (request) => new Response(bodies[new URL(request.url).pathname.slice(1)]()),
      onError: (error) => {
        told.push((error as Error).message);
        return new Response(null, { status: 500 });
      },
    });
    const client = nodeForHost(hosts.client).http;
    const head = async (path: string, method = "GET") => {
      const [response] = await once(
        client.request({ host: "10.0.0.2", port: 8103, path, method, agent: false as never }).end(),
        "response",
      );
      return response as http.IncomingMessage;
    };
    for (const [path, length] of [
      ["/text", "5"],
      ["/bytes", "5"],
      ["/nothing", "0"],
      ["/form", "3"],
    ]) {
      for (const method of ["GET", "HEAD"]) {
        const { headers } = (await head(path, method)).resume();
        assert.deepEqual([headers["content-length"], headers["transfer-encoding"]], [length, undefined], `${method} ${path}`);
      }
    }
    const response = await head("/stream");
    assert.deepEqual([response.headers["content-length"], response.headers["transfer-encoding"]], [undefined, "chunked"]);
    release();
    assert.equal(String(Buffer.concat(await response.toArray())), "abc");
    assert.equal((await head("/stream", "HEAD")).resume().headers["content-length"], undefined);
    const cut = await head("/failing");
    let got = "";
    cut.on("data", (bytes) => {
      got += bytes;
    });
    const [error] = await once(cut, "error");
    assert.deepEqual([got, error.code, told], ["abc", "ECONNRESET", ["no more"]]);
    await server.shutdown();
    const asked: unknown[] = [];
    const other = forHost(hosts.server).serve({
      hostname: "10.0.0.2",
      port: 8104,
      handler: () => {
        throw new Error("handler");
      },
      onError: (fault) => {
        asked.push((fault as Error).message);
        throw new Error("onError");
      },
    });
    await assert.rejects(ask({ port: 8104 }), { code: /ECONNRESET|ECONNABORTED/ });
    assert.deepEqual(asked, ["handler"]);
    await other.shutdown();
  });

  it("serve: over TLS and over a Unix domain socket", async () => {
    const { serve } = forHost(hosts.server);
    const secure = serve({ port: 8443, hostname: "10.0.0.2", cert: CERTIFICATE, key: KEY }, (request) => new Response(request.url));
    const { https } = nodeForHost(hosts.client);
    const request = https.get({ host: "10.0.0.2", port: 8443, path: "/s", ca: CERTIFICATE, agent: false });
    const gone = new Promise((resolve) => request.once("socket", (socket) => socket.once("close", resolve)));
    const [answer] = await once(request, "response");
    assert.equal(String((await once(answer, "data"))[0]), "https://10.0.0.2:8443/s");
    await secure.shutdown();
    await gone;
    const local = serve({ path: "/run/web", handler: (_, { remoteAddr }) => new Response(remoteAddr.transport) });
    const [over] = await once(nodeForHost(hosts.server).http.get({ socketPath: "/run/web", path: "/" }), "response");
    assert.equal(String((await once(over, "data"))[0]), "unix");
    await local.shutdown();
    assert.throws(() => serve({} as never), TypeError);
  });

  it("Unix: connects, exchanges, ends, and says what is wrong", async () => {
    const { connect, listen, errors } = forHost(hosts.server);
    const listener = listen({ transport: "unix", path: "/run/u" });
    assert.deepEqual(listener.addr, { transport: "unix", path: "/run/u" });
    assert.throws(() => listen({ transport: "unix", path: "/run/u" }), errors.AddrInUse);
    await assert.rejects(connect({ transport: "unix", path: "/run/none" }), errors.NotFound);
    const [conn, other] = await Promise.all([connect({ transport: "unix", path: "/run/u" }), listener.accept()]);
    assert.deepEqual([conn.remoteAddr.path, other.localAddr.path], ["/run/u", "/run/u"]);
    await conn.write(text("hello"));
    await conn.closeWrite();
    assert.equal(words(await whole(other)), "hello");
    other.close();
    assert.equal(await conn.read(new Uint8Array(1)), null);
    conn.close();
    await assert.rejects(conn.write(text("x")), errors.BadResource);
    listener.close();
    await assert.rejects(connect({ transport: "unix", path: "/run/u" }), errors.NotFound);
  });
});
