/** iperf3, the program, as client and as server of a host: both directions, several streams, UDP, both families. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Host } from "../src/host/host.ts";
import { runClient, serveOnce } from "./iperf3.ts";
import { FAMILIES, missing, type Namespace, overTap, until } from "./kernel-support.ts";

const OURS = { 4: "10.79.0.2", 6: "fd79::2" } as const;
const THEIRS = { 4: "10.79.0.1", 6: "fd79::1" } as const;
const MEGA = 1 << 20;

describe("iperf3 and a host", { skip: missing("iperf3"), timeout: 60_000 }, () => {
  let namespace: Namespace;
  let host: Host;

  overTap(OURS, THEIRS, (...made) => {
    [host, namespace] = made;
  });

  for (const family of FAMILIES) {
    for (const [flags, least] of [
      ["-n 40M", 40],
      ["-n 40M -R", 40],
      ["-n 40M -P 4", 40],
      ["-n 40M -P 4 -R", 40],
      ["-u -b 40M -n 1M", 1],
      ["-u -b 40M -n 1M -R", 1],
    ] as const) {
      it(`IPv${family}: iperf3 -c ${flags}`, async () => {
        const serving = serveOnce(host, 5201);
        const { code, out } = await namespace.run(`iperf3 -${family} -c ${OURS[family]} ${flags} -J`);
        assert.equal(code, 0, out);
        const { end } = JSON.parse(out);
        const { ours, theirs } = await serving;
        const udp = flags.includes("-u");
        const reverse = flags.includes("-R");
        const counted = udp ? end.sum : reverse ? end.sum_received : end.sum_sent;
        assert.ok(counted.bytes >= least * MEGA * 0.99, `${counted.bytes} bytes`);
        // What was received is what was sent, but for what was on the way when the test ended.
        const [sent, received] = reverse ? [ours, theirs] : [theirs, ours];
        assert.ok(received.bytes <= sent.bytes && received.bytes > 0.5 * sent.bytes, `${received.bytes} of ${sent.bytes}`);
        // iperf3 begins to read a little after it says that it is ready: its socket overflows then.
        if (udp) assert.ok(received.errors <= sent.packets / 3, `${received.errors} of ${sent.packets} lost`);
      });
    }

    for (const parameters of [
      { num: 40 * MEGA },
      { num: 40 * MEGA, reverse: true },
      { num: 40 * MEGA, parallel: 4 },
      { num: MEGA, udp: true, bandwidth: 4e7 },
      { num: MEGA, udp: true, bandwidth: 4e7, reverse: true },
    ]) {
      it(`IPv${family}: a client of iperf3 -s with ${JSON.stringify(parameters)}`, async () => {
        const server = await namespace.start("iperf3", ["-s", "-1", "-p", "5202", "--forceflush"], /listening/);
        const { ours, theirs } = await runClient(host, THEIRS[family], 5202, parameters);
        await server.stop();
        const [sent, received] = parameters.reverse ? [theirs, ours] : [ours, theirs];
        assert.ok(sent.bytes >= parameters.num * 0.99);
        assert.ok(received.bytes <= sent.bytes && received.bytes > 0.5 * parameters.num, `${received.bytes} of ${sent.bytes}`);
        if (parameters.udp) assert.ok(received.errors <= sent.packets / 3, `${received.errors} of ${sent.packets} lost`);
      });
    }
  }

  it("gave every buffer back", async () => {
    await until(() => host.engine.pool().inFlight === 0);
    assert.equal(host.engine.counters().stats.double_frees, 0);
  });
});
