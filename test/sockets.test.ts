/** Sockets as a program uses them: streams, plain reads and writes, errors, signals, listeners, datagrams. Real time. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Engine, Host, joinPorts } from "../src/index.ts";

const text = (value: string) => new TextEncoder().encode(value);
const words = (value: Uint8Array) => new TextDecoder().decode(value);

describe("sockets", () => {
  let engine: Engine;
  let client: Host;
  let server: Host;

  before(async () => {
    engine = await Engine.create({ ports: 2, tables: 4, appBytes: 16 << 20, bareDescriptors: 8192 });
    const host = (i: number) =>
      Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`, `2001:db8::${i + 1}/64`] }] });
    [client, server] = [await host(0), await host(1)];
    joinPorts(engine, engine.port(0), engine.port(1));
    engine.start();
  });

  after(async () => {
    await Promise.all([client.close(), server.close()]);
    await engine.close();
    assert.equal(engine.pool().inFlight, 0);
  });

  const accepted = async (port: number, options = {}) => {
    const listener = server.listen({ port });
    const [near, far] = await Promise.all([client.connect({ hostname: "10.0.0.2", port, ...options }), listener.accept()]);
    return { near, far, listener };
  };

  it("closing ends what waits: reads, a writer that is held; and of two reads in place each gets its own", async () => {
    const { near, far, listener } = await accepted(9);
    const writer = near.writable.getWriter();
    await writer.write(text("abc"));
    await near.closeWrite();
    const space = new Uint8Array(8);
    assert.equal(await far.read(space), 3);
    assert.equal(await far.read(space), null);
    const reading = near.read(new Uint8Array(3));
    void near.close();
    assert.equal(await reading, null);
    const second = await Promise.all([client.connect({ hostname: "10.0.0.2", port: 9 }), listener.accept()]);
    const got: string[] = [];
    const reads = [0, 1].map(() => second[1].inPlace.read((bytes) => got.push(words(bytes))));
    for (const word of ["first", "second"]) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await second[0].write(text(word));
    }
    assert.deepEqual(await Promise.all(reads), [5, 6]);
    assert.deepEqual(got, ["first", "second"]);
    const last = second[1].inPlace.read(() => {});
    void second[1].close();
    assert.equal(await last, null);
    second[0].abort();
    listener.close();
  });

  it("a stream that is asked for after a reset says so", async () => {
    for (const sent of [0, 4]) {
      const { near, far, listener } = await accepted(8);
      if (sent > 0) await near.write(new Uint8Array(sent));
      await new Promise((resolve) => setTimeout(resolve, 10));
      near.abort();
      await assert.rejects(far.closed, { code: "ECONNRESET" });
      await assert.rejects(far.readable.getReader().read(), { code: "ECONNRESET" });
      listener.close();
    }
  });

  it("pipe a stream back to its sender, end and all", async () => {
    const { near, far, listener } = await accepted(7);
    const echoing = far.readable.pipeTo(far.writable);
    const sent = new Uint8Array(500_000).map((_, i) => i * 13);
    const writing = (async () => {
      const writer = near.writable.getWriter();
      await writer.write(sent);
      await writer.close();
    })();
    const chunks: Uint8Array[] = [];
    for await (const chunk of near.readable) chunks.push(chunk);
    assert.deepEqual(new Uint8Array(Buffer.concat(chunks)), sent);
    await Promise.all([writing, echoing, near.closed, far.closed]);
    listener.close();
  });

  it("fill a caller's buffer (BYOB)", async () => {
    const { near, far, listener } = await accepted(8);
    await far.write(text("0123456789"));
    const reader = near.readable.getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(4));
    assert.equal(words(value as Uint8Array), "0123");
    near.abort();
    listener.close();
  });

  it("read and write without streams, half-close, and say where they are", async () => {
    const { near, far, listener } = await accepted(9);
    assert.deepEqual(near.remoteAddress, { address: "10.0.0.2", port: 9 });
    assert.deepEqual(far.remoteAddress, near.localAddress);
    await near.write(text("ping"));
    await near.closeWrite();
    const space = new Uint8Array(100);
    assert.equal(words(space.subarray(0, (await far.read(space)) as number)), "ping");
    assert.equal(await far.read(space), null);
    await far.write(text("pong after your end"));
    assert.equal(await near.read(space), 19);
    await far.closeWrite();
    assert.equal(await near.read(space), null);
    await near.closed;
    assert.equal(near.status().state, "TIME-WAIT");
    listener.close();
  });

  it("send the end behind all that was written, and serve reads and writes in their order", async () => {
    const { near, far, listener } = await accepted(13);
    const parts = [text("one "), new Uint8Array(2_000_000).fill(7), text("two")];
    const written = Promise.all(parts.map((part) => near.write(part)));
    const ended = near.closeWrite();
    await assert.rejects(near.write(text("late")), { code: "EPIPE" });
    // Two reads at once: the first has the first bytes.
    const [first, second] = [new Uint8Array(3), new Uint8Array(1)];
    assert.deepEqual(await Promise.all([far.read(first), far.read(second)]), [3, 1]);
    assert.equal(words(first) + words(second), "one ");
    const chunks: Uint8Array[] = [];
    for await (const chunk of far.readable) chunks.push(chunk);
    const rest = Buffer.concat(chunks);
    assert.deepEqual(await written, [4, 2_000_000, 3]);
    assert.equal(rest.length, 2_000_003);
    assert.equal(words(rest.subarray(-3)), "two");
    await ended;
    await far.close();
    await near.closed;
    listener.close();
  });

  it("send and read in place, and tell what has arrived", async () => {
    const { near, far, listener } = await accepted(15);
    const total = 1_000_000;
    const arrived: number[] = [];
    const sending = (async () => {
      let last: Promise<void> | undefined;
      for (let sent = 0; sent < total; ) {
        const space = await near.inPlace.reserve(total - sent);
        for (let i = 0; i < space.length; i++) space[i] = (sent + i) * 7;
        const end = sent + space.length;
        near.inPlace.commit(space.length);
        last = near.inPlace.delivered().then(() => {
          arrived.push(end);
        });
        assert.throws(() => near.inPlace.commit(1), { code: "EINVAL" });
        sent = end;
      }
      await last;
      await near.closeWrite();
    })();
    let got = 0;
    const look = (bytes: Uint8Array) => {
      for (let i = 0; i < bytes.length; i += 97) assert.equal(bytes[i], ((got + i) * 7) & 255);
      got += bytes.length;
    };
    while ((await far.inPlace.read(look)) !== null);
    await sending;
    assert.equal(got, total);
    assert.equal(arrived.at(-1), total);
    assert.deepEqual(
      arrived,
      [...arrived].sort((x, y) => x - y),
    );
    await far.close();
    await near.closed;
    listener.close();
  });

  it("reject what was sent in place and never arrived", async () => {
    const { near, far, listener } = await accepted(16);
    // Nobody reads: the window fills.
    const sent: Promise<void>[] = [];
    for (let i = 0; i < 15; i++) {
      near.inPlace.commit((await near.inPlace.reserve()).length);
      sent.push(near.inPlace.delivered());
    }
    near.abort();
    const ends = await Promise.allSettled(sent);
    assert.equal(ends.at(-1)?.status, "rejected");
    await assert.rejects(near.inPlace.reserve(), { code: "EPIPE" });
    far.abort();
    listener.close();
  });

  it("close without an error what was reset", async () => {
    const { near, far, listener } = await accepted(14);
    far.abort();
    await assert.rejects(near.closed, { code: "ECONNRESET" });
    await near.close();
    await assert.rejects(near.closeWrite(), { code: "ECONNRESET" });
    listener.close();
  });

  it("break when the other side resets", async () => {
    const { near, far, listener } = await accepted(10);
    const reading = near.readable.getReader().read();
    far.abort();
    await assert.rejects(reading, { code: "ECONNRESET" });
    await assert.rejects(near.closed, { code: "ECONNRESET" });
    await assert.rejects(near.write(text("x")), { code: "ECONNRESET" });
    listener.close();
  });

  it("refuse, time out by signal, and check their arguments", async () => {
    await assert.rejects(client.connect({ hostname: "2001:db8::2", port: 11 }), { code: "ECONNREFUSED" });
    const signal = AbortSignal.timeout(30);
    await assert.rejects(client.connect({ hostname: "10.0.0.99", port: 11, signal }), { name: "TimeoutError" });
    await assert.rejects(client.connect({ hostname: "192.0.2.1", port: 11 }), { code: "ENETUNREACH" });
    await assert.rejects(client.connect({ hostname: "nobody", port: 11 }), { code: "EAI_AGAIN" });
    assert.throws(() => client.listen({ port: 70_000 }), { code: "EINVAL" });
    assert.throws(() => client.listen({ port: 12, hostname: "10.0.0.2" }), { code: "EADDRNOTAVAIL" });
    const listener = client.listen({ port: 12 });
    assert.throws(() => client.listen({ port: 12 }), { code: "EADDRINUSE" });
    listener.close();
    await assert.rejects(listener.accept(), { code: "ECONNABORTED" });
  });

  it("connect a host to itself", async () => {
    const listener = client.listen({ port: 13 });
    for (const hostname of ["127.0.0.1", "10.0.0.1", "::1"]) {
      const [near, far] = await Promise.all([client.connect({ hostname, port: 13 }), listener.accept()]);
      await near.write(new Uint8Array(100_000).fill(5));
      await near.closeWrite();
      let n = 0;
      for await (const chunk of far.readable) n += chunk.length;
      assert.equal(n, 100_000);
      await far.closeWrite();
    }
    listener.close();
  });

  it("take seven packets for a request with its answer and both closes", async () => {
    const pair = await Engine.create({ ports: 2, tables: 4, appBytes: 1 << 20 });
    const host = (i: number) => Host.create({ engine: pair, interfaces: [{ port: pair.port(i), addresses: [`10.1.0.${i + 1}/24`] }] });
    const [asking, answering] = [await host(0), await host(1)];
    joinPorts(pair, pair.port(0), pair.port(1));
    pair.start();
    const listener = answering.listen({ port: 7 });
    const serving = (async () => {
      const far = await listener.accept();
      const space = new Uint8Array(64);
      await far.write(space.subarray(0, (await far.read(space)) as number));
      assert.equal(await far.read(space), null);
      await far.closeWrite();
      await far.closed;
    })();
    const near = await asking.connect({ hostname: "10.1.0.2", port: 7 });
    await near.write(text("ping"));
    const space = new Uint8Array(64);
    assert.equal(await near.read(space), 4);
    await near.closeWrite();
    assert.equal(await near.read(space), null);
    await Promise.all([near.closed, serving]);
    // SYN; SYN-ACK; ACK with the request; answer; FIN; FIN; ACK.
    assert.deepEqual([asking.tcp.counters.out_segs, answering.tcp.counters.out_segs], [4, 3]);
    await pair.close();
  });

  it("carry a thousand connections at once", async () => {
    const listener = server.listen({ port: 14, backlog: 2000 });
    const serving = (async () => {
      const space = new Uint8Array(64);
      for await (const socket of listener) {
        void socket.read(space).then(async () => {
          await socket.write(text("yes"));
          await socket.closeWrite();
        });
      }
    })();
    const answers = await Promise.all(
      Array.from({ length: 1000 }, async () => {
        const socket = await client.connect({ hostname: "2001:db8::2", port: 14 });
        await socket.write(text("well?"));
        const space = new Uint8Array(16);
        const n = (await socket.read(space)) as number;
        await socket.closeWrite();
        return words(space.subarray(0, n));
      }),
    );
    assert.ok(answers.every((answer) => answer === "yes"));
    listener.close();
    await serving;
  });

  it("exchange datagrams, several endpoints on one port, and report a full queue", async () => {
    const inboxes = [0, 1].map(() => server.datagram({ port: 15, reusePort: true }));
    const senders = Array.from({ length: 32 }, () => client.datagram());
    for (const sender of senders) sender.send(text("hello"), { address: "10.0.0.2", port: 15 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const got = inboxes.map((inbox) => {
      let n = 0;
      while (inbox.tryReceive()) n++;
      return n;
    });
    assert.equal(got[0] + got[1], 32);
    assert.ok(got[0] > 0 && got[1] > 0, `shared: ${got}`);
    for (let i = 0; i < 400; i++) senders[0].send(new Uint8Array(1400), { address: "10.0.0.2", port: 15 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(inboxes[0].drops + inboxes[1].drops > 0);
    for (const socket of [...inboxes, ...senders]) socket.close();
    assert.throws(() => senders[0].send(text("x"), { address: "10.0.0.2", port: 15 }), { code: "EPIPE" });
  });
});
