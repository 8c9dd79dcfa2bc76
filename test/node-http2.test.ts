/** Clients of HTTP/2 in the clear over a host against those of Node over loopback: what sessions and requests are told, in which order. */
import assert from "node:assert/strict";
import { once } from "node:events";
import * as nodeHttp2 from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { forHost } from "../src/node/index.ts";
import { linesOf, type Pair, pair } from "./node/places.ts";

interface Place {
  readonly near: Pick<typeof nodeHttp2, "connect">;
  readonly far: Pick<typeof nodeHttp2, "createServer">;
  readonly address: string;
}

type Program = (place: Place, log: (...words: unknown[]) => void) => Promise<void>;

/** Nobody listens there. */
const NOBODY = 1;

function watch(session: nodeHttp2.ClientHttp2Session, place: Place, log: (...words: unknown[]) => void): nodeHttp2.ClientHttp2Stream {
  const said = ({ code, message }: NodeJS.ErrnoException) => [code, message.replace(place.address, "there")];
  log("connecting", session.connecting);
  session.on("connect", (_session, socket) => log("connect", session.connecting, socket.connecting));
  session.on("error", (error) => log("error", ...said(error)));
  session.on("close", () => log("close"));
  const request = session.request({ ":path": "/" });
  log("pending", request.pending);
  request.on("ready", () => log("request ready"));
  request.on("response", (headers) => log("response", headers[":status"]));
  request.on("data", (data) => log("data", data.length));
  request.on("end", () => log("end"));
  request.on("error", (error) => log("request error", ...said(error)));
  request.on("close", () => log("request close", request.rstCode));
  return request;
}

const connected = (place: Place, authority: string) => promisify(place.near.connect)(authority) as Promise<nodeHttp2.ClientHttp2Session>;

const closed = (session: nodeHttp2.ClientHttp2Session) => new Promise<void>((resolve) => session.once("close", resolve));

const PROGRAMS: Record<string, Program> = {
  "a request before the session is connected": async (place, log) => {
    const server = place.far.createServer((_request, response) => response.end("hello"));
    server.listen(0, place.address);
    await once(server, "listening");
    const session = place.near.connect(`http://${place.address}:${(server.address() as AddressInfo).port}`);
    const request = watch(session, place, log);
    request.on("close", () => session.close());
    await closed(session);
    server.close();
    await once(server, "close");
  },
  "nobody listens": async (place, log) => {
    const session = place.near.connect(`http://${place.address}:${NOBODY}`);
    watch(session, place, log);
    await closed(session);
  },
  "responses without a body, one after the other": async (place, log) => {
    const server = place.far.createServer();
    server.on("stream", (stream) => stream.on("end", () => stream.respond({ ":status": 204 }, { endStream: true })).resume());
    server.listen(0, place.address);
    await once(server, "listening");
    const session = place.near.connect({
      protocol: "http:",
      host: place.address,
      port: String((server.address() as AddressInfo).port),
    } as never);
    for (let i = 0; i < 20; i++) {
      const request = session.request({ ":method": "POST" });
      request.end();
      const [headers] = (await once(request, "response")) as [{ ":status": number }];
      request.resume();
      await once(request, "close");
      log(headers[":status"], request.rstCode, request.readableEnded);
    }
    session.close();
    await closed(session);
    server.close();
  },
  promisify: async (place, log) => {
    const server = place.far.createServer().listen(0, place.address);
    await once(server, "listening");
    const session = await connected(place, `http://${place.address}:${(server.address() as AddressInfo).port}`);
    log(session.connecting, session.destroyed);
    session.close();
    await closed(session);
    server.close();
    const failed = await connected(place, `http://${place.address}:${NOBODY}`).catch((error: NodeJS.ErrnoException) => error.code);
    log(failed);
  },
  "destroyed before it is connected": async (place, log) => {
    const session = place.near.connect(`http://${place.address}:${NOBODY}`);
    watch(session, place, log);
    session.destroy();
    await closed(session);
  },
};

describe("HTTP/2 in the clear", () => {
  let hosts: Pair;
  let ours: Place;
  const node: Place = { near: nodeHttp2, far: nodeHttp2, address: "127.0.0.1" };

  before(async () => {
    hosts = await pair();
    ours = { near: forHost(hosts.client).http2, far: forHost(hosts.server).http2, address: "10.0.0.2" } as Place;
  });

  after(() => hosts.close());

  for (const [name, program] of Object.entries(PROGRAMS)) {
    it(name, { timeout: 10_000 }, async () => {
      assert.deepEqual(await linesOf(program, ours), await linesOf(program, node));
    });
  }
});
