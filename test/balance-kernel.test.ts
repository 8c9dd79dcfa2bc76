/** The example of direct server return, as it stands, between a client and three servers of the kernel: answers never see the balancer. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { missing, Namespace, until } from "./kernel-support.ts";

describe("direct server return between kernels", { skip: missing("curl", "ip"), timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "loom-dsr-"));
  const [file, socket] = ["balancer.yaml", "control.sock"].map((name) => join(folder, name));
  let wire: Namespace;
  let hosts: Namespace[];
  let balancer: ChildProcess;
  let said = "";
  const tell = (...words: string[]) => {
    const [tool, ...rest] = words;
    return spawnSync(process.execPath, ["dist/src/cli/main.js", tool, "--socket", socket, ...rest], { encoding: "utf8" }).stdout;
  };

  before(async () => {
    wire = new Namespace();
    hosts = Array.from({ length: 4 }, () => new Namespace());
    const text = readFileSync("examples/dsr-balancer.yaml", "utf8")
      .replace("{ kind: packet, interface: eth0 }", `{ kind: tap, name: t0, namespace: ${wire.name} }`)
      .replace("/run/packetloom/balancer.sock", socket)
      .replace("127.0.0.1:9101", "127.0.0.1:19101")
      .replace("slowStartMs: 30000", "slowStartMs: 0");
    writeFileSync(file, text);
    balancer = spawn(process.execPath, ["dist/src/cli/main.js", "router", "--config", file], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [balancer.stdout, balancer.stderr])
      stream?.on("data", (chunk) => {
        said += chunk;
      });
    await until(() => {
      if (balancer.exitCode !== null) throw new Error(`the balancer ended: ${said}`);
      return said.includes("routing between front");
    });
    wire.ip("link", "add", "br0", "type", "bridge");
    for (const [i, host] of hosts.entries()) {
      wire.ip("link", "add", `v${i}`, "type", "veth", "peer", "name", "eth0", "netns", host.name);
      wire.ip("link", "set", `v${i}`, "master", "br0");
      wire.up(`v${i}`);
      host.up("eth0", i === 0 ? "10.0.0.2/24" : `10.0.0.1${i}/24`);
    }
    wire.ip("link", "set", "t0", "master", "br0");
    wire.up("t0");
    wire.up("br0");
    for (const [i, host] of hosts.slice(1).entries()) {
      host.ip("addr", "add", "10.0.0.80/32", "dev", "lo");
      await host.run("sysctl -q net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2");
      const pages = join(folder, `${i}`);
      mkdirSync(pages);
      writeFileSync(join(pages, "name"), `backend ${i}\n`);
      writeFileSync(join(pages, "health"), "well\n");
      for (const port of ["80", "8081"]) {
        await host.start("python3", ["-m", "http.server", port, "--directory", pages]);
        await host.listens(Number(port));
      }
    }
    await until(() => tell("lb", "list").split(" up").length - 1 === 3);
  });
  after(async () => {
    if (balancer && balancer.exitCode === null) {
      const ended = new Promise((resolve) => balancer.once("exit", resolve));
      balancer.kill("SIGTERM");
      await ended;
    }
    for (const each of [...(hosts ?? []), wire]) await each?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it("answers every request, from all backends, and follows the connections by their clients alone", async () => {
    const answers: string[] = [];
    for (let i = 0; i < 24; i++) answers.push((await hosts[0].run("curl -sS --max-time 5 http://10.0.0.80/name")).out.trim());
    assert.ok(
      answers.every((each) => /^backend [012]$/.test(each)),
      answers.join("\n"),
    );
    assert.equal(new Set(answers).size, 3);
    const flows = tell("conntrack", "-L", "-p", "tcp")
      .split("\n")
      .filter((line) => line.includes("dst=10.0.0.80"));
    assert.equal(flows.length, 24);
    assert.ok(
      flows.every((line) => /(FIN_WAIT|CLOSE) src=10\.0\.0\.2/.test(line) && !line.includes("UNREPLIED")),
      flows[0],
    );
    assert.match(tell("lb", "list", "--stats"), /10\.0\.0\.80:80 +24 /);
  });
});
