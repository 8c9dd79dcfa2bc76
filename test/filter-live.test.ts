/** What a firewall lists is what stands in memory: counters that have counted, elements that rules have made, times that run. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { VirtualClock } from "../src/base/clock.ts";
import { Firewall } from "../src/filter/index.ts";
import { addressBytes4, ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeUdp } from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, through } from "./support.ts";

const RULES = `table ip t {
  counter every { }
  quota little { over 100 bytes }
  set seen { type ipv4_addr; size 100; flags dynamic,timeout; timeout 1m; }
  set pairs { type ipv4_addr . inet_service; size 100; flags dynamic; }
  set marked { typeof udp dport; counter; elements = { 53, 54 comment "near" } }
  set nets { type ipv4_addr; flags interval,timeout; elements = { 10.0.0.0/24 timeout 1h, 10.1.0.0-10.1.0.9 } }
  map where { type ipv4_addr : inet_service; flags dynamic; size 10; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    counter name every quota name little
    ip saddr 10.0.0.2 counter quota until 1 mbytes accept
    update @seen { ip saddr counter }
    add @pairs { ip daddr . udp dport } last
    udp dport @marked accept
    udp dport 60 counter last
  }
}
`;

async function firewalled(build: "shared" | "plain") {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, flows: 100, filterBytes: 1 << 20, clock });
  const table4 = engine.createTable(4);
  table4.set("0.0.0.0/0", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(2), sourceMac: mac(11) }));
  const network = engine.createNetwork();
  for (const p of [0, 1]) {
    engine.port(p).configure({ table4 });
    network.add(engine.port(p));
  }
  const firewall = new Firewall(engine, network);
  firewall.apply(RULES);
  const send = (source: number, destinationPort: number) => {
    const destination = 0x14000001;
    const addresses = { source: addressBytes4(source), destination: addressBytes4(destination) };
    const udp = serializeUdp({ sourcePort: 1000, destinationPort, payload: new Uint8Array(12) }, addresses);
    const payload = serializeIpv4({ protocol: PROTOCOL.udp, source, destination, payload: udp });
    const frame = serializeEthernet({ destination: Uint8Array.of(2, 0, 0, 0, 0, 0), source: mac(50), type: ETHERTYPE.ipv4, payload });
    return through(engine, [frame]).sent.length;
  };
  /** Entries of the compiled functions: a ruleset that was not compiled anew keeps them. */
  const programs = () => {
    const at = engine.memory.base(abi.REGION_NETNS) + network.index * abi.NETNS_SIZE + abi.NETNS_PROGRAMS;
    return Array.from({ length: abi.SEGMENT_COUNT }, (_, segment) => engine.memory.getU32(at + 4 * segment));
  };
  return { clock, firewall, send, programs };
}
const FIRST = 0x0a000001;

/** Each rule counts what it lets on; the packets are UDP's from 10.0.0.1 to port 60, and their mark is 0x110. */
const INTERVALS = `table ip t {
  set s { typeof meta mark . udp dport; flags interval; elements = { 0x10-0x200 . 50-70, 9 . 9 } }
  chain pre { type filter hook prerouting priority 0; meta mark set 0x110; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    meta mark . udp dport { 0x10-0x200 . 50-70 } counter comment "a"
    meta mark . udp dport { 0x111-0x200 . 50-70 } counter comment "b"
    meta mark . udp dport @s counter comment "c"
    meta mark 0x00000100/24 counter comment "d"
    meta mark 0x00000200/24 counter comment "e"
    meta mark { 0x100-0x1ff, 0x300 } counter comment "f"
    meta mark . udp dport . ip saddr vmap { 0x100-0x11f . 1-100 . 10.0.0.0/8 : continue, 0 . 0 . 0.0.0.0 : drop }
    meta mark . udp dport . ip saddr vmap { 0x10000000-0x12000000 . 1-100 . 10.0.0.0/8 : drop, 0 . 0 . 0.0.0.0 : drop } counter comment "g"
  }
}
`;

const OWN_CHAIN = `table ip t {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ip saddr 10.0.0.1 jump {
      udp dport 60 counter return
      udp dport { 61, 62 } counter drop
    }
    counter comment "behind"
    udp dport 63 goto { counter; }
    counter comment "last"
  }
}
`;

/** Sets and maps that are there already, changed by one command after the other: what nft and Linux 6.18 were seen to say. */
describe("sets in force that commands change", () => {
  const inForce = async (...commands: readonly string[]) => {
    const engine = await engineOf("plain", { ports: 1, filterBytes: 1 << 20 });
    const firewall = new Firewall(engine, engine.createNetwork().add(engine.port(0)));
    const run = (text: string) => firewall.apply(text);
    for (const command of commands) run(command);
    return run;
  };
  const elements = (listing: string) => /elements = \{ ([^}]*) \}/.exec(listing)?.[1].replace(/\s+/g, " ");

  it("elements that touch or overlap are joined to those there are (auto-merge)", async () => {
    const run = await inForce("add table ip f", "add set ip f s { type ipv4_addr; flags interval; auto-merge; }");
    const after = (added: string) => {
      run(`add element ip f s { ${added} }`);
      return elements(run("list set ip f s"));
    };
    assert.equal(after("10.0.0.0/8"), "10.0.0.0/8");
    assert.equal(after("11.0.0.0/8"), "10.0.0.0/7");
    assert.equal(after("3.3.3.0-3.3.3.5"), "3.3.3.0-3.3.3.5, 10.0.0.0/7");
    assert.equal(after("3.3.3.4-3.3.3.9"), "3.3.3.0-3.3.3.9, 10.0.0.0/7");
    assert.equal(after("3.3.3.2"), "3.3.3.0-3.3.3.9, 10.0.0.0/7");
    assert.equal(after("0.0.0.0/0"), "0.0.0.0/0");
  });

  for (const kind of ["", "flags interval;"])
    it(`a map leads to chains that were made after it ${kind}`, async () => {
      const run = await inForce("add table ip f", `add map ip f m { type inet_service : verdict; ${kind} elements = { 22 : accept } ; }`);
      run("add chain ip f x");
      run("add element ip f m { 23 : jump x }");
      assert.equal(elements(run("list map ip f m")), "22 : accept, 23 : jump x");
      run("rename chain ip f x y");
      assert.equal(elements(run("list map ip f m")), "22 : accept, 23 : jump y");
      run("add chain ip f z\nadd element ip f m { 24 : goto z }\ndelete element ip f m { 23 }\ndelete chain ip f y");
      assert.equal(elements(run("list map ip f m")), "22 : accept, 24 : goto z");
      assert.throws(() => run("delete chain ip f z"), /Device or resource busy/);
    });

  it("an element that is added again with another time to live has that", async () => {
    const run = await inForce(
      "add table ip f",
      "add set ip f s { type ipv4_addr; timeout 1h; counter; elements = { 1.1.1.1, 2.2.2.2 } ; }",
    );
    run("add element ip f s { 1.1.1.1 timeout 5m, 3.3.3.3 timeout 1d }");
    run("add element ip f s { 3.3.3.3 }");
    const shown = elements(run("list set ip f s"))?.replace(/expires \S+?(,|$|(?= ))/g, "expires X$1");
    assert.equal(
      shown?.replace(/counter packets 0 bytes 0 /g, ""),
      "1.1.1.1 timeout 5m expires X, 2.2.2.2 expires X, 3.3.3.3 timeout 1d expires X",
    );
  });

  it("a rule that takes another's place has its handle", async () => {
    const run = await inForce("add table ip f", "add chain ip f c", "add rule ip f c tcp dport 1 accept");
    run("replace rule ip f c handle 2 tcp dport 2 accept");
    run("replace rule ip f c handle 2 tcp dport 3 accept");
    assert.match(run("list chain ip f c"), /tcp dport 3 accept/);
  });

  it("a map names counters that were made after it", async () => {
    const run = await inForce("add table ip f", "add map ip f m { type inet_service : counter; }");
    run("add counter ip f b");
    run('add element ip f m { 81 : "b" }');
    assert.equal(elements(run("list map ip f m")), '81 : "b"');
  });

  it("what nft finds wrong with a line of iptables is said of that line", async () => {
    const engine = await engineOf("plain", { ports: 1, filterBytes: 1 << 20 });
    const firewall = new Firewall(engine, engine.createNetwork().add(engine.port(0)));
    const text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT\n-A INPUT -j nowhere\nCOMMIT\n";
    assert.throws(
      () => firewall.applyIptables(text, { file: "rules.v4", restore: true }),
      /^NftError: rules\.v4:4:1-19: Error: .*\n-A INPUT -j nowhere\n/,
    );
    assert.equal(firewall.list(), "");
  });

  it("a text that names what is not there changes nothing, in no set", async () => {
    const run = await inForce("table ip f {\n set s { type ipv4_addr; }\n map m { type inet_service : verdict; }\n}");
    assert.throws(() => run("add element ip f s { 1.1.1.1 }\nadd element ip f m { 80 : jump nowhere }"));
    assert.equal(elements(run("list set ip f s")), undefined);
    assert.equal(elements(run("list map ip f m")), undefined);
  });
});

for (const build of BUILDS)
  describe(`a firewall's listing (${build})`, () => {
    it("chains of a rule's own count, return, drop, and go with their rule", async () => {
      const { firewall, send } = await firewalled(build);
      firewall.apply(`flush ruleset\n${OWN_CHAIN}`);
      assert.deepEqual(
        [60, 61, 62, 63].map((port) => send(FIRST, port)),
        [1, 0, 0, 1],
      );
      const text = firewall.list();
      for (const line of [
        "udp dport 60 counter packets 1 bytes 40 return",
        "udp dport { 61, 62 } counter packets 2 bytes 80 drop",
        'counter packets 2 bytes 80 comment "behind"',
        'counter packets 1 bytes 40 comment "last"',
      ])
        assert.ok(text.includes(line), `${line}\nis not in\n${text}`);
      const handle = /\} # handle (\d+)/.exec(firewall.apply("list ruleset", { handles: true }))?.[1];
      firewall.apply(`delete rule ip t forward handle ${handle}`);
      assert.deepEqual(
        [61, 62].map((port) => send(FIRST, port)),
        [1, 1],
      );
      assert.ok(!firewall.list().includes("udp dport 60"));
      assert.equal(JSON.stringify(firewall.spec).includes("__chain0"), false);
    });

    it("numbers of the machine's order are compared as numbers, alone and within intervals of several fields", async () => {
      const { firewall, send } = await firewalled(build);
      firewall.apply(`flush ruleset\n${INTERVALS}`);
      assert.equal(send(FIRST, 60), 1);
      const counted = [...firewall.list().matchAll(/counter packets (\d) bytes \d+ comment "(.)"/g)].filter(
        ([, packets]) => packets === "1",
      );
      assert.deepEqual(
        counted.map(([, , name]) => name),
        ["a", "c", "d", "f"],
      );
    });

    it("shows what was counted, and what rules have put into sets", async () => {
      const { clock, firewall, send } = await firewalled(build);
      for (const port of [53, 53, 60]) send(FIRST, port);
      send(FIRST + 1, 54);
      clock.advance(2500);
      const text = firewall.list();
      for (const line of [
        "packets 4 bytes 160",
        "over 100 bytes used 100 bytes",
        "ip saddr 10.0.0.2 counter packets 1 bytes 40 quota 1 mbytes used 40 bytes accept",
        "elements = { 10.0.0.1 counter packets 3 bytes 120 expires 57s500ms }",
        "elements = { 20.0.0.1 . 53,\n\t\t\t     20.0.0.1 . 60 }",
        'elements = { 53 counter packets 2 bytes 80, 54 counter packets 0 bytes 0 comment "near" }',
        "elements = { 10.0.0.0/24 timeout 1h expires 59m57s500ms, 10.1.0.0-10.1.0.9 }",
        "add @pairs { ip daddr . udp dport } last used 2s500ms",
        "udp dport 60 counter packets 1 bytes 40 last used 2s500ms",
      ])
        assert.ok(text.includes(line), `${line}\nis not in\n${text}`);
      assert.match(firewall.apply("list set ip t seen"), /10\.0\.0\.1 counter packets 3 bytes 120 expires 57s500ms/);
      const again = await firewalled(build);
      again.firewall.apply(`flush ruleset\n${text}`);
      assert.equal(again.firewall.list({ stateless: true }), firewall.list({ stateless: true }));
    });

    it("goes on counting over lists, and begins again where it was reset", async () => {
      const { clock, firewall, send } = await firewalled(build);
      send(FIRST, 60);
      assert.match(firewall.apply("list counters"), /packets 1 bytes 40/);
      assert.match(firewall.apply("reset counter ip t every"), /packets 1 bytes 40/);
      assert.match(firewall.apply("list counter ip t every"), /packets 0 bytes 0/);
      assert.match(firewall.list(), /udp dport 60 counter packets 1 bytes 40 last used 0s/);
      clock.advance(61_000);
      assert.ok(!firewall.list().includes("10.0.0.1 counter"), "an element outlives its time");
      assert.match(firewall.apply("reset rules"), /udp dport 60 counter packets 1 bytes 40/);
      assert.match(firewall.list(), /udp dport 60 counter packets 0 bytes 0 last used never/);
      assert.match(firewall.apply("reset quotas"), /used 40 bytes/);
      assert.ok(!firewall.list().includes("over 100 bytes used"));
      send(FIRST, 60);
      assert.match(firewall.apply("list counter ip t every", { json: true }), /"packets":1,"bytes":40/);
    });

    it("says what is wrong without changing anything, and changes nothing when it only checks", async () => {
      const { firewall, send } = await firewalled(build);
      send(FIRST, 60);
      const before = firewall.list();
      assert.equal(firewall.apply("add table ip other; flush table ip t", { check: true }), "");
      assert.throws(() => firewall.apply("reset counters; add rule ip t nowhere accept"), /No such file or directory/);
      assert.equal(firewall.list(), before);
    });

    it("changes elements whoever has made them, without compiling anything", async () => {
      const { clock, firewall, send, programs } = await firewalled(build);
      const before = programs();
      for (const client of [FIRST, FIRST + 2]) send(client, 60);
      firewall.apply("delete element ip t seen { 10.0.0.1 }");
      assert.ok(!firewall.list().includes("10.0.0.1 counter"));
      assert.match(firewall.list(), /elements = \{ 10\.0\.0\.3 counter packets 1 bytes 40 expires 1m/);
      assert.throws(() => firewall.apply("delete element ip t seen { 10.0.0.1 }"), /No such file or directory/);
      firewall.apply("flush set ip t seen");
      assert.deepEqual(firewall.elements({ family: "ip", table: "t", set: "seen" }), []);
      // A ban that is over can be spoken again, however often.
      for (let i = 0; i < 3; i++) {
        firewall.apply("add element ip t nets { 10.9.0.0/16 timeout 5s }");
        assert.match(firewall.list(), /10\.9\.0\.0\/16 timeout 5s expires 5s/);
        clock.advance(6000);
        assert.ok(!firewall.list().includes("10.9.0.0/16"));
      }
      firewall.addElements({ family: "ip", table: "t", set: "marked" }, [{ key: Uint8Array.of(0, 99) }]);
      firewall.apply("delete element ip t marked { 99 }; add element ip t marked { 100 }");
      assert.deepEqual(
        firewall
          .elements({ family: "ip", table: "t", set: "marked" })
          .map(({ key }) => key[1])
          .sort((a, b) => a - b),
        [53, 54, 100],
      );
      assert.deepEqual(programs(), before);
      const logs = () => [...Array(20).keys()].filter((number) => firewall.logStatement(number)?.prefix === "spoken").length;
      firewall.apply('add rule ip t forward log prefix "spoken"');
      assert.equal(logs(), 1);
      firewall.apply("add element ip t marked { 101 }");
      assert.equal(logs(), 1, "the program in force names its log statement still");
      const now = programs();
      firewall.apply("add rule ip t forward accept");
      assert.notDeepEqual(programs(), now);
    });

    it("what a text makes anew holds what the text says, and nothing comes back by itself", async () => {
      const { clock, firewall } = await firewalled(build);
      const name = { family: "ip", table: "t", set: "s" } as const;
      const held = () =>
        firewall
          .elements(name)
          .map(({ key }) => key[3])
          .sort();
      const declare = (elements: string) => `table ip t {\n set s {\n type ipv4_addr\n flags timeout\n ${elements}\n }\n}\n`;
      firewall.apply(`flush ruleset\n${declare("elements = { 0.0.0.1 }")}`);
      firewall.apply(`flush ruleset\n${declare("elements = { 0.0.0.3 }")}add element ip t s { 0.0.0.2 }`);
      assert.deepEqual(held(), [2, 3]);
      firewall.apply(`${declare("elements = { 0.0.0.5 }")}add element ip t s { 0.0.0.4 }`);
      assert.deepEqual(held(), [2, 3, 4, 5]);
      firewall.apply([
        { name: "a", text: "flush set ip t s; add element ip t s { 0.0.0.6 }" },
        { name: "b", text: "add element ip t s { 0.0.0.7 timeout 5s }" },
      ]);
      assert.deepEqual(held(), [6, 7]);
      firewall.addElements(name, [{ key: Uint8Array.of(0, 0, 0, 8) }]);
      firewall.apply("destroy element ip t s { 0.0.0.99 }");
      assert.deepEqual(held(), [6, 7, 8]);
      clock.advance(6000);
      firewall.apply("add chain ip t other");
      assert.deepEqual(held(), [6, 8], "what has expired stays so");
      firewall.apply(declare("elements = { 0.0.0.9 }"), { replace: true });
      assert.deepEqual(held(), [9]);
    });

    it("an expired range hides nothing, and the rest of a set may expire too", async () => {
      const { clock, firewall, send } = await firewalled(build);
      firewall.apply(`table ip u {
        set s { type ipv4_addr; flags interval,timeout; }
        map m { type ipv4_addr : verdict; flags timeout; elements = { 10.0.0.9 : accept, * timeout 5s : drop } }
        chain forward {
          type filter hook forward priority 1
          ip saddr @s drop
          ip saddr vmap @m
        }
      }`);
      firewall.apply("add element ip u s { 10.0.0.0/24 timeout 3s }");
      assert.equal(send(FIRST, 60), 0);
      clock.advance(4000);
      assert.equal(send(FIRST, 60), 0, "the rest of the map");
      firewall.apply("add element ip u s { 10.0.0.1 timeout 500s }");
      clock.advance(2000);
      assert.deepEqual([send(FIRST, 60), send(FIRST + 1, 60)], [0, 1]);
    });

    it("what cannot be loaded changes no element", async () => {
      const { firewall } = await firewalled(build);
      firewall.apply("add set ip t four { type ipv4_addr; size 4; elements = { 1.1.1.1 }; }");
      const name = { family: "ip", table: "t", set: "four" } as const;
      firewall.addElements(
        name,
        [2, 3, 4].map((last) => ({ key: Uint8Array.of(9, 9, 9, last) })),
      );
      const before = firewall.list();
      assert.throws(
        () => firewall.apply("delete element ip t four { 1.1.1.1 }; add element ip t four { 2.2.2.2, 3.3.3.3, 4.4.4.4 }"),
        /Too many open files in system/,
      );
      assert.throws(() => firewall.addElements(name, [{ key: Uint8Array.of(5, 5, 5, 5) }]), /set four is full/);
      assert.equal(firewall.list(), before);
      firewall.apply(
        "add set ip t boxes { type ipv4_addr . ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 10.0.0.0/8 . 80 }; }",
      );
      const spread = (i: number, by: number) => `10.0.${(i * by) % 200}.0-10.1.${(i * by + 7) % 200}.0`;
      const boxes = Array.from({ length: 400 }, (_, i) => `${spread(i, 37)} . ${spread(i, 53)} . ${i + 1}-${3000 + ((i * 91) % 700)}`).join(
        ", ",
      );
      const ranged = firewall.list();
      assert.throws(() => firewall.apply(`delete element ip t four { 1.1.1.1 }; add element ip t boxes { ${boxes} }`), /File exists/);
      assert.equal(firewall.list(), ranged);
      firewall.apply("delete element ip t four { 1.1.1.1, 9.9.9.2 }; add element ip t four { 2.2.2.2, 3.3.3.3 }");
      assert.equal(firewall.elements(name).length, 4);
    });
  });
