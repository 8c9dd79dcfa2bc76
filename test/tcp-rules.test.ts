/** Rules of TCP that take two hosts or long times to see; the others are scripts in test/packetdrill. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import { STATES } from "../src/tcp/states.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { SEED } from "./support.ts";

const B = IpAddress.parse("10.0.0.2");
const stateOf = (tcb: Tcb) => STATES[tcb.state];

interface Pair {
  lab: Lab;
  a: Host;
  b: Host;
}

async function pair(options: { handshakes?: number; delay?: number; mtu?: number } = {}): Promise<Pair> {
  const lab = await Lab.create({ seed: SEED });
  const host = (n: number) =>
    lab.host({ interfaces: [{ mtu: options.mtu, addresses: [`10.0.0.${n}/24`] }], handshakes: options.handshakes });
  const [a, b] = [await host(1), await host(2)];
  lab.link(a, b, { delay: options.delay ?? 1 });
  return { lab, a, b };
}

function connected({ lab, a, b }: Pair, port: number, options: Partial<TcpOptions> = {}, listening: Partial<TcpOptions> = {}) {
  const listener = b.tcp.listen(undefined, port, 10, listening);
  const client = a.tcp.connect(B, port, {}, options);
  lab.runNow(3000, () => listener.waiting > 0);
  return { client, server: listener.accept() as Tcb, listener };
}

/** Milliseconds that so many bytes take to a reader that is always there. */
function transfer({ lab }: Pair, client: Tcb, server: Tcb, bytes: number): number {
  const start = lab.clock.now();
  let got = 0;
  let sent = 0;
  const chunk = new Uint8Array(65_536);
  const pump = () => {
    while (sent < bytes) {
      const n = user.write(client, chunk.subarray(0, bytes - sent));
      if (n === 0) return;
      sent += n;
    }
  };
  server.events = {
    readable: () => {
      got += user.discard(server, Number.POSITIVE_INFINITY);
    },
  };
  client.events = { writable: pump };
  pump();
  lab.runNow(600_000, () => got === bytes);
  assert.equal(got, bytes);
  return lab.clock.now() - start;
}

describe("TCP's rules over time", () => {
  it("keeps a connection whose peer answers every keepalive probe (RFC 9293 §3.8.4)", async () => {
    const both = await pair();
    const { client } = connected(both, 80, { keepAlive: 30, keepAliveInterval: 75, keepAliveProbes: 3 });
    both.lab.runNow(3_600_000);
    assert.equal(stateOf(client), "ESTABLISHED");
    both.lab.links[0].set({ cut: true });
    both.lab.runNow(400_000);
    assert.equal(stateOf(client), "CLOSED");
  });

  for (const receiveBuffer of [2000, 4096, 16_384, 65_536]) {
    it(`tells of a window of ${receiveBuffer} bytes when half of it is free again (RFC 9293 §3.8.6.2.2)`, async () => {
      const both = await pair();
      const { client, server } = connected(both, 80, {}, { receiveBuffer });
      // A window each round trip, or one each delayed acknowledgement when it holds one segment alone.
      const rounds = 100_000 / Math.min(receiveBuffer, 14_480);
      const took = transfer(both, client, server, 100_000);
      assert.ok(took < 60 * rounds, `${took} ms`);
    });
  }

  it("keeps going over a loopback whose segments are as large as the buffer", async () => {
    const both = await pair();
    const { lab, a } = both;
    const listener = a.tcp.listen(undefined, 81, 10, { receiveBuffer: 65_536 });
    const client = a.tcp.connect(IpAddress.parse("127.0.0.1"), 81);
    lab.runNow(10);
    assert.ok(transfer(both, client, listener.accept() as Tcb, 2_000_000) < 1000);
  });

  it("speaks with one host: broadcasts are neither answered nor connected to (RFC 1122 §4.2.3.10)", async () => {
    const { lab, a, b } = await pair();
    assert.throws(() => a.tcp.connect(IpAddress.parse("10.0.0.255"), 80), { code: "ENETUNREACH" });
    assert.throws(() => a.tcp.connect(IpAddress.parse("255.255.255.255"), 80), { code: "ENETUNREACH" });
    assert.equal(a.tcp.size, 0);
    b.tcp.listen(undefined, 80);
    // A SYN to the subnet's broadcast address, as somebody else might send it.
    a.ip.addAddress(a.ip.interface("eth0"), { address: IpAddress.parse("172.16.0.1"), length: 24 });
    b.ip.addAddress(b.ip.interface("eth0"), { address: IpAddress.parse("10.0.0.254"), length: 24 });
    for (const port of [80, 81]) {
      const syn = new Uint8Array(40);
      const view = new DataView(syn.buffer);
      syn.set([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 255]);
      view.setUint16(20, 4000);
      view.setUint16(22, port);
      view.setUint8(32, 5 << 4);
      view.setUint8(33, 2);
      view.setUint16(34, 1000);
      view.setUint16(10, ~sum(syn.subarray(0, 20)) & 0xffff);
      const pseudo = Uint8Array.of(...syn.subarray(12, 20), 0, 6, 0, 20);
      view.setUint16(36, ~sum(Uint8Array.of(...pseudo, ...syn.subarray(20))) & 0xffff);
      a.ip.sendPacket(syn, a.ip.pathTo(IpAddress.parse("10.0.0.255")));
      a.ip.flush();
      lab.runNow(100);
    }
    assert.equal(b.tcp.counters.in_errs, 2);
    assert.deepEqual([b.tcp.size, b.tcp.counters.out_rsts], [0, 0]);
  });

  it("stamps SYN cookies with nothing that the clock has not reached (RFC 7323 §5.4)", async () => {
    const both = await pair({ handshakes: 0 });
    const { lab, a, b } = both;
    for (let i = 0; i < 40; i++) {
      lab.runNow(13);
      const { client, server } = connected(both, 1000 + i);
      const start = lab.clock.now();
      user.write(server, Uint8Array.of(1));
      lab.runNow(1000, () => user.readable(client) > 0);
      assert.ok(lab.clock.now() - start < 10, `the first byte took ${lab.clock.now() - start} ms`);
    }
    assert.equal(a.tcp.counters.paws_rejected, 0);
    assert.equal(b.tcp.counters.syncookies_received, 40);
  });

  it("begins beyond the numbers of the connection in TIME-WAIT that it takes the place of (RFC 9293 §3.10.7.4)", async () => {
    const both = await pair();
    const { lab, a, b } = both;
    const options = { timestamps: false };
    const first = a.tcp.connect(B, 80, { port: 5000 }, options);
    const listener = b.tcp.listen(undefined, 80, 10, options);
    lab.runNow(2000, () => listener.waiting > 0);
    const server = listener.accept() as Tcb;
    // Faster than the clock of initial sequence numbers; the server ends it, so it waits.
    transfer(both, server, first, 20_000_000);
    server.events = first.events = {};
    const { nxt } = server;
    user.close(server);
    lab.runNow(10);
    user.close(first);
    lab.runNow(10);
    assert.equal(b.tcp.timeWaiting, 1);
    a.tcp.connect(B, 80, { port: 5000 }, options);
    lab.runNow(100, () => listener.waiting > 0);
    const second = listener.accept() as Tcb;
    assert.ok(((second.iss - nxt) | 0) > 0, `${(second.iss - nxt) | 0} beyond`);
  });

  it("sends a FIN when there is a buffer again", async () => {
    const both = await pair();
    const { client, server } = connected(both, 80);
    const { lab, a } = both;
    const engine = a.engine as { plane: typeof a.engine.plane };
    const { plane } = engine;
    engine.plane = { ...plane, tcpBuild: () => -1 };
    user.close(client);
    lab.runNow(50);
    engine.plane = plane;
    lab.runNow(5000);
    assert.equal(server.finReceived, true);
    user.close(server);
    lab.runNow(5000);
    assert.equal(stateOf(server), "CLOSED");
  });

  it("ends handshakes with their listener; who comes later is reset", async () => {
    const both = await pair({ delay: 50 });
    const { lab, a, b } = both;
    const listener = b.tcp.listen(undefined, 80);
    lab.runNow(500);
    const client = a.tcp.connect(B, 80);
    let error: string | undefined;
    client.events = {
      closed: (why) => {
        error = why?.code;
      },
    };
    // The first needs the neighbour's address, the SYN another way.
    lab.runNow(5000, () => b.tcp.size > 0);
    listener.close();
    assert.equal(b.tcp.size, 0);
    lab.runNow(1000);
    assert.equal(error, "ECONNRESET");
    assert.equal(listener.handshakes, 0);
  });
});

/** RFC 1071 over big-endian words. */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}
