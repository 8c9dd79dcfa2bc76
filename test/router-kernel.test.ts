/** A gateway process, started as a person starts it, between two namespaces of the kernel. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { body, type Daemon, FAMILIES, missing, Namespace, sha, startRouter, until } from "./kernel-support.ts";

const CLIENT = { 4: "10.83.0.2", 6: "fd83::2" } as const;
const SERVER = { 4: "192.0.2.2", 6: "2001:db8:83::2" } as const;
const LAN = { 4: "10.83.0.1", 6: "fd83::1" } as const;
const WAN = { 4: "192.0.2.1", 6: "2001:db8:83::1" } as const;
const METRICS = 19_183;

describe("packetloom router between two kernels", { skip: missing("curl", "ping", "iperf3", "traceroute"), timeout: 100_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "loom-router-"));
  const [file, socket] = ["router.yaml", "control.sock"].map((name) => join(folder, name));
  let client: Namespace;
  let server: Namespace;
  let router: Daemon;
  const yaml = (more = "", wan = "") => `
interfaces:
  - name: lan
    device: { kind: tap, name: t0, namespace: ${client.name} }
    addresses: [${LAN[4]}/24, "${LAN[6]}/64"]
  - name: wan
    device: { kind: tap, name: t0, namespace: ${server.name} }
    addresses: [${WAN[4]}/24, "${WAN[6]}/64"${wan}]
control: ${socket}
metrics: 127.0.0.1:${METRICS}
${more}`;
  const tell = (...words: string[]) => {
    const [tool, ...rest] = words;
    const { status, stdout, stderr } = spawnSync(process.execPath, ["dist/src/cli/main.js", tool, "--socket", socket, ...rest], {
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };

  before(async () => {
    client = new Namespace();
    server = new Namespace();
    writeFileSync(file, yaml());
    writeFileSync(join(folder, "page"), body(3_000_000));
    router = await startRouter(file);
    client.up("t0", `${CLIENT[4]}/24`, `${CLIENT[6]}/64`);
    server.up("t0", `${SERVER[4]}/24`, `${SERVER[6]}/64`);
    for (const family of FAMILIES) {
      client.ip(`-${family}`, "route", "add", "default", "via", LAN[family]);
      server.ip(`-${family}`, "route", "add", "default", "via", WAN[family]);
    }
    await server.start("python3", ["-m", "http.server", "80", "--bind", "::", "--directory", folder]);
    await server.listens(80);
  });
  after(async () => {
    await router?.stop();
    await client?.remove();
    await server?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const family of FAMILIES) {
    const to = family === 6 ? `[${SERVER[6]}]` : SERVER[4];

    it(`IPv${family}: ping, curl, traceroute, iperf3`, async () => {
      const ping = await client.run(`ping -${family} -c 3 -i 0.05 -W 2 ${SERVER[family]}`);
      assert.match(ping.out, / 0% packet loss/);
      const page = await client.run(`curl -sg --max-time 20 http://${to}/page`);
      assert.equal(sha(page.bytes), sha(body(3_000_000)));
      const trace = await client.run(`traceroute -${family} -n -q 1 -w 2 ${SERVER[family]}`);
      assert.match(
        trace.out,
        new RegExp(`1  ${LAN[family].replaceAll(".", "\\.")} .*\\n 2  ${SERVER[family].replaceAll(".", "\\.")} `, "s"),
      );
      await server.start("iperf3", ["-s", "-1", "-p", "5201"]);
      await server.listens(5201);
      const speed = await client.run(`iperf3 -${family} -J -t 1 -c ${SERVER[family]}`);
      assert.ok(JSON.parse(speed.out).end.sum_received.bytes > 1_000_000, speed.out.slice(0, 300));
    });
  }

  it("answers only its owner on the control socket, in the tools' formats", async () => {
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    // The same lines as the kernel's own tool prints, but for numbers and names.
    const shape = (text: string) =>
      text
        .replace(/^\d+: \S+: <[^>]*> /gm, "N: NAME: <FLAGS> ")
        .replace(/qdisc \S+ state \S+ /g, "qdisc Q state S ")
        .replace(/[0-9a-f]{2}(:[0-9a-f]{2}){5}/g, "MAC")
        .split("\n")
        .filter((line) => !line.includes("inet"))
        .slice(0, 2);
    assert.deepEqual(shape(tell("ip", "addr", "show", "dev", "lan").stdout), shape(client.ip("addr", "show", "dev", "t0")));
    const heads = (text: string) => text.split("\n").filter((line) => /^ {4}[RT]X:/.test(line));
    assert.deepEqual(heads(tell("ip", "-s", "link", "show", "dev", "lan").stdout), heads(client.ip("-s", "link", "show", "dev", "t0")));
    const route = tell("ip", "-4", "route").stdout;
    assert.equal(
      route.split("\n")[0].replace("lan", "t0").replace(LAN[4], CLIENT[4]),
      client.ip("-4", "route", "show", "proto", "kernel").split("\n")[0].replace("scope link", "proto kernel scope link"),
    );
    assert.match(
      tell("conntrack", "-L", "-p", "tcp").stdout,
      new RegExp(`^tcp      6 \\d+ \\w+ src=${CLIENT[4]} dst=${SERVER[4]} sport=\\d+ dport=80 packets=\\d+ bytes=\\d+ src=`, "m"),
    );
    assert.deepEqual(tell("ip", "addr", "show", "dev", "nothing"), { status: 1, stdout: "", stderr: 'Device "nothing" does not exist.\n' });
    const status = JSON.parse(tell("status").stdout);
    assert.equal(status.interfaces.length, 2);
  });

  it("is read again under a running transfer, which goes on", async () => {
    const slow = client.run(`curl -sg --max-time 30 --limit-rate 1000000 http://${SERVER[4]}/page`);
    await new Promise((resolve) => setTimeout(resolve, 300));
    writeFileSync(file, yaml("routes: [{ to: 198.51.100.0/24, via: 192.0.2.2 }]\n", ", 192.0.2.3/24"));
    router.signal("SIGHUP");
    await until(() => router.output().includes("is read again"));
    assert.match(tell("ip", "route").stdout, /^198\.51\.100\.0\/24 via 192\.0\.2\.2 dev wan $/m);
    assert.equal(sha((await slow).bytes), sha(body(3_000_000)));
    assert.match((await server.run("ping -c 1 -W 2 192.0.2.3")).out, / 0% packet loss/);
    writeFileSync(file, yaml("routs: []\n"));
    router.signal("SIGHUP");
    await until(() => router.output().includes('there is no router option "routs"; did you mean "routes"?'));
    writeFileSync(file, yaml("routes: [{ to: 203.0.113.0/24, via: 192.0.2.2 }]\n"));
    assert.deepEqual(tell("reload", "--config", file), { status: 0, stdout: "", stderr: "" });
    assert.match(tell("ip", "route").stdout, /203\.0\.113\.0\/24/);
  });

  it("hides clients, forwards ports and logs, by rules of both kinds", async () => {
    writeFileSync(
      file,
      yaml(`nat: { masquerade: [wan] }
forwards: [{ listen: "wan:8080", to: "${CLIENT[4]}:81" }, { listen: "[${WAN[6]}]:8080", to: "[${CLIENT[6]}]:81" }]
ruleset: |
  table inet filter {
    chain forward {
      type filter hook forward priority filter; policy drop;
      ct state established,related accept
      ct status dnat accept
      iifname "lan" meta l4proto { icmp, ipv6-icmp } accept
      iifname "lan" tcp dport 80 accept
      log prefix "refused: "
      reject with icmpx admin-prohibited
    }
  }
`),
    );
    assert.deepEqual(tell("reload", "--config", file), { status: 0, stdout: "", stderr: "" });
    await client.start("python3", ["-m", "http.server", "81", "--bind", "::", "--directory", folder]);
    await client.listens(81);
    // Without a way back: only what comes from the router's own address is answered.
    for (const family of FAMILIES) {
      server.ip(`-${family}`, "route", "del", "default");
      const host = (address: string) => (family === 6 ? `[${address}]` : address);
      assert.match((await client.run(`ping -${family} -c 2 -i 0.05 -W 2 ${SERVER[family]}`)).out, / 0% packet loss/);
      const page = await client.run(`curl -sg --max-time 20 http://${host(SERVER[family])}/page`);
      assert.equal(sha(page.bytes), sha(body(3_000_000)), `IPv${family}`);
      const back = await server.run(`curl -sg --max-time 20 http://${host(WAN[family])}:8080/page`);
      assert.equal(sha(back.bytes), sha(body(3_000_000)), `forward, IPv${family}`);
      const refused = await client.run(`curl -sSg --max-time 5 http://${host(SERVER[family])}:5201/`);
      // At once, though the kernel leaves the checksum of what it sends to the device.
      assert.equal(refused.code, 7, refused.out);
    }
    await until(() =>
      /^refused: IN=lan OUT=wan MAC=[0-9a-f:]+ SRC=10\.83\.0\.2 DST=192\.0\.2\.2 LEN=60 .*PROTO=TCP SPT=\d+ DPT=5201 /m.test(
        router.output(),
      ),
    );
    assert.match(
      tell("conntrack", "-L", "-p", "tcp").stdout,
      new RegExp(`src=${CLIENT[4]} dst=${SERVER[4]} sport=\\d+ dport=80 .*dst=${WAN[4]} `),
    );
    const listing = tell("nft", "list", "table", "inet", "packetloom").stdout;
    assert.match(listing, /oifname "wan" masquerade/);
    assert.match(listing, /tcp dport 8080 dnat ip to 10\.83\.0\.2:81/);
    assert.deepEqual(tell("nft", "add", "rule", "inet", "filter", "forward", "counter"), { status: 0, stdout: "", stderr: "" });
    const wrong = tell("nft", "add", "rule", "inet", "filter", "forward", "tcp", "dprt", "80", "accept");
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /Error: .*\n.*dprt/);
  });

  it("FTP: data connections are related, of both modes, behind the router's address", { skip: missing("vsftpd") }, async () => {
    const [files, settings] = [join(folder, "ftp"), join(folder, "vsftpd.conf")];
    mkdirSync(files, { mode: 0o755 });
    chmodSync(folder, 0o755);
    writeFileSync(join(files, "page"), body(300_000));
    mkdirSync("/var/run/vsftpd/empty", { recursive: true });
    const lines = [
      "listen=YES",
      "anonymous_enable=YES",
      "no_anon_password=YES",
      `anon_root=${files}`,
      "seccomp_sandbox=NO",
      "background=NO",
    ];
    writeFileSync(settings, `${lines.join("\n")}\n`);
    await server.start("vsftpd", [settings]);
    await server.listens(21);
    writeFileSync(
      file,
      yaml(`nat: { masquerade: [wan] }
ruleset: |
  table inet filter {
    ct helper ftp {
      type "ftp" protocol tcp
    }
    chain helpers {
      type filter hook prerouting priority filter; policy accept;
      tcp dport 21 ct helper set "ftp"
    }
    chain forward {
      type filter hook forward priority filter; policy drop;
      ct state established,related accept
      iifname "lan" tcp dport 21 accept
    }
  }
`),
    );
    assert.deepEqual(tell("reload", "--config", file), { status: 0, stdout: "", stderr: "" });
    for (const mode of ["--ftp-pasv", "-P -"]) {
      const got = await client.run(`curl -sS --max-time 15 --disable-epsv --disable-eprt ${mode} ftp://${SERVER[4]}/page`);
      assert.equal(sha(got.bytes), sha(body(300_000)), `${mode}: ${got.out.slice(-200)}`);
    }
  });

  it("SIP: sipp calls a server from behind the router, over UDP and TCP", { skip: missing("sipp") }, async () => {
    writeFileSync(
      file,
      yaml(`nat: { masquerade: [wan] }
ruleset: |
  table inet filter {
    ct helper calls {
      type "sip" protocol udp
    }
    ct helper calls-tcp {
      type "sip" protocol tcp
    }
    chain helpers {
      type filter hook prerouting priority filter; policy accept;
      udp dport 5060 ct helper set "calls"
      tcp dport 5060 ct helper set "calls-tcp"
    }
  }
`),
    );
    assert.deepEqual(tell("reload", "--config", file), { status: 0, stdout: "", stderr: "" });
    for (const transport of ["u1", "t1"]) {
      const log = join(folder, `sip-${transport}.log`);
      const common = ["-t", transport, "-m", "1", "-nostdin", "-timeout", "15s"];
      const answering = await server.start("sipp", [
        "-sn",
        "uas",
        "-i",
        SERVER[4],
        "-p",
        "5060",
        "-trace_msg",
        "-message_file",
        log,
        ...common,
      ]);
      await until(async () => (await server.run("ss -Hltun sport = :5060")).out.includes(":5060"));
      const called = await client.run(`timeout 20 sipp ${SERVER[4]}:5060 -sn uac -i ${CLIENT[4]} -p 5070 -mp 4000 ${common.join(" ")}`);
      assert.equal(called.code, 0, called.out.slice(-400));
      await answering.stop();
      const heard = readFileSync(log, "latin1");
      const [request] = /INVITE sip:.*?a=rtpmap/s.exec(heard) ?? [""];
      assert.match(request, new RegExp(`Contact: .*@${WAN[4]}:5070`), heard.slice(0, 600));
      assert.match(request, new RegExp(`Via: SIP/2.0/\\w+ ${WAN[4]}:5070`));
      assert.match(request, new RegExp(`c=IN IP4 ${WAN[4]}\r\n`));
      assert.match(heard, /BYE sip:/);
    }
  });

  it("shows its metrics by HTTP", async () => {
    const answer = await fetch(`http://127.0.0.1:${METRICS}/metrics`);
    assert.equal(answer.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    const text = await answer.text();
    const received = Number(/^packetloom_interface_receive_bytes_total\{interface="lan"\} (\d+)$/m.exec(text)?.[1]);
    assert.ok(received > 1_000_000, String(received));
    assert.equal((await fetch(`http://127.0.0.1:${METRICS}/`)).status, 404);
    assert.equal((await fetch(`http://127.0.0.1:${METRICS}/metrics`, { method: "POST" })).status, 405);
    assert.equal((await fetch(`http://127.0.0.1:${METRICS}//`)).status, 404);
    assert.equal((await fetch(`http://127.0.0.1:${METRICS}/metrics?x=[`)).status, 200);
  });

  it("top: a line a second where there is no terminal", async () => {
    const view = spawn(process.execPath, ["dist/src/cli/main.js", "top", "--socket", socket], { stdio: ["ignore", "pipe", "inherit"] });
    let shown = "";
    view.stdout.on("data", (chunk) => {
      shown += chunk;
    });
    await until(() => /^up \d\d:\d\d:\d\d; lan rx \S+bit\/s \S+p\/s tx .*; wan rx .*; flows \d+; drops \S+p\/s$/m.test(shown));
    view.kill("SIGTERM");
    assert.equal(await new Promise((resolve) => view.once("exit", resolve)), 0);
  });

  it("refuses to take a socket that another router answers on", () => {
    const { status, stderr } = spawnSync(process.execPath, ["dist/src/cli/main.js", "router", "--config", file], {
      encoding: "utf8",
      timeout: 20_000,
    });
    assert.equal(status, 2);
    assert.match(stderr, /^packetloom: [^\n]+\n$/);
  });
});
