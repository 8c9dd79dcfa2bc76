/** SYNPROXY between kernels: what their TCPs make of numbers, windows and timestamps that somebody between them moves. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { body, type Daemon, missing, Namespace, sha, startRouter } from "./kernel-support.ts";

const PAGE = 3_000_000;

describe("SYNPROXY between kernels", { skip: missing("curl", "python3", "iperf3"), timeout: 90_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "loom-synproxy-"));
  let client: Namespace;
  let server: Namespace;
  let router: Daemon | undefined;

  before(async () => {
    [client, server] = [new Namespace(), new Namespace()];
    const file = join(folder, "router.yaml");
    writeFileSync(join(folder, "page"), body(PAGE));
    writeFileSync(
      file,
      `interfaces:
  - { name: wan, device: { kind: tap, name: t0, namespace: ${client.name} }, addresses: [192.0.2.1/24, "2001:db8::1/64"] }
  - { name: lan, device: { kind: tap, name: t0, namespace: ${server.name} }, addresses: [10.0.0.1/24, "fd00::1/64"] }
conntrack: { tcpLoose: false }
ruleset: |
  table inet guard {
    chain raw { type filter hook prerouting priority raw; iifname "wan" tcp dport { 80, 5201 } tcp flags syn notrack; }
    chain forward {
      type filter hook forward priority filter; policy drop;
      iifname "wan" tcp dport { 80, 5201 } ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
      ct state established,related accept
    }
  }
control: ${join(folder, "control.sock")}
`,
    );
    router = await startRouter(file);
    client.up("t0", "192.0.2.2/24");
    client.ip("addr", "add", "2001:db8::2/64", "dev", "t0", "nodad");
    client.ip("route", "add", "default", "via", "192.0.2.1");
    client.ip("-6", "route", "add", "default", "via", "2001:db8::1");
    server.up("t0", "10.0.0.2/24");
    server.ip("addr", "add", "fd00::2/64", "dev", "t0", "nodad");
    server.ip("route", "add", "default", "via", "10.0.0.1");
    server.ip("-6", "route", "add", "default", "via", "fd00::1");
    // A window scale of seven, which is what the rule offers.
    await server.run("sysctl -qw net.ipv4.tcp_rmem='4096 131072 6291456'");
    await server.start("python3", ["-m", "http.server", "80", "--bind", "::", "--directory", folder]);
    await server.start("iperf3", ["-s"]);
    await server.listens(80);
    await server.listens(5201);
  });

  after(async () => {
    await router?.stop();
    await client?.remove();
    await server?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [what, settings] of [
    ["as kernels are", {}],
    ["a client without timestamps", { tcp_timestamps: 0 }],
    ["a client without SACK and scaling", { tcp_timestamps: 1, tcp_sack: 0, tcp_window_scaling: 0 }],
  ] as const)
    it(`curl, both families: ${what}`, async () => {
      for (const [name, value] of Object.entries(settings)) await client.run(`sysctl -qw net.ipv4.${name}=${value}`);
      for (const address of ["10.0.0.2", "[fd00::2]"]) {
        const page = await client.run(`curl -sg --max-time 20 http://${address}/page`);
        assert.equal(sha(page.bytes), sha(body(PAGE)), address);
      }
      await client.run("sysctl -qw net.ipv4.tcp_timestamps=1 net.ipv4.tcp_sack=1 net.ipv4.tcp_window_scaling=1");
    });

  it("iperf3, both ways, with one packet in a hundred lost", async () => {
    await client.run("tc qdisc add dev t0 root netem loss 1%");
    for (const how of ["", "-R", "-P 4", "-6"]) {
      const { out } = await client.run(`timeout 20 iperf3 -J -t 1 ${how} -c ${how === "-6" ? "fd00::2" : "10.0.0.2"}`);
      const { end, error } = JSON.parse(out);
      assert.equal(error, undefined, how);
      assert.ok(end.sum_received.bytes > 1_000_000, `${how}: ${end.sum_received.bytes}`);
    }
  });
});
