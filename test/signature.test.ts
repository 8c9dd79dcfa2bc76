/**
 * MD5 signatures (RFC 2385): every segment of both roles against a digest made by OpenSSL, what a receiver refuses, and the
 * Linux kernel with TCP_MD5SIG over TAP.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { type Host, Lab, type Md5Key, md5Key } from "../src/index.ts";
import * as c from "../src/posix/constants.ts";
import { Process } from "../src/posix/index.ts";
import { abort } from "../src/tcp/end.ts";
import { secretFor } from "../src/tcp/signature.ts";
import { CLOSED, ESTABLISHED } from "../src/tcp/states.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { exchange } from "./exchange.ts";
import { body, FAMILIES, missing, type Namespace, overTap, readAll, sha } from "./kernel-support.ts";
import { SEED } from "./support.ts";

const SECRET = "a secret of two routers";
const ADDRESSES = { 4: "10.0.0.2", 6: "2001:db8::2" } as const;

/** The digest of a frame's TCP segment, by the words of RFC 2385 §2.0, and the one that it carries. */
function digests(frame: Uint8Array, secret: string): { made: string; found: string | undefined; flags: number; length: number } {
  const is4 = frame[12] === 8;
  const l4 = 14 + (is4 ? 20 : 40);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const end = is4 ? 14 + view.getUint16(16) : l4 + view.getUint16(18);
  const segment = Buffer.from(frame.slice(l4, end));
  const header = (segment[12] >> 4) * 4;
  const pseudo = Buffer.alloc(is4 ? 4 : 8);
  if (is4) pseudo.writeUInt16BE(segment.length, 2);
  else pseudo.writeUInt32BE(segment.length, 0);
  pseudo[is4 ? 1 : 7] = 6;
  const fixed = Buffer.from(segment.subarray(0, 20)).fill(0, 16, 18);
  const hash = createHash("md5")
    .update(frame.subarray(is4 ? 26 : 22, l4))
    .update(pseudo)
    .update(fixed);
  const made = hash.update(segment.subarray(header)).update(secret).digest("hex");
  let found: string | undefined;
  for (let at = 20; at < header && segment[at] !== 0; at += segment[at] === 1 ? 1 : segment[at + 1]) {
    if (segment[at] === 19) found = segment.subarray(at + 2, at + 18).toString("hex");
  }
  return { made, found, flags: segment[13], length: segment.length - header };
}

interface Net {
  lab: Lab;
  a: Host;
  b: Host;
  /** Every TCP segment that crossed. */
  frames: Uint8Array[];
}

/** Two hosts and a wire that keeps what it carries, and loses every `loss`-th frame of more than 500 bytes. */
async function pair(loss = 0, handshakes?: number): Promise<Net> {
  const lab = await Lab.create({ seed: SEED });
  const make = (n: number) => lab.host({ handshakes, interfaces: [{ addresses: [`10.0.0.${n}/24`, `2001:db8::${n}/64`] }] });
  const [a, b] = [await make(1), await make(2)];
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

const keys = (secret = SECRET): Partial<TcpOptions> => ({ md5Keys: [md5Key("10.0.0.0/24", secret), md5Key("2001:db8::/64", secret)] });

function allSigned(frames: Uint8Array[]): void {
  for (const frame of frames) {
    const { made, found, flags } = digests(frame, SECRET);
    assert.equal(found, made, `flags ${flags}`);
  }
}

/** A signed connection over which both send `bytes`, then close in order. */
async function connection({ lab, a, b }: Net, family: 4 | 6, bytes: number): Promise<{ client: Tcb; server: Tcb }> {
  const listener = b.tcp.listen(undefined, 80, 8, keys());
  const client = a.tcp.connect(IpAddress.parse(ADDRESSES[family]), 80, {}, keys());
  await lab.run(5000, () => listener.waiting > 0);
  const server = listener.accept() as Tcb;
  await exchange(lab, [client, server], bytes);
  assert.equal(a.tcp.size + b.tcp.size, 0);
  return { client, server };
}

describe("MD5 signatures", () => {
  it("finds the secret by the longest prefix, and refuses keys that are none", () => {
    const made: Md5Key[] = [
      md5Key("10.0.0.0/8", "wide"),
      md5Key("10.1.0.0/16", "narrow"),
      md5Key("10.1.2.3", "one"),
      md5Key("2001:db8::/33", "six"),
    ];
    const secret = (peer: string) => new TextDecoder().decode(secretFor(made, IpAddress.parse(peer)) ?? new Uint8Array());
    assert.deepEqual(["10.2.0.1", "10.1.0.1", "10.1.2.3", "11.0.0.1"].map(secret), ["wide", "narrow", "one", ""]);
    assert.deepEqual(["2001:db8:7fff::1", "2001:db8:8000::1"].map(secret), ["six", ""]);
    assert.throws(() => md5Key("10.0.0.1", ""), { code: "EINVAL" });
    assert.throws(() => md5Key("10.0.0.1", "x".repeat(81)), { code: "EINVAL" });
    assert.throws(() => md5Key("10.0.0/33", "x"), { code: "EINVAL" });
  });

  for (const family of FAMILIES) {
    it(`IPv${family}: signs every segment from SYN to FIN, none too large, and gets through loss`, async () => {
      const net = await pair(20);
      const { server } = await connection(net, family, 200_000);
      allSigned(net.frames);
      assert.ok(net.frames.every((frame) => frame.length <= 1514));
      assert.ok(
        net.frames.some((frame) => frame.length === 1514),
        "segments fill the MTU",
      );
      assert.ok(server.retransmissions > 0 && server.sackOk && !server.timestampsOk);
      const { md5_failures, md5_not_found, md5_unexpected } = net.b.tcp.counters;
      assert.deepEqual([md5_failures, md5_not_found, md5_unexpected], [0, 0, 0]);
      assert.equal(net.lab.engine.slabs.available, net.lab.engine.slabs.total);
    });
  }

  it("signs SYN cookies, and connections that come of them", async () => {
    const net = await pair(0, 0);
    const { server } = await connection(net, 4, 50_000);
    assert.equal(net.b.tcp.counters.syncookies_received, 1);
    assert.ok(server.timestampsOk && server.sackOk);
    allSigned(net.frames);
  });

  it("signs resets: of a connection, and of a listener that has forgotten it", async () => {
    const net = await pair();
    const { lab, a, b, frames } = net;
    const listener = b.tcp.listen(undefined, 80, 8, keys());
    const connect = async () => {
      const client = a.tcp.connect(IpAddress.parse(ADDRESSES[4]), 80, {}, keys());
      await lab.run(1000, () => listener.waiting > 0);
      return { client, server: listener.accept() as Tcb };
    };
    const first = await connect();
    abort(first.server);
    await lab.run(100);
    assert.equal(first.client.state, CLOSED);
    const second = await connect();
    // As after a crash: nothing is said.
    b.tcp.remove(second.server);
    user.write(second.client, body(10));
    await lab.run(100);
    assert.equal(second.client.state, CLOSED);
    assert.equal(frames.filter((frame) => digests(frame, SECRET).flags & 4).length, 2);
    allSigned(frames);
  });

  for (const [name, client, server, counter] of [
    ["another secret", keys("another"), keys(), "md5_failures"],
    ["no signature", {}, keys(), "md5_not_found"],
    ["a signature that nobody asked for", keys(), {}, "md5_unexpected"],
  ] as const) {
    it(`a listener drops ${name} without a word, and counts it`, async () => {
      const { lab, a, b, frames } = await pair();
      const listener = b.tcp.listen(undefined, 80, 8, server);
      const tcb = a.tcp.connect(IpAddress.parse(ADDRESSES[4]), 80, {}, client);
      await lab.run(2500);
      assert.equal(listener.waiting, 0);
      assert.notEqual(tcb.state, ESTABLISHED);
      assert.equal(b.tcp.counters[counter], frames.length);
      assert.ok(frames.length >= 2);
    });
  }

  it("a connection believes no reset and no data without the signature", async () => {
    const net = await pair();
    const { lab, a, b, frames } = net;
    const listener = b.tcp.listen(undefined, 80, 8, keys());
    const client = a.tcp.connect(IpAddress.parse(ADDRESSES[4]), 80, {}, keys());
    await lab.run(1000, () => listener.waiting > 0);
    const server = listener.accept() as Tcb;
    const to = b.ip.interface("eth0").port;
    for (const seen of [body(10), body(900)]) {
      const before = frames.length;
      user.write(client, seen);
      await lab.run(50);
      const sent = frames.slice(before).find((frame) => digests(frame, SECRET).length > 0) as Uint8Array;
      // The checksum stays right: bytes 0 and 2 of the payload change places.
      const end = 14 + new DataView(sent.buffer).getUint16(16);
      const forged = sent.slice();
      [forged[end - 4], forged[end - 2]] = [forged[end - 2], forged[end - 4]];
      assert.notDeepEqual(forged, sent);
      const { md5_failures } = b.tcp.counters;
      to.receive(forged);
      await lab.run(1);
      assert.equal(b.tcp.counters.md5_failures, md5_failures + 1);
    }
    assert.equal(user.readable(server), 910);
  });

  it("a key that is set and taken away holds from the next segment on", async () => {
    const { lab, a, b, frames } = await pair();
    const [client, server] = [new Process(a), new Process(b)];
    const name = (address: string) => ({ family: c.AF_INET, address, port: 80 });
    const listening = server.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK, 0);
    assert.equal(server.bind(listening, name("10.0.0.2")), 0);
    assert.equal(server.listen(listening, 8), 0);
    const fd = client.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK, 0);
    client.connect(fd, name("10.0.0.2"));
    await lab.run(100);
    const accepted = server.accept(listening);
    assert.ok(accepted >= 0);
    for (const secret of [SECRET, ""]) {
      for (const last of [1, 2]) {
        const [process, socket] = last === 2 ? [client, fd] : [server, accepted];
        assert.equal(process.setsockopt(socket, c.IPPROTO_TCP, c.TCP_MD5SIG, struct(secret, { last })), 0);
      }
      frames.length = 0;
      assert.equal(client.send(fd, body(1000), 0), 1000);
      await lab.run(300);
      assert.equal(server.recv(accepted, new Uint8Array(2000), 0), 1000);
      assert.ok(frames.length >= 2);
      if (secret) allSigned(frames);
      else for (const frame of frames) assert.equal(digests(frame, SECRET).found, undefined);
    }
  });
});

/** struct tcp_md5sig. */
function struct(
  secret: string,
  { family = c.AF_INET as number, last = 1, flags = 0, prefix = 0, length = secret.length, iface = 0 } = {},
): Buffer {
  const out = Buffer.alloc(216);
  out.writeUInt16LE(family, 0);
  // As sockaddr_in6 this is ::ffff:10.0.0.1.
  if (family === c.AF_INET) out.set([10, 0, 0, last], 4);
  else out.set([255, 255, 10, 0, 0, last], 18);
  out.set([flags, prefix], 128);
  out.writeUInt16LE(length, 130);
  out.writeInt32LE(iface, 132);
  out.write(secret, 136);
  return out;
}

/** One after the other on one socket: option name, value. */
const SETTINGS: readonly (readonly [number, Buffer])[] = [
  [c.TCP_MD5SIG, struct("k")],
  [c.TCP_MD5SIG, struct("another")],
  [c.TCP_MD5SIG, struct("")],
  [c.TCP_MD5SIG, struct("")],
  [c.TCP_MD5SIG, struct("k", { family: c.AF_INET6 })],
  [c.TCP_MD5SIG, struct("k", { length: 80 })],
  [c.TCP_MD5SIG, struct("k", { length: 81 })],
  [c.TCP_MD5SIG, struct("k").subarray(0, 215)],
  [c.TCP_MD5SIG_EXT, struct("k", { flags: 1, prefix: 33 })],
  [c.TCP_MD5SIG_EXT, struct("k", { flags: 1, prefix: 8 })],
  [c.TCP_MD5SIG_EXT, struct("", { flags: 1, prefix: 9 })],
  [c.TCP_MD5SIG_EXT, struct("", { flags: 1, prefix: 8 })],
  [c.TCP_MD5SIG_EXT, struct("k", { flags: 2 })],
  [c.TCP_MD5SIG_EXT, struct("k", { flags: 2, iface: 999 })],
];

/** Sets the key of a peer, then echoes one connection, or sends itself what comes back. */
const PEER = `
import socket, struct, sys
role, address, port, peer, secret = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5].encode()
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
raw = socket.inet_pton(family, peer)
name = struct.pack("<HH", family, 0) + (raw if family == socket.AF_INET else bytes(4) + raw)
s.setsockopt(socket.IPPROTO_TCP, 14, name.ljust(128, b"\\0") + struct.pack("<BBHi", 0, 0, len(secret), 0) + secret.ljust(80, b"\\0"))
if role == "server":
    s.bind((address, port)); s.listen(); print("ready", flush=True)
    c = s.accept()[0]
    d = bytearray()
    while b := c.recv(1 << 20): d += b
    c.sendall(d); c.close()
else:
    s.settimeout(10 if role == "client" else 1.5)
    try: s.connect((address, port))
    except TimeoutError: print("timeout"); sys.exit(0)
    d = bytes(i * 7 % 251 for i in range(1000000))
    s.sendall(d); s.shutdown(socket.SHUT_WR)
    e = bytearray()
    while b := s.recv(1 << 20): e += b
    print("same" if e == d else "differs")
`;

const SETTER = `
import json, socket, sys
s = socket.socket(int(sys.argv[1]))
def call(name, value):
    try: s.setsockopt(socket.IPPROTO_TCP, name, bytes.fromhex(value)); return 0
    except OSError as e: return -e.errno
print(json.dumps([call(*each) for each in json.loads(sys.argv[2])]))
`;

describe("MD5 signatures and the Linux kernel", { skip: missing("python3"), timeout: 60_000 }, () => {
  const OURS = { 4: "10.78.0.2", 6: "fd78::2" } as const;
  const THEIRS = { 4: "10.78.0.1", 6: "fd78::1" } as const;
  let namespace: Namespace;
  let host: Host;
  const peer = (family: 4 | 6, role: string, secret = SECRET) => {
    const address = role === "server" ? THEIRS[family] : OURS[family];
    return ["-c", PEER, role, address, "1790", OURS[family], secret];
  };
  const quoted = (args: string[]) => args.map((arg) => `'${arg}'`).join(" ");

  overTap(OURS, THEIRS, (...made) => {
    [host, namespace] = made;
  });

  for (const family of FAMILIES) {
    const md5Keys = [md5Key(THEIRS[family], SECRET)];

    it(`IPv${family}: the host connects to a kernel that wants signatures`, async () => {
      const daemon = await namespace.start("python3", peer(family, "server"), /ready/);
      const socket = await host.connect({ hostname: THEIRS[family], port: 1790, md5Keys });
      const sent = body(1_000_000);
      const writer = socket.writable.getWriter();
      await writer.write(sent);
      await writer.close();
      assert.equal(sha(await readAll(socket)), sha(sent));
      await socket.closed;
      await daemon.stop();
    });

    it(`IPv${family}: the kernel connects to the host; with another secret it does not`, async () => {
      const listener = host.listen({ port: 1790, md5Keys });
      const running = namespace.run(`python3 ${quoted(peer(family, "client"))}`);
      const socket = await listener.accept();
      const got = await readAll(socket);
      const writer = socket.writable.getWriter();
      await writer.write(got);
      await writer.close();
      assert.match((await running).out, /same/);
      await socket.close();
      const { md5_failures } = host.tcp.counters;
      assert.match((await namespace.run(`python3 ${quoted(peer(family, "wrong", "wrong"))}`)).out, /timeout/);
      assert.ok(host.tcp.counters.md5_failures > md5_failures);
      listener.close();
    });
  }

  for (const domain of [c.AF_INET, c.AF_INET6]) {
    it(`TCP_MD5SIG says what Linux says to a socket of domain ${domain}`, async () => {
      const process = new Process(host);
      const fd = process.socket(domain, c.SOCK_STREAM, 0);
      const ours = SETTINGS.map(([name, value]) => process.setsockopt(fd, c.IPPROTO_TCP, name, value));
      const calls = JSON.stringify(SETTINGS.map(([name, value]) => [name, value.toString("hex")]));
      const { out } = await namespace.run(`python3 -c '${SETTER}' ${domain} '${calls}'`);
      assert.deepEqual(ours, JSON.parse(out));
      assert.ok(ours.includes(0) && ours.includes(-22));
      process.close(fd);
    });
  }
});
