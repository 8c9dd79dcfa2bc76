/** Fast Open (RFC 7413) between two hosts in virtual time, and its cookies against values that Linux makes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import { abort } from "../src/tcp/end.ts";
import { CookieCache, CookieKeys } from "../src/tcp/fast-open.ts";
import type { TcpListener } from "../src/tcp/listener.ts";
import { CLOSED } from "../src/tcp/states.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { SEED } from "./support.ts";

const SERVER = IpAddress.parse("10.0.0.2");
const text = (s: string) => new TextEncoder().encode(s);

function read(tcb: Tcb): string {
  const out = new Uint8Array(65_536);
  return new TextDecoder().decode(out.subarray(0, user.read(tcb, out)));
}

async function pair(): Promise<{ lab: Lab; a: Host; b: Host; listener: TcpListener }> {
  const lab = await Lab.create({ seed: SEED });
  const make = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`] }] });
  const [a, b] = [await make(1), await make(2)];
  lab.link(a, b, { delay: 50 });
  const listener = b.tcp.listen(undefined, 80);
  listener.fastOpenQueue = 16;
  return { lab, a, b, listener };
}

const open = (a: Host, data: string, options: Partial<TcpOptions> = {}) =>
  a.tcp.connect(SERVER, 80, {}, { fastOpen: true, ...options }, text(data));

/** A first connection, which brings the cookie. */
async function warm({ lab, a, listener }: Awaited<ReturnType<typeof pair>>): Promise<void> {
  const first = open(a, "early");
  assert.equal(first.synData, 0);
  await lab.run(300);
  user.close(first);
  user.close(listener.accept() as Tcb);
  await lab.run(300);
}

describe("Fast Open", () => {
  it("makes the cookies that Linux makes for the same key and addresses", () => {
    const key = new Uint8Array(16);
    for (const [i, word] of [0xa1a1a1a1, 0xb2b2b2b2, 0xc3c3c3c3, 0xd4d4d4d4].entries())
      new DataView(key.buffer).setUint32(4 * i, word, true);
    const hex = (address: string, local: string) =>
      Buffer.from(new CookieKeys(key).make(IpAddress.parse(address), IpAddress.parse(local))).toString("hex");
    assert.equal(hex("192.0.2.1", "192.168.0.1"), "3021b9d889017eeb");
    assert.equal(hex("fd3d:fa7b:d17d::1", "fd3d:0a0b:17d6::1"), "c1d1e9742a47a9bc");
  });

  it("saves a round trip: the request is read before the handshake is over, and its answer arrives with it", async () => {
    const net = await pair();
    const { lab, a, listener } = net;
    await warm(net);
    const before = lab.clock.now();
    const client = open(a, "request");
    assert.equal(client.synData, 7);
    await lab.run(1000, () => listener.waiting > 0);
    const server = listener.accept() as Tcb;
    assert.equal(lab.clock.now() - before, 50);
    assert.equal(read(server), "request");
    assert.equal(server.state, 3, "SYN-RECEIVED");
    user.write(server, text("answer"));
    await lab.run(1000, () => user.readable(client) > 0);
    assert.equal(lab.clock.now() - before, 100);
    assert.equal(read(client), "answer");
    assert.ok(client.synDataTaken && server.synDataTaken);
    user.close(client);
    user.close(server);
    await lab.run(200_000);
    assert.equal(a.tcp.size, 0);
    assert.equal(lab.engine.slabs.available, lab.engine.slabs.total);
  });

  it("sends the data again at once to a server that has forgotten the key, and takes the new cookie", async () => {
    const net = await pair();
    const { lab, a, b, listener } = net;
    await warm(net);
    b.tcp.cookieKeys = new CookieKeys(new Uint8Array(16).fill(7));
    const client = open(a, "request");
    await lab.run(1000);
    const server = listener.accept() as Tcb;
    assert.equal(read(server), "request");
    assert.equal(client.synDataTaken, false);
    assert.equal(a.tcp.counters.fastopen_active_fail, 1);
    const next = open(a, "again");
    await lab.run(1000);
    assert.ok(next.synDataTaken);
  });

  it("believes the key before the present one and hands out a new cookie", () => {
    const [old, present] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];
    const keys = new CookieKeys(Uint8Array.of(...present, ...old));
    const remote = IpAddress.parse("192.0.2.9");
    assert.equal(keys.check(new CookieKeys(old).make(remote, SERVER), remote, SERVER), 2);
    assert.equal(keys.check(new CookieKeys(present).make(remote, SERVER), remote, SERVER), 1);
    assert.equal(keys.check(new CookieKeys(present).make(remote, SERVER), IpAddress.parse("192.0.2.8"), SERVER), 0);
    assert.equal(keys.check(new Uint8Array(4), remote, SERVER), 0);
  });

  it("opens no more connections early than the listener allows", async () => {
    const net = await pair();
    const { lab, a, b, listener } = net;
    await warm(net);
    listener.fastOpenQueue = 2;
    lab.links[0].set({ delay: 50, cut: true }, 1);
    for (let i = 0; i < 5; i++) open(a, "data");
    await lab.run(100);
    assert.equal(listener.waiting, 2);
    assert.equal(b.tcp.counters.fastopen_listen_overflow, 3);
  });

  it("repeats a lost SYN without data, and delivers the data all the same", async () => {
    const net = await pair();
    const { lab, a, listener } = net;
    await warm(net);
    lab.links[0].set({ delay: 50, cut: true }, 0);
    const client = open(a, "request");
    await lab.run(500);
    lab.links[0].set({ delay: 50 });
    await lab.run(2000);
    const server = listener.accept() as Tcb;
    assert.equal(read(server), "request");
    assert.equal(client.synDataTaken, false);
  });

  it("keeps what came in the SYN when the peer resets before it is accepted", async () => {
    const net = await pair();
    const { lab, a, listener } = net;
    await warm(net);
    const client = open(a, "request");
    await lab.run(60);
    abort(client);
    await lab.run(100);
    const server = listener.accept() as Tcb;
    assert.equal(server.state, CLOSED);
    assert.equal(read(server), "request");
  });

  it("remembers a bounded number of peers", () => {
    const cache = new CookieCache();
    const cookie = { cookie: new Uint8Array(8), experimental: false };
    for (let i = 0; i < 3000; i++) cache.answered(IpAddress.v4(i), 1460, { ...cookie, cookie: new Uint8Array(0) }, cookie);
    assert.equal(cache.mss(IpAddress.v4(0)), 0);
    assert.equal(cache.mss(IpAddress.v4(2999)), 1460);
  });
});
