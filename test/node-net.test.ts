/**
 * `net` of a host against `net` of Node: one suite, run over both. What Node does over loopback is right; ours must do
 * the same, event by event and word by word.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo, Server, Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { ofNode, ofPacketloom, type Place } from "./node/places.ts";

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const portOf = (server: Server) => (server.address() as AddressInfo).port;

/** The events of an emitter in the order in which they come. */
function record(emitter: Socket | Server, into: string[], prefix = ""): string[] {
  for (const event of [
    "lookup",
    "connectionAttempt",
    "connectionAttemptFailed",
    "connect",
    "ready",
    "end",
    "timeout",
    "finish",
    "listening",
  ]) {
    emitter.on(event, () => into.push(prefix + event));
  }
  emitter.on("close", (hadError?: boolean) => into.push(`${prefix}close${typeof hadError === "boolean" ? ` ${hadError}` : ""}`));
  emitter.on("error", (error: NodeJS.ErrnoException) => into.push(`${prefix}error ${error.code}`));
  return into;
}

for (const make of [ofNode, ofPacketloom]) {
  describe(`net, over ${make === ofNode ? "node:net" : "packetloom"}`, { timeout: 60_000 }, () => {
    let place: Place;
    before(async () => {
      place = await make();
    });
    after(() => place.close());

    const test = (name: string, body: () => Promise<void>) => it(name, { timeout: 10_000 }, body);
    const serve = async (options: object | ((socket: Socket) => void), listener?: (socket: Socket) => void): Promise<Server> => {
      const server = place.far.net.createServer(options as never, listener);
      server.listen(0, place.address);
      await once(server, "listening");
      return server;
    };
    const dial = (server: Server, options: object = {}) =>
      place.near.net.connect({ host: place.address, port: portOf(server), ...options });
    /** Both ends of a new connection. */
    const joined = async (serverOptions: object = {}, options: object = {}) => {
      const server = await serve(serverOptions);
      const near = dial(server, options);
      const [[far]] = (await Promise.all([once(server, "connection"), once(near, "connect")])) as [[Socket], unknown];
      return { server, near, far };
    };
    const closed = (...all: (Socket | Server)[]) =>
      Promise.all(all.map((each) => (!("destroyed" in each) || !each.destroyed || !each.closed ? once(each, "close") : undefined)));

    test("goes through the life of a connection in one order of events", async () => {
      const events: string[] = [];
      const server = place.far.net.createServer((socket) => {
        record(socket, events, "s:");
        socket.on("data", (data) => socket.end(`got ${data}`));
      });
      record(server, events, "server:");
      server.listen(0, place.address);
      await once(server, "listening");
      const socket = dial(server);
      const states = [socket.readyState, String(socket.pending), String(socket.connecting)];
      const own: string[] = [];
      record(socket, own);
      socket.setEncoding("utf8");
      let text = "";
      socket.on("data", (data) => {
        text += data;
      });
      socket.write("hello");
      await once(socket, "close");
      server.close();
      await once(server, "close");
      await sleep(10);
      assert.equal(text, "got hello");
      assert.deepEqual(states, ["opening", "true", "true"]);
      assert.deepEqual(own, ["connectionAttempt", "connect", "ready", "end", "finish", "close false"]);
      assert.deepEqual(
        events.filter((each) => each.startsWith("s:")),
        ["s:finish", "s:end", "s:close false"],
      );
      assert.deepEqual(
        events.filter((each) => each.startsWith("server:")),
        ["server:listening", "server:close"],
      );
      assert.equal(socket.readyState, "closed");
    });

    test("says where both ends are", async () => {
      const { server, near, far } = await joined();
      assert.deepEqual(server.address(), { address: place.address, family: "IPv4", port: portOf(server) });
      assert.equal(near.remoteAddress, place.address);
      assert.equal(near.remotePort, portOf(server));
      assert.equal(near.remoteFamily, "IPv4");
      assert.equal(near.localAddress, place.nearAddress);
      assert.equal(near.localFamily, "IPv4");
      assert.deepEqual(near.address(), { address: far.remoteAddress, family: "IPv4", port: far.remotePort });
      assert.equal(far.localPort, portOf(server));
      assert.equal((far as Socket & { server: unknown }).server, server);
      near.destroy();
      assert.equal(near.remotePort, portOf(server));
      await closed(near, far);
      server.close();
    });

    test("shows IPv4 peers of a dual-stack server as IPv4-mapped addresses, and IPv6 ones as they are", async () => {
      const server = place.far.net.createServer();
      server.listen(0);
      await once(server, "listening");
      assert.equal((server.address() as AddressInfo).address, "::");
      for (const host of [place.address, place.address6]) {
        const near = place.near.net.connect(portOf(server), host);
        const [far] = (await once(server, "connection")) as [Socket];
        assert.equal(far.localAddress, host === place.address ? `::ffff:${host}` : host);
        assert.equal(far.remoteFamily, "IPv6");
        near.destroy();
        await once(far.resume(), "close");
      }
      server.close();
    });

    test("words a refusal as Node does", async () => {
      const server = await serve({});
      const port = portOf(server);
      server.close();
      await once(server, "close");
      const events: string[] = [];
      const socket = place.near.net.connect(port, place.address);
      record(socket, events);
      const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException & { address: string; port: number }];
      await once(socket, "close");
      assert.deepEqual(events, ["connectionAttempt", "connectionAttemptFailed", "error ECONNREFUSED", "close true"]);
      assert.equal(error.message, `connect ECONNREFUSED ${place.address}:${port}`);
      assert.deepEqual(
        [error.code, error.errno, error.syscall, error.address, error.port, error.name],
        ["ECONNREFUSED", -111, "connect", place.address, port, "Error"],
      );
      assert.deepEqual(Object.keys(error), ["errno", "code", "syscall", "address", "port"]);
    });

    test("words a port in use as Node does", async () => {
      const server = await serve({});
      const second = place.far.net.createServer();
      second.listen(portOf(server), place.address);
      const [error] = (await once(second, "error")) as [NodeJS.ErrnoException & { address: string; port: number }];
      assert.equal(error.message, `listen EADDRINUSE: address already in use ${place.address}:${portOf(server)}`);
      assert.deepEqual(
        [error.code, error.errno, error.syscall, error.address, error.port],
        ["EADDRINUSE", -98, "listen", place.address, portOf(server)],
      );
      assert.equal(second.listening, false);
      assert.equal(second.address(), null);
      server.close();
    });

    test("words an address that is not its own as Node does", async () => {
      const server = place.far.net.createServer();
      server.listen(0, "192.0.2.77");
      const [error] = (await once(server, "error")) as [NodeJS.ErrnoException];
      assert.equal(error.message, "listen EADDRNOTAVAIL: address not available 192.0.2.77");
      const socket = place.near.net.connect({ port: 9, host: place.address, localAddress: "192.0.2.77" });
      const [second] = (await once(socket, "error")) as [NodeJS.ErrnoException];
      assert.equal(second.message, "bind EADDRNOTAVAIL 192.0.2.77");
      assert.equal(second.syscall, "bind");
    });

    test("reports a reset as ECONNRESET of read", async () => {
      const { server, near, far } = await joined();
      const events = record(near, []);
      near.resume();
      far.resetAndDestroy();
      const [error] = (await once(near, "error")) as [NodeJS.ErrnoException];
      await once(near, "close");
      assert.equal(error.message, "read ECONNRESET");
      assert.deepEqual([error.errno, error.syscall], [-104, "read"]);
      assert.deepEqual(events, ["error ECONNRESET", "close true"]);
      server.close();
    });

    test("resets when it is destroyed with bytes unread", async () => {
      const { server, near, far } = await joined({ pauseOnConnect: true });
      near.write("unread");
      near.resume();
      await sleep(30);
      far.destroy();
      const [error] = (await once(near, "error")) as [NodeJS.ErrnoException];
      assert.equal(error.code, "ECONNRESET");
      server.close();
    });

    test("ends its own side when the peer has ended, unless half-open is allowed", async () => {
      const { server, near, far } = await joined({ allowHalfOpen: true });
      far.resume();
      near.resume();
      near.end("x");
      await once(far, "end");
      assert.equal(far.readyState, "writeOnly");
      assert.equal(far.writable, true);
      far.write("still here");
      const [data] = await once(near, "data");
      assert.equal(String(data), "still here");
      far.end();
      await closed(near, far);
      server.close();
      const second = await joined();
      second.far.resume();
      second.near.end();
      await once(second.far, "end");
      second.far.write("too late");
      const [late] = (await once(second.far, "error")) as [NodeJS.ErrnoException];
      assert.deepEqual([late.code, late.message], ["EPIPE", "This socket has been ended by the other party"]);
      second.near.destroy();
      second.server.close();
    });

    test("says that what was ended is out before the answer to it is here", async () => {
      const server = await serve({ allowHalfOpen: true }, (socket) => {
        socket.on("end", () => socket.end("answer")).resume();
      });
      for (let i = 0; i < 20; i++) {
        const socket = dial(server);
        await once(socket, "connect");
        const events = record(socket, []);
        socket.end("request", (error?: NodeJS.ErrnoException) => events.push(`ended ${error?.code}`));
        let text = "";
        for await (const chunk of socket) text += chunk;
        assert.deepEqual([text, ...events.slice(0, 3)], ["answer", "ended undefined", "finish", "end"]);
      }
      server.close();
    });

    test("a write behind the peer's end and its reset is EPIPE", async () => {
      const { server, near, far } = await joined({ allowHalfOpen: true });
      far.resume();
      near.destroy();
      await once(far, "end");
      const failed = once(far, "error");
      far.write("1");
      await sleep(30);
      far.write("2");
      assert.equal(((await failed)[0] as Error).message, "write EPIPE");
      server.close();
    });

    test("fails writes after the end and after destroy as Node does", async () => {
      const { server, near, far } = await joined();
      far.resume();
      near.end();
      const error = await new Promise<NodeJS.ErrnoException>((resolve) => {
        near.on("error", resolve);
        near.write("x");
      });
      assert.equal(error.code, "ERR_STREAM_WRITE_AFTER_END");
      await closed(near, far);
      const codes = await new Promise<unknown>((resolve) => near.write("y", (failure) => resolve((failure as NodeJS.ErrnoException).code)));
      assert.equal(codes, "ERR_STREAM_WRITE_AFTER_END");
      server.close();
    });

    test("tells a write that the connection is gone", async () => {
      const { server, near, far } = await joined();
      const failed = once(near, "error") as Promise<[NodeJS.ErrnoException]>;
      far.resetAndDestroy();
      await sleep(30);
      const error = await new Promise<NodeJS.ErrnoException>((resolve) => near.write("x", (failure) => resolve(failure as never)));
      assert.equal(error.code, "ERR_STREAM_DESTROYED");
      assert.equal((await failed)[0].message, "read ECONNRESET");
      server.close();
    });

    test("counts bytes, and shows what waits", async () => {
      const { server, near, far } = await joined();
      far.pause();
      near.write("12345");
      near.write("äö", "utf8");
      assert.equal(near.bytesWritten, 9);
      near.cork();
      near.write("678");
      assert.equal(near.bytesWritten, 12);
      assert.equal(near.bufferSize, near.writableLength);
      near.uncork();
      const chunks: Buffer[] = [];
      far.on("data", (chunk) => chunks.push(chunk)).resume();
      while (Buffer.concat(chunks).length < 12) await sleep(2);
      assert.equal(Buffer.concat(chunks).toString(), "12345äö678");
      assert.equal(far.bytesRead, 12);
      near.destroy();
      await closed(far);
      assert.deepEqual([far.bytesRead, near.bytesWritten], [12, 12]);
      server.close();
    });

    test("counts what is written before it is connected", async () => {
      const server = await serve((socket) => socket.resume());
      const socket = dial(server);
      socket.write("abc");
      socket.write("def");
      assert.equal(socket.bytesWritten, 6);
      await once(socket, "connect");
      socket.destroy();
      server.close();
    });

    test("times out when nothing moves, and only then", async () => {
      const { server, near, far } = await joined();
      far.resume();
      const events = record(near, []);
      near.setTimeout(60);
      assert.equal(near.timeout, 60);
      for (let i = 0; i < 4; i++) {
        await sleep(25);
        near.write("x");
      }
      assert.deepEqual(events, []);
      await once(near, "timeout");
      assert.equal(near.destroyed, false);
      near.setTimeout(0);
      assert.throws(() => near.setTimeout("1" as never), { code: "ERR_INVALID_ARG_TYPE" });
      assert.throws(() => near.setTimeout(-1), { code: "ERR_OUT_OF_RANGE" });
      near.destroy();
      await closed(near, far);
      server.close();
    });

    test("holds the sender back when nobody reads, and drains", async () => {
      const { server, near, far } = await joined({ pauseOnConnect: true });
      const block = Buffer.alloc(1 << 20, 7);
      let sent = 0;
      // Node's kernel takes several megabytes, ours up to ten.
      while (near.write(block) || near.writableLength < 4 * block.length) {
        sent++;
        if (sent > 64) break;
        await sleep(1);
      }
      assert.ok(sent < 64, "back-pressure reached the writer");
      assert.ok(near.writableNeedDrain);
      const expected = near.bytesWritten;
      let got = 0;
      far.on("data", (chunk) => {
        got += chunk.length;
      });
      far.resume();
      await once(near, "drain");
      while (got < expected) await sleep(2);
      assert.equal(got, expected);
      near.destroy();
      await closed(far);
      server.close();
    });

    test("pauses and resumes", async () => {
      const { server, near, far } = await joined();
      let got = 0;
      near.on("data", (chunk) => {
        got += chunk.length;
        near.pause();
      });
      for (let i = 0; i < 3; i++) {
        far.write("0123456789");
        while (got < 10 * (i + 1)) await sleep(1);
        far.write("0123456789");
        await sleep(15);
        assert.equal(got, 10 * (i + 1));
        near.resume();
        while (got < 10 * (i + 2)) await sleep(1);
        got -= 10;
        near.resume();
      }
      near.destroy();
      server.close();
    });

    test("moves 50 MB unchanged, through pipe and back", async () => {
      const server = await serve((socket) => socket.pipe(socket));
      const socket = dial(server);
      const block = Buffer.from(Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 2654435761) >>> 24));
      const [out, back] = [createHash("sha256"), createHash("sha256")];
      let got = 0;
      socket.on("data", (chunk) => {
        got += chunk.length;
        back.update(chunk);
      });
      for (let i = 0; i < 50; i++) {
        block.writeUInt32LE(i, 0);
        const copy = Buffer.from(block);
        out.update(copy);
        if (!socket.write(copy)) await once(socket, "drain");
      }
      socket.end();
      await once(socket, "end");
      assert.equal(got, 50 << 20);
      assert.equal(back.digest("hex"), out.digest("hex"));
      server.close();
    });

    test("serves a hundred connections at a time", async () => {
      const server = await serve((socket) => socket.pipe(socket));
      const answers = await Promise.all(
        Array.from({ length: 100 }, async (_, i) => {
          const socket = dial(server);
          socket.end(`connection ${i} `.repeat(1000));
          let text = "";
          for await (const chunk of socket) text += chunk;
          return text === `connection ${i} `.repeat(1000);
        }),
      );
      assert.ok(answers.every(Boolean));
      const count = await new Promise<number>((resolve) => server.getConnections((_, n) => resolve(n)));
      assert.ok(count <= 100);
      server.close();
      await once(server, "close");
    });

    test("drops what is beyond maxConnections", async () => {
      const server = await serve({});
      server.maxConnections = 1;
      const first = dial(server);
      await once(server, "connection");
      const second = dial(server);
      const [dropped] = (await once(server, "drop")) as [Record<string, unknown>];
      assert.equal(dropped.remoteAddress, place.nearAddress);
      assert.equal(dropped.remotePort, second.localPort);
      assert.equal(dropped.localPort, portOf(server));
      assert.equal(dropped.remoteFamily, "IPv4");
      second.on("error", () => {});
      await closed(second.resume());
      first.destroy();
      server.close();
    });

    test("closes a server when its last socket is gone", async () => {
      const { server, near, far } = await joined();
      let isClosed = false;
      server.close(() => {
        isClosed = true;
      });
      assert.equal(server.listening, false);
      await sleep(20);
      assert.equal(isClosed, false);
      far.destroy();
      near.destroy();
      await once(server, "close");
      const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => server.close(resolve));
      assert.equal(error?.code, "ERR_SERVER_NOT_RUNNING");
      assert.throws(
        () => {
          server.listen(0, place.address);
          server.listen(0, place.address);
          server.listen(0);
          server.listen(0);
        },
        { code: "ERR_SERVER_ALREADY_LISTEN" },
      );
      server.close();
    });

    test("takes the arguments of listen in every form", async () => {
      const forms: unknown[][] = [
        [],
        [0],
        ["0"],
        [null],
        [0, place.address],
        [0, place.address, 10],
        [0, 10],
        [{ port: 0, host: place.address, backlog: 5, exclusive: true }],
        [{ port: 0, host: place.address6, ipv6Only: true }],
      ];
      for (const form of forms) {
        for (const withCallback of [false, true]) {
          const server = place.far.net.createServer();
          await new Promise<void>((resolve) => {
            if (withCallback) server.listen(...(form as []), () => resolve());
            else server.listen(...(form as [])).once("listening", () => resolve());
          });
          assert.ok(portOf(server) > 0);
          server.close();
        }
      }
      const server = place.far.net.createServer();
      assert.throws(() => server.listen({}), { code: "ERR_INVALID_ARG_VALUE" });
      assert.throws(() => server.listen(65_536), { code: "ERR_SOCKET_BAD_PORT", name: "RangeError" });
      assert.throws(() => place.near.net.connect(70_000), { code: "ERR_SOCKET_BAD_PORT" });
      assert.throws(() => place.near.net.connect({} as never), { code: "ERR_MISSING_ARGS" });
    });

    test("obeys signals", async () => {
      const listening = new AbortController();
      const server = place.far.net.createServer();
      server.listen({ port: 0, host: place.address, signal: listening.signal });
      await once(server, "listening");
      const aborter = new AbortController();
      const socket = dial(server, { signal: aborter.signal });
      await once(socket, "connect");
      aborter.abort();
      const [error] = (await once(socket, "error")) as [Error];
      assert.equal(error.name, "AbortError");
      listening.abort();
      await once(server, "close");
    });

    test("gives what was read to onread", async () => {
      const server = await serve((socket) => socket.end("0123456789"));
      const space = Buffer.alloc(4);
      const got: string[] = [];
      const socket = dial(server, {
        onread: {
          buffer: space,
          callback: (n: number, buffer: Buffer) => {
            got.push(buffer.subarray(0, n).toString());
            return true;
          },
        },
      });
      await once(socket, "close");
      assert.deepEqual(got, ["0123", "4567", "89"]);
      assert.equal(socket.bytesRead, 10);
      server.close();
    });

    test("stops when onread says so, until it is resumed", async () => {
      const server = await serve((socket) => socket.end("0123456789"));
      let got = "";
      const socket = dial(server, {
        onread: {
          buffer: () => Buffer.alloc(5),
          callback: (n: number, buffer: Buffer) => {
            got += buffer.subarray(0, n);
            return false;
          },
        },
      });
      while (got.length < 5) await sleep(1);
      await sleep(15);
      assert.equal(got, "01234");
      socket.resume();
      while (got.length < 10) await sleep(1);
      socket.destroy();
      server.close();
    });

    test("tries the addresses of a name in turn", async () => {
      const server = await serve((socket) => socket.end("here"));
      const refused = await serve({});
      refused.close();
      const events: string[] = [];
      const lookup = (name: string, options: object, callback: (error: null, addresses: object[]) => void) => {
        events.push(`${name} ${JSON.stringify(options).includes('"all":true')}`);
        process.nextTick(callback, null, [
          { address: place.address6, family: 6 },
          { address: place.address, family: 4 },
        ]);
      };
      const socket = place.near.net.connect({ host: "many.test", port: portOf(server), lookup: lookup as never });
      socket.on("lookup", (_, address, family, host) => events.push(`lookup ${address} ${family} ${host}`));
      socket.on("connectionAttempt", (address, _port, family) => events.push(`try ${address} ${family}`));
      socket.on("connectionAttemptFailed", (address, _port, family, error) =>
        events.push(`failed ${address} ${family} ${(error as NodeJS.ErrnoException).code}`),
      );
      socket.on("connect", () => events.push(`connect ${socket.remoteAddress}`));
      socket.resume();
      await once(socket, "close");
      assert.deepEqual(events, [
        "many.test true",
        `lookup ${place.address6} 6 many.test`,
        `lookup ${place.address} 4 many.test`,
        `try ${place.address6} 6`,
        `failed ${place.address6} 6 ECONNREFUSED`,
        `try ${place.address} 4`,
        `connect ${place.address}`,
      ]);
      const port = portOf(server);
      assert.deepEqual(socket.autoSelectFamilyAttemptedAddresses, [`${place.address6}:${port}`, `${place.address}:${port}`]);
      server.close();
      await once(server, "close");
      const failing = place.near.net.connect({ host: "many.test", port, lookup: lookup as never });
      const [error] = (await once(failing, "error")) as [AggregateError & { code: string }];
      assert.equal(error.name, "AggregateError");
      assert.equal(error.code, "ECONNREFUSED");
      assert.deepEqual(
        error.errors.map((each) => each.message),
        [`connect ECONNREFUSED ${place.address6}:${port}`, `connect ECONNREFUSED ${place.address}:${port}`],
      );
    });

    test("looks up one address when a family is asked for, and passes on what the lookup says", async () => {
      const server = await serve((socket) => socket.end());
      let asked: object | undefined;
      const lookup = (_: string, options: object, callback: (...args: unknown[]) => void) => {
        asked = options;
        process.nextTick(callback, null, place.address, 4);
      };
      const socket = place.near.net.connect({ host: "one.test", port: portOf(server), family: 4, lookup: lookup as never });
      await once(socket, "connect");
      assert.equal((asked as { family: number }).family, 4);
      await closed(socket.resume());
      const failing = (_: string, __: object, callback: (...args: unknown[]) => void) =>
        process.nextTick(callback, Object.assign(new Error("no"), { code: "ENOTFOUND" }));
      const lost = place.near.net.connect({ host: "none.test", port: 1, lookup: failing as never });
      const events = record(lost, []);
      await new Promise((resolve) => lost.on("close", resolve));
      assert.deepEqual(events, ["lookup", "error ENOTFOUND", "close true"]);
      server.close();
    });

    test("takes a port and an address of its own", async () => {
      const server = await serve((socket) => socket.on("error", () => {}));
      // A port that is free now: whatever else runs on this machine is given others.
      const other = place.near.net.createServer().listen(0, place.nearAddress);
      await once(other, "listening");
      const localPort = portOf(other);
      await new Promise((resolve) => other.close(resolve));
      const socket = dial(server, { localAddress: place.nearAddress, localPort });
      await once(socket, "connect");
      assert.deepEqual([socket.localAddress, socket.localPort], [place.nearAddress, localPort]);
      socket.resetAndDestroy();
      server.close();
    });

    test("connects again with the same socket", async () => {
      const server = await serve((socket) => socket.end("hello"));
      const socket = new place.near.net.Socket();
      for (let i = 0; i < 2; i++) {
        let text = "";
        const onData = (chunk: Buffer) => {
          text += chunk;
        };
        socket.connect(portOf(server), place.address);
        socket.on("data", onData);
        await once(socket, "close");
        assert.equal(text, "hello");
        socket.off("data", onData);
      }
      server.close();
    });

    test("refuses to be connected twice at a time", async () => {
      const server = await serve((socket) => socket.on("error", () => {}).resume());
      const [early, late] = [dial(server), dial(server)];
      early.connect(portOf(server), place.address);
      const [[first]] = (await Promise.all([once(early, "error"), once(late, "connect")])) as [[NodeJS.ErrnoException], unknown];
      assert.deepEqual([first.code, first.syscall], ["EALREADY", "connect"]);
      late.connect(portOf(server), place.address);
      await once(late, "connect");
      late.end("still works");
      await once(late.resume(), "close");
      assert.equal(late.bytesWritten, 11);
      server.close();
    });

    test("can be destroyed at any moment of connecting", async () => {
      const server = await serve((socket) => socket.on("error", () => {}).resume());
      const early = dial(server);
      early.destroy();
      await once(early, "close");
      const ticking = dial(server);
      process.nextTick(() => ticking.destroy());
      await once(ticking, "close");
      const failing = dial(server);
      failing.on("error", () => {});
      failing.destroy(new Error("mine"));
      assert.equal(await new Promise((resolve) => failing.on("close", resolve)), true);
      const pending = dial(server);
      const written = new Promise<NodeJS.ErrnoException>((resolve) =>
        pending.write("x", (error) => resolve(error as NodeJS.ErrnoException)),
      );
      pending.destroy();
      assert.ok(["ERR_SOCKET_CLOSED_BEFORE_CONNECTION", "ERR_STREAM_DESTROYED"].includes(String((await written).code)));
      server.close();
    });

    test("survives a listener that throws, and goes on with the others", async () => {
      const server = await serve((socket) => socket.pipe(socket));
      const [first, second] = [dial(server), dial(server)];
      const others = process.listeners("uncaughtException");
      process.removeAllListeners("uncaughtException");
      const caught = new Promise<Error>((resolve) => process.once("uncaughtException", resolve));
      first.on("data", () => {
        throw new Error("of the program");
      });
      first.write("a");
      second.write("b");
      const [data] = await once(second, "data");
      assert.equal(String(data), "b");
      assert.equal((await caught).message, "of the program");
      for (const other of others) process.on("uncaughtException", other);
      first.destroy();
      second.destroy();
      server.close();
    });

    test("reads as an async iterable", async () => {
      const server = await serve((socket) => socket.end("x".repeat(300_000)));
      let n = 0;
      for await (const chunk of dial(server)) n += (chunk as Buffer).length;
      assert.equal(n, 300_000);
      server.close();
    });

    test("a signal that is aborted already, or later: no connection is left", async () => {
      let connections = 0;
      const server = await serve((socket) => {
        connections++;
        socket.on("error", () => {});
        socket.resume();
      });
      const { port } = server.address() as AddressInfo;
      const early = place.near.net.connect({ port, host: place.address, signal: AbortSignal.abort() } as never);
      const told: string[] = [];
      for (const event of ["connect", "error", "close"]) early.on(event, (error) => told.push(`${event} ${error?.code ?? ""}`));
      await new Promise((resolve) => early.once("close", resolve));
      const stop = new AbortController();
      const late = place.near.net.connect({ port, host: place.address, signal: stop.signal } as never);
      await once(late, "connect");
      const failed = once(late, "error");
      stop.abort();
      assert.equal((await failed)[0].code, "ABORT_ERR");
      assert.deepEqual([told.slice(0, 2), late.destroyed], [["error ABORT_ERR", "close "], true]);
      // Node's own connects behind its close.
      if (make !== ofNode) assert.deepEqual([told.length, early.destroyed, connections < 2], [2, true, true]);
      early.destroy();
      server.close();
    });

    test("the peer's end is no silence; a reset is told of reading, not of what was being written", async () => {
      const server = await serve((socket) => {
        socket.on("error", () => {});
        socket.once("data", (chunk) => {
          if (String(chunk) === "end") setTimeout(() => socket.end(), 150);
          else {
            socket.pause();
            setTimeout(() => socket.resetAndDestroy(), 100);
          }
        });
      });
      const { port } = server.address() as AddressInfo;
      const near = place.near.net.connect({ port, host: place.address, allowHalfOpen: true });
      await once(near, "connect");
      near.resume().write("end");
      near.setTimeout(300);
      const from = Date.now();
      await once(near, "timeout");
      assert.ok(Date.now() - from >= 430, `${Date.now() - from} ms`);
      near.destroy();
      const other = place.near.net.connect(port, place.address);
      const told: string[] = [];
      other.on("error", (error) => told.push(error.message));
      // What the write is told depends on Node's version.
      other.write(Buffer.alloc(20_000_000, "x"), () => told.push("written"));
      await new Promise((resolve) => other.once("close", resolve));
      assert.deepEqual(told.sort(), ["read ECONNRESET", "written"]);
      server.close();
    });

    test("one that resets as soon as it is connected is accepted, and then broken", async () => {
      let tell = (_: Error) => {};
      const broken = new Promise<Error>((resolve) => {
        tell = resolve;
      });
      const server = await serve((socket) => socket.on("error", tell).resume());
      const near = dial(server);
      near.once("connect", () => near.resetAndDestroy());
      assert.equal((await broken).message, "read ECONNRESET");
      server.close();
    });

    test("destroySoon lets what was written go out", async () => {
      const { server, near, far } = await joined();
      let n = 0;
      far.on("data", (chunk) => {
        n += chunk.length;
      });
      near.write(Buffer.alloc(500_000));
      (near as Socket & { destroySoon(): void }).destroySoon();
      await closed(far);
      assert.equal(n, 500_000);
      server.close();
    });
  });
}
