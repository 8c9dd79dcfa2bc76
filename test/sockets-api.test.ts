/** The WinterTC Sockets API over a host, against Node's own TLS and the host's own sockets on the other side. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { TcpSocket } from "../src/index.ts";
import { forHost as nodeForHost } from "../src/node/index.ts";
import { forHost, type HostSockets } from "../src/sockets/index.ts";
import { CERTIFICATE, KEY } from "./node/certificate.ts";
import { type Pair, pair } from "./node/places.ts";

const bytes = (value: string) => new TextEncoder().encode(value);
const words = (value: Uint8Array | undefined) => new TextDecoder().decode(value);

describe("the Sockets API", () => {
  let hosts: Pair;
  let sockets: HostSockets;
  before(async () => {
    hosts = await pair();
    sockets = forHost(hosts.client, { caCerts: [CERTIFICATE] });
  });
  after(async () => {
    await hosts.close();
    assert.equal(hosts.engine.pool().inFlight, 0);
  });

  /** A socket and the server's end of its connection. */
  const connected = async (port: number, options?: Parameters<HostSockets["connect"]>[1]) => {
    const listener = hosts.server.listen({ port });
    const socket = sockets.connect({ hostname: "10.0.0.2", port }, options);
    const far = await listener.accept();
    await socket.opened;
    listener.close();
    return { socket, far };
  };
  const readAll = async (far: TcpSocket) => words(new Uint8Array(await new Response(far.readable).arrayBuffer()));

  for (const allowHalfOpen of [false, true])
    it(`gives everything that has arrived, also when both sides have ended since (allowHalfOpen ${allowHalfOpen})`, async () => {
      const { socket, far } = await connected(17, { allowHalfOpen });
      const writer = socket.writable.getWriter();
      await writer.write("request");
      await writer.close();
      const request = await readAll(far);
      await far.write(new Uint8Array(100_000).fill(7));
      await far.closeWrite();
      await far.closed;
      await socket.closed;
      const got = new Uint8Array(await new Response(socket.readable).arrayBuffer());
      assert.deepEqual([request, got.length, got.every((byte) => byte === 7)], ["request", 100_000, true]);
      assert.equal(hosts.engine.slabs.available, hosts.engine.slabs.total);
    });

  it("gives a socket at once, which takes bytes before it is open, and says where it is", async () => {
    const listener = hosts.server.listen({ port: 7 });
    const socket = sockets.connect("10.0.0.2:7");
    assert.equal(socket.upgraded, false);
    assert.equal(socket.secureTransport, "off");
    const writer = socket.writable.getWriter();
    const writing = writer.write("Hello, ").then(() => writer.write(bytes("World!").buffer));
    const far = await listener.accept();
    listener.close();
    void far.readable.pipeTo(far.writable);
    await writing;
    const info = await socket.opened;
    assert.equal(info.remoteAddress, "10.0.0.2:7");
    assert.match(String(info.localAddress), /^10\.0\.0\.1:\d+$/);
    assert.equal(info.alpn, null);
    const reader = socket.readable.getReader();
    let seen = "";
    while (seen.length < 13) seen += words((await reader.read()).value);
    assert.equal(seen, "Hello, World!");
    const { closed } = socket;
    assert.equal(socket.close(), closed);
    assert.equal(await closed, undefined);
    assert.equal((await reader.read()).done, true);
    await assert.rejects(writer.write("late"), sockets.SocketError);
  });

  it('connects to "[::1]:80" forms', async () => {
    const listener = hosts.server.listen({ hostname: "2001:db8::2", port: 80 });
    for (const address of ["[2001:db8::2]:80", { hostname: "2001:db8::2", port: 80 }, { hostname: "[2001:db8::2]", port: 80 }]) {
      const socket = sockets.connect(address);
      const [info, far] = await Promise.all([socket.opened, listener.accept()]);
      assert.equal(info.remoteAddress, "[2001:db8::2]:80");
      await socket.close();
      assert.equal(await readAll(far), "");
      far.abort();
    }
    listener.close();
    await assert.rejects(sockets.connect("[::1]:80").opened, sockets.SocketError);
  });

  it("closes with the peer's end, what was written going out before", async () => {
    const { socket, far } = await connected(81);
    const writer = socket.writable.getWriter();
    const sent = "x".repeat(300_000);
    void writer.write(sent);
    await far.closeWrite();
    const reader = socket.readable.getReader();
    const [end, text] = await Promise.all([reader.read(), readAll(far)]);
    assert.equal(end.done, true);
    assert.equal(text, sent);
    assert.equal(await socket.closed, undefined);
    assert.equal(await writer.closed, undefined);
  });

  it("stays half-open both ways with allowHalfOpen", async () => {
    const { socket, far } = await connected(82, { allowHalfOpen: true });
    await far.closeWrite();
    assert.equal((await socket.readable.getReader().read()).done, true);
    const writer = socket.writable.getWriter();
    await writer.write("after the end");
    await writer.close();
    assert.equal(await readAll(far), "after the end");
    assert.equal(await socket.closed, undefined);

    const other = await connected(83, { allowHalfOpen: true });
    await other.socket.writable.getWriter().close();
    assert.equal(await readAll(other.far), "");
    await other.far.write(bytes("still here"));
    const reader = other.socket.readable.getReader();
    assert.equal(words((await reader.read()).value), "still here");
    await other.far.closeWrite();
    assert.equal((await reader.read()).done, true);
    assert.equal(await other.socket.closed, undefined);
  });

  it("speaks TLS from the start, names and protocols chosen", async () => {
    const options = { key: KEY, cert: CERTIFICATE, ALPNProtocols: ["other", "loom/1"] };
    const names: unknown[] = [];
    const server = nodeForHost(hosts.server).tls.createServer(options, (far) => {
      names.push(far.servername);
      far.pipe(far);
    });
    await new Promise<void>((resolve) => void server.listen(443, resolve));
    const socket = sockets.connect("10.0.0.2:443", { secureTransport: "on", sni: "server.test", alpn: ["loom/1"] });
    const info = await socket.opened;
    assert.deepEqual([info.remoteAddress, info.alpn, socket.secureTransport], ["10.0.0.2:443", "loom/1", "on"]);
    assert.throws(() => socket.startTls(), /^TypeError: SocketError: startTls on a socket that has TLS already/);
    await socket.writable.getWriter().write("over TLS");
    assert.equal(words((await socket.readable.getReader().read()).value), "over TLS");
    assert.deepEqual(names, ["server.test"]);
    await socket.close();

    const strict = forHost(hosts.client).connect("10.0.0.2:443", { secureTransport: "on" });
    const failure = await strict.opened.catch((error) => error);
    assert.ok(failure instanceof sockets.SocketError);
    assert.equal(failure.code, "DEPTH_ZERO_SELF_SIGNED_CERT");
    await assert.rejects(strict.closed, failure);
    const wrong = sockets.connect("10.0.0.2:443", { secureTransport: "on", sni: "wrong.test" });
    await assert.rejects(wrong.opened, { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
    server.close();
  });

  it("startTls: the plain words before it, the others after, though somebody reads meanwhile", async () => {
    const { net, tls } = nodeForHost(hosts.server);
    const said: string[] = [];
    const server = net.createServer((plain) => {
      plain.once("data", (asked) => {
        said.push(String(asked));
        plain.write("go");
        const far = new tls.TLSSocket(plain, { isServer: true, key: KEY, cert: CERTIFICATE });
        far.on("error", () => {});
        far.on("data", (data) => far.write(`TLS ${data}`));
      });
    });
    await new Promise<void>((resolve) => void server.listen(5432, resolve));
    const plain = sockets.connect("10.0.0.2:5432", { secureTransport: "starttls" });
    await plain.writable.getWriter().write("STARTTLS");
    const reader = plain.readable.getReader();
    assert.equal(words((await reader.read()).value), "go");
    const waiting = reader.read();
    const secure = plain.startTls();
    assert.notEqual(secure, plain);
    assert.deepEqual([plain.upgraded, secure.upgraded, secure.secureTransport], [true, false, "on"]);
    assert.equal((await waiting).done, true);
    assert.equal(await plain.closed, undefined);
    await secure.opened;
    await secure.writable.getWriter().write("words");
    assert.equal(words((await secure.readable.getReader().read()).value), "TLS words");
    assert.deepEqual(said, ["STARTTLS"]);
    assert.throws(() => plain.startTls(), sockets.SocketError);
    assert.throws(() => secure.startTls(), sockets.SocketError);
    await secure.close();
    server.close();
  });

  it("fails with SocketErrors: refused, reset, closed before it opened", async () => {
    const refused = sockets.connect("10.0.0.2:9");
    const failure = await refused.opened.catch((error) => error);
    assert.ok(failure instanceof TypeError && failure instanceof sockets.SocketError);
    assert.match(failure.message, /^SocketError: /);
    assert.equal(failure.code, "ECONNREFUSED");
    await assert.rejects(refused.closed, failure);
    await assert.rejects(refused.readable.getReader().read(), failure);
    await assert.rejects(refused.writable.getWriter().closed, failure);

    const { socket, far } = await connected(84);
    const reading = socket.readable.getReader().read();
    far.abort();
    await assert.rejects(reading, { code: "ECONNRESET" });
    assert.equal(await socket.closed, undefined);

    const early = sockets.connect("10.0.0.77:1");
    const reason = new Error("no more wanted");
    await early.close(reason);
    await assert.rejects(early.opened, reason);
    await assert.rejects(early.writable.getWriter().closed, reason);
  });

  it("ends what is piped into it with the peer's end", async () => {
    const { socket, far } = await connected(85);
    const source = new TransformStream<Uint8Array, Uint8Array>();
    const piping = source.readable.pipeTo(socket.writable as WritableStream<Uint8Array>);
    await source.writable.getWriter().write(bytes("piped"));
    await far.closeWrite();
    assert.equal((await socket.readable.getReader().read()).done, true);
    await assert.rejects(piping, sockets.SocketError);
    assert.equal(await socket.closed, undefined);
    assert.equal(await readAll(far), "piped");
  });

  it("ends a TLS handshake that nobody answers, and startTls before the connection is there", async () => {
    const { socket, far } = await connected(86, { secureTransport: "starttls" });
    const secure = socket.startTls();
    assert.equal((await far.readable.getReader().read()).value?.[0], 22, "a record of the handshake");
    await secure.close(new RangeError("too long"));
    await assert.rejects(secure.opened, RangeError);
    await assert.rejects(far.closed, { code: "ECONNRESET" });

    const early = sockets.connect("10.0.0.2:9", { secureTransport: "starttls" });
    await assert.rejects(early.startTls().opened, { code: "ECONNREFUSED" });
    await assert.rejects(early.opened, { code: "ECONNREFUSED" });
  });

  it("says what is wrong with addresses and options", () => {
    const { connect, SocketError } = sockets;
    const wrong = (call: () => unknown, sentence: RegExp) =>
      assert.throws(call, (error) => error instanceof SocketError && sentence.test(error.message));
    for (const address of ["", "host", "host:", ":80", "::1:80", "[::1]", "host:80x", "host:123456"]) {
      wrong(() => connect(address), /^SocketError: ".*" is no address; expected/);
    }
    for (const port of [0, 65_536, 1.5, undefined]) wrong(() => connect({ hostname: "a", port } as never), /expected a whole number/);
    wrong(() => connect(undefined as never), /without a host/);
    wrong(() => connect("a:1", { secureTransport: "yes" as never }), /expected "off", "on" or "starttls"/);
    wrong(() => connect("a:1", { sni: "a" }), /sni and alpn are of TLS/);
    wrong(() => connect("a:1", { secureTransport: "on", alpn: [""] }), /alpn/);
    const off = connect("10.0.0.2:9");
    wrong(() => off.startTls(), /startTls needs/);
  });
});
