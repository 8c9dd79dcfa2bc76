/** A router as an object, in virtual time: what a configuration makes, what a change touches, commands, metrics. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/index.ts";
import { metricsText, Router, type RouterConfig, runCommand } from "../src/router/index.ts";
import type { TcpSocket } from "../src/socket/stream.ts";

const config = (): RouterConfig => ({
  interfaces: [
    { name: "wan", mac: "02:00:00:00:00:01", addresses: ["192.0.2.1/24", "2001:db8::1/64"], gateway: "192.0.2.254" },
    { name: "lan", mac: "02:00:00:00:00:02", addresses: ["10.0.0.1/24", "fd00::1/64"], qdisc: "fq_codel limit 1000" },
  ],
  routes: [{ to: "10.9.0.0/16", via: "10.0.0.9" }],
  dhcpServers: [{ interface: "lan", range: ["10.0.0.100", "10.0.0.110"], leaseSeconds: 600 }],
  dns: { listen: ["lan"], records: { "nas.lan": ["10.0.0.7", "fd00::7"] } },
});

describe("a router in a lab", () => {
  let lab: Lab;
  let router: Router;
  let outside: Host;
  let inside: Host;
  const run = async (tool: string, ...words: string[]) => runCommand(router, { tool, words });
  const printed = async (tool: string, ...words: string[]) => {
    const { stdout, stderr } = await run(tool, ...words);
    assert.equal(stderr, undefined);
    return stdout;
  };

  before(async () => {
    lab = await Lab.create({ seed: 7, memory: { flows: 1024, flowEvents: 256, filterBytes: 4 << 20, services: 4, queueBytes: 8 << 20 } });
    outside = await lab.host({ interfaces: [{ addresses: ["192.0.2.254/24"], gateway: "192.0.2.1" }] });
    inside = await lab.host({ interfaces: [{ dhcp: "v4" }] });
    const ports = { wan: lab.engine.port(6), lan: lab.engine.port(7) };
    router = await Router.create(config(), { engine: lab.engine, ports, seed: 9 });
    lab.link(outside, router.host, {}, ["eth0", "wan"]);
    lab.link(inside, router.host, {}, ["eth0", "lan"]);
  });
  after(async () => {
    await router?.close();
    await lab?.engine.close();
  });

  it("gives an address by DHCP, routes, and answers names", async () => {
    const lease = inside.dhcp("eth0", { family: 4 });
    await lab.run(20_000);
    await lease;
    const mine = inside.addresses().find(({ address }) => address.startsWith("10."));
    assert.match(mine?.address ?? "", /^10\.0\.0\.10\d$/);
    const reply = inside.ping("192.0.2.254");
    const found = inside.lookup("nas.lan");
    await lab.run(5000);
    assert.equal((await reply).from, "192.0.2.254");
    assert.deepEqual((await found).map(({ address }) => address).sort(), ["10.0.0.7", "fd00::7"]);
    assert.equal(router.status().dhcpLeases.lan, 1);
  });

  it("ip: addresses, routes and rules as iproute2 prints them", async () => {
    assert.equal(
      await printed("ip", "-4", "addr", "show", "dev", "lan"),
      [
        `${router.host.ip.interface("lan").index}: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000`,
        "    inet 10.0.0.1/24 scope global lan",
        "       valid_lft forever preferred_lft forever",
        "",
      ].join("\n"),
    );
    assert.equal(
      await printed("ip", "route"),
      [
        "default via 192.0.2.254 dev wan ",
        "10.0.0.0/24 dev lan proto kernel scope link src 10.0.0.1 ",
        "10.9.0.0/16 via 10.0.0.9 dev lan ",
        "192.0.2.0/24 dev wan proto kernel scope link src 192.0.2.1 ",
        "",
      ].join("\n"),
    );
    assert.equal(await printed("ip", "rule"), "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n");
    assert.deepEqual(await run("ip", "route", "add", "10.8.0.0/16", "via", "10.0.0.8", "dev", "lan", "metric", "5"), {});
    assert.match((await printed("ip", "route")) ?? "", /^10\.8\.0\.0\/16 via 10\.0\.0\.8 dev lan metric 5 $/m);
    assert.deepEqual(await run("ip", "route", "del", "10.8.0.0/16"), {});
    assert.doesNotMatch((await printed("ip", "route")) ?? "", /10\.8/);
    assert.equal(await printed("ip", "route", "show", "10.9.0.0/16"), "10.9.0.0/16 via 10.0.0.9 dev lan \n");
    assert.equal(await printed("ip", "route", "show", "default"), "default via 192.0.2.254 dev wan \n");
    assert.equal(await printed("ip", "route", "show", "10.50.0.0/16"), "");
    assert.equal(
      await printed("ip", "route", "get", "198.51.100.7"),
      "198.51.100.7 via 192.0.2.254 dev wan src 192.0.2.1 uid 0 \n    cache \n",
    );
    assert.equal(
      await printed("ip", "route", "get", "10.0.0.1"),
      "local 10.0.0.1 dev lo table local src 10.0.0.1 uid 0 \n    cache <local> \n",
    );
    assert.deepEqual(await run("ip", "rule", "add", "from", "10.0.0.0/24", "table", "100"), {});
    assert.equal((await run("ip", "rule", "add", "from", "10.0.0.0/24", "table", "100")).stderr, "RTNETLINK answers: File exists\n");
    assert.match((await printed("ip", "rule")) ?? "", /^32765:\tfrom 10\.0\.0\.0\/24 lookup 100$/m);
    assert.equal((await run("ip", "rule", "del", "from", "10.1.0.0/24", "table", "100")).code, 2);
    assert.deepEqual(await run("ip", "rule", "del", "from", "10.0.0.0/24", "table", "100"), {});
    assert.deepEqual(await run("ip", "rule", "add", "from", "10.0.0.0/24", "table", "100", "pref", "77"), {});
    assert.deepEqual(await run("ip", "rule", "del", "pref", "77"), {});
    assert.equal((await run("ip", "adress")).stderr, 'Object "adress" is unknown, try "ip help".\n');
  });

  it("ip changes what it was asked to change, or nothing", async () => {
    const before = await printed("ip", "route");
    const refused = async (words: string, why: RegExp) => assert.match((await run("ip", ...words.split(" "))).stderr ?? "", why, words);
    await refused("route replace default via 9.9.9.9", /no interface leads to gateway/);
    await refused("route del default via 9.9.9.9", /No such process/);
    await refused("route del default dev lan", /No such process/);
    await refused("route del blackhole default", /No such process/);
    await refused("route change 10.77.0.0/16 via 10.0.0.9", /No such file or directory/);
    await refused("route add 10.77.0.0/16 nexthop via 10.0.0.8 nexthop via 10.0.0.9 foo", /"nexthop" or end of line/);
    await refused("route add", /not complete/);
    await refused("route get 10.0.0.9 from 10.3.0.1", /Network is unreachable/);
    await refused("addr add 10.8.0.1/24 dev lan foo bar", /"foo" is a garbage/);
    await refused("addr del 10.0.0.1/32 dev lan", /Address not found/);
    await refused("link set lan mtu 1400 garbage", /"garbage" is a garbage/);
    await refused("link set lan mtu", /mtu has no value/);
    await refused("link set", /"dev" argument is required/);
    await refused("rule add", /requires arguments/);
    await refused("rule add fwmark zz table 100", /argument "zz" is wrong/);
    assert.equal(await printed("ip", "route"), before);
    assert.match((await printed("ip", "link", "show", "lan")) ?? "", /mtu 1500/);
    assert.match((await printed("ip", "addr", "show", "dev", "lan")) ?? "", /10\.0\.0\.1\/24/);
    await run("ip", "route", "add", "10.50.0.0/16", "via", "10.0.0.8", "metric", "100");
    await run("ip", "route", "replace", "10.50.0.0/16", "via", "10.0.0.9");
    await run("ip", "route", "replace", "10.50.0.0/16", "via", "10.0.0.7");
    const there = ((await printed("ip", "route")) ?? "").split("\n").filter((line) => line.startsWith("10.50."));
    assert.deepEqual(there.sort(), ["10.50.0.0/16 via 10.0.0.7 dev lan ", "10.50.0.0/16 via 10.0.0.8 dev lan metric 100 "]);
    await run("ip", "route", "del", "10.50.0.0/16", "via", "10.0.0.8");
    await run("ip", "route", "del", "10.50.0.0/16");
    assert.equal(await printed("ip", "route"), before);
    await run("ip", "addr", "add", "10.8.0.1/24", "dev", "lan", "valid_lft", "40", "preferred_lft", "20");
    assert.match((await printed("ip", "addr", "show", "dev", "lan")) ?? "", /valid_lft \d+sec preferred_lft \d+sec/);
    await run("ip", "addr", "del", "10.8.0.1/24", "dev", "lan");
    assert.match((await run("lb", "constructor", "192.0.2.80:80", "10.0.0.5:80")).stderr ?? "", /expected list, add, remove/);
    assert.equal((await run("ip", "addr", "show", "dev", "x")).stderr, 'Device "x" does not exist.\n');
    assert.match((await printed("ip", "neigh")) ?? "", /^192\.0\.2\.254 dev wan lladdr [0-9a-f:]{17} REACHABLE $/m);
  });

  it("tc: shows queues, changes them, and says what is wrong as tc does", async () => {
    assert.match(
      (await printed("tc", "-s", "qdisc", "show", "dev", "lan")) ?? "",
      /^qdisc fq_codel 8001: (dev lan )?root refcnt 2 limit 1000p flows 1024 quantum 1514 target 5ms interval 100ms memory_limit 32Mb ecn drop_batch 64 \n Sent \d+ bytes \d+ pkt \(dropped 0, overlimits 0 requeues 0\) \n backlog 0b 0p requeues 0\n/,
    );
    for (const words of [
      "qdisc add dev wan root handle 1: htb default 10",
      "class add dev wan parent 1: classid 1:10 htb rate 50mbit ceil 100mbit",
      "qdisc add dev wan parent 1:10 handle 10: fq_codel",
    ]) {
      assert.equal(await printed("tc", ...words.split(" ")), "");
    }
    assert.match(
      (await printed("tc", "class", "show", "dev", "wan")) ?? "",
      /^class htb 1:10 root leaf 10: prio 0 rate 50Mbit ceil 100Mbit /,
    );
    assert.match((await run("tc", "qdisc", "add", "dev", "wan", "root", "fq")).stderr ?? "", /wan has a root qdisc already/);
    assert.deepEqual(await run("tc", "qdisc", "del", "dev", "wan", "root"), { stdout: "" });
    assert.equal(await printed("tc", "qdisc", "show", "dev", "wan"), "qdisc noqueue 0: root refcnt 2 \n");
    const all = JSON.parse((await printed("tc", "-j", "qdisc")) ?? "") as { dev: string; kind: string }[];
    assert.deepEqual(
      all.map(({ dev, kind }) => `${dev} ${kind}`),
      ["wan noqueue", "lan fq_codel"],
    );
  });

  it("conntrack: what is tracked, as conntrack prints it", async () => {
    await lab.run(1000);
    const { stdout, stderr } = await run("conntrack", "-L", "-p", "icmp");
    assert.match(
      stdout ?? "",
      /^icmp {5}1 \d+ src=10\.0\.0\.10\d dst=192\.0\.2\.254 type=8 code=0 id=\d+ packets=1 bytes=84 src=192\.0\.2\.254 dst=10\.0\.0\.10\d type=0 code=0 id=\d+ packets=1 bytes=84 mark=0 use=1\n$/,
    );
    assert.match(stderr ?? "", /1 flow entries have been shown/);
    assert.match((await printed("conntrack", "-C")) ?? "", /^[1-9]\d*\n$/);
    assert.match((await printed("conntrack", "-S")) ?? "", /^cpu=0 +\tfound=\d+ invalid=0 insert=\d+ /);
    assert.equal((await run("conntrack", "-D", "-p", "icmp")).code, 0);
    assert.equal((await run("conntrack", "-D", "-p", "icmp")).code, 1);
    assert.match((await run("conntrack", "-X")).stderr ?? "", /unknown option `-X'/);
    assert.match((await run("conntrack", "-L", "--dport", "http")).stderr ?? "", /--dport is "http"; expected a number from 0 to 65535/);
    assert.match((await run("conntrack", "-L", "-f", "foo")).stderr ?? "", /-f is "foo"; expected ipv4 or ipv6/);
  });

  it("conntrack -U, -G and filters: one flow among others, marked and given time", async () => {
    const pinging = inside.ping("192.0.2.254");
    const socket = inside.datagram({ port: 5000 });
    socket.send(new Uint8Array(1), { address: "192.0.2.254", port: 9999 });
    await lab.run(500);
    await pinging;
    const list = async (...words: string[]) => (await run("conntrack", "-L", ...words)).stdout ?? "";
    const count = async (...words: string[]) => (await list(...words)).split("\n").length - 1;
    assert.equal(await count("-p", "icmp", "-u", "SEEN_REPLY", "--icmp-type", "8"), 1);
    assert.equal(await count("-p", "icmp", "-u", "UNREPLIED"), 0);
    assert.equal(await count("-p", "udp", "--reply-port-src", "9999", "-r", "192.0.2.254"), 1);
    assert.equal(await count("-p", "udp", "--reply-port-dst", "9998"), 0);
    assert.equal(await count("-q", "10.0.0.0/8", "-p", "udp", "--sport", "5000"), 1);
    for (const any of [["-n", "0.0.0.0/0"], ["-n"], ["-g", "-p", "udp"], ["-j"]])
      assert.equal(await count(...any), 0, "nothing is translated here");
    const udp = ["-p", "udp", "--sport", "5000"];
    const { stdout, stderr, code } = await run("conntrack", "-U", ...udp, "-m", "0x17/0xff", "-t", "500");
    assert.match(stdout ?? "", /^udp {6}17 (499|500) .* mark=23 use=1\n$/);
    assert.match(stderr ?? "", /1 flow entries have been updated/);
    assert.equal(code, 0);
    assert.equal(await count("-m", "0x10/0xf0"), 1);
    assert.equal(await count("-m", "23"), 1);
    assert.equal((await run("conntrack", "-U", "-p", "udp", "--sport", "1", "-m", "1")).code, 1);
    assert.match((await run("conntrack", "-G", ...udp, "-o", "extended,id")).stdout ?? "", /^ipv4 {5}2 udp .* use=1 id=\d+\n$/);
    assert.equal((await run("conntrack", "-G", "-p", "udp", "--sport", "1")).code, 1);
    assert.equal((await run("conntrack", "-L", "expect")).stderr, "conntrack v1.4.7 (packetloom): 0 expectations have been shown.\n");
    assert.equal(await printed("conntrack", "-C", "expect"), "0\n");
    for (const each of [udp, ["-p", "icmp"]]) assert.equal((await run("conntrack", "-D", ...each)).code, 0);
    socket.close();
  });

  it("conntrack -E: connections of TCP with their states, and marks that change", async () => {
    const heard: string[] = [];
    const { follow } = await run("conntrack", "-E", "-p", "tcp", "-o", "id");
    const stop = follow?.((text) => heard.push(text.replace(/ (src|dst|sport|dport|id)=\S+/g, "")));
    const { follow: ends } = await run("conntrack", "-E", "-e", "DESTROY", "-p", "tcp");
    const destroyed: string[] = [];
    const stopEnds = ends?.((text) => destroyed.push(text));
    inside.connect({ hostname: "192.0.2.254", port: 4242 }).catch(() => undefined);
    await lab.run(200);
    const listener = outside.listen({ port: 4243 });
    const connected = inside.connect({ hostname: "192.0.2.254", port: 4243 });
    await lab.run(200);
    await run("conntrack", "-U", "-p", "tcp", "--dport", "4243", "-m", "7");
    await lab.run(200);
    stop?.();
    stopEnds?.();
    assert.deepEqual(heard, [
      "    [NEW] tcp      6 120 SYN_SENT [UNREPLIED] mark=0\n",
      "[DESTROY] tcp      6 CLOSE packets=1 bytes=60 [UNREPLIED] packets=1 bytes=40\n",
      "    [NEW] tcp      6 120 SYN_SENT [UNREPLIED] mark=0\n",
      " [UPDATE] tcp      6 60 SYN_RECV mark=0\n",
      " [UPDATE] tcp      6 432000 ESTABLISHED [ASSURED] mark=0\n",
      " [UPDATE] tcp      6 432000 ESTABLISHED [ASSURED] mark=7\n",
    ]);
    assert.equal(destroyed.length, 1);
    (await connected).abort();
    listener.close();
    await lab.run(200);
    await run("conntrack", "-F");
  });

  it("conntrack -o xml and timestamp, in conntrack's elements", async () => {
    const heard: string[][] = [[], []];
    const stops = await Promise.all(
      ["xml,timestamp", "timestamp"].map(async (output, i) =>
        (await run("conntrack", "-E", "-p", "udp", "-o", output)).follow?.((text) => heard[i].push(text)),
      ),
    );
    const socket = inside.datagram({ port: 5001 });
    socket.send(new Uint8Array(2), { address: "192.0.2.254", port: 53 });
    await lab.run(500);
    for (const stop of stops) stop?.();
    const side = (direction: string, ends: string, ports: string) =>
      `<meta direction="${direction}"><layer3 protonum="2" protoname="ipv4">${ends}</layer3><layer4 protonum="17" protoname="udp">${ports}</layer4>`;
    const [inner, outer] = ["10.0.0.10\\d", "192.0.2.254"];
    const there = side("original", `<src>${inner}</src><dst>${outer}</dst>`, "<sport>5001</sport><dport>53</dport>");
    const back = side("reply", `<src>${outer}</src><dst>${inner}</dst>`, "<sport>53</sport><dport>5001</dport>");
    const when =
      "<when><hour>\\d+</hour><min>\\d+</min><sec>\\d+</sec><wday>[1-7]</wday><day>\\d+</day><month>\\d+</month><year>\\d+</year></when>";
    const rest = (words: string) => `<meta direction="independent">${words}<id>\\d+</id><unreplied/></meta>`;
    assert.equal(heard[0][0], '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n');
    const begun = `<flow type="new">${there}</meta>${back}</meta>${rest("<timeout>30</timeout>")}${when}</flow>`;
    assert.match(heard[0][1], new RegExp(`^${begun}\n$`));
    assert.match(heard[1][0], /^\[\d+\.\d{6}\]\t {4}\[NEW\] udp {6}17 30 src=10\./);
    const counted = (packets: number, bytes: number) => `<counters><packets>${packets}</packets><bytes>${bytes}</bytes></counters></meta>`;
    const lives = `${there}${counted(1, 30)}${back}${counted(0, 0)}${rest("<timeout>29</timeout><mark>0</mark><use>1</use>")}`;
    const { stdout: listing } = await run("conntrack", "-L", "-p", "udp", "--sport", "5001", "-o", "xml");
    assert.match(listing ?? "", new RegExp(`^<\\?xml .*\\?>\n<conntrack>\n<flow>${lives}</flow>\n</conntrack>\n$`));
    assert.equal((await run("conntrack", "-D", "-p", "udp", "--sport", "5001")).code, 0);
    socket.close();
  });

  it("conntrack -E: all who listen hear what happens from then on", async () => {
    const heard = await Promise.all(
      [[], ["-s", "10.0.0.0/24"], ["-s", "10.1.0.0/16"]].map(async (filter) => {
        const lines: string[] = [];
        const { follow } = await run("conntrack", "-E", "-p", "icmp", ...filter);
        return { lines, stop: follow?.((text) => lines.push(text)) };
      }),
    );
    const pinging = inside.ping("192.0.2.254");
    await lab.run(1000);
    await pinging;
    for (const { stop } of heard) stop?.();
    assert.deepEqual(heard[1].lines, heard[0].lines);
    assert.deepEqual(heard[2].lines, []);
    assert.equal(heard[0].lines.length, 2);
    assert.match(
      heard[0].lines[0],
      /^ {4}\[NEW\] icmp {5}1 30 src=10\.0\.0\.10\d dst=192\.0\.2\.254 type=8 code=0 id=\d+ \[UNREPLIED\] src=192\.0\.2\.254 /,
    );
    assert.match(
      heard[0].lines[1],
      /^ \[UPDATE\] icmp {5}1 30 src=10\.0\.0\.10\d dst=192\.0\.2\.254 type=8 code=0 id=\d+ src=192\.0\.2\.254 /,
    );
  });

  it("nft -j takes commands as JSON, -D defines what a text names", async () => {
    const commands = {
      nftables: [{ add: { table: { family: "ip", name: "read" } } }, { list: { table: { family: "ip", name: "read" } } }],
    };
    const { stdout } = await runCommand(router, { tool: "nft", words: ["-j", "-f", "read.json"], input: JSON.stringify(commands) });
    assert.match(stdout ?? "", /"table":\{"family":"ip","name":"read"/);
    const wrong = { nftables: [{ add: { chain: { family: "ip", table: "read" } } }] };
    const { stderr } = await runCommand(router, { tool: "nft", words: ["-jf", "read.json"], input: JSON.stringify(wrong) });
    assert.match(stderr ?? "", /^read\.json: nftables\[0\]: Error: add: chain: name is missing; expected a name/);
    await runCommand(router, { tool: "nft", words: ["-D", "name=c", "-f", "x.nft"], input: "add chain ip read $name" });
    assert.match((await run("nft", "list table ip read")).stdout ?? "", /chain c \{/);
    assert.match((await run("nft", "-D", "name=c", "add chain ip read $name")).stderr ?? "", /-D\/--define can only be used with -f/);
    const text = "table ip read {\n  chain c { nonsense }\n}\n";
    const { stderr: told } = await runCommand(router, { tool: "nft", words: ["-D", "a=1", "--define", "b=2", "-f", "x.nft"], input: text });
    assert.match(told ?? "", /^x\.nft:2:/);
    assert.match((await run("nft", "-D", "nothing", "list tables")).stderr ?? "", /^Error: -D nothing; expected NAME=VALUE/);
    assert.match((await run("nft", "--constructor", "list tables")).stderr ?? "", /unknown option --constructor/);
    await run("nft", "delete table ip read");
  });

  it("nft monitor trace: what rules do with the packets that they follow", async () => {
    await run("nft", "add table ip follow");
    await run("nft", "add chain ip follow pre { type filter hook prerouting priority -300; }");
    await run("nft", "add rule ip follow pre icmp type echo-request meta nftrace set 1");
    const { follow } = await run("nft", "monitor", "trace");
    const lines: string[] = [];
    const stop = follow?.((text) => lines.push(...text.trimEnd().split("\n")));
    const pinging = inside.ping("192.0.2.254");
    await lab.run(1000);
    await pinging;
    stop?.();
    assert.match(
      lines[0],
      /^trace id [0-9a-f]{8} ip follow pre packet: iif "lan" ether saddr \S+ ether daddr \S+ ip saddr 10\.0\.0\.10\d ip daddr 192\.0\.2\.254 .* icmp type echo-request /,
    );
    assert.match(lines[1], /^trace id [0-9a-f]{8} ip follow pre rule icmp type echo-request meta nftrace set 1 \(verdict continue\)$/);
    assert.match(lines[2], /^trace id [0-9a-f]{8} ip follow pre policy accept ?$/);
    assert.match((await run("nft", "monitor")).stderr ?? "", /expected monitor trace/);
    await run("nft", "delete table ip follow");
  });

  it("changes what differs and nothing else", async () => {
    const before = router.host.ip.interface("lan");
    const listener = inside.listen({ port: 80 });
    const address = inside.addresses().find((each) => each.address.startsWith("10."))?.address as string;
    const opening = outside.connect({ hostname: address, port: 80 });
    await lab.run(1000);
    const socket = await opening;
    const served: TcpSocket = (await listener[Symbol.asyncIterator]().next()).value as TcpSocket;
    const next = config();
    next.interfaces[0].addresses?.push("192.0.2.2/24");
    next.interfaces[1].qdisc = "cake bandwidth 10mbit";
    next.routes = [{ to: "10.7.0.0/16", via: "10.0.0.9" }];
    assert.deepEqual(await router.reload(next), []);
    assert.equal(router.host.ip.interface("lan"), before);
    assert.match((await printed("ip", "route")) ?? "", /10\.7\.0\.0\/16/);
    assert.doesNotMatch((await printed("ip", "route")) ?? "", /10\.9\.0\.0\/16/);
    assert.match(
      (await printed("tc", "qdisc", "show", "dev", "lan")) ?? "",
      /^qdisc cake [0-9a-f]+: (dev lan )?root refcnt 2 bandwidth 10Mbit diffserv3 /,
    );
    assert.match((await printed("ip", "addr", "show", "wan")) ?? "", /192\.0\.2\.2\/24/);
    assert.equal(router.status().dhcpLeases.lan, 1, "the lease is kept");
    const writer = socket.writable.getWriter();
    void writer.write(new TextEncoder().encode("still here"));
    await lab.run(1000);
    assert.equal(new TextDecoder().decode((await served.readable.getReader().read()).value), "still here");
    listener.close();
  });

  it("is as before when something of a change cannot be", async () => {
    const before = await printed("ip", "route");
    const broken = { ...config(), routes: [{ to: "10.6.0.0/16", via: "172.31.0.1" }] };
    Object.assign(broken.interfaces[0], { gateway: [], addresses: ["198.51.100.1/24"] });
    await assert.rejects(router.reload(broken), { code: "ENETUNREACH" });
    await assert.rejects(router.reload({ interfaces: [{ name: "x", mtu: 1 }] }), /interfaces\[0\]\.mtu is 1/);
    assert.equal(await printed("ip", "route"), before);
  });

  it("tells Prometheus, in its text format", () => {
    const text = metricsText(router);
    for (const line of text.trimEnd().split("\n")) {
      assert.match(
        line,
        /^(# HELP packetloom_[a-z_]+ .+|# TYPE packetloom_[a-z_]+ (counter|gauge)|packetloom_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? \d+(\.\d+)?)$/,
      );
    }
    assert.match(text, /^packetloom_interface_up\{interface="lan"\} 1$/m);
    assert.match(text, /^packetloom_dhcp_leases\{interface="lan"\} 1$/m);
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    assert.equal(new Set(names).size, names.length, "each name once");
  });
});

describe("words that the tools do not know", () => {
  const asked = async (...all: string[]) => {
    const lab = await Lab.create({ seed: 3, memory: { services: 4, backends: 16, clients: 64, flows: 64, filterBytes: 1 << 20 } });
    const config: RouterConfig = {
      interfaces: [{ name: "lan", addresses: ["10.0.0.1/24"], gateway: "10.0.0.9" }],
      balancers: [{ address: "192.0.2.80", port: 80, backends: [{ address: "10.0.0.5", port: 80 }] }],
    };
    const router = await Router.create(config, { engine: lab.engine });
    const [tool, ...words] = all;
    const { stdout = "", stderr = "", code = 0 } = await runCommand(router, { tool, words });
    await router.close();
    return { text: stdout + stderr, code };
  };
  for (const [words, text, code] of [
    ["ip help", /^Usage: ip .*\n {7}ip link/, 0],
    ["ip route help", /^Usage: ip /, 0],
    ["ip route add default via 1.2.3.4", /no interface leads to gateway 1\.2\.3\.4/, 2],
    ["ip route add 192.0.2.0/24 via 10.0.0.7 metric x", /argument "x" is wrong: "metric"/, 1],
    ["ip neigh show dev nope", /Cannot find device "nope"/, 1],
    ["tc foo", /there is no "foo"; expected qdisc, class or filter/, 1],
    ["tc help", /there is no "help"; expected qdisc, class or filter/, 1],
    ["lb help", /^Usage: lb list/, 0],
    ["lb lst", /expected list, add, remove/, 1],
    ["lb list --foo", /there is no "--foo"; expected --stats, --rate or nothing/, 1],
    ["lb drain", /expected a service, such as/, 1],
    ["lb weight 192.0.2.80:80 10.0.0.5:80", /the weight is missing; expected a number/, 1],
    ["lb weight 192.0.2.80:80 10.0.0.5:80 x", /the weight is "x"; expected a number/, 1],
    ["lb add 192.0.2.80:80 10.0.0.6:80 3", /"3" stands where "weight N" was expected/, 1],
    ["lb drain 192.0.2.80:80 10.0.0.5:80 now", /"now" is too much/, 1],
    ["conntrack -L -o labels", /there is no output "labels"; expected some of extended, id, xml, timestamp/, 1],
    ["conntrack -L --state ESTABLISHEDD", /expected one of NONE, SYN_SENT/, 1],
  ] as const)
    it(`${words}`, async () => {
      const said = await asked(...words.split(" "));
      assert.match(said.text, text);
      assert.equal(said.code, code);
    });
});
