/** What an attacker may send: segments with every field wrong, in every state; floods; injections. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Random } from "../src/index.ts";
import { STATES } from "../src/tcp/states.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { addressBytes4, serializeIpv4, serializeTcp, type TcpSegment } from "../src/wire/index.ts";
import { A, B, EDGES, inject, inState, optionsOf, twoHosts } from "./attack-support.ts";
import { SEED, stateName } from "./support.ts";

/** A segment that is nearly right: fields at the edges of what is expected. */
function nearly(random: Random, server: Tcb): Partial<TcpSegment> {
  const pick = <T>(from: readonly T[]) => from[random.below(from.length)];
  const options = random.below(3) === 0 ? random.fill(new Uint8Array(4 * random.below(11))) : optionsOf(server, random);
  return {
    sequence: (server.received + (random.below(2) ? 0 : pick(EDGES))) >>> 0,
    acknowledgement: (server.nxt + (random.below(2) ? 0 : pick(EDGES))) >>> 0,
    flags: random.below(2) ? 0x10 : random.below(256),
    window: pick([0, 1, 1000, 65_535]),
    urgentPointer: pick([0, 1, 65_535]),
    options,
    payload: random.fill(new Uint8Array(pick([0, 0, 1, 100, 1400]))),
  };
}

describe("segments from an attacker", () => {
  for (const state of STATES.filter((name) => !["CLOSED", "LISTEN", "SYN-SENT"].includes(name))) {
    it(`in ${state}: nothing throws, nothing leaks`, async (t) => {
      t.diagnostic(`SEED=${SEED}`);
      const random = new Random(SEED);
      for (let round = 0; round < 12; round++) {
        const { lab, a, b, client, server } = await inState(state, SEED + round);
        assert.ok(server);
        assert.equal(stateName(server), state);
        if (random.below(2) && (state === "ESTABLISHED" || state === "CLOSE-WAIT")) user.write(server, new Uint8Array(20_000));
        for (let i = 0; i < 150; i++) {
          inject(b, { sourcePort: 4000, destinationPort: 80, ...nearly(random, server) });
          lab.settle();
          if (i % 30 === 29) await lab.run(300);
        }
        for (const tcb of [...a.tcp.list(), ...b.tcp.list(), client, server]) user.close(tcb);
        lab.links[0].set({ cut: false });
        await lab.run(2_000_000);
        assert.equal(lab.engine.pool().inFlight, 0, "buffers");
        assert.equal(lab.engine.pool("bare").inFlight, 0, "bare descriptors");
        assert.equal(lab.engine.counters().stats.double_frees, 0);
        assert.equal(b.tcp.size, 0, `connections: ${b.tcp.list().map(stateName)}`);
        assert.equal(lab.engine.slabs.available, lab.engine.slabs.total, "slabs");
      }
    });
  }

  it("blind resets, SYNs and data do not end a connection (RFC 5961)", async () => {
    const { lab, b, client, server } = await inState("ESTABLISHED", SEED);
    assert.ok(server);
    const random = new Random(SEED);
    for (let i = 0; i < 20_000; i++) {
      // Everywhere but at the one sequence number that resets; every second time inside the window.
      const seq = (server.received + 1 + random.below(i & 4 ? 60_000 : 0xfffffffe)) >>> 0;
      inject(b, {
        sourcePort: 4000,
        destinationPort: 80,
        sequence: seq,
        acknowledgement: random.u32(),
        flags: [4, 2, 0x14, 0x18][i & 3],
        payload: new Uint8Array(i & 3 ? 0 : 9),
      });
      if (i % 100 === 0) lab.settle();
    }
    await lab.run(1000);
    assert.equal(stateName(server), "ESTABLISHED");
    assert.equal(stateName(client), "ESTABLISHED");
    assert.ok(b.tcp.counters.challenge_acks > 0 && b.tcp.counters.challenge_acks <= 10, "challenges are limited");
    user.write(client, new Uint8Array(1000));
    await lab.run(100);
    assert.equal(user.readable(server), 1000);
  });

  it("an ICMP message about something that was never sent changes no path (RFC 5927)", async () => {
    const { lab, a, b, server } = await inState("ESTABLISHED", SEED);
    assert.ok(server);
    const mss = server.mss;
    const lie = (sequence: number) => {
      const addresses = { source: addressBytes4(B), destination: addressBytes4(A) };
      const segment = {
        sourcePort: 80,
        destinationPort: 4000,
        sequence,
        acknowledgement: 0,
        flags: 16,
        window: 0,
        urgentPointer: 0,
        options: new Uint8Array(0),
        payload: new Uint8Array(0),
      };
      const quoted = serializeIpv4({ protocol: 6, source: B, destination: A, payload: serializeTcp(segment, addresses) });
      a.ip.sendIcmp(undefined, undefined, IpAddress.v4(B), 3, 4, 600, quoted);
      a.ip.flush();
    };
    // What is sent stays in flight: nothing of it arrives.
    lab.links[0].set({ delay: 1, cut: true }, 1);
    user.write(server, new Uint8Array(100_000));
    for (const off of [-1, 1_000_000, -5000]) lie((server.una + off) >>> 0);
    await lab.run(2);
    assert.equal(server.mss, mss);
    lie(server.una >>> 0);
    await lab.run(2);
    assert.equal(server.mss, 600 - 40 - 12, "about something in flight it is believed");
    assert.equal(b.ip.pathTo(IpAddress.v4(A)).mtu, 600);
  });

  it("a SYN flood leaves memory flat while honest handshakes finish", async () => {
    const { lab, a, b } = await twoHosts(SEED, 256);
    const listener = b.tcp.listen(undefined, 80, 1024);
    const random = new Random(SEED);
    let opened = 0;
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 200; i++) {
        inject(
          b,
          { sourcePort: 1024 + random.below(60_000), destinationPort: 80, sequence: random.u32(), flags: 2 },
          0x0a000100 + random.below(0xff00),
        );
        if (i % 50 === 49) lab.settle();
      }
      const tcb = a.tcp.connect(IpAddress.v4(B), 80);
      tcb.events.established = () => opened++;
      await lab.run(50);
    }
    await lab.run(3000);
    assert.ok(opened >= 99, `${opened} of 100 honest handshakes`);
    assert.ok(b.tcp.size <= 256 + 100, `${b.tcp.size} connections are kept`);
    assert.equal(listener.waiting, opened);
    assert.ok(b.tcp.counters.syncookies_sent > 10_000);
  });

  it("optimistic and divided acknowledgements do not inflate the window beyond what was sent", async () => {
    const { lab, b, server } = await inState("ESTABLISHED", SEED);
    assert.ok(server);
    user.write(server, new Uint8Array(200_000));
    const before = server.cwnd;
    for (let i = 1; i <= 200; i++) {
      inject(b, {
        sourcePort: 4000,
        destinationPort: 80,
        sequence: server.received >>> 0,
        acknowledgement: (server.una + 1) >>> 0,
        flags: 0x10,
        options: optionsOf(server, new Random(3)).subarray(0, 12),
      });
      inject(b, {
        sourcePort: 4000,
        destinationPort: 80,
        sequence: server.received >>> 0,
        acknowledgement: (server.nxt + 50_000) >>> 0,
        flags: 0x10,
        options: optionsOf(server, new Random(3)).subarray(0, 12),
      });
      lab.settle();
    }
    // 200 bytes were acknowledged: byte counting (RFC 3465) grows by no more.
    assert.ok(server.cwnd - before <= 200 + server.mss, `${server.cwnd - before} bytes of growth`);
    assert.equal(stateName(server), "ESTABLISHED");
  });
});
