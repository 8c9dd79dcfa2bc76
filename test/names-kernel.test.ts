/**
 * DHCP and DNS against real programs over TAP, in a network namespace that this file makes and removes: dnsmasq serves a
 * host, dhclient and dig are served by one.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Zone } from "../src/dns/index.ts";
import { Host, serveDhcp, serveDhcp6, serveDns } from "../src/host/index.ts";
import { tap } from "../src/link/tap.ts";

const NAMESPACE = `loomnames${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), "loom-names-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function missing(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync("/dev/net/tun")) return "needs /dev/net/tun";
  const absent = ["ip", ...programs].filter(
    (name) => !["/usr/bin", "/usr/sbin", "/bin", "/sbin"].some((where) => existsSync(`${where}/${name}`)),
  );
  return absent.length ? `needs ${absent.join(", ")}` : false;
}

const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });

/** Runs a command in the namespace; resolves with what it printed, whatever its exit code. */
function kernel(...command: string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn("ip", ["netns", "exec", NAMESPACE, ...command], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (out += chunk));
    child.on("close", () => resolve(out));
  });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not happen within ten seconds");
}

function makeNamespace(): void {
  ip("netns", "add", NAMESPACE);
  ip("-n", NAMESPACE, "link", "set", "lo", "up");
}

/** The kernel's side up, with its link-local address ready. */
function raise(...addresses: string[]): void {
  // No router: the kernel must take its addresses from DHCP alone.
  execFileSync("ip", [
    "netns",
    "exec",
    NAMESPACE,
    "sh",
    "-c",
    "echo 0 > /proc/sys/net/ipv6/conf/t0/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/t0/accept_ra",
  ]);
  ip("-n", NAMESPACE, "link", "set", "t0", "up");
  for (const address of addresses) ip("-n", NAMESPACE, "addr", "add", address, "dev", "t0", ...(address.includes(":") ? ["nodad"] : []));
}

describe("a host served by dnsmasq", { skip: missing("dnsmasq") }, () => {
  let host: Host;
  let dnsmasq: ChildProcess;
  let log = "";

  before(async () => {
    makeNamespace();
    host = await Host.create({ interfaces: [{ device: tap({ name: "t0", namespace: NAMESPACE }) }] });
    raise("10.78.0.1/24", "fd78::1/64");
    const words = Array.from({ length: 40 }, (_, i) => `word-number-${i}-of-a-long-text-record`).join(",");
    dnsmasq = spawn(
      "ip",
      [
        ..."netns exec".split(" "),
        NAMESPACE,
        ..."dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --interface=t0 --bind-interfaces --log-dhcp --log-facility=-".split(
          " ",
        ),
        `--dhcp-leasefile=${folder}/leases`,
        `--pid-file=${folder}/pid`,
        "--user=root",
        "--dhcp-range=10.78.0.50,10.78.0.60,120",
        "--dhcp-range=fd78::100,fd78::1ff,64,240",
        "--dhcp-option=option:domain-search,lan.test,example.test",
        "--dhcp-option=option:classless-static-route,192.0.2.0/24,10.78.0.1,0.0.0.0/0,10.78.0.1",
        "--dhcp-option=option:mtu,1400",
        "--dhcp-option=option6:dns-server,[fd78::1]",
        "--dhcp-option=option6:domain-search,six.test",
        "--host-record=www.lan.test,10.78.0.1,fd78::1",
        "--cname=alias.lan.test,www.lan.test",
        "--mx-host=lan.test,www.lan.test,5",
        "--srv-host=_http._tcp.lan.test,www.lan.test,80",
        "--caa-record=lan.test,0,issue,ca.test",
        `--txt-record=big.lan.test,${words}`,
        "--local=/lan.test/",
        "--domain=lan.test",
        "--expand-hosts",
      ],
      { detached: true },
    );
    for (const stream of [dnsmasq.stdout, dnsmasq.stderr]) stream?.on("data", (chunk) => (log += chunk));
    await until(() => /started/.test(log));
  });

  after(async () => {
    // With the children that serve its streams.
    if (dnsmasq?.pid) process.kill(-dnsmasq.pid, "SIGKILL");
    await host?.close();
    ip("netns", "del", NAMESPACE);
  });

  it("takes an address, routes, an MTU and name servers by DHCPv4", async () => {
    const { v4 } = await host.dhcp("eth0", { family: 4, hostname: "loom", signal: AbortSignal.timeout(15_000) });
    assert.match(v4?.address ?? "", /^10\.78\.0\.(5\d|60)$/, log);
    assert.deepEqual([v4?.server, v4?.leaseSeconds, v4?.prefixLength], ["10.78.0.1", 120, 24]);
    assert.equal(host.ip.interface("eth0").mtu, 1400);
    assert.deepEqual(host.resolver.search, ["lan.test", "example.test"]);
    assert.deepEqual(v4?.routes, [
      { to: "192.0.2.0/24", via: "10.78.0.1" },
      { to: "0.0.0.0/0", via: "10.78.0.1" },
    ]);
    assert.equal((await host.ping("10.78.0.1")).bytes, 56);
    assert.match(await kernel("ping", "-c", "1", "-W", "2", v4?.address ?? ""), /1 received/);
    assert.match(log, /DHCPACK\(t0\)/);
  });

  it("looks names up at the server that DHCP named, over UDP and TCP", async () => {
    assert.deepEqual((await host.lookup("www")).map(({ address }) => address).sort(), ["10.78.0.1", "fd78::1"]);
    assert.deepEqual(await host.lookup("alias.lan.test", { family: 4 }), [{ address: "10.78.0.1", family: 4 }]);
    const { resolver } = host;
    const [mx] = await resolver.resolve("lan.test", "MX");
    assert.deepEqual([mx.type === "MX" && mx.exchange, mx.type === "MX" && mx.preference], ["www.lan.test", 5]);
    const [srv] = await resolver.resolve("_http._tcp.lan.test", "SRV");
    assert.equal(srv.type === "SRV" && srv.port, 80);
    const [caa] = await resolver.resolve("lan.test", "CAA");
    assert.equal(caa.type === "CAA" && caa.value, "ca.test");
    const before = resolver.counters.truncated;
    const [txt] = await resolver.resolve("big.lan.test", "TXT");
    assert.ok(txt.type === "TXT" && txt.entries.length === 40);
    assert.equal(resolver.counters.truncated, before + 1);
    assert.deepEqual(await resolver.reverse("10.78.0.1"), ["www.lan.test"]);
    await assert.rejects(host.lookup("nobody.lan.test"), { code: "ENOTFOUND" });
    await assert.rejects(resolver.resolve("www.lan.test", "MX"), { code: "ENODATA" });
    // The server knows the client by the name that it gave.
    assert.equal((await host.lookup("loom.lan.test"))[0].address, (await host.dhcp("eth0", { family: 4 })).v4?.address);
  });

  it("takes an address and name servers by DHCPv6", async () => {
    const { v6 } = await host.dhcp("eth0", { family: 6, signal: AbortSignal.timeout(15_000) });
    assert.match(v6?.addresses?.[0].address ?? "", /^fd78::1[0-9a-f]{2}$/, log);
    assert.deepEqual([v6?.dns, v6?.search], [["fd78::1"], ["six.test"]]);
    assert.ok(host.resolver.servers.some(({ address }) => address === "fd78::1"));
    host.addRoute({ to: "fd78::/64", interface: "eth0" });
    assert.match(await kernel("ping", "-c", "1", "-W", "2", v6?.addresses?.[0].address ?? ""), /1 received/);
  });

  it("gives both back", async () => {
    host.dhcpRelease("eth0");
    await until(() => /DHCPRELEASE\(t0\) 10\.78/.test(log) && /DHCPRELEASE\(t0\) fd78|DHCPRELEASE\(t0\) 00:03/.test(log));
    await until(() => host.ip.addresses.list().every(({ origin }) => origin !== "dhcp"));
    assert.deepEqual(host.resolver.servers, []);
    assert.equal(host.engine.pool().inFlight, 0);
  });
});

describe("the kernel's programs served by a host", { skip: missing("dhclient", "dig") }, () => {
  let host: Host;
  const running: { close(): void }[] = [];
  const clients: ChildProcess[] = [];

  before(async () => {
    makeNamespace();
    host = await Host.create({
      interfaces: [{ device: tap({ name: "t0", namespace: NAMESPACE }), addresses: ["10.79.0.1/24", "fd79::1/64"] }],
    });
    running.push(
      serveDhcp(host, {
        pools: [
          { subnet: "10.79.0.0/24", range: ["10.79.0.20", "10.79.0.29"], leaseSeconds: 600, routers: ["10.79.0.1"], dns: ["10.79.0.1"] },
        ],
      }),
      serveDhcp6(host, { range: ["fd79::1000", "fd79::1fff"], dns: ["fd79::1"], search: ["lan.test"] }),
      serveDns(host, {
        zones: [
          new Zone("lan.test", [
            { name: "www.lan.test", type: "A", address: "10.79.0.80" },
            { name: "www.lan.test", type: "AAAA", address: "fd79::80" },
            { name: "alias.lan.test", type: "CNAME", target: "www.lan.test" },
            { name: "lan.test", type: "CAA", critical: false, tag: "issue", value: "ca.test" },
            { name: "lan.test", type: "HTTPS", priority: 1, target: ".", parameters: [{ key: 1, value: Uint8Array.of(2, 104, 50) }] },
            { name: "big.lan.test", type: "TXT", entries: Array.from({ length: 30 }, () => new Uint8Array(100).fill(120)) },
          ]),
        ],
      }),
    );
    raise();
  });

  after(async () => {
    for (const each of running) each.close();
    for (const client of clients) client.kill("SIGKILL");
    await host?.close();
    ip("netns", "del", NAMESPACE);
  });

  /** dhclient in the foreground, with a script that puts the address on and nothing else. */
  function dhclient(family: 4 | 6): void {
    const script = join(folder, "script");
    const lines = [
      "#!/bin/sh",
      `env | grep -E '^new_' >> ${folder}/env`,
      'case "$reason" in',
      "BOUND|RENEW|REBIND|REBOOT) ip addr replace $new_ip_address/24 dev t0 ;;",
      "BOUND6|RENEW6|REBIND6) ip addr replace $new_ip6_address/64 dev t0 nodad ;;",
      "esac",
      "exit 0",
    ];
    writeFileSync(script, `${lines.join("\n")}\n`, { mode: 0o755 });
    const files = ["-sf", script, "-lf", `${folder}/lease${family}`, "-pf", `${folder}/pid${family}`, "-cf", "/dev/null"];
    clients.push(spawn("ip", ["netns", "exec", NAMESPACE, "dhclient", `-${family}`, "-d", "-v", ...files, "t0"], { stdio: "ignore" }));
  }

  it("dhclient takes an address by DHCPv4, and reaches the host with it", async () => {
    dhclient(4);
    await until(() => /inet 10\.79\.0\.2\d/.test(ip("-n", NAMESPACE, "addr", "show", "t0")));
    assert.match(readFileSync(`${folder}/env`, "utf8"), /new_routers=10\.79\.0\.1/);
    assert.match(await kernel("ping", "-c", "1", "-W", "2", "10.79.0.1"), /1 received/);
  });

  it("dhclient takes an address by DHCPv6, and reaches the host with it", async () => {
    dhclient(6);
    await until(() => /inet6 fd79::1[0-9a-f]{3}/.test(ip("-n", NAMESPACE, "addr", "show", "t0")));
    assert.match(readFileSync(`${folder}/env`, "utf8"), /new_dhcp6_name_servers=fd79::1/);
    assert.match(await kernel("ping", "-c", "1", "-W", "2", "fd79::1"), /1 received/);
  });

  it("dig is answered, by either family, over UDP and TCP", async () => {
    const dig = (...args: string[]) => kernel("dig", "+tries=1", "+time=3", ...args);
    assert.equal((await dig("@10.79.0.1", "+short", "alias.lan.test")).trim(), "www.lan.test.\n10.79.0.80");
    assert.equal((await dig("@fd79::1", "+short", "www.lan.test", "AAAA")).trim(), "fd79::80");
    assert.match(await dig("@10.79.0.1", "nobody.lan.test"), /status: NXDOMAIN[\s\S]*EDNS: version: 0[\s\S]*SOA/);
    assert.match(await dig("@10.79.0.1", "+short", "lan.test", "CAA"), /0 issue "ca.test"/);
    assert.match(await dig("@10.79.0.1", "+short", "lan.test", "TYPE65"), /1 \. alpn="?h2"?|\\# /);
    assert.match(await dig("@10.79.0.1", "big.lan.test", "TXT"), /Truncated, retrying in TCP mode[\s\S]*ANSWER: 1,[\s\S]*x{100}/);
    assert.match(await dig("@10.79.0.1", "elsewhere.test"), /status: REFUSED/);
    assert.match(await dig("@10.79.0.1", "+short", "+tcp", "+keepopen", "www.lan.test", "alias.lan.test"), /10\.79\.0\.80\n/);
  });
});
