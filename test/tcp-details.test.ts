/** TCP's finer rules, where no single exchange of segments shows them: two hosts of ours in virtual time. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Impairment } from "../src/lab/link.ts";
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
