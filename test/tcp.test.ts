/** TCP between two hosts of a lab: virtual time, seeded chance, every byte compared. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { Random } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Impairment } from "../src/lab/link.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { SEED, stateName } from "./support.ts";

interface Pair {
  lab: Lab;
  a: Host;
  b: Host;
}

async function pair(
  impairment: Impairment | undefined,
  options: { tcp?: Partial<TcpOptions>; seed?: number; mtu?: number; handshakes?: number } = {},
): Promise<Pair> {
  const lab = await Lab.create({ seed: options.seed ?? SEED });
  const make = (n: number) =>
    lab.host({
      interfaces: [{ mtu: options.mtu, addresses: [`10.0.0.${n}/24`, `2001:db8::${n}/64`] }],
      tcp: options.tcp,
      handshakes: options.handshakes,
    });
  const [a, b] = [await make(1), await make(2)];
  if (impairment) lab.link(a, b, impairment);
  else lab.join(a, b);
  return { lab, a, b };
}

/** Bytes that a position determines, so that a shifted stream cannot look right. */
function pattern(length: number, seed: number): Uint8Array {
  return new Random(seed).fill(new Uint8Array(length));
}

interface Transfer {
  done: boolean;
  error: string | undefined;
  received: number;
  digest: string;
  client: Tcb;
  server: Tcb | undefined;
}

/** Sends `bytes` from a to b and closes; the receiver reads at once and closes after the end. */
function transfer({ a, b }: Pair, bytes: Uint8Array, to: string, port: number, options: Partial<TcpOptions> = {}): Transfer {
  const listener = b.tcp.listen(undefined, port);
  const client = a.tcp.connect(IpAddress.parse(to), port, {}, options);
  const hash = createHash("sha256");
  const state: Transfer = { done: false, error: undefined, received: 0, digest: "", client, server: undefined };
  let sent = 0;
  const pump = () => {
    while (sent < bytes.length) {
      const n = user.write(client, bytes.subarray(sent, sent + 262_144));
      sent += n;
      if (n === 0) return;
    }
    user.close(client);
  };
  client.events = {
    established: pump,
    writable: pump,
    closed: (error) => {
      if (error) state.error = error.message;
    },
  };
  const chunk = new Uint8Array(65_536);
  listener.onConnection = () => {
    const server = listener.accept() as Tcb;
    state.server = server;
    const drain = () => {
      for (let n = user.read(server, chunk); n > 0; n = user.read(server, chunk)) {
        hash.update(chunk.subarray(0, n));
        state.received += n;
      }
      if (user.ended(server) && !state.done) {
        state.done = true;
        state.digest = hash.digest("hex");
        listener.close();
        user.close(server);
      }
    };
    server.events = { readable: drain };
    drain();
  };
  return state;
}

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Nothing is held by anybody any more. */
function assertClean({ lab, a, b }: Pair): void {
  assert.equal(lab.engine.pool().inFlight, 0, "buffers in flight");
  assert.equal(lab.engine.pool("bare").inFlight, 0, "bare descriptors in flight");
  assert.equal(lab.engine.counters().stats.double_frees, 0);
  assert.equal(lab.engine.slabs.available, lab.engine.slabs.total, "slabs");
  assert.equal(a.tcp.size + b.tcp.size, 0, "connections");
}

describe("TCP between two hosts", () => {
  for (const to of ["10.0.0.2", "2001:db8::2"]) {
    for (const wire of [undefined, {}, { delay: 5 }, { delay: 10, loss: 0.02 }]) {
      it(`delivers every byte once and in order to ${to} over ${wire ? JSON.stringify(wire) : "joined ports"}`, async (t) => {
        t.diagnostic(`SEED=${SEED}`);
        const p = await pair(wire);
        const bytes = pattern(3_000_000, SEED);
        const state = transfer(p, bytes, to, 80);
        await p.lab.run(600_000, () => state.done);
        assert.equal(state.error, undefined);
        assert.equal(state.received, bytes.length);
        assert.equal(state.digest, sha(bytes));
        await p.lab.run(200_000);
        assertClean(p);
      });
    }
  }

  it("is the same run for the same seed", async () => {
    const trace = async () => {
      const p = await pair({ delay: 20, jitter: 5, loss: 0.03, duplicate: 0.01, reorder: 0.02 }, { seed: 77 });
      const state = transfer(p, pattern(500_000, 1), "10.0.0.2", 80);
      await p.lab.run(600_000, () => state.done);
      return [p.lab.clock.now(), p.a.tcp.counters, p.b.tcp.counters, p.lab.links[0].counters(0)];
    };
    assert.deepEqual(await trace(), await trace());
  });

  it("rejects a refused connection within one round trip", async () => {
    const p = await pair({ delay: 10 });
    let outcome = "";
    p.a.ping("10.0.0.2").catch(() => {});
    await p.lab.run(1000);
    const tcb = p.a.tcp.connect(IpAddress.parse("10.0.0.2"), 81);
    tcb.events.closed = (error) => {
      outcome = `${error?.code} after ${Math.round(p.lab.clock.now() - 1000)} ms`;
    };
    await p.lab.run(1000);
    assert.equal(outcome, "ECONNREFUSED after 20 ms");
    assertClean(p);
  });

  it("gives up on a silent peer, and says so", async () => {
    const p = await pair({ delay: 1 });
    let code: string | undefined;
    await p.lab.run(10);
    p.lab.links[0].set({ cut: true });
    const tcb = p.a.tcp.connect(IpAddress.parse("10.0.0.2"), 81);
    tcb.events.closed = (error) => {
      code = error?.code;
    };
    await p.lab.run(300_000);
    assert.ok(code === "EHOSTUNREACH" || code === "ETIMEDOUT", code);
    assertClean(p);
  });

  it("half-closes: one side goes on sending after the other's FIN", async () => {
    const p = await pair({ delay: 3 });
    const listener = p.b.tcp.listen(undefined, 80);
    const client = p.a.tcp.connect(IpAddress.parse("10.0.0.2"), 80);
    await p.lab.run(50);
    const server = listener.accept() as Tcb;
    user.shutdown(client);
    await p.lab.run(50);
    assert.equal(stateName(client), "FIN-WAIT-2");
    assert.equal(stateName(server), "CLOSE-WAIT");
    assert.equal(user.ended(server), true);
    user.write(server, pattern(100_000, 3));
    user.shutdown(server);
    await p.lab.run(500);
    const got = new Uint8Array(200_000);
    assert.equal(user.read(client, got), 100_000);
    assert.deepEqual(got.subarray(0, 100_000), pattern(100_000, 3));
    assert.equal(stateName(client), "TIME-WAIT");
    assert.equal(stateName(server), "CLOSED");
  });

  it("opens simultaneously (RFC 9293 §3.5, figure 7)", async () => {
    const p = await pair({ delay: 10 });
    p.a.ping("10.0.0.2").catch(() => {});
    await p.lab.run(100);
    const one = p.a.tcp.connect(IpAddress.parse("10.0.0.2"), 2000, { port: 1000 });
    const two = p.b.tcp.connect(IpAddress.parse("10.0.0.1"), 1000, { port: 2000 });
    await p.lab.run(500);
    assert.equal(stateName(one), "ESTABLISHED");
    assert.equal(stateName(two), "ESTABLISHED");
    user.write(one, pattern(5000, 1));
    await p.lab.run(100);
    assert.equal(user.readable(two), 5000);
  });

  it("closes simultaneously", async () => {
    const p = await pair({ delay: 10 });
    const listener = p.b.tcp.listen(undefined, 80);
    const client = p.a.tcp.connect(IpAddress.parse("10.0.0.2"), 80);
    await p.lab.run(200);
    const server = listener.accept() as Tcb;
    user.close(client);
    user.close(server);
    await p.lab.run(12);
    assert.deepEqual([stateName(client), stateName(server)], ["CLOSING", "CLOSING"]);
    await p.lab.run(20);
    assert.deepEqual([stateName(client), stateName(server)], ["TIME-WAIT", "TIME-WAIT"]);
    listener.close();
    await p.lab.run(61_000);
    assertClean(p);
  });

  it("probes a closed window and goes on when it opens", async () => {
    const p = await pair({ delay: 5 }, { tcp: { receiveBuffer: 65_535 } });
    const listener = p.b.tcp.listen(undefined, 80);
    const client = p.a.tcp.connect(IpAddress.parse("10.0.0.2"), 80);
    await p.lab.run(200);
    const server = listener.accept() as Tcb;
    const bytes = pattern(200_000, 9);
    user.write(client, bytes);
    await p.lab.run(30_000);
    assert.equal(user.status(client).sendWindow < 1448, true, "the window is closed");
    assert.equal(stateName(client), "ESTABLISHED");
    const got = new Uint8Array(bytes.length);
    let n = 0;
    server.events.readable = () => {
      n += user.read(server, got.subarray(n));
    };
    n += user.read(server, got);
    await p.lab.run(5000);
    assert.equal(n, bytes.length);
    assert.deepEqual(got, bytes);
  });

  it("ends a connection whose peer vanished, by keepalive", async () => {
    const p = await pair({ delay: 5 }, { tcp: { keepAlive: 10, keepAliveInterval: 2, keepAliveProbes: 3 } });
    p.b.tcp.listen(undefined, 80);
    const client = p.a.tcp.connect(IpAddress.parse("10.0.0.2"), 80);
    await p.lab.run(25_000);
    assert.equal(stateName(client), "ESTABLISHED", "an idle peer that answers stays");
    p.lab.links[0].set({ cut: true });
    let code: string | undefined;
    client.events.closed = (error) => {
      code = error?.code;
    };
    await p.lab.run(30_000);
    assert.equal(code, "ETIMEDOUT");
  });

  it("answers a flood of SYNs with cookies, and honest handshakes succeed", async () => {
    const p = await pair({ delay: 5 }, { handshakes: 0 });
    const bytes = pattern(300_000, 4);
    const state = transfer(p, bytes, "10.0.0.2", 80);
    await p.lab.run(60_000, () => state.done);
    assert.equal(state.digest, sha(bytes));
    assert.equal(p.b.tcp.counters.syncookies_received, 1);
    assert.equal(state.client.sackOk, true, "options survive in the timestamp");
    assert.equal(state.server?.sackOk, true);
  });

  for (const off of [
    { sack: false },
    { timestamps: false },
    { windowScaling: false },
    { sack: false, timestamps: false, windowScaling: false },
    { congestion: "reno" },
  ]) {
    it(`delivers over a bad link with ${JSON.stringify(off)}`, async (t) => {
      t.diagnostic(`SEED=${SEED}`);
      const p = await pair({ delay: 15, jitter: 3, loss: 0.02, duplicate: 0.01, reorder: 0.01, corrupt: 0.005 }, { tcp: off });
      const bytes = pattern(1_000_000, SEED);
      const state = transfer(p, bytes, "10.0.0.2", 80);
      await p.lab.run(3_600_000, () => state.done);
      assert.equal(state.error, undefined);
      assert.equal(state.digest, sha(bytes));
    });
  }
});
