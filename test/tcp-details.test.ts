/** TCP's finer rules, where no single exchange of segments shows them: two hosts of ours in virtual time. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Impairment } from "../src/lab/link.ts";
import { checkCookie, makeCookie } from "../src/tcp/cookies.ts";
import { abort } from "../src/tcp/end.ts";
import { transmit } from "../src/tcp/output.ts";
import { ACK } from "../src/tcp/sequence.ts";
import { ESTABLISHED } from "../src/tcp/states.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { SEED } from "./support.ts";

const SERVER = IpAddress.parse("10.0.0.2");

async function pair(impairment: Partial<Impairment> = { delay: 1 }, handshakes?: number) {
  const lab = await Lab.create({ seed: SEED });
  const make = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`] }], handshakes });
  const [a, b] = [await make(1), await make(2)];
  return { lab, a, b, link: lab.link(a, b, impairment) };
}

/** A connection from `a` to `b`, open at both ends. */
async function connected(impairment?: Partial<Impairment>, options: Partial<TcpOptions> = {}) {
  const hosts = await pair(impairment);
  const listener = hosts.b.tcp.listen(undefined, 80);
  const client = hosts.a.tcp.connect(SERVER, 80, {}, options);
  hosts.lab.runNow(1000, () => listener.waiting > 0);
  return { ...hosts, listener, client, server: listener.accept() as Tcb };
}

/** The client writes so many bytes, the server reads them. */
function transfer(client: Tcb, server: Tcb, bytes: number): { received: number } {
  const state = { received: 0 };
  const chunk = new Uint8Array(65_536);
  server.events.readable = () => {
    for (let n = user.read(server, chunk); n > 0; n = user.read(server, chunk)) state.received += n;
  };
  let left = bytes;
  const pump = () => {
    for (let n = 1; n > 0 && left > 0; left -= n) n = user.write(client, chunk.subarray(0, left));
  };
  client.events.writable = pump;
  pump();
  return state;
}

describe("loss recovery", () => {
  it("widens RACK's window once in a round trip, and forgets it after sixteen recoveries (RFC 8985 §6.2)", async () => {
    const { lab, a, link, client, server } = await connected({ delay: 20, duplicate: 0.2 });
    const twice = transfer(client, server, 3_000_000);
    const began = lab.clock.now();
    lab.runNow(100_000, () => twice.received === 3_000_000);
    const rounds = (lab.clock.now() - began) / 40;
    assert.ok(a.tcp.counters.dsack_received > 1.5 * rounds, `${a.tcp.counters.dsack_received} D-SACKs in ${rounds} rounds; SEED=${SEED}`);
    assert.ok(
      client.reorderWindowMult > 1 && client.reorderWindowMult <= rounds + 1,
      `${client.reorderWindowMult} after ${rounds} rounds; SEED=${SEED}`,
    );
    link.set({ delay: 20, loss: 0.01 });
    const recoveries = a.tcp.counters.fast_retrans;
    transfer(client, server, 100_000_000);
    lab.runNow(600_000, () => client.reorderWindowMult === 1);
    assert.ok(a.tcp.counters.fast_retrans - recoveries >= 16);
    assert.equal(client.reorderWindowMult, 1, `SEED=${SEED}`);
  });
});

describe("listeners", () => {
  it("have room for one more than their backlog, as in Linux", async () => {
    for (const backlog of [0, 2]) {
      const { lab, a, b } = await pair();
      const listener = b.tcp.listen(undefined, 80, backlog);
      for (let i = 0; i < backlog + 2; i++) a.tcp.connect(SERVER, 80);
      lab.runNow(500);
      assert.equal(listener.waiting, backlog + 1);
    }
  });

  it("count a handshake once, also when whoever is told of it resets it", async () => {
    const { lab, a, b } = await pair();
    const listener = b.tcp.listen(undefined, 80);
    listener.onConnection = () => abort(listener.accept() as Tcb);
    for (let i = 0; i < 5; i++) a.tcp.connect(SERVER, 80);
    lab.runNow(500);
    assert.equal(b.tcp.counters.passive_opens, 5);
    assert.equal(listener.handshakes, 0);
  });

  it("take a SYN cookie only for a while after one was sent, and never one of half an hour ago", async () => {
    const { lab, a, b } = await pair({ delay: 1 }, 0);
    const listener = b.tcp.listen(undefined, 80);
    a.tcp.connect(SERVER, 80);
    lab.runNow(500);
    assert.equal(listener.waiting, 1);
    // The same cookie again, when its five bits of time have come round: only while others are sent it is looked at.
    const { hash } = b.tcp;
    const cookie = makeCookie(hash, 0, 1460);
    assert.equal(checkCookie(hash, 100_000, cookie), 1460);
    for (let period = 2; period <= 64; period++) assert.equal(checkCookie(hash, period * 64_000, cookie), 0, `after ${period} periods`);
    const { syncookies_failed: failed, out_rsts: resets } = b.tcp.counters;
    const client = a.tcp.connect(SERVER, 81);
    client.state = ESTABLISHED;
    Object.assign(client, { remotePort: 80 });
    transmit(client, client.nxt, 0, ACK);
    lab.runNow(10);
    assert.equal(b.tcp.counters.syncookies_failed, failed + 1);
    lab.runNow(200_000);
    const before = b.tcp.counters.out_rsts;
    transmit(client, client.nxt, 0, ACK);
    lab.runNow(10);
    assert.equal(b.tcp.counters.syncookies_failed, failed + 1);
    assert.ok(b.tcp.counters.out_rsts > before && before > resets);
  });
});

describe("a user of a connection", () => {
  it("who sets TCP_NODELAY sends what Nagle holds back", async () => {
    const { lab, a, b } = await pair({ delay: 100 });
    const listener = b.listen({ port: 80 });
    const connecting = a.connect({ hostname: "10.0.0.2", port: 80 });
    await lab.run(1000);
    const client = await connecting;
    await listener.accept();
    await client.write(new Uint8Array(10));
    await client.write(new Uint8Array(10));
    assert.equal(client.status().notSent, 10);
    client.setNoDelay();
    assert.equal(client.status().notSent, 0);
  });
});

describe("answers without a connection", () => {
  it("are of the class of what they answer, and say nothing of congestion (as Linux's resets)", async () => {
    const lab = await Lab.create({ seed: SEED, memory: { flows: 64, filterBytes: 4 << 20 } });
    const [a, b] = [1, 2].map((n) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`, `2001:db8::${n}/64`] }] }));
    const client = await a;
    lab.link(client, await b, { delay: 1 });
    client.firewall.apply(`table inet t {
      chain o { type filter hook output priority 0; tcp flags syn ip dscp set 10 ip ecn set ect0; tcp flags syn ip6 dscp set 10; }
      chain i { type filter hook input priority 0; tcp flags & rst != 0 ip dscp 10 ip ecn 0 counter; tcp flags & rst != 0 ip6 dscp 10 counter; }
    }`);
    await lab.run(3000);
    for (const hostname of ["10.0.0.2", "2001:db8::2"]) {
      const refused = assert.rejects(client.connect({ hostname, port: 9 }), { code: "ECONNREFUSED" });
      await lab.run(100);
      await refused;
    }
    assert.deepEqual(
      client.firewall.counters().map(({ packets }) => packets),
      [1, 1],
    );
  });
});

describe("dynamic ports", () => {
  it("come from one range for TCP and UDP, never from a listener, and say EADDRNOTAVAIL when there are no more", async () => {
    const { lab, a, b } = await pair();
    a.ip.localPorts = { first: 40_000, last: 40_003 };
    b.tcp.listen(undefined, 80);
    a.tcp.listen(undefined, 40_001);
    const ports = [1, 2, 3].map(() => a.tcp.connect(SERVER, 80).localPort);
    lab.runNow(100);
    assert.deepEqual(ports.sort(), [40_000, 40_002, 40_003]);
    assert.throws(() => a.tcp.connect(SERVER, 80), { code: "EADDRNOTAVAIL" });
    const datagrams = [1, 2, 3, 4].map(() => a.datagram({}).address.port);
    assert.deepEqual(datagrams.sort(), [40_000, 40_001, 40_002, 40_003]);
  });

  it("are taken from TIME-WAIT after a second, where both ends have timestamps (RFC 6191)", async () => {
    for (const [reuse, timestamps] of [
      [1, true],
      [1, false],
      [2, true],
    ] as const) {
      const { lab, a, b } = await pair();
      a.ip.localPorts = { first: 40_000, last: 40_000 };
      a.tcp.settings.timeWaitReuse = reuse;
      const listener = b.tcp.listen(undefined, 80);
      const first = a.tcp.connect(SERVER, 80, {}, { timestamps });
      lab.runNow(100);
      user.close(first);
      user.close(listener.accept() as Tcb);
      lab.runNow(100);
      assert.equal(a.tcp.timeWaiting, 1);
      assert.throws(() => a.tcp.connect(SERVER, 80), { code: "EADDRNOTAVAIL" });
      lab.runNow(1000);
      if (reuse === 2 || !timestamps) {
        assert.throws(() => a.tcp.connect(SERVER, 80), { code: "EADDRNOTAVAIL" });
        continue;
      }
      const { nxt } = first;
      const second = a.tcp.connect(SERVER, 80);
      assert.equal(second.iss, (nxt + 65_537) | 0);
      lab.runNow(100);
      assert.equal(second.state, ESTABLISHED);
      assert.equal(a.tcp.timeWaiting, 0);
    }
  });
});
