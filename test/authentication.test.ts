/**
 * The TCP Authentication Option (RFC 5925): the vectors of RFC 9235, every segment of connections against codes made by
 * OpenSSL, what a receiver refuses, keys that change, sequence numbers that wrap.
 */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { type AoKey, aoKey, type Host, Lab } from "../src/index.ts";
import type { IpStack } from "../src/ip/stack.ts";
import * as c from "../src/posix/constants.ts";
import { E2BIG, EAGAIN, EBUSY, EEXIST, EINVAL, EKEYREJECTED, EMSGSIZE, ENOENT } from "../src/posix/errno.ts";
import { Process } from "../src/posix/index.ts";
import { type End, keysFor, trafficKey } from "../src/tcp/ao-key.ts";
import { authenticate, isAuthentic } from "../src/tcp/ao-segment.ts";
import { receiveExtension, sendExtension } from "../src/tcp/authentication.ts";
import { CLOSED, ESTABLISHED } from "../src/tcp/states.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { AO_VECTORS } from "./ao-vectors.ts";
import { exchange } from "./exchange.ts";
import { body, FAMILIES } from "./kernel-support.ts";
import { SEED } from "./support.ts";

const SECRET = "a secret of two routers";
const ADDRESSES = { 4: "10.0.0.2", 6: "2001:db8::2" } as const;
const AT = 256;

/** A packet of a vector as the stack would hold it: in memory, its fields in the record. */
function held(packet: Uint8Array): { stack: IpStack; place: number; source: End; destination: End; l4: number } {
  const is4 = packet[0] >> 4 === 4;
  const l4 = is4 ? 20 : 40;
  const view = new DataView(packet.buffer);
  const u8 = new Uint8Array(AT + packet.length);
  u8.set(packet, AT);
  const words = new Int32Array(abi.SEG_SIZE / 4);
  const out = new Int32Array(abi.OUT_SIZE / 4);
  const address = (at: number) => (is4 ? IpAddress.v4(view.getUint32(at)) : IpAddress.parse(hexGroups(packet.subarray(at, at + 16))));
  const source = { address: address(is4 ? 12 : 8), port: view.getUint16(l4), isn: 0 };
  const destination = { address: address(is4 ? 16 : 24), port: view.getUint16(l4 + 2), isn: 0 };
  const header = (packet[l4 + 12] >> 4) * 4;
  for (const record of [words, out]) {
    record[0] = is4 ? 4 : 6;
    source.address.write(record, abi.SEG_SOURCE / 4);
    destination.address.write(record, abi.SEG_DESTINATION / 4);
    record[abi.SEG_SOURCE_PORT / 4] = source.port;
    record[abi.SEG_DESTINATION_PORT / 4] = destination.port;
  }
  words[abi.SEG_OPTIONS / 4] = AT + l4 + 20;
  words[abi.SEG_OPTIONS_LENGTH / 4] = header - 20;
  words[abi.SEG_PAYLOAD / 4] = l4 + header;
  words[abi.SEG_PAYLOAD_LENGTH / 4] = packet.length - l4 - header;
  out[abi.OUT_SEQUENCE / 4] = view.getInt32(l4 + 4);
  out[abi.OUT_ACKNOWLEDGEMENT / 4] = view.getInt32(l4 + 8);
  out[abi.OUT_FLAGS / 4] = view.getUint16(l4 + 12) & 0x1ff;
  out[abi.OUT_WINDOW / 4] = view.getUint16(l4 + 14);
  out[abi.OUT_OPTION_BYTES / 4] = header - 20;
  new Uint8Array(out.buffer, abi.OUT_OPTIONS, header - 36).set(packet.subarray(l4 + 20, l4 + header - 16));
  if (packet.length > l4 + header) {
    out[abi.OUT_PIECES / 4] = 1;
    out[abi.OUT_PIECE / 4] = AT + l4 + header;
    out[abi.OUT_PIECE / 4 + 1] = packet.length - l4 - header;
  }
  const fields = new Map([
    [abi.DESC_LENGTH, packet.length],
    [abi.DESC_NEXT, abi.NONE],
    [abi.DESC_DATA, AT],
  ]);
  const memory = { u8, descriptor: () => 0, getU32: (at: number) => fields.get(at) ?? 0 };
  return { stack: { words, out, engine: { memory } } as unknown as IpStack, place: AT + l4 + header - 16, source, destination, l4 };
}

function hexGroups(bytes: Uint8Array): string {
  return (Buffer.from(bytes).toString("hex").match(/.{4}/g) ?? []).join(":");
}

describe("vectors of RFC 9235", () => {
  for (const [section, algorithm, coversOptions, sourceIsn, destinationIsn, expected, hex] of AO_VECTORS) {
    it(`§${section}: ${algorithm}${coversOptions ? "" : " without options"}`, () => {
      const packet = new Uint8Array(Buffer.from(hex, "hex"));
      const { stack, place, source, destination } = held(packet);
      const [sendId, next] = packet.subarray(place - AT + 2, place - AT + 4);
      const key = aoKey("::/0", "testvector", { sendId, recvId: next, algorithm, coversOptions });
      const traffic = trafficKey(key, { ...source, isn: sourceIsn | 0 }, { ...destination, isn: destinationIsn | 0 });
      assert.equal(Buffer.from(traffic).toString("hex"), expected);
      const use = { key, traffic, sne: 0 };
      assert.ok(isAuthentic(stack, 1, use, place));
      authenticate(stack, use, next);
      const made = new Uint8Array(stack.out.buffer, abi.OUT_OPTIONS, stack.out[abi.OUT_OPTION_BYTES / 4]).slice(-16);
      assert.deepEqual(made, packet.slice(place - AT, place - AT + 16));
      assert.ok(!isAuthentic(stack, 1, { ...use, sne: 1 }, place));
      // One bit anywhere that is covered.
      for (const at of [place - AT + 2, place - AT + 15, packet.length - 1]) {
        stack.engine.memory.u8[AT + at] ^= 1;
        assert.ok(!isAuthentic(stack, 1, use, place), `byte ${at}`);
        stack.engine.memory.u8[AT + at] ^= 1;
      }
      stack.engine.memory.u8[place - 12] ^= 1;
      assert.equal(isAuthentic(stack, 1, use, place), !coversOptions);
    });
  }
});

interface Found {
  keyId: number;
  next: number;
  flags: number;
  seq: number;
  isFromServer: boolean;
  length: number;
  code: string;
  made(secret: string, source: number, destination: number, sne: number): string;
}

/** The option of a frame, and a code for it by the words of RFC 5925 §5.1 and RFC 5926 §3.1.1.1 with HMAC-SHA-1. */
function option(frame: Uint8Array): Found | undefined {
  const is4 = frame[12] === 8;
  const l4 = 14 + (is4 ? 20 : 40);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const end = is4 ? 14 + view.getUint16(16) : l4 + view.getUint16(18);
  const segment = Buffer.from(frame.slice(l4, end));
  const header = (segment[12] >> 4) * 4;
  const hosts = frame.subarray(is4 ? 26 : 22, l4);
  let at = 20;
  while (at < header && segment[at] !== 29) at += segment[at] === 1 ? 1 : segment[at + 1];
  if (at >= header || segment[at + 1] !== 16) return undefined;
  const made = (secret: string, source: number, destination: number, sne: number) => {
    const isns = Buffer.alloc(14);
    isns.set(segment.subarray(0, 4));
    isns.writeInt32BE(source | 0, 4);
    isns.writeInt32BE(destination | 0, 8);
    isns.writeUInt16BE(160, 12);
    const traffic = createHmac("sha1", secret).update("\x01TCP-AO").update(hosts).update(isns).digest();
    const pseudo = Buffer.alloc(is4 ? 4 : 8);
    if (is4) pseudo.writeUInt16BE(segment.length, 2);
    else pseudo.writeUInt32BE(segment.length, 0);
    pseudo[is4 ? 1 : 7] = 6;
    const bare = Buffer.from(segment)
      .fill(0, 16, 18)
      .fill(0, at + 4, at + 16);
    const extension = Buffer.alloc(4);
    extension.writeInt32BE(sne | 0);
    return createHmac("sha1", traffic).update(extension).update(hosts).update(pseudo).update(bare).digest("hex").slice(0, 24);
  };
  return {
    keyId: segment[at + 2],
    next: segment[at + 3],
    flags: segment[13],
    seq: segment.readUInt32BE(4),
    isFromServer: segment.readUInt16BE(0) === 80,
    length: segment.length - header,
    code: segment.subarray(at + 4, at + 16).toString("hex"),
    made,
  };
}

interface Net {
  lab: Lab;
  a: Host;
  b: Host;
  frames: Uint8Array[];
}

/** Two hosts and a wire that keeps the TCP segments it carries, and loses every `loss`-th large one. */
async function pair({
  loss = 0,
  handshakes = undefined as number | undefined,
  first = undefined as number | undefined,
} = {}): Promise<Net> {
  const lab = await Lab.create({ seed: SEED });
  const make = (n: number) => lab.host({ handshakes, interfaces: [{ addresses: [`10.0.0.${n}/24`, `2001:db8::${n}/64`] }] });
  const [a, b] = [await make(1), await make(2)];
  for (const host of first === undefined ? [] : [a, b])
    Object.assign(host.tcp.hash, { hash: () => ((first ?? 0) - Math.floor(host.ip.now * 250)) | 0 });
  const [from, to] = [a.ip.interface("eth0").port, b.ip.interface("eth0").port];
  const frames: Uint8Array[] = [];
  let large = 0;
  const carry = (frame: Uint8Array, target: typeof from) => {
    const copy = frame.slice();
    if (copy[copy[12] === 8 ? 23 : 20] === 6) frames.push(copy);
    if (copy.length > 500 && loss > 0 && ++large % loss === 0) return;
    target.receive(copy);
  };
  const poll = () => from.transmitted((frame) => carry(frame, to), 256) + to.transmitted((frame) => carry(frame, from), 256);
  lab.engine.attach({ name: "tapped wire", poll });
  return { lab, a, b, frames };
}

const both = (
  secret: string,
  ids: { sendId: number; recvId: number; algorithm?: AoKey["algorithm"]; coversOptions?: boolean },
): AoKey[] => [aoKey("10.0.0.0/24", secret, ids), aoKey("2001:db8::/64", secret, ids)];
const CLIENT = { sendId: 61, recvId: 84 };
const SERVER = { sendId: 84, recvId: 61 };

async function open({ lab, a, b }: Net, family: 4 | 6, client: Partial<TcpOptions>, server: Partial<TcpOptions>) {
  const listener = b.tcp.listen(undefined, 80, 8, server);
  const tcb = a.tcp.connect(IpAddress.parse(ADDRESSES[family]), 80, {}, client);
  await lab.run(3000, () => listener.waiting > 0 || tcb.state === CLOSED);
  return { client: tcb, server: listener.accept() as Tcb, listener };
}

function ao(host: Host): number[] {
  const { ao_bad, ao_key_not_found, ao_required } = host.tcp.counters;
  return [ao_bad, ao_key_not_found, ao_required];
}

/** Codes of all segments, made anew; sequence numbers below the initial one have wrapped. */
function allAuthentic(frames: readonly Uint8Array[], secret: string, { iss, irs }: { iss: number; irs: number }): void {
  for (const frame of frames) {
    const found = option(frame);
    assert.ok(found);
    const { flags, seq, isFromServer, code, made } = found;
    const [own, other] = isFromServer ? [irs, iss] : [iss, irs];
    const isFirst = (flags & 0x12) === 2;
    assert.equal(code, made(secret, own, isFirst ? 0 : other, seq < own >>> 0 ? 1 : 0), `flags ${flags}, number ${seq}`);
  }
}

describe("authenticated connections", () => {
  for (const family of FAMILIES) {
    for (const [what, first] of [
      ["", undefined],
      [", where numbers wrap", -50_000],
    ] as const) {
      it(`IPv${family}: every segment from SYN to FIN, none too large, through loss${what}`, async () => {
        const net = await pair({ loss: 20, first });
        const { client, server } = await open(net, family, { aoKeys: both(SECRET, CLIENT) }, { aoKeys: both(SECRET, SERVER) });
        await exchange(net.lab, [client, server], 200_000);
        allAuthentic(net.frames, SECRET, client);
        assert.ok(net.frames.some((frame) => frame.length === 1514) && net.frames.every((frame) => frame.length <= 1514));
        assert.ok(server.retransmissions > 0 && server.sackOk && server.timestampsOk);
        assert.deepEqual([...ao(net.a), ...ao(net.b)], [0, 0, 0, 0, 0, 0]);
        assert.ok(net.b.tcp.counters.ao_good > 150);
        assert.equal(net.a.tcp.size + net.b.tcp.size, 0);
        for (const frame of net.frames) {
          const found = option(frame) as Found;
          assert.deepEqual([found.keyId, found.next], found.isFromServer ? [84, 61] : [61, 84]);
        }
      });
    }

    it(`IPv${family}: AES-128-CMAC-96, options not covered`, async () => {
      const net = await pair({ loss: 15 });
      const how = { algorithm: "AES-128-CMAC-96", coversOptions: false } as const;
      const { client, server } = await open(
        net,
        family,
        { aoKeys: both("0123456789abcdef", { ...CLIENT, ...how }) },
        { aoKeys: both("0123456789abcdef", { ...SERVER, ...how }) },
      );
      await exchange(net.lab, [client, server], 100_000);
      assert.deepEqual([...ao(net.a), ...ao(net.b)], [0, 0, 0, 0, 0, 0]);
      assert.equal(net.a.tcp.size + net.b.tcp.size, 0);
    });
  }

  it("SYN cookies are authenticated, and connections that come of them", async () => {
    const net = await pair({ handshakes: 0 });
    const { client, server } = await open(net, 4, { aoKeys: both(SECRET, CLIENT) }, { aoKeys: both(SECRET, SERVER) });
    assert.equal(net.b.tcp.counters.syncookies_received, 1);
    await exchange(net.lab, [client, server], 50_000);
    allAuthentic(net.frames, SECRET, client);
  });

  it("refuses what is missing, unknown or wrong, as Linux counts it", async () => {
    const keys = both(SECRET, CLIENT);
    for (const [client, counter] of [
      [{}, "ao_required"],
      [{ aoKeys: both("another secret", CLIENT) }, "ao_bad"],
      [{ aoKeys: both(SECRET, { sendId: 1, recvId: 84 }) }, "ao_key_not_found"],
      [{ aoKeys: both(SECRET, { ...CLIENT, coversOptions: false }) }, "ao_bad"],
    ] as const) {
      const net = await pair();
      const { client: tcb, server } = await open(net, 4, client, { aoKeys: both(SECRET, SERVER) });
      assert.equal(server, undefined);
      assert.notEqual(tcb.state, ESTABLISHED);
      assert.ok(net.b.tcp.counters[counter] > 0, counter);
      assert.ok(
        net.frames.every((frame) => option(frame)?.isFromServer !== true),
        "nothing is answered",
      );
    }
    const net = await pair();
    const { server } = await open(net, 4, { aoKeys: keys }, {});
    assert.equal(server, undefined);
    assert.ok(net.b.tcp.counters.ao_key_not_found > 0);
  });

  it("a reset and text that were not signed with the key change nothing; ICMP does not end it", async () => {
    const net = await pair();
    const { client, server } = await open(net, 4, { aoKeys: both(SECRET, CLIENT) }, { aoKeys: both(SECRET, SERVER) });
    user.write(client, body(900));
    await net.lab.run(100);
    const sent = net.frames.find((frame) => (option(frame)?.length ?? 0) > 0) as Uint8Array;
    const end = 14 + new DataView(sent.buffer).getUint16(16);
    const forged = sent.slice();
    // The checksum stays right: words of the payload change places.
    [forged[end - 4], forged[end - 2]] = [forged[end - 2], forged[end - 4]];
    const [bad] = ao(net.b);
    net.b.ip.interface("eth0").port.receive(forged);
    await net.lab.run(5);
    assert.equal(ao(net.b)[0], bad + 1);
    assert.equal(server.state, ESTABLISHED);
    assert.equal(user.readable(server), 900);
    const report = {
      kind: "portUnreachable",
      type: 3,
      code: 3,
      from: server.remote,
      source: server.local,
      destination: server.remote,
      transport: new Uint8Array(8),
    };
    user.write(server, body(100));
    new DataView(report.transport.buffer).setUint16(0, 80);
    new DataView(report.transport.buffer).setUint16(2, server.remotePort);
    new DataView(report.transport.buffer).setInt32(4, server.una);
    net.b.tcp.failed(report as unknown as Parameters<typeof net.b.tcp.failed>[0]);
    assert.equal(net.b.tcp.counters.ao_dropped_icmps, 1);
    assert.equal(server.softError, undefined);
  });

  it("moves to the key that the peer asks for, without a segment lost (§6.1)", async () => {
    const net = await pair();
    const second = { client: both("the next secret", { sendId: 7, recvId: 8 }), server: both("the next secret", { sendId: 8, recvId: 7 }) };
    const { client, server } = await open(
      net,
      4,
      { aoKeys: [...both(SECRET, CLIENT), ...second.client] },
      { aoKeys: [...both(SECRET, SERVER), ...second.server] },
    );
    user.write(client, body(1000));
    await net.lab.run(200);
    assert.equal(client.ao?.current.key.sendId, 61);
    user.setNextKey(server, 7);
    user.write(server, body(1000));
    await net.lab.run(200);
    assert.deepEqual([client.ao?.current.key.sendId, server.ao?.current.key.sendId], [7, 84]);
    net.frames.length = 0;
    user.write(client, body(1000));
    await net.lab.run(200);
    const fromClient = net.frames.map((frame) => option(frame) as Found).filter((found) => !found.isFromServer);
    assert.ok(fromClient.length > 0);
    for (const { keyId, code, made } of fromClient) {
      assert.equal(keyId, 7);
      assert.equal(code, made("the next secret", client.iss, client.irs, 0));
    }
    user.setNextKey(client, 8);
    user.write(client, body(10));
    await net.lab.run(200);
    assert.equal(server.ao?.current.key.sendId, 8);
    // The old keys are no longer needed.
    user.removeKey(client, 61, 84);
    user.removeKey(server, 84, 61);
    assert.throws(() => user.removeKey(client, 7, 8), { code: "EBUSY" });
    assert.throws(() => user.removeKey(client, 1, 2), { code: "ENOENT" });
    for (const tcb of [client, server]) user.discard(tcb, 10_000);
    user.close(client);
    user.close(server);
    await net.lab.run(200_000);
    assert.deepEqual([...ao(net.a), ...ao(net.b)], [0, 0, 0, 0, 0, 0]);
    assert.equal(net.a.tcp.size + net.b.tcp.size, 0);
  });

  it("chooses keys by prefix, of several with one identifier the longest; refuses keys that are none", () => {
    const keys = [
      aoKey("10.0.0.0/8", "wide", { sendId: 1, recvId: 1 }),
      aoKey("10.1.0.0/16", "narrow", { sendId: 1, recvId: 1 }),
      aoKey("10.0.0.0/8", "other", { sendId: 2, recvId: 2 }),
    ];
    const secrets = (peer: string) => keysFor(keys, IpAddress.parse(peer)).map(({ secret }) => new TextDecoder().decode(secret));
    assert.deepEqual(secrets("10.2.0.1"), ["wide", "other"]);
    assert.deepEqual(secrets("10.1.0.1"), ["narrow", "other"]);
    assert.deepEqual(secrets("11.0.0.1"), []);
    assert.throws(() => aoKey("10.0.0.1", "", CLIENT), { code: "EINVAL" });
    assert.throws(() => aoKey("10.0.0.1", "x", { sendId: 256, recvId: 0 }), { code: "EINVAL" });
    assert.throws(() => aoKey("10.0.0.1", "x", { ...CLIENT, algorithm: "MD5" as never }), { code: "EINVAL" });
  });

  it("extends sequence numbers over many rounds (§6.2)", () => {
    const at = { iss: -10, irs: -10, una: 0, bytesAcked: 0, received: 0, bytesReceived: 0, finReceived: false };
    for (const [offset, sne] of [
      [1, 0],
      [9, 0],
      [10, 1],
      [2 ** 32 + 9, 1],
      [2 ** 32 + 10, 2],
      [5 * 2 ** 32 + 100, 6],
    ]) {
      const seq = (at.iss + offset) | 0;
      const here = { ...at, una: seq, bytesAcked: offset, received: seq, bytesReceived: offset - 1 };
      assert.equal(sendExtension(here, seq), sne);
      assert.equal(receiveExtension(here, seq), sne);
      assert.equal(receiveExtension({ ...here, bytesReceived: offset - 2, finReceived: true }, seq), sne);
      // What is repeated from before the wrap has the number of then.
      assert.equal(sendExtension(here, (seq - 1000) | 0), Math.floor((2 ** 32 - 10 + offset - 1000) / 2 ** 32));
    }
  });
});

/** struct tcp_ao_add. */
function add(
  last: number,
  secret: string,
  ids: readonly [number, number],
  {
    flags = 0,
    prefix = 32,
    algorithm = "hmac(sha1)",
    keyFlags = 0,
    length = secret.length,
    mac = 0,
    port = 0,
    family = c.AF_INET as number,
  } = {},
): Buffer {
  const out = Buffer.alloc(288);
  out.writeUInt16LE(family);
  out.writeUInt16BE(port, 2);
  if (prefix > 0) out.set([10, 0, 0, last], 4);
  out.write(algorithm, 128);
  out.writeUInt32LE(flags, 196);
  out.set([prefix, ids[0], ids[1], mac, keyFlags, length], 202);
  out.write(secret, 208);
  return out;
}

/** struct tcp_ao_del. */
function del(last: number, ids: readonly [number, number], { flags = 0, current = 0, next = 0 } = {}): Buffer {
  const out = Buffer.alloc(144);
  out.writeUInt16LE(c.AF_INET);
  out.set([10, 0, 0, last], 4);
  out.writeUInt32LE(flags, 132);
  out.set([32, ...ids, current, next], 138);
  return out;
}

/** struct tcp_ao_info_opt. */
function info(flags: number, current = 0, next = 0): Buffer {
  const out = Buffer.alloc(48);
  out.writeUInt32LE(flags);
  out.set([current, next], 6);
  return out;
}

describe("keys as Linux's setsockopt has them", () => {
  const name = { family: c.AF_INET, address: "10.0.0.2", port: 80 };
  const SET_CURRENT = 1;
  const SET_NEXT = 2;

  async function sockets() {
    const net = await pair();
    const [client, server] = [new Process(net.a), new Process(net.b)];
    const fd = client.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK, 0);
    const listening = server.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK, 0);
    server.bind(listening, name);
    return { net, client, server, fd, listening };
  }

  it("connects, counts, moves to another key, and lists them", async () => {
    const { net, client, server, fd, listening } = await sockets();
    const set = (process: Process, socket: number, option: number, value: Buffer) =>
      process.setsockopt(socket, c.IPPROTO_TCP, option, value);
    assert.equal(set(client, fd, c.TCP_AO_ADD_KEY, add(2, "first", [1, 2])), 0);
    assert.equal(set(client, fd, c.TCP_AO_ADD_KEY, add(2, "second", [3, 4])), 0);
    assert.equal(set(client, fd, c.TCP_AO_INFO, info(SET_CURRENT | SET_NEXT, 1, 2)), 0);
    assert.equal(set(server, listening, c.TCP_AO_ADD_KEY, add(1, "second", [4, 3])), 0);
    assert.equal(set(server, listening, c.TCP_AO_ADD_KEY, add(0, "first", [2, 1], { prefix: 24 })), 0);
    server.listen(listening, 8);
    client.connect(fd, name);
    await net.lab.run(200);
    const accepted = server.accept(listening);
    assert.ok(accepted >= 0);
    assert.equal(client.send(fd, body(1000), 0), 1000);
    await net.lab.run(100);
    const read = (process: Process, socket: number) => {
      const into = Buffer.alloc(48);
      assert.equal(process.getsockopt(socket, c.IPPROTO_TCP, c.TCP_AO_INFO, into), 48);
      return {
        flags: into.readUInt32LE(),
        current: into[6],
        next: into[7],
        good: Number(into.readBigUInt64LE(8)),
        bad: Number(into.readBigUInt64LE(16)),
      };
    };
    const before = read(server, accepted);
    assert.deepEqual([before.flags, before.current, before.next, before.bad], [3, 2, 1, 0]);
    assert.ok(before.good >= 2);
    // The server asks for its other key, then uses it itself.
    assert.equal(set(server, accepted, c.TCP_AO_INFO, info(SET_CURRENT | SET_NEXT, 4, 3)), 0);
    assert.equal(server.send(accepted, body(10), 0), 10);
    await net.lab.run(100);
    assert.deepEqual([read(client, fd).current, read(client, fd).next], [3, 2]);
    assert.equal(set(client, fd, c.TCP_AO_DEL_KEY, del(2, [1, 2])), -EBUSY);
    assert.equal(set(client, fd, c.TCP_AO_DEL_KEY, del(2, [1, 2], { flags: SET_NEXT, next: 4 })), 0);
    assert.equal(set(client, fd, c.TCP_AO_DEL_KEY, del(2, [1, 2])), -ENOENT);
    const place = Buffer.alloc(2 * 304);
    place.writeUInt32LE(2, 272);
    place.writeUInt16LE(4, 276);
    assert.equal(client.getsockopt(fd, c.IPPROTO_TCP, c.TCP_AO_GET_KEYS, place), 304);
    assert.equal(place.readUInt32LE(272), 1);
    assert.equal(place.toString("latin1", 128, 138), "hmac(sha1)");
    assert.equal(place.toString("latin1", 192, 198), "second");
    assert.deepEqual([...place.subarray(276, 284)], [3, 0, 3, 4, 32, 12, 0, 6]);
    assert.equal(client.send(fd, body(10), 0), 10);
    await net.lab.run(100);
    assert.equal(server.recv(accepted, new Uint8Array(2000), 0), 1010);
    assert.equal(read(server, accepted).bad, 0);
  });

  it("a listener that requires keys takes nobody without", async () => {
    const { net, client, server, fd, listening } = await sockets();
    assert.equal(server.setsockopt(listening, c.IPPROTO_TCP, c.TCP_AO_INFO, info(4)), 0);
    server.listen(listening, 8);
    client.connect(fd, name);
    await net.lab.run(2000);
    assert.equal(server.accept(listening), -EAGAIN);
    assert.ok(net.b.tcp.counters.ao_required > 0);
  });

  it("refuses what Linux refuses", async () => {
    const { client, fd, server, listening } = await sockets();
    const set = (option: number, value: Buffer) => client.setsockopt(fd, c.IPPROTO_TCP, option, value);
    assert.equal(client.getsockopt(fd, c.IPPROTO_TCP, c.TCP_AO_INFO, Buffer.alloc(48)), -ENOENT);
    assert.equal(set(c.TCP_AO_DEL_KEY, del(2, [1, 2])), -ENOENT);
    const good = add(2, "k", [1, 2]);
    const wrong: [Buffer, number][] = [
      [good.subarray(0, 287), EINVAL],
      [Buffer.concat([good, Buffer.of(1)]), E2BIG],
      [add(2, "k", [1, 2], { length: 81 }), EINVAL],
      [add(2, "k", [1, 2], { port: 179 }), EINVAL],
      [add(2, "k", [1, 2], { prefix: 33 }), EINVAL],
      [add(2, "k", [1, 2], { prefix: 24 }), EINVAL],
      [add(2, "k", [1, 2], { keyFlags: 4 }), EINVAL],
      [add(2, "k", [1, 2], { flags: 4 }), EINVAL],
      [add(2, "k", [1, 2], { algorithm: "hmac(nothing)" }), ENOENT],
      [add(2, "k", [1, 2], { algorithm: "constructor" }), ENOENT],
      [add(2, "k", [1, 2], { algorithm: "cmac(aes)" }), EINVAL],
      [add(2, "k", [1, 2], { mac: 17 }), EMSGSIZE],
      [add(2, "k", [1, 2], { family: c.AF_INET6 }), EINVAL],
    ];
    for (const [i, [value, error]] of wrong.entries()) assert.equal(set(c.TCP_AO_ADD_KEY, value), -error, String(i));
    assert.equal(set(c.TCP_AO_ADD_KEY, Buffer.concat([good, Buffer.alloc(8)])), 0);
    assert.equal(set(c.TCP_AO_ADD_KEY, add(2, "k", [1, 9])), -EEXIST);
    assert.equal(set(c.TCP_AO_ADD_KEY, add(0, "k", [9, 2], { prefix: 24 })), -EEXIST);
    assert.equal(set(c.TCP_AO_ADD_KEY, add(3, "k", [1, 2])), 0);
    assert.equal(set(c.TCP_AO_ADD_KEY, add(0, "any", [7, 7], { prefix: 0, algorithm: "cmac(aes128)" })), 0);
    assert.equal(set(c.TCP_AO_INFO, info(SET_CURRENT, 99)), -ENOENT);
    assert.equal(set(c.TCP_AO_INFO, info(32)), -EINVAL);
    const md5 = Buffer.alloc(216);
    md5.set([c.AF_INET, 0, 0, 0, 10, 0, 0, 2]);
    md5.writeUInt16LE(1, 130);
    assert.equal(client.setsockopt(fd, c.IPPROTO_TCP, c.TCP_MD5SIG, md5), -EKEYREJECTED);
    assert.equal(server.setsockopt(listening, c.IPPROTO_TCP, c.TCP_MD5SIG, md5), 0);
    assert.equal(server.setsockopt(listening, c.IPPROTO_TCP, c.TCP_AO_ADD_KEY, add(2, "k", [1, 2])), -EKEYREJECTED);
    assert.equal(server.setsockopt(listening, c.IPPROTO_TCP, c.TCP_AO_INFO, info(4)), -EKEYREJECTED);
    server.listen(listening, 1);
    assert.equal(server.setsockopt(listening, c.IPPROTO_TCP, c.TCP_AO_ADD_KEY, add(5, "k", [1, 2], { flags: SET_CURRENT })), -EINVAL);
  });
});
