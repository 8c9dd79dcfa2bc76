/** Rules of both families over a router: what is for one is not done to the other; connections at once. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/index.ts";

const CLIENT = { 4: "10.0.0.2", 6: "fd83::2" } as const;
const SERVER = { 4: "192.0.2.2", 6: "2001:db8::2" } as const;

/** A client and a server of both families, and a router with rules between them. */
async function between(ruleset: string, run: (lab: Lab, client: Host, server: Host, router: Host) => Promise<void>): Promise<void> {
  const lab = await Lab.create({ seed: 7, interfaces: 6, memory: { flows: 1000, filterBytes: 4 << 20 } });
  const client = await lab.host({ interfaces: [{ addresses: [`${CLIENT[4]}/24`, `${CLIENT[6]}/64`], gateway: ["10.0.0.1", "fd83::1"] }] });
  const server = await lab.host({
    interfaces: [{ addresses: [`${SERVER[4]}/24`, `${SERVER[6]}/64`], gateway: ["192.0.2.1", "2001:db8::1"] }],
  });
  const interfaces = [
    { name: "lan", addresses: ["10.0.0.1/24", "fd83::1/64"] },
    { name: "wan", addresses: ["192.0.2.1/24", "2001:db8::1/64", "192.0.2.50/24", "2001:db8::50/64"] },
  ];
  const router = await lab.host({ forwarding: true, interfaces, ruleset });
  lab.link(client, router, {}, ["eth0", "lan"]);
  lab.link(router, server, {}, ["wan", "eth0"]);
  await lab.run(3000);
  await run(lab, client, server, router);
  await lab.engine.close();
}

/** Packets that the rule with this comment has counted. */
function counted(router: Host, comment: string): number {
  const line = router.firewall
    .list()
    .split("\n")
    .find((each) => each.includes(`"${comment}"`));
  return Number(/counter packets (\d+)/.exec(line ?? "")?.[1]);
}

describe("addresses of one family in a table of both", () => {
  for (const [translated, text] of [
    [4, "snat ip to 192.0.2.50"],
    [6, "snat ip6 to 2001:db8::50"],
  ] as const)
    it(`${text}: the other family goes on to the next rule`, async () => {
      const ruleset = `table inet n {
  chain post {
    type nat hook postrouting priority srcnat
    oifname "wan" ${text}
    oifname "wan" counter comment "next"
  }
}
`;
      await between(ruleset, async (lab, client, server, router) => {
        for (const family of [4, 6] as const) {
          const listener = server.listen({ port: 80 + family });
          const accepted = listener.accept();
          const connected = client.connect({ hostname: SERVER[family], port: 80 + family });
          await lab.run(2000);
          const [{ remoteAddress }] = await Promise.all([accepted, connected]);
          const own = family === 4 ? "192.0.2.50" : "2001:db8::50";
          assert.equal(remoteAddress.address, family === translated ? own : CLIENT[family], `IPv${family}`);
          assert.equal(counted(router, "next"), family === translated ? (family === 4 ? 0 : 1) : 1, `IPv${family}`);
        }
      });
    });

  it("dnat ip to: what is for the router's IPv6 address stays", async () => {
    const ruleset = `table inet n {
  chain pre {
    type nat hook prerouting priority dstnat
    tcp dport 8080 dnat ip to ${SERVER[4]}:80
  }
}
`;
    await between(ruleset, async (lab, client, server, router) => {
      const [far, near] = [server.listen({ port: 80 }), router.listen({ port: 8080 })];
      const [toFar, toNear] = [far.accept(), near.accept()];
      const both = ["10.0.0.1", "fd83::1"].map((hostname) => client.connect({ hostname, port: 8080 }));
      await lab.run(2000);
      await Promise.all(both);
      assert.deepEqual([(await toFar).localAddress.address, (await toNear).localAddress.address], [SERVER[4], "fd83::1"]);
    });
  });

  it("fwd ip to: IPv6 is counted by the next rule, and arrives as it would", async () => {
    const ruleset = `table netdev n {
  chain ing {
    type filter hook ingress device "lan" priority 0
    udp dport 57 counter fwd ip to ${SERVER[4]} device "wan"
    udp dport 57 counter comment "next"
  }
}
`;
    await between(ruleset, async (lab, client, server, router) => {
      const inbox = server.datagram({ port: 57 });
      // Neighbours are known from here on: the statement finds none.
      const pings = [4, 6].map((family) => client.ping(SERVER[family as 4 | 6]));
      await lab.run(2000);
      await Promise.all(pings);
      for (const family of [4, 6] as const)
        client.datagram({ port: 1000 + family }).send(Uint8Array.of(family), { address: SERVER[family], port: 57 });
      await lab.run(2000);
      const got = [inbox.tryReceive(), inbox.tryReceive()].map((each) => each?.data[0]);
      assert.deepEqual(got.sort(), [4, 6]);
      assert.equal(counted(router, "next"), 1);
    });
  });
});

describe("connections at once", () => {
  it("that have been closed count no more, though they are remembered", async () => {
    const ruleset = `table inet n {
  chain f {
    type filter hook forward priority 0
    tcp flags syn / syn,ack ct count over 3 counter reject with tcp reset
  }
}
`;
    await between(ruleset, async (lab, client, server, router) => {
      const listener = server.listen({ port: 80 });
      const tried = async (end: "close" | "keep") => {
        const accepting = listener.accept();
        accepting.catch(() => {});
        const connecting = client.connect({ hostname: SERVER[4], port: 80 }).then(
          (socket) => (end === "close" ? (socket.close(), "open") : "open"),
          (error: { code: string }) => error.code,
        );
        await lab.run(1000);
        const result = await connecting;
        if (result === "open" && end === "close") (await accepting).close();
        await lab.run(1000);
        return result;
      };
      for (let i = 0; i < 6; i++) assert.equal(await tried("close"), "open", `closed connection ${i}`);
      assert.equal([...router.conntrack.list()].length, 6);
      for (let i = 0; i < 3; i++) assert.equal(await tried("keep"), "open", `open connection ${i}`);
      assert.equal(await tried("keep"), "ECONNREFUSED");
    });
  });
});

describe("objects", () => {
  it("that a map leads to stay; quotas tell no more than they have", async () => {
    const ruleset = `table inet n {
  counter c1 { }
  quota q { over 1000 bytes }
  map names {
    type inet_service : counter
    elements = { 80 : "c1" }
  }
  chain f {
    type filter hook forward priority 0
    quota name "q" counter
    quota over 500 bytes counter
  }
}
`;
    await between(ruleset, async (lab, client, _server, router) => {
      assert.throws(
        () => router.firewall.apply("delete counter inet n c1\n"),
        /1:23-24: Error: Could not process rule: Device or resource busy/,
      );
      const ping = client.ping(SERVER[4], { size: 2000 });
      await lab.run(1000);
      await ping;
      const list = router.firewall.list();
      assert.match(list, /quota over 500 bytes used 500 bytes/);
      assert.match(list, /over 1000 bytes used 1000 bytes/);
    });
  });
});

describe("statements of elements", () => {
  for (const [what, body, told] of [
    ["none in the set", "set s { type ipv4_addr; elements = { 1.1.1.1 counter } }", "missing statement in set declaration"],
    [
      "another than the set's",
      "map s { type ipv4_addr : mark; counter; elements = { 1.1.1.1 limit rate 7/second : 5 } }",
      "statement mismatch, element expects limit, but map has type counter",
    ],
    [
      "fewer than the set's",
      "set s { type ipv4_addr; counter quota 5 bytes; elements = { 1.1.1.1 counter } }",
      "number of statements mismatch, set expects 2 but element has 1",
    ],
    [
      "another limit than the set's",
      "set s { type ipv4_addr; limit rate 5/second; elements = { 1.1.1.1 limit rate 7/second } }",
      "this limit differs from the set's; all elements have that here",
    ],
    [
      "a rule's that are not the set's",
      "set s { type ipv4_addr; flags dynamic; counter; }\n  chain c { update @s { ip saddr limit rate 10/second }; }",
      "Could not process rule: Operation not supported",
    ],
    [
      "more of a rule than the set has",
      "set s { type ipv4_addr; flags dynamic; counter; }\n  chain c { update @s { ip saddr counter quota 5 bytes }; }",
      "Could not process rule: Invalid argument",
    ],
  ])
    it(`are refused: ${what}`, () =>
      between("", async (_lab, _client, _server, router) => {
        assert.throws(() => router.firewall.apply(`table inet t {\n  ${body}\n}\n`), { reason: told });
      }));

  it("of rules are the set's, and told there alone", () =>
    between("", async (_lab, _client, _server, router) => {
      router.firewall.apply(
        "table inet t {\n  set s { type ipv4_addr; flags dynamic; counter; }\n  chain c { add @s { ip saddr counter }; }\n}\n",
      );
      assert.match(router.firewall.list(), /\t\tadd @s \{ ip saddr \}\n/);
    }));
});

describe("a map where a set is asked", () => {
  it("says whether it has the key, and nothing of what it leads to", async () => {
    const ruleset = `table inet t {
  map marks { type ipv4_addr : mark; elements = { ${CLIENT[4]} : 5 }
  }
  map ends { type ipv4_addr : verdict; elements = { ${CLIENT[4]} : drop }
  }
  chain f {
    type filter hook forward priority 0
    icmp type echo-request ip saddr @marks counter comment "in marks"
    icmp type echo-request ip saddr != @marks counter comment "not in marks"
    icmp type echo-request ip saddr @ends counter comment "in ends"
    icmp type echo-request ip saddr != @ends counter comment "not in ends"
  }
}
`;
    await between(ruleset, async (lab, client, _server, router) => {
      const ping = client.ping(SERVER[4]);
      await lab.run(1000);
      await ping;
      assert.deepEqual(
        ["in marks", "not in marks", "in ends", "not in ends"].map((comment) => counted(router, comment)),
        [1, 0, 1, 0],
      );
      assert.match(router.firewall.list(), /icmp type echo-request ip saddr != @ends counter/);
    });
  });
});
