/** `dgram` of a host against `dgram` of Node: one suite over both, as in node-net.test.ts. */
import assert from "node:assert/strict";
import type { RemoteInfo, Socket } from "node:dgram";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { ofNode, ofPacketloom, type Place } from "./node/places.ts";

for (const make of [ofNode, ofPacketloom]) {
  describe(`dgram, over ${make === ofNode ? "node:dgram" : "packetloom"}`, () => {
    let place: Place;
    before(async () => {
      place = await make();
    });
    after(() => place.close());

    const test = (name: string, run: () => Promise<void>) => it(name, { timeout: 10_000 }, run);
    const bound = async (address = place.address, type: "udp4" | "udp6" = "udp4"): Promise<Socket> => {
      const socket = place.far.dgram.createSocket(type);
      socket.bind(0, address);
      await once(socket, "listening");
      return socket;
    };
    const next = (socket: Socket) => once(socket, "message") as Promise<[Buffer, RemoteInfo]>;

    test("sends and answers, and says from whom", async () => {
      const server = await bound();
      const { port } = server.address();
      const client = place.near.dgram.createSocket("udp4");
      client.send("question", port, place.address);
      const [message, from] = await next(server);
      assert.equal(String(message), "question");
      assert.ok(Buffer.isBuffer(message));
      assert.deepEqual(from, { address: place.nearAddress, family: "IPv4", port: client.address().port, size: 8 });
      server.send(Buffer.from("answer"), from.port, from.address);
      const [answer, server2] = await next(client);
      assert.deepEqual([String(answer), server2.port], ["answer", port]);
      assert.deepEqual(server.address(), { address: place.address, family: "IPv4", port });
      client.close();
      server.close();
    });

    test("takes the arguments of send in every form", async () => {
      const server = await bound();
      const { port } = server.address();
      const client = place.near.dgram.createSocket("udp4");
      const to = place.address;
      const bytes = Buffer.from("0123456789");
      const send = client.send.bind(client) as (...args: unknown[]) => void;
      const forms: [unknown[], string][] = [
        [["text", port, to], "text"],
        [[bytes, port, to], "0123456789"],
        [[new Uint8Array([65, 66]), port, to], "AB"],
        [[new DataView(bytes.buffer, bytes.byteOffset, 3), port, to], "012"],
        [[bytes, 2, 3, port, to], "234"],
        [[["a", Buffer.from("b"), "c"], port, to], "abc"],
        [[[], port, to], ""],
        [["", port, to], ""],
      ];
      for (const [form, expected] of forms) {
        send(...form);
        assert.equal(String((await next(server))[0]), expected);
        const sent = new Promise((resolve) => send(...form, (error: Error | null, n: number) => resolve([error, n])));
        assert.equal(String((await next(server))[0]), expected);
        assert.deepEqual(await sent, [null, expected.length]);
      }
      assert.throws(() => send("x", 0, to), { code: "ERR_SOCKET_BAD_PORT" });
      assert.throws(() => send(5, port, to), { code: "ERR_INVALID_ARG_TYPE" });
      assert.throws(() => send(bytes, 8, 3, port, to), { code: "ERR_BUFFER_OUT_OF_BOUNDS" });
      assert.throws(() => send("x", port, 7), { code: "ERR_INVALID_ARG_TYPE" });
      client.close();
      server.close();
    });

    test("connects, disconnects, and hears one peer only", async () => {
      const [server, stranger] = [await bound(), await bound()];
      const client = place.near.dgram.createSocket("udp4");
      assert.throws(() => client.disconnect(), { code: "ERR_SOCKET_DGRAM_NOT_CONNECTED" });
      client.connect(server.address().port, place.address);
      await once(client, "connect");
      assert.deepEqual(client.remoteAddress(), { address: place.address, family: "IPv4", port: server.address().port });
      assert.throws(() => client.connect(1), { code: "ERR_SOCKET_DGRAM_IS_CONNECTED" });
      assert.throws(() => client.send("x", 0, 1, 5, place.address), { code: "ERR_SOCKET_DGRAM_IS_CONNECTED" });
      assert.throws(() => client.send("x", 5, place.address, () => {}), { code: "ERR_SOCKET_DGRAM_IS_CONNECTED" });
      client.send("to the one");
      assert.equal(String((await next(server))[0]), "to the one");
      client.send(Buffer.from("0123"), 1, 2);
      const [part, { port }] = await next(server);
      assert.equal(String(part), "12");
      stranger.send("not heard", port, place.nearAddress);
      server.send("heard", port, place.nearAddress);
      assert.equal(String((await next(client))[0]), "heard");
      client.disconnect();
      assert.throws(() => client.remoteAddress(), { code: "ERR_SOCKET_DGRAM_NOT_CONNECTED" });
      for (const socket of [client, server, stranger]) socket.close();
    });

    test("reports a port that nobody listens on to a connected socket", async () => {
      const server = await bound();
      const { port } = server.address();
      server.close();
      const client = place.near.dgram.createSocket("udp4");
      client.connect(port, place.address);
      await once(client, "connect");
      client.send("anybody?");
      const [error] = (await once(client, "error")) as [NodeJS.ErrnoException];
      assert.equal(error.message, "recvmsg ECONNREFUSED");
      assert.deepEqual([error.errno, error.syscall], [-111, "recvmsg"]);
      client.close();
    });

    test("words errors of bind and send as Node does", async () => {
      const server = await bound();
      const { port } = server.address();
      const second = place.far.dgram.createSocket("udp4");
      second.bind(port, place.address);
      const [error] = (await once(second, "error")) as [NodeJS.ErrnoException];
      assert.equal(error.message, `bind EADDRINUSE ${place.address}:${port}`);
      const third = place.far.dgram.createSocket("udp4");
      third.bind(0, "192.0.2.77");
      assert.equal(((await once(third, "error")) as [Error])[0].message, "bind EADDRNOTAVAIL 192.0.2.77");
      const failure = await new Promise<NodeJS.ErrnoException | null>((resolve) =>
        server.send(Buffer.alloc(65_508), port, place.address, (failed) => resolve(failed)),
      );
      assert.equal(failure?.message, `send EMSGSIZE ${place.address}:${port}`);
      assert.throws(() => server.bind(), { code: "ERR_SOCKET_ALREADY_BOUND" });
      server.close();
      assert.throws(() => server.send("x", 1), { code: "ERR_SOCKET_DGRAM_NOT_RUNNING" });
      assert.throws(() => server.close(), { code: "ERR_SOCKET_DGRAM_NOT_RUNNING" });
      assert.throws(() => place.near.dgram.createSocket("tcp" as never), { code: "ERR_SOCKET_BAD_TYPE" });
    });

    test("carries 60,000 bytes, and IPv6; a udp6 socket shows IPv4 peers as mapped", async () => {
      const server = await bound("::", "udp6");
      const { port } = server.address();
      assert.equal(server.address().family, "IPv6");
      const [four, six] = [place.near.dgram.createSocket("udp4"), place.near.dgram.createSocket("udp6")];
      const large = Buffer.alloc(60_000, "x");
      // The neighbour is found first: what waits for it is bounded.
      six.send("small", port, place.address6);
      await next(server);
      six.send(large, port, place.address6);
      const [message, from] = await next(server);
      assert.equal(message.length, 60_000);
      assert.deepEqual([from.family, from.size], ["IPv6", 60_000]);
      four.send("four", port, place.address);
      const [, mapped] = await next(server);
      assert.deepEqual([mapped.address, mapped.family], [`::ffff:${place.nearAddress}`, "IPv6"]);
      server.send("back", mapped.port, mapped.address);
      assert.equal(String((await next(four))[0]), "back");
      for (const socket of [four, six, server]) socket.close();
    });

    test("has options, and checks them", async () => {
      const socket = await bound();
      assert.equal(socket.setTTL(7), 7);
      assert.equal(socket.setMulticastTTL(3), 3);
      assert.throws(() => socket.setTTL(0), { code: "EINVAL", syscall: "setTTL", message: "setTTL EINVAL" });
      assert.throws(() => socket.setTTL("1" as never), { code: "ERR_INVALID_ARG_TYPE" });
      assert.throws(() => socket.setMulticastTTL(256), { code: "EINVAL" });
      assert.throws(() => socket.addMembership(""), { code: "ERR_MISSING_ARGS" });
      assert.throws(() => socket.addMembership("10.1.1.1"), { code: "EINVAL", syscall: "addMembership" });
      assert.throws(() => socket.setRecvBufferSize(-1), { code: "ERR_SOCKET_BAD_BUFFER_SIZE" });
      socket.setRecvBufferSize(100_000);
      assert.ok(socket.getRecvBufferSize() >= 100_000);
      socket.setBroadcast(true);
      socket.setMulticastLoopback(true);
      assert.equal(socket.ref(), socket);
      assert.equal(socket.unref(), socket);
      await new Promise<void>((resolve) => socket.close(resolve));
    });

    test("obeys a signal, and can be closed before it is bound", async () => {
      const aborter = new AbortController();
      const aborted = place.near.dgram.createSocket({ type: "udp4", signal: aborter.signal });
      aborter.abort();
      await once(aborted, "close");
      const early = place.near.dgram.createSocket("udp4");
      early.bind(() => assert.fail("it was closed"));
      early.close();
      await once(early, "close");
    });
  });
}

describe("dgram of a host", () => {
  it("hears a group that it joined, and not one that it left", { timeout: 10_000 }, async () => {
    const { near, far, close } = await ofPacketloom();
    const [member, sender] = [far.dgram.createSocket("udp4"), near.dgram.createSocket("udp4")];
    member.bind(5000);
    await once(member, "listening");
    member.addMembership("239.1.2.3", "10.0.0.2");
    sender.send("to all", 5000, "239.1.2.3");
    const [message, from] = (await once(member, "message")) as [Buffer, RemoteInfo];
    assert.deepEqual([String(message), from.address], ["to all", "10.0.0.1"]);
    assert.throws(() => member.addMembership("239.1.2.3", "eth0"), { code: "EADDRINUSE", syscall: "addMembership" });
    member.dropMembership("239.1.2.3");
    member.addSourceSpecificMembership("10.0.0.1", "232.1.1.1");
    sender.send("not heard", 5000, "239.1.2.3");
    sender.send("heard", 5000, "232.1.1.1");
    assert.equal(String(((await once(member, "message")) as [Buffer])[0]), "heard");
    member.close();
    sender.close();
    await close();
  });
});
