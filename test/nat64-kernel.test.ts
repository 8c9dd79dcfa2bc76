/** A kernel that has IPv6 alone, a router between the families, and a kernel that has IPv4 alone. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { body, type Daemon, missing, Namespace, sha, startRouter } from "./kernel-support.ts";

const PAGE = 3_000_000;

describe("kernels of one family each", { skip: missing("curl", "ping", "traceroute", "python3", "iperf3"), timeout: 90_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "loom-nat64-"));
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
  - { name: lan, device: { kind: tap, name: t0, namespace: ${client.name} }, addresses: ["fd85::1/64"] }
  - { name: wan, device: { kind: tap, name: t0, namespace: ${server.name} }, addresses: [192.0.2.1/24] }
nat: { masquerade: [wan] }
nat64: {}
ruleset: |
  table inet filter {
    chain forward {
      type filter hook forward priority filter; policy drop;
      ct state established,related accept
      iifname "lan" oifname "nat64" accept
      iifname "nat64" oifname "wan" accept
    }
  }
control: ${join(folder, "control.sock")}
`,
    );
    router = await startRouter(file);
    client.up("t0", "fd85::2/64");
    server.up("t0", "192.0.2.2/24");
    client.ip("-6", "route", "add", "default", "via", "fd85::1");
    await server.start("python3", ["-m", "http.server", "80", "--bind", "0.0.0.0", "--directory", folder]);
    await server.listens(80);
  });

  after(async () => {
    await router?.stop();
    await client?.remove();
    await server?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it("curl: a page of three megabytes", async () => {
    const page = await client.run("curl -sg --max-time 20 http://[64:ff9b::192.0.2.2]/page");
    assert.equal(sha(page.bytes), sha(body(PAGE)));
  });

  it("ping: small, large, in fragments; and of nobody", async () => {
    for (const size of [8, 1400, 1452, 4000]) {
      await client.run(`ping -6 -c 1 -W 2 -s ${size} 64:ff9b::c000:202`);
      assert.match((await client.run(`ping -6 -c 2 -i 0.2 -W 2 -s ${size} 64:ff9b::c000:202`)).out, / 0% packet loss/, `${size} bytes`);
    }
    assert.match((await client.run("ping -6 -c 1 -W 5 64:ff9b::cb00:7101")).out, /[Uu]nreachable/);
  });

  it("traceroute: each hop by its own address", async () => {
    const { out } = await client.run("traceroute -6 -n -q 1 -w 2 -m 5 64:ff9b::c000:202");
    assert.match(out, / 1 {2}fd85::1 /);
    assert.match(out, / 64:ff9b::c000:202 /);
  });

  it("iperf3: both ways, TCP and UDP", async () => {
    for (const how of ["", "-R", "-u -b 20M -l 1200", "-u -b 20M -l 1200 -R"]) {
      // One for each: the last may not have heard yet that its client is through.
      const serving = await server.start("iperf3", ["-s", "-1"]);
      await server.listens(5201);
      const { out } = await client.run(`timeout 20 iperf3 -6 -J -t 1 ${how} -c 64:ff9b::c000:202`);
      const { end, error } = JSON.parse(out);
      assert.equal(error, undefined, how);
      const sum = end.sum ?? end.sum_received;
      assert.ok(sum.bytes > 1_000_000, `${how}: ${sum.bytes}`);
      assert.ok((sum.lost_percent ?? 0) < 5, `${how}: ${sum.lost_percent}% lost`);
      await serving.stop();
    }
  });
});
