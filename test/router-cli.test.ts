/** `packetloom router --check`, rules in files, and what the commands say where no router runs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { loadConfig, stableMac } from "../src/cli/router.ts";
import { readRules } from "../src/cli/rules-file.ts";
import { Ruleset, translateIptables } from "../src/filter/index.ts";
import { Lab } from "../src/lab/index.ts";
import { Router, runCommand } from "../src/router/index.ts";

const folder = mkdtempSync(join(tmpdir(), "loom-cli-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const run = (...words: string[]) => spawnSync(process.execPath, ["dist/src/cli/main.js", ...words], { encoding: "utf8", timeout: 30_000 });
const INTERFACES = "interfaces:\n  - name: lan\n    device: { kind: tap }\n";

describe("rules in files", () => {
  it("a check names mistakes of rules by file and line, as a start would", async () => {
    const rules = write("rules.nft", "table inet t {\n  chain c {\n    iif lo accept\n    tcp dprt 22 accept\n  }\n}\n");
    const config = write("router.yaml", `${INTERFACES}rulesetFile: rules.nft\n`);
    const { status, stderr } = run("router", "--check", "--config", config);
    assert.equal(status, 2);
    assert.match(stderr, /rules\.nft:4:9-12: Error: syntax error, unexpected .*\n.*tcp dprt 22 accept\n *\^\^\^\^/);
    const lab = await Lab.create({ seed: 1, memory: { flows: 64, filterBytes: 1 << 20 } });
    await assert.rejects(
      Router.create(loadConfig(config), { engine: lab.engine, devices: { lan: () => ({ name: "none", poll: () => 0 }) } }),
      /rules\.nft:4:9-12/,
    );
    writeFileSync(rules, "table inet t {\n  chain c {\n    type filter hook input priority 0\n    iif lo accept\n  }\n}\n");
    assert.equal(run("router", "--check", "--config", config).status, 0);
    writeFileSync(rules, "table bridge t {\n  chain c {\n    type filter hook forward priority 0\n    ct state new drop\n  }\n}\n");
    assert.match(run("router", "--check", "--config", config).stderr, /packets of the bridge family have no connections here/);
  });

  it("files that a configuration names are read again when a router is told to reload it", async () => {
    const rules = (port: number) => `table inet t {\n  chain c {\n    tcp dport ${port} accept\n  }\n}\n`;
    write("again.nft", rules(22));
    write("again.v4", "*filter\n:INPUT ACCEPT\n-A INPUT -p tcp --dport 23 -j ACCEPT\nCOMMIT\n");
    const config = write("again.yaml", `${INTERFACES}rulesetFile: again.nft\niptablesFile: again.v4\n`);
    const lab = await Lab.create({ seed: 1, memory: { flows: 64, filterBytes: 1 << 20 } });
    const router = await Router.create(loadConfig(config), {
      engine: lab.engine,
      devices: { lan: () => ({ name: "none", poll: () => 0 }) },
    });
    const list = async () => (await runCommand(router, { tool: "nft", words: ["list", "ruleset"] })).stdout ?? "";
    assert.match(await list(), /tcp dport 22 accept[\s\S]*tcp dport 23 counter/);
    write("again.nft", rules(24));
    write("again.v4", "*filter\n:INPUT DROP\nCOMMIT\n");
    const said = await runCommand(router, { tool: "router", words: ["reload", config], input: JSON.stringify(loadConfig(config)) });
    assert.deepEqual(said, { stdout: "" });
    assert.match(await list(), /tcp dport 24 accept[\s\S]*policy drop/);
    assert.doesNotMatch(await list(), /dport 2[23]/);
  });

  it("mistakes of rules that stand in the configuration are told by its line and column", async () => {
    const rules = "ruleset: |\n\n    table inet t {\n      chain c {\n        tcp dprt 22 accept\n      }\n    }\n";
    const config = write("inline.yaml", `${INTERFACES}${rules}name: gate\n`);
    const told = /inline\.yaml:8:13-16: Error: syntax error, unexpected .*\n {4}tcp dprt 22 accept\n {8}\^\^\^\^/;
    const { status, stderr } = run("router", "--check", "--config", config);
    assert.equal(status, 2);
    assert.match(stderr, told);
    assert.equal(readFileSync(config, "utf8").split("\n")[7].slice(12, 16), "dprt");
    const lab = await Lab.create({ seed: 1, memory: { flows: 64, filterBytes: 1 << 20 } });
    const devices = { lan: () => ({ name: "none", poll: () => 0 }) };
    await assert.rejects(Router.create(loadConfig(config), { engine: lab.engine, devices }), told);
    // A line whose end is no end is none of the configuration's.
    write("inline.yaml", `${INTERFACES}ruleset: "table inet t { chain c { tcp dprt 22 accept; }; }"\n`);
    assert.match(run("router", "--check", "--config", config).stderr, /ruleset:1:30-33: Error/);
  });

  it("include files and patterns, relative to the file that names them", () => {
    mkdirSync(join(folder, "sets"));
    write("sets/b.nft", "define b = 2\n");
    write("sets/a.nft", "define a = 1\n");
    write("sets/.hidden.nft", "define a = 3\n");
    write("chains.nft", 'chain c {\n  include "rule.nft"\n}\n');
    write("rule.nft", "meta mark { $a, $b } accept\n");
    const ruleset = new Ruleset();
    ruleset.apply(
      readRules(write("whole.nft", 'include "sets/*.nft"\ninclude "nothing/*.nft"\ntable ip t {\n  include "chains.nft"\n}\n')),
    );
    assert.match(ruleset.list(), /meta mark \{ 0x00000001, 0x00000002 \} accept/);
    assert.throws(
      () => readRules(write("lost.nft", '\ninclude "absent.nft"\n')),
      /lost\.nft:2: include "absent\.nft": there is no such file/,
    );
    assert.throws(() => readRules(write("round.nft", 'include "round.nft"\n')), /nested more than 16 deep/);
  });

  it("include where a command may begin, by patterns of folders too, and nowhere else", () => {
    for (const each of ["d1", "d2"]) mkdirSync(join(folder, each));
    write("none", "");
    write("d1/x.nft", "define a = 1\n");
    write("d2/x.nft", "define b = 2");
    const text = [
      'include "d?/x.nft" # both',
      '# include "nowhere.nft"; include "nowhere.nft"',
      'include "d1/"; add table ip t; include "none"',
      'table ip t { include "no*thing.nft"; chain c {',
      '  meta mark { $a, $b } log prefix "; include \\"nowhere\\"" accept'.replace(/\\"/g, "'"),
      "}\n}\n",
    ].join("\n");
    const ruleset = new Ruleset();
    ruleset.apply(readRules(write("places.nft", text)));
    assert.match(ruleset.list(), /meta mark \{ 0x00000001, 0x00000002 \} log prefix "; include 'nowhere'" accept/);
    assert.throws(
      () => readRules(write("places.nft", 'add table ip t; include "nowhere.nft"\n')),
      /places\.nft:1: include "nowhere\.nft": there is no such file/,
    );
  });

  it("hours over midnight, and masks as iptables prints them", () => {
    const ruleset = new Ruleset();
    ruleset.apply('table ip t {\n chain c {\n meta hour "22:00"-"06:00" accept\n }\n}');
    assert.match(ruleset.list(), /meta hour != "06:00"-"22:00" accept/);
    assert.match(
      translateIptables("iptables -A INPUT -s 192.168.0.0/255.255.0.0 -d 10.0.0.1/255.255.255.255 -j DROP"),
      /ip saddr 192\.168\.0\.0\/16 ip daddr 10\.0\.0\.1 /,
    );
  });
});

describe("a router's place in its network", () => {
  it("MACs are the same after every start, another for each interface and each router of this machine", () => {
    const macs = ["lan", "wan"].map((name) => stableMac("/etc/router.yaml", name));
    assert.deepEqual(
      macs,
      ["lan", "wan"].map((name) => stableMac("/etc/router.yaml", name)),
    );
    assert.match(macs.join(), /^02(:[0-9a-f]{2}){5},02(:[0-9a-f]{2}){5}$/);
    assert.equal(new Set([...macs, stableMac("/etc/other.yaml", "lan")]).size, 3);
  });

  it("MACs stay when the same is read again from elsewhere", async () => {
    const lab = await Lab.create({ seed: 2 });
    const config = { interfaces: [{ name: "lan" }] };
    const router = await Router.create(config, { engine: lab.engine, macOf: () => "02:00:00:00:00:07" });
    const mac = () => router.host.links()[0].mac;
    assert.equal(mac(), "02:00:00:00:00:07");
    await router.reload({ interfaces: [{ name: "lan", mtu: 1400 }] });
    assert.equal(mac(), "02:00:00:00:00:07");
    await router.close();
  });

  it("is not taken by a second router: that leaves before it has touched a device", async () => {
    const [socket, capture] = [join(folder, "taken.sock"), join(folder, "second.pcap")];
    const first = createServer();
    await new Promise<void>((resolve) => first.listen(socket, resolve));
    const device = `device: { kind: pcap, out: ${capture} }`;
    const config = write("second.yaml", `interfaces: [{ name: lan, ${device}, addresses: [10.0.0.1/24] }]\ncontrol: ${socket}\n`);
    const { status, stderr } = run("router", "--config", config);
    first.close();
    assert.equal(status, 2);
    assert.match(stderr, /another router answers there/);
    assert.equal(existsSync(capture), false);
  });

  it("says good-bye to those who had it as their router", async () => {
    const lab = await Lab.create({ seed: 2 });
    const host = await lab.host({ interfaces: [{ autoconf: true }] });
    const router = await lab.host({ forwarding: true, interfaces: [{ addresses: ["2001:db8::1/64"], advertise: true }] });
    lab.link(router, host);
    await lab.run(30_000);
    const isRouted = () => host.ip.routes.list().some(({ protocol, prefix }) => protocol === "ra" && prefix.length === 0);
    assert.ok(isRouted());
    const closing = router.close();
    await lab.run(1000);
    await closing;
    assert.ok(!isRouted());
  });

  it("commands say so in one line where no router runs", () => {
    const socket = join(folder, "none.sock");
    for (const words of [
      ["nft", "list", "ruleset", "--socket", socket],
      ["ip", "-j", "--socket", socket, "addr"],
    ])
      assert.ok(run(...words).stderr.includes(`control socket ${socket}: no router runs there`));
    assert.match(run("nft", "list", "ruleset", "--socket").stderr, /--socket: a path is missing/);
    const { status, stderr } = run("nft", "--socket", socket, "list", "ruleset");
    assert.equal(status, 2);
    assert.match(stderr, /^packetloom: control socket \S+: no router runs there; name another with --socket\n$/);
  });
});
