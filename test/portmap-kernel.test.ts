/**
 * Machines of the LAN ask for ports with the programs people have: miniupnpc's `upnpc` and libnatpmp's `natpmpc`. The outer address is
 * one of nobody we know, because `upnpc` passes over gateways whose address is reserved; nothing leaves the namespaces.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Daemon, missing, Namespace, startRouter } from "./kernel-support.ts";

describe("ports that kernels ask a router for", { skip: missing("upnpc", "natpmpc", "nc"), timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "loom-portmap-"));
  let client: Namespace;
  let server: Namespace;
  let router: Daemon | undefined;

  before(async () => {
    [client, server] = [new Namespace(), new Namespace()];
    const file = join(folder, "router.yaml");
    writeFileSync(
      file,
      `interfaces:
  - { name: lan, device: { kind: tap, name: t0, namespace: ${client.name} }, addresses: [10.84.0.1/24] }
  - { name: wan, device: { kind: tap, name: t0, namespace: ${server.name} }, addresses: [45.45.45.1/24] }
nat: { masquerade: [wan], mapping: endpoint-independent }
portMapping: { external: wan, interfaces: [lan] }
ruleset: |
  table inet filter {
    chain forward {
      type filter hook forward priority filter; policy drop;
      ct state established,related accept
      iifname "lan" accept
      ct status dnat accept
    }
  }
`,
    );
    router = await startRouter(file);
    client.up("t0", "10.84.0.2/24");
    server.up("t0", "45.45.45.2/24");
    client.ip("route", "add", "default", "via", "10.84.0.1");
  });

  after(async () => {
    await router?.stop();
    await client?.remove();
    await server?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  /** What a connection from outside to a port of the router brings back. */
  async function reaches(port: number, inner: number) {
    const listening = client.run(`echo over there | timeout 10 nc -l ${inner}`);
    await client.listens(inner);
    const { out } = await server.run(`timeout 5 nc -w 3 45.45.45.1 ${port} </dev/null`);
    await listening;
    return out.trim();
  }

  it("UPnP: finds the gateway, asks for its address, adds, lists and deletes", async () => {
    const status = await client.run("timeout 20 upnpc -m t0 -s");
    assert.match(status.out, /Found valid IGD : http:\/\/10\.84\.0\.1:\d+\/control\/ip/);
    assert.match(status.out, /Status : Connected/);
    assert.match(status.out, /ExternalIPAddress = 45\.45\.45\.1/);
    const added = await client.run("timeout 20 upnpc -m t0 -e game -a 10.84.0.2 8000 6000 TCP 600");
    assert.match(added.out, /external 45\.45\.45\.1:6000 TCP is redirected to internal 10\.84\.0\.2:8000 \(duration=\d+\)/, added.out);
    assert.equal(await reaches(6000, 8000), "over there");
    assert.match((await client.run("timeout 20 upnpc -m t0 -l")).out, / 0 TCP +6000->10\.84\.0\.2:8000 +'game' '' \d+/);
    const other = await client.run("timeout 20 upnpc -m t0 -a 10.84.0.9 8000 6001 TCP");
    assert.match(other.out, /code 606/);
    assert.match((await client.run("timeout 20 upnpc -m t0 -d 6000 TCP")).out, /UPNP_DeletePortMapping\(\) returned : 0/);
    assert.equal(await reaches(6000, 8000).catch(() => ""), "");
  });

  it("NAT-PMP: asks for the address and a port", async () => {
    const got = await client.run("timeout 20 natpmpc -g 10.84.0.1 -a 6002 8002 tcp 600");
    assert.match(got.out, /Public IP address : 45\.45\.45\.1/);
    assert.match(got.out, /Mapped public port 6002 protocol TCP to local port 8002 lif?e?time 600/);
    assert.equal(await reaches(6002, 8002), "over there");
  });
});
