/** ECN (RFC 3168) and Accurate ECN (RFC 9768) between two hosts in virtual time, with a router that marks in between. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { SEED } from "./support.ts";

interface Run {
  client: Tcb;
  server: Tcb;
  marked: number;
  received: number;
  flags: Set<number>;
}

/** Sends `bytes` over a wire that marks every `every`-th packet which may be marked; the peer may send as much meanwhile. */
async function run(
  client: Partial<TcpOptions>,
  server: Partial<TcpOptions>,
  every: number,
  bytes = 2_000_000,
  answers = false,
  ecnOption = true,
): Promise<Run> {
  const lab = await Lab.create({ seed: SEED });
  const make = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`, `2001:db8::${n}/64`] }] });
  const [a, b] = [await make(1), await make(2)];
  for (const host of [a, b]) host.tcp.settings.ecnOption = ecnOption;
  const [from, to] = [a.ip.interface("eth0").port, b.ip.interface("eth0").port];
  const state = { marked: 0, candidates: 0, flags: new Set<number>() };
  const queue: { at: number; frame: Uint8Array; to: typeof from }[] = [];
  const carry = (frame: Uint8Array, target: typeof from) => {
    const copy = frame.slice();
    if (copy[12] === 8 && copy[13] === 0 && copy[23] === 6) {
      const tcp = 14 + 20;
      if (target === to) state.flags.add(((copy[tcp + 12] & 1) << 8) | copy[tcp + 13]);
      if ((copy[15] & 3) !== 0 && copy.length > 100 && ++state.candidates % every === 0) {
        state.marked++;
        mark(copy);
      }
    }
    queue.push({ at: lab.clock.now() + 10, frame: copy, to: target });
  };
  lab.engine.attach({
    name: "marking wire",
    poll: () => {
      let n = from.transmitted((frame) => carry(frame, to), 256) + to.transmitted((frame) => carry(frame, from), 256);
      while (queue.length > 0 && queue[0].at <= lab.clock.now()) {
        const next = queue.shift();
        next?.to.receive(next.frame);
        n++;
      }
      return n;
    },
  });
  const listener = b.tcp.listen(undefined, 80, 8, server);
  const tcb = a.tcp.connect(IpAddress.parse("10.0.0.2"), 80, {}, client);
  const data = new Uint8Array(bytes);
  let sent = 0;
  const pump = () => {
    while (sent < bytes) {
      const n = user.write(tcb, data.subarray(sent));
      sent += n;
      if (n === 0) return;
    }
  };
  tcb.events = { established: pump, writable: pump };
  const out = new Uint8Array(65_536);
  let received = 0;
  let back = answers ? 0 : bytes;
  let peer: Tcb | undefined;
  listener.onConnection = () => {
    peer = listener.accept() as Tcb;
    const accepted = peer;
    let left = answers ? bytes : 0;
    const answer = () => {
      while (left > 0) {
        const n = user.write(accepted, data.subarray(0, left));
        left -= n;
        if (n === 0) return;
      }
    };
    accepted.events = {
      readable: () => {
        for (let n = user.read(accepted, out); n > 0; n = user.read(accepted, out)) received += n;
      },
      writable: answer,
    };
    answer();
  };
  tcb.events.readable = () => {
    for (let n = user.read(tcb, out); n > 0; n = user.read(tcb, out)) back += n;
  };
  // The wire has no timers of its own that the lab knows: time moves by small steps.
  for (let i = 0; i < 20_000 && Math.min(received, back) < bytes; i++) await lab.run(1);
  // What is acknowledged late.
  for (let i = 0; i < 100; i++) await lab.run(1);
  assert.ok(peer);
  return { client: tcb, server: peer, marked: state.marked, received, flags: state.flags };
}

function mark(frame: Uint8Array): void {
  const before = (frame[14] << 8) | frame[15];
  frame[15] |= 3;
  const after = (frame[14] << 8) | frame[15];
  // RFC 1624.
  let sum = (~((frame[24] << 8) | frame[25]) & 0xffff) + (~before & 0xffff) + after;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
  frame[24] = sum >>> 8;
  frame[25] = sum;
}

describe("ECN", () => {
  it("RFC 3168: marks reduce the window, once in a round trip, nothing is sent again", async () => {
    const { client, server, marked, received, flags } = await run({ ecnRequest: "ecn" }, {}, 97);
    assert.equal(received, 2_000_000);
    assert.ok(marked > 5);
    assert.equal(client.retransmissions, 0);
    assert.equal(client.ecn?.isAccurate, false);
    assert.equal(server.ecn?.isAccurate, false);
    assert.ok(client.ssthresh < 1e6, "reduced");
    assert.ok(
      [...flags].some((each) => each & 0x80),
      "said so with CWR",
    );
  });

  it("Accurate ECN counts every mark, by packets and by bytes", async () => {
    const { client, server, marked, received } = await run({ ecnRequest: "accecn" }, { ecnAccept: "accecn" }, 13);
    assert.equal(received, 2_000_000);
    assert.equal(client.ecn?.isAccurate, true);
    assert.equal(server.ecn?.ceReceived, marked);
    assert.equal(client.ecn?.ceDelivered, marked);
    assert.equal(client.ecn?.bytesDelivered[3], server.ecn?.bytesReceived[3]);
    assert.equal((client.ecn?.bytesDelivered[2] ?? 0) + (client.ecn?.bytesDelivered[3] ?? 0), 2_000_000);
    assert.equal(client.retransmissions, 0);
  });

  it("Accurate ECN falls back to RFC 3168 with a peer that knows no more", async () => {
    const { client, server, received } = await run({ ecnRequest: "accecn" }, { ecnAccept: "ecn" }, 97);
    assert.equal(received, 2_000_000);
    assert.equal(client.ecn?.isAccurate, false);
    assert.equal(server.ecn?.isAccurate, false);
  });

  it("nobody marks a connection that did not ask, or whose peer does not want it", async () => {
    assert.equal((await run({}, {}, 2, 100_000)).marked, 0);
    assert.equal((await run({ ecnRequest: "ecn" }, { ecnAccept: "off" }, 2, 100_000)).marked, 0);
    assert.equal((await run({ ecnRequest: "accecn" }, { ecnAccept: "off" }, 2, 100_000)).marked, 0);
  });

  it("keeps the count in every segment of a large unit, both ways at once", async () => {
    const { client, server, marked } = await run({ ecnRequest: "accecn" }, { ecnAccept: "accecn" }, 41, 1_000_000, true, false);
    assert.equal((server.ecn?.ceReceived ?? 0) + (client.ecn?.ceReceived ?? 0), marked);
    // A segment that lost a bit of its count would stand for marks that never were.
    assert.deepEqual([client.ecn?.ceDelivered, server.ecn?.ceDelivered], [server.ecn?.ceReceived, client.ecn?.ceReceived]);
    assert.ok(marked > 30);
  });

  it("counts without the option too", async () => {
    const { client, server, marked } = await run({ ecnRequest: "accecn" }, { ecnAccept: "accecn" }, 29, 2_000_000, false, false);
    assert.equal(server.ecn?.ceReceived, marked);
    // Three bits of a packet that acknowledges many are taken for the larger count.
    assert.ok((client.ecn?.ceDelivered ?? 0) >= marked);
    assert.equal(((client.ecn?.ceDelivered ?? 0) - marked) % 8, 0);
  });
});
