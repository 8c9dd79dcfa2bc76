/** `packetloom ip` prints what the machine's own ip(8) prints of the same addresses, routes, rules and neighbours: as text, briefly, as JSON. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Lab } from "../src/lab/index.ts";
import { Router, runCommand } from "../src/router/index.ts";
import { missing, Namespace } from "./kernel-support.ts";

const ROUTES = [
  "default via 10.0.0.254",
  "10.9.0.0/16 nexthop via 10.0.0.9 weight 2 nexthop via 10.0.0.8",
  "blackhole 10.66.0.0/16",
  "10.7.0.0/16 via 10.0.0.7 metric 5",
];
const NEIGHBOURS = ["10.0.0.7 lladdr 02:00:00:00:00:07 dev va", "10.0.0.8 lladdr 02:00:00:00:00:08 dev va"];
const RULES = [
  "prio 100 from 10.2.0.0/24 lookup 100",
  "prio 110 not fwmark 0/0xff blackhole",
  "prio 120 ipproto udp dport 5000-5999 table 100",
];
const SHOWS = [
  "link show va",
  "addr show va",
  "-4 addr show dev va",
  "route",
  "-6 route",
  "neigh",
  "rule",
  ...["10.7.0.1", "10.0.0.1", "10.0.0.3", "8.8.8.8"].map((to) => `route get ${to}`),
  "route get 10.7.0.1 from 10.0.0.1",
  "route get to 10.77.0.1 from 10.2.0.5 iif va",
  "route get 10.7.0.1 from 10.0.0.9 iif va",
  "route get 10.0.0.1 from 10.0.0.9 iif va",
  "route get 10.7.0.1 mark 0x700",
  "route get 10.77.0.9 ipproto udp dport 5005 mark 0x100",
  "-6 route get 2001:db8::1",
  "-6 route get 2001:db8::9",
  "-6 route get 2001:db8::9 from 2001:db8::5 iif va",
];
const GETS = [
  ...SHOWS.filter((each) => each.includes("get")),
  "route get 10.7.0.1 from 10.99.0.1",
  "route get 10.7.0.1 iif va",
  "route get 10.7.0.1 iif nope",
  "route get 10.7.0.1 foo",
  "route get 10.66.0.1",
  "route get 10.7.0.1 mark 7",
  "route get 10.7.0.1 from 2001:db8::1",
  "route get 10.7.0.1 oif va uid 5",
];

describe("ip against the kernel's", { skip: missing("ip", "sysctl") }, () => {
  let lab: Lab;
  let router: Router;
  let kernel: Namespace;
  const ours = async (line: string) => {
    const { stdout, stderr } = await runCommand(router, { tool: "ip", words: line.split(" ") });
    assert.equal(stderr, undefined, line);
    return stdout ?? "";
  };

  before(async () => {
    kernel = new Namespace();
    kernel.ip("link", "add", "va", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "vb");
    await kernel.run("sysctl -qw net.ipv6.conf.va.addr_gen_mode=1 net.ipv4.ip_forward=1; ip link set vb up");
    kernel.up("va", "10.0.0.1/24", "2001:db8::1/64");
    lab = await Lab.create({ seed: 3, memory: { tables: 6 } });
    const ports = { va: lab.engine.port(6) };
    router = await Router.create(
      { interfaces: [{ name: "va", mac: "02:00:00:00:00:01", addresses: ["10.0.0.1/24", "2001:db8::1/64"] }] },
      { engine: lab.engine, ports },
    );
    for (const host of [await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] })]) lab.link(host, router.host, {}, ["eth0", "va"]);
    for (const line of [...ROUTES.map((each) => `route add ${each}`), ...NEIGHBOURS.map((each) => `neigh add ${each}`)]) {
      kernel.ip(...line.split(" "));
      await ours(line);
    }
    // Tables are there when something is in them.
    for (const line of ["route add 10.77.0.0/16 via 10.0.0.7 table 100", ...RULES.map((each) => `rule add ${each}`)]) {
      kernel.ip(...line.split(" "));
      await ours(line);
    }
  });
  after(async () => {
    await router?.close();
    await lab?.engine.close();
    await kernel?.remove();
  });

  /** What is a machine's own business: numbers, the pair's other end, the kernel's other devices and default rule, MACs' link-local addresses. */
  const plain = (json: string) =>
    (JSON.parse(json) as Record<string, unknown>[])
      .filter(({ priority, dev, dst }) => priority !== 32_767 && dev !== "vb" && dst !== "fe80::/64")
      .sort((a, b) => (a.lladdr && b.lladdr ? String(a.dst).localeCompare(String(b.dst)) : 0))
      .map(({ ifindex: _i, link: _l, ...rest }) => {
        const info = rest.addr_info as { local: string; nodad?: boolean }[] | undefined;
        return info
          ? { ...rest, addr_info: info.filter(({ local }) => !local.startsWith("fe80")).map(({ nodad: _n, ...own }) => own) }
          : rest;
      });

  for (const show of SHOWS) {
    it(`-j ${show}`, async () => {
      const [mine, theirs] = [plain(await ours(`-j ${show}`)), plain(kernel.ip("-j", ...show.split(" ")))];
      assert.ok(theirs.length > 0);
      assert.deepEqual(mine, theirs);
      // In iproute2's order, too.
      assert.equal(JSON.stringify(mine), JSON.stringify(theirs));
    });
  }

  it("route get, and why not", async () => {
    for (const line of GETS) {
      const mine = await runCommand(router, { tool: "ip", words: line.split(" ") });
      const theirs = await kernel.run(`ip ${line}`);
      assert.equal((mine.stderr ?? mine.stdout ?? "").trimEnd(), theirs.out.trimEnd(), line);
      assert.equal(mine.code ?? 0, theirs.code, line);
    }
  });

  it("-br", async () => {
    for (const what of ["link show va", "-4 addr show va"]) {
      const theirs = kernel.ip("-br", ...what.split(" ")).replace("va@vb", "va   ");
      assert.equal(await ours(`-br ${what}`), theirs);
    }
  });

  it("changes and flushes the routes that are meant, and makes no table for the others", async () => {
    const both = async (line: string) => {
      const mine = await runCommand(router, { tool: "ip", words: line.split(" ") });
      const theirs = await kernel.run(`ip ${line}`);
      const plain = (text: string) => text.replaceAll(" dev vb", " dev va").trimEnd();
      assert.equal(plain(mine.stderr ?? mine.stdout ?? ""), plain(theirs.out), line);
      assert.equal(mine.code ?? 0, theirs.code, line);
    };
    for (const line of [
      ...["route add 10.20.0.0/16 via 10.0.0.7 metric 10", "route add 10.20.0.0/16 via 10.0.0.8 metric 20", "route flush via 10.0.0.8"],
      ...["route show 10.20.0.0/16", "route flush 10.20.0.0/16", "route show 10.20.0.0/16"],
      ...["-6 route add fd01::/64 via 2001:db8::7", "-6 route add fd01::/64 via 2001:db8::8 metric 1024", "-6 route show fd01::/64"],
      ...["-6 route replace fd01::/64 via 2001:db8::8 metric 1024", "-6 route show fd01::/64", "-6 route del fd01::/64 metric 1024"],
      ...[
        "-6 route show fd01::/64",
        "route del 10.2.0.0/16 table 500",
        "route show table 500",
        "route change 10.2.0.0/16 via 10.0.0.7 table 501",
      ],
      ...["route show via zz"],
    ])
      await both(line);
    router.host.addRoute({ to: "198.18.0.0/15", kind: "local" });
    const before = await ours("route show table local");
    assert.equal(await ours("route flush table local"), "");
    assert.equal(await ours("route show table local"), before);
    router.host.removeRoute("198.18.0.0/15");
    const told = await runCommand(router, { tool: "ip", words: "route add 10.5.0.0/16 via 10.0.0.7 table local".split(" ") });
    assert.match(told.stderr ?? "", /^Error: table local has this host's own addresses/);
    for (const words of ["route show type bogus", "route show scope near"]) {
      const { stderr = "", code } = await runCommand(router, { tool: "ip", words: words.split(" ") });
      assert.match(stderr, /^Error: argument "(bogus|near)" is wrong/);
      assert.equal(code, 1);
    }
  });

  it("neighbours by hand: what is refused, and how it is said", async () => {
    const both = async (line: string) => {
      const mine = await runCommand(router, { tool: "ip", words: line.split(" ") });
      const theirs = await kernel.run(`ip ${line}`);
      assert.equal(mine.stderr ?? mine.stdout ?? "", theirs.out, line);
      assert.equal(mine.code !== undefined && mine.code !== 0, theirs.code !== 0, line);
    };
    await both("neigh add 10.0.0.7 lladdr 02:00:00:00:00:09 dev va");
    await both("neigh change 10.0.0.99 lladdr 02:00:00:00:00:09 dev va");
    await both("neigh del 10.0.0.99 dev va");
    await both("neigh flush");
    await both("neigh flush all");
    await both("neigh replace 10.0.0.7 lladdr 02:00:00:00:00:09 dev va");
    await both("neigh del 10.0.0.8 dev va");
    await both("neigh");
    for (const to of ["10.66.0.1", "10.0.0.1", "10.0.0.5", "10.7.1.1"]) await both(`route get ${to}`);
    await both("-4 addr show dev vx");
  });

  it("texts of tables, filters, one line each; what is refused, and by which exit code", async () => {
    const more = ["10.0.0.5/24", "10.1.0.5/24", "10.2.0.5/32", "2001:db8::5/64", "2001:db8:1::5/128"].map(
      (each) => `addr add ${each} dev va`,
    );
    const routes = ["-6 route add default via 2001:db8::99", "-6 route add 2001:db8:5::/48 via 2001:db8::7 table 100"];
    for (const line of [...more, ...routes]) {
      kernel.ip(...`${line}${/^addr.*db8/.test(line) ? " nodad" : ""}`.split(" "));
      await ours(line);
    }
    await lab.run(3000);
    /** The loopback device and the pair's other end are the machine's alone; numbers of interfaces, and link-local addresses, are everybody's own. */
    const plain = (text: string) =>
      text
        .split("\n")
        .filter((line) => !/ dev (lo|vb) |^\d+: (lo|vb)|fe80:/.test(line))
        .map((line) =>
          line
            .replace(/^\d+: va(@\w+)?/, "N: va")
            .replace(/ nodad/, "")
            .trimEnd(),
        )
        .join("\n");
    for (const line of [
      ...["route", "-6 route", "route show table local", "-6 route show table local", "route show table all", "-6 route show table all"],
      ...["route show root 10.0.0.0/8", "route show match 10.7.0.1", "route show 10.7.0.0/16", "-6 route show default", "rule"],
      ...["route show proto kernel", "route show scope link", "route show dev va", "route show via 10.0.0.7", "route show type local"],
      ...["route show type blackhole", "route show table 77", "-4 -o addr show va", "-o link show va", "-o route show 10.9.0.0/16"],
      ...["link set vx up", "route add 10.3.0.0/24 dev vx", "route add 10.7.0.0/16 via 10.0.0.9 metric 5", "route del 1.2.3.4"],
      ...[
        "addr del 1.2.3.4/8 dev va",
        "addr add 1.2.3.4/8 dev vx",
        "rule del prio 7",
        "route flush",
        "route flush table 100",
        "route show table 100",
      ],
    ]) {
      const mine = await runCommand(router, { tool: "ip", words: line.split(" ") });
      const theirs = await kernel.run(`ip ${line}`);
      assert.equal(plain(mine.stderr ?? mine.stdout ?? ""), plain(theirs.out), line);
      assert.equal(mine.code ?? 0, theirs.code, `${line}: ${theirs.out}`);
    }
  });
});
