/** The user timeout option (RFC 5482): what is sent when, what is taken of it, and when a silent peer is given up. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { IpAddress } from "../src/base/ip-address.ts";
import type { LoomError } from "../src/index.ts";
import { Lab } from "../src/index.ts";
import { decodeTimeout, encodeTimeout } from "../src/tcp/options.ts";
import type { Tcb, TcpOptions } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { userTimeout } from "../src/tcp/user-timeout.ts";
import { body } from "./kernel-support.ts";
import { SEED } from "./support.ts";

/** Two hosts; the wire keeps what it carries, until it is cut. */
async function connected(client: Partial<TcpOptions>, server: Partial<TcpOptions>) {
  const lab = await Lab.create({ seed: SEED });
  const make = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`] }] });
  const [a, b] = [await make(1), await make(2)];
  const [from, to] = [a.ip.interface("eth0").port, b.ip.interface("eth0").port];
  const frames: Uint8Array[] = [];
  const wire = { cut: false };
  const carry = (frame: Uint8Array, target: typeof from) => {
    const copy = frame.slice();
    if (copy[12] === 8 && copy[13] === 0) frames.push(copy);
    if (!wire.cut || copy[13] !== 0) target.receive(copy);
  };
  const poll = () => from.transmitted((frame) => carry(frame, to), 256) + to.transmitted((frame) => carry(frame, from), 256);
  lab.engine.attach({ name: "wire", poll });
  const listener = b.tcp.listen(undefined, 80, 8, server);
  const tcb = a.tcp.connect(IpAddress.parse("10.0.0.2"), 80, {}, client);
  await lab.run(1000, () => listener.waiting > 0);
  await lab.run(100);
  return { lab, a, b, frames, wire, client: tcb, server: listener.accept() as Tcb };
}

/** Flags and the 16 bits of the option of each segment that has it, from port 80 or to it. */
function found(frames: readonly Uint8Array[], isFromServer: boolean): [number, number | undefined][] {
  const out: [number, number | undefined][] = [];
  for (const frame of frames) {
    const view = new DataView(frame.buffer);
    if ((view.getUint16(34) === 80) !== isFromServer) continue;
    let field: number | undefined;
    for (let at = 54; at < 34 + (frame[46] >> 4) * 4 && frame[at] !== 0; at += frame[at] === 1 ? 1 : frame[at + 1])
      if (frame[at] === 28 && frame[at + 1] === 4) field = view.getUint16(at + 2);
    out.push([frame[47], field]);
  }
  return out;
}

describe("user timeout option", () => {
  it("says seconds as long as they fit, then minutes that are not shorter (RFC 5482 §3)", () => {
    assert.deepEqual([1, 300, 32_767, 32_768].map(encodeTimeout), [1, 300, 0x7fff, 0x8000 | 547]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_966_020 }), (seconds) => {
        const said = decodeTimeout(encodeTimeout(seconds));
        assert.ok(said >= seconds && said - seconds < (seconds > 32_767 ? 60 : 1));
      }),
      { seed: SEED },
    );
  });

  it("stands in SYN, SYN-ACK and the first segment behind each, and again when it changes", async () => {
    const { lab, frames, client, server } = await connected({ advertisedTimeout: 200 }, { advertisedTimeout: 40_000 });
    user.write(server, body(10));
    await lab.run(100);
    user.write(client, body(3000));
    user.write(server, body(3000));
    await lab.run(300);
    const fromClient = found(frames, false);
    assert.deepEqual(fromClient.slice(0, 2), [
      [2, 200],
      [16, 200],
    ]);
    assert.ok(fromClient.length > 3 && fromClient.slice(2).every(([, field]) => field === undefined));
    const fromServer = found(frames, true);
    assert.deepEqual(fromServer[0], [18, 0x8000 | 667]);
    assert.equal(fromServer[1][1], 0x8000 | 667);
    assert.ok(fromServer.slice(2).every(([, field]) => field === undefined));
    assert.equal(client.timeouts?.remote, 667 * 60);
    assert.equal(server.timeouts?.remote, 200);
    // The larger of both, within an hour.
    assert.equal(userTimeout(client), 3_600_000);
    frames.length = 0;
    user.advertiseTimeout(client, 500);
    user.write(client, body(3000));
    await lab.run(300);
    assert.deepEqual(
      found(frames, false)
        .map(([, field]) => field)
        .filter((field) => field !== undefined),
      [500, 500, 500].slice(0, found(frames, false).filter(([, field]) => field !== undefined).length),
    );
    assert.equal(server.timeouts?.remote, 500);
    assert.throws(() => user.advertiseTimeout(client, 0), { code: "EINVAL" });
  });

  it("is neither sent nor taken unless it was asked for, and does not overrule the owner", async () => {
    const { frames, client, server } = await connected({}, { advertisedTimeout: 300, userTimeout: 5000 });
    assert.ok(found(frames, false).every(([, field]) => field === undefined));
    assert.equal(found(frames, true)[0][1], 300);
    assert.equal(userTimeout(client), 0);
    assert.equal(userTimeout(server), 5000);
  });

  for (const [mine, theirs, expected] of [
    [150, 110, 150],
    [110, 400, 400],
    [1, 2, 100],
    [1200, 10_000, 3600],
  ]) {
    it(`gives a silent peer up after ${expected} s: ${mine} s here, ${theirs} s there`, async () => {
      const { lab, client, wire } = await connected({ advertisedTimeout: mine }, { advertisedTimeout: theirs });
      let ended: [number, string | undefined] | undefined;
      client.events = { closed: (error: LoomError | undefined) => (ended = [client.now, error?.code]) };
      wire.cut = true;
      const begun = client.now;
      user.write(client, body(100));
      await lab.run(expected * 1000 - 500);
      assert.equal(ended, undefined);
      await lab.run(1000);
      assert.equal(ended?.[1], "ETIMEDOUT");
      assert.ok(Math.abs((ended?.[0] ?? 0) - begun - expected * 1000) < 500);
    });
  }
});
