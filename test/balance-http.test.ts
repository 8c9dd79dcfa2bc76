/** The answers that health checks read: however they are cut, whatever is in them; and real servers' ones. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect as connectSocket, createServer as createTcpServer, type Server } from "node:net";
import { Duplex } from "node:stream";
import { describe, it } from "node:test";
import fc from "fast-check";
import { httpGet, MOST_BODY } from "../src/balance/http-check.ts";
import { Balancer, type Connect, type HealthOptions, probe } from "../src/balance/index.ts";
import { Random, realClock } from "../src/base/index.ts";
import { Lab } from "../src/lab/index.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** A stream that gives these bytes in pieces, and then ends or goes on in silence. */
function stream(bytes: Uint8Array, cuts: readonly number[], ends = true) {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces = [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length)).filter((piece) => piece.length > 0);
  const sent: Uint8Array[] = [];
  return {
    sent,
    readable: new ReadableStream<Uint8Array>({
      pull(controller) {
        const piece = pieces.shift();
        if (piece) controller.enqueue(piece);
        else if (ends) controller.close();
      },
    }),
    writable: new WritableStream<Uint8Array>({ write: (chunk) => void sent.push(chunk) }),
  };
}

const get = (text: string, cuts: readonly number[] = [], ends = true) =>
  httpGet(stream(encode(text), cuts, ends), { host: "h", path: "/", wantsBody: true }, new AbortController().signal);

const chunked = (parts: readonly string[]) =>
  `${parts.map((part) => `${encode(part).length.toString(16)};x=1\r\n${part}\r\n`).join("")}0\r\nTrailer: 1\r\n\r\n`;

describe("HTTP answers", () => {
  it("ask as HTTP/1.1 says", async () => {
    const pipe = stream(encode("HTTP/1.1 200 OK\r\n\r\n"), []);
    await httpGet(pipe, { host: "example.net", path: "/a?b", wantsBody: false }, new AbortController().signal);
    const text = new TextDecoder().decode(pipe.sent[0]);
    assert.match(text, /^GET \/a\?b HTTP\/1\.1\r\nHost: example\.net\r\n(?:[A-Za-z-]+: [^\r\n]+\r\n)*Connection: close\r\n\r\n$/);
  });

  it("are read however they are cut: by length, by chunks, to the end, after interim answers", async () => {
    const cuts = fc.array(fc.nat(5000), { maxLength: 12 });
    const texts = fc.array(fc.string({ minLength: 1, maxLength: 60 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(texts, cuts, fc.constantFrom("length", "chunks", "end"), fc.boolean(), async (parts, cuts, how, interim) => {
        const body = parts.join("");
        const before = interim ? "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" : "";
        const field = { length: `Content-Length: ${encode(body).length}\r\n`, chunks: "Transfer-Encoding: chunked\r\n", end: "" }[how];
        const text = `${before}HTTP/1.1 200 OK\r\nX: y\r\n${field}\r\n${how === "chunks" ? chunked(parts) : body}`;
        // What says where it ends is not waited for beyond that.
        assert.deepEqual(await get(text, cuts, how === "end"), { status: 200, body: new TextDecoder().decode(encode(body)) });
      }),
      { numRuns: 200 },
    );
  });

  it("never take more than their bounds, and every broken one is an error or an answer", async () => {
    const big = "x".repeat(200_000);
    assert.equal((await get(`HTTP/1.1 200 OK\r\n\r\n${big}`)).body.length, MOST_BODY);
    assert.equal((await get(`HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n${big}`)).body.length, MOST_BODY);
    assert.equal((await get(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked([big])}`)).body.length, MOST_BODY);
    await assert.rejects(get(`HTTP/1.1 200 OK\r\nX: ${big}`), /its head is too long/);
    await assert.rejects(get(`HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(9000)}`), /its head is too long/);
    await assert.rejects(get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), /closed in its body/);
    await assert.rejects(get("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc"), /its length is "-5"/);
    await assert.rejects(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"), /its transfer coding is "gzip"/);
    await assert.rejects(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), /a chunk has no size/);
    await assert.rejects(get("HTTP/1.1 200 OK\r\nno name\r\n\r\n"), /a header line without a name/);
    await assert.rejects(get("ICY 200 OK\r\n\r\n"), /it begins with "ICY 200 OK"/);
    await assert.rejects(get(""), /the connection was closed/);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (noise, asBody) => {
        const head = encode(asBody ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" : "HTTP/1.1 ");
        const bytes = new Uint8Array([...head, ...noise]);
        await httpGet(stream(bytes, [3, 50]), { host: "h", path: "/", wantsBody: true }, new AbortController().signal).catch((error) =>
          assert.match(error.message, /^no HTTP answer: /),
        );
      }),
      { numRuns: 200 },
    );
  });
});

const listening = (server: Server) =>
  new Promise<number>((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)));

/** Sockets of Node as checks want them. */
const nodeConnect: Connect = ({ hostname, port, signal }) =>
  new Promise((resolve, reject) => {
    const socket = connectSocket({ host: hostname, port, signal });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.on("error", () => {});
      const { readable, writable } = Duplex.toWeb(socket);
      resolve({
        readable: readable as ReadableStream<Uint8Array>,
        writable: writable as WritableStream<Uint8Array>,
        abort: () => socket.destroy(),
      });
    });
  });

describe("checks of real servers", () => {
  it("over sockets of Node: an HTTP server, one that refuses, one that says nothing", async () => {
    const web = createServer((request, response) => {
      response.statusCode = request.url === "/health" ? 200 : 404;
      response.write("part one, ");
      response.end("all well");
    });
    const mute = createTcpServer((socket) => void socket.resume());
    const [port, mutePort] = [await listening(web), await listening(mute)];
    const ask = (options: HealthOptions, to = port, signal = new AbortController().signal) =>
      probe(options, { hostname: "127.0.0.1", port: to, signal }, nodeConnect);
    assert.equal(await ask({ kind: "tcp" }), undefined);
    assert.equal(await ask({ kind: "http", path: "/health", body: "one, all well" }), undefined);
    assert.equal(await ask({ kind: "http", path: "/" }), "HTTP 404; expected 200 to 399");
    assert.equal(await ask({ kind: "http", path: "/", status: 404 }), undefined);
    const control = new AbortController();
    const asked = ask({ kind: "http", path: "/" }, mutePort, control.signal);
    await realClock.sleep(50);
    control.abort(new Error("too long"));
    assert.equal(await asked, "too long");
    web.closeAllConnections();
    await Promise.all([web, mute].map((server) => new Promise((resolve) => server.close(resolve))));
    assert.match((await ask({ kind: "tcp" })) ?? "", /ECONNREFUSED/);
  });

  it("over hosts of a lab, in its time: a backend that is cut off goes down, and comes back", async () => {
    const lab = await Lab.create();
    const near = await lab.host({ interfaces: [{ addresses: ["10.0.0.254/24"] }] });
    const far = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const link = lab.link(near, far, { delay: 1 });
    const listener = far.listen({ port: 80 });
    (async () => {
      for await (const socket of listener) {
        // Closing with a request unread would be a reset.
        await socket.readable.getReader().read();
        await socket.write(encode("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"));
        await socket.close();
      }
    })();
    const balancer = new Balancer({ clock: lab.clock, random: new Random(7), connect: (target) => near.connect(target) });
    const health = { kind: "http", path: "/health", body: "well" } as const;
    const service = balancer.add({ address: "192.0.2.1", port: 80, health, backends: [{ address: "10.0.0.1" }] });
    const changes: string[] = [];
    service.listen(({ from, to }) => changes.push(`${from} → ${to}`));
    const run = async (ms: number) => {
      for (let i = 0; i < ms; i += 100) await lab.run(100);
    };
    await run(16_000);
    assert.deepEqual(changes, []);
    assert.equal(service.backend("10.0.0.1:80").health?.isGood, true);
    link.set({ delay: 1, cut: true });
    await run(20_000);
    assert.deepEqual(changes, ["up → down"]);
    assert.equal(service.backend("10.0.0.1:80").health?.why, "no answer within 3000 ms");
    link.set({ delay: 1, cut: false });
    await run(20_000);
    assert.deepEqual(changes, ["up → down", "down → up"]);
    balancer.close();
    listener.close();
    const closing = lab.engine.close();
    await run(5000);
    await closing;
  });
});
