/** Deno's sockets over a host: the same suite over Deno's own, in the real Deno; and over ours in this runtime. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { forHost } from "../src/deno/index.ts";
import { Zone } from "../src/dns/index.ts";
import { serveDns } from "../src/host/index.ts";
import { Engine, Host } from "../src/index.ts";
import { type Pair, pair } from "./node/places.ts";

const DENO = "node_modules/.bin/deno";
const main = new URL("deno/main.js", import.meta.url).pathname;
const run = (command: string, args: string[]) => spawnSync(command, args, { encoding: "utf8", timeout: 40_000 });

describe("sockets of Deno over a host", () => {
  const hasDeno = run(DENO, ["--version"]).status === 0;
  let expected: unknown;

  it("see what Deno's own see, in Deno, which ends by itself", { skip: hasDeno ? false : "no deno on this machine" }, () => {
    const { status, stdout, stderr } = run(DENO, ["run", "--allow-all", "--unstable-net", "--node-modules-dir=manual", main]);
    assert.equal(status, 0, stderr);
    const { ours, own, sameClasses } = JSON.parse(stdout);
    assert.deepEqual(ours, own);
    assert.equal(sameClasses, true);
    expected = own;
  });

  it("see the same in Node", { skip: hasDeno ? false : "no deno on this machine" }, () => {
    const { status, stdout, stderr } = run(process.execPath, [main]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(JSON.parse(stdout).ours, expected);
  });
});

describe("names for Deno's calls", () => {
  let hosts: Pair;
  before(async () => {
    hosts = await pair();
    hosts.client.resolver.servers = ["10.0.0.2"];
    serveDns(hosts.server, {
      zones: [
        new Zone("loom.test", [
          { name: "www.loom.test", type: "A", address: "10.0.0.2" },
          { name: "www.loom.test", type: "AAAA", address: "2001:db8::2" },
          { name: "loom.test", type: "MX", preference: 10, exchange: "mail.loom.test" },
          { name: "loom.test", type: "TXT", entries: [new TextEncoder().encode("a text")] },
          { name: "_x._tcp.loom.test", type: "SRV", priority: 1, weight: 2, port: 3, target: "www.loom.test" },
          { name: "also.loom.test", type: "CNAME", target: "www.loom.test" },
        ]),
      ],
    });
  });
  after(() => hosts.close());

  it("resolves records in Deno's shapes, and connects by name", async () => {
    const { resolveDns, connect, errors } = forHost(hosts.client);
    assert.deepEqual(await resolveDns("www.loom.test", "A"), ["10.0.0.2"]);
    assert.deepEqual(await resolveDns("also.loom.test", "AAAA"), ["2001:db8::2"]);
    assert.deepEqual(await resolveDns("also.loom.test", "CNAME"), ["www.loom.test."]);
    assert.deepEqual(await resolveDns("loom.test", "MX"), [{ preference: 10, exchange: "mail.loom.test." }]);
    assert.deepEqual(await resolveDns("loom.test", "TXT"), [["a text"]]);
    assert.deepEqual(await resolveDns("_x._tcp.loom.test", "SRV"), [{ priority: 1, weight: 2, port: 3, target: "www.loom.test." }]);
    await assert.rejects(resolveDns("none.loom.test", "A"), errors.NotFound);
    const listener = forHost(hosts.server).listen({ port: 7000 });
    const [conn, other] = await Promise.all([connect({ hostname: "www.loom.test", port: 7000 }), listener.accept()]);
    assert.equal(conn.remoteAddr.port, 7000);
    for (const each of [conn, other, listener]) each.close();
  });

  it("fails without a name server as Deno does: by a plain Error", async () => {
    const { resolveDns, errors } = forHost(hosts.server);
    const error = await resolveDns("www.loom.test", "A").catch((reason) => reason);
    assert.equal(error.constructor, Error);
    assert.ok(!(error instanceof errors.ConnectionRefused));
    assert.match(error.message, /no name server/);
  });

  it("refuses ports that are none, in Deno's words", async () => {
    const { listen, connect } = forHost(hosts.client);
    for (const [port, error] of [
      [99_999, { name: "RangeError", message: "Invalid port (out of range): 99999" }],
      [-1, { name: "RangeError", message: "Invalid port (out of range): -1" }],
      ["x", { name: "TypeError", message: "Invalid port: 'x'" }],
      [1.5, { name: "TypeError", message: "Invalid port: 1.5" }],
    ] as const) {
      assert.throws(() => listen({ port: port as never }), error);
      await assert.rejects(connect({ hostname: "10.0.0.2", port: port as never }), error);
    }
  });
});

describe("groups for Deno's calls", () => {
  it("are joined by an interface's address, index or name", async () => {
    const engine = await Engine.create({ ports: 1, tables: 4 });
    const host = await Host.create({ engine, interfaces: [{ port: engine.port(0), addresses: ["10.0.0.2/24", "fd00::2/64"] }] });
    const [{ name, index }] = host.ip.interfaces;
    const conn = forHost(host).listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
    for (const which of ["10.0.0.2", name, "0.0.0.0"]) await (await conn.joinMulticastV4("239.1.1.1", which)).leave();
    const six = forHost(host).listenDatagram({ transport: "udp", hostname: "::", port: 0 });
    for (const which of [index, name, 0]) await (await six.joinMulticastV6("ff15::9", which)).leave();
    await assert.rejects(conn.joinMulticastV4("239.1.1.1", "10.0.0.9"), /there is no interface 10\.0\.0\.9/);
    await assert.rejects(six.joinMulticastV6("ff15::9", 99), /there is no interface 99/);
    conn.close();
    six.close();
    await host.close();
    await engine.close();
  });
});
