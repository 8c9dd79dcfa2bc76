/**
 * Two network namespaces of Linux joined by a host that forwards: what the kernel, and the programs on it, make of our
 * routing, our ICMP errors and our path MTUs, in both families.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Host } from "../src/host/host.ts";
import { tap } from "../src/link/tap.ts";
import { body, FAMILIES, missing, Namespace, sha, until, withFolder } from "./kernel-support.ts";
import { sshServer } from "./ssh.ts";

const LEFT = { 4: "10.81.0.1", 6: "fd81::1" } as const;
const NEAR = { 4: "10.81.0.254", 6: "fd81::254" } as const;
const FAR = { 4: "10.82.0.254", 6: "fd82::254" } as const;
const RIGHT = { 4: "10.82.0.1", 6: "fd82::1" } as const;
const RIGHT_MTU = 1400;

for (const offload of [true, false]) {
  describe(`a router between two kernels, offloads ${offload ? "on" : "off"}`, { skip: missing("ping"), timeout: 60_000 }, () => {
    let left: Namespace;
    let right: Namespace;
    let router: Host;

    before(async () => {
      left = new Namespace();
      right = new Namespace();
      router = await Host.create({
        forwarding: true,
        interfaces: [
          { device: tap({ name: "t0", namespace: left.name, offload }), addresses: [`${NEAR[4]}/24`, `${NEAR[6]}/64`] },
          {
            device: tap({ name: "t0", namespace: right.name, offload }),
            addresses: [`${FAR[4]}/24`, `${FAR[6]}/64`],
            mtu: RIGHT_MTU,
          },
        ],
      });
      left.up("t0", `${LEFT[4]}/24`, `${LEFT[6]}/64`);
      right.up("t0", `${RIGHT[4]}/24`, `${RIGHT[6]}/64`);
      // The far side knows its link's MTU, as a link's hosts do.
      right.ip("link", "set", "t0", "mtu", String(RIGHT_MTU));
      for (const [space, via] of [
        [left, NEAR],
        [right, FAR],
      ] as const)
        for (const family of FAMILIES) space.ip(`-${family}`, "route", "add", "default", "via", via[family]);
    });

    after(async () => {
      await router?.close();
      await left?.remove();
      await right?.remove();
    });

    const forget = (family: 4 | 6) => left.ip(`-${family}`, "route", "flush", "cache");
    const pattern = (address: string) => address.replaceAll(".", "\\.");

    for (const family of FAMILIES) {
      it(`IPv${family}: pings cross it, small, large and in fragments`, async () => {
        for (const size of [56, 1300, 4000, 20_000]) {
          // With -w it waits for answers (or an error, which a large one may have), without for two of the round trips before.
          // What tells of the path comes between two of them, on a busy machine, too.
          const { out } = await left.run(`ping -n -c 3 ${size > 1400 ? "-i 0.2" : "-w 5 -i 0.01"} -s ${size} ${RIGHT[family]}`);
          // The first large one may be what discovers the path.
          assert.match(out, size > 1400 ? /[23] received/ : /icmp_seq=1 .*\n.*icmp_seq=2 .*\n.*icmp_seq=3 /, `${size}: ${out}`);
        }
        const { out } = await left.run(`ping -n -c 1 ${RIGHT[family]}`);
        assert.match(out, /ttl=63/);
      });

      it(`IPv${family}: the path's MTU is learnt from us`, async () => {
        forget(family);
        const { out } = await left.run(`ping -n -c 1 -W 1 -M do -s 1440 ${RIGHT[family]}`);
        assert.match(out, family === 4 ? /Frag needed and DF set \(mtu = 1400\)/ : /Packet too big: mtu=1400/);
        assert.match(out, new RegExp(`From ${pattern(NEAR[family])}`, "i"));
        assert.match(left.ip(`-${family}`, "route", "get", RIGHT[family]), /mtu 1400/);
      });

      it(`IPv${family}: TCP crosses it, both ways, from an MTU that does not fit`, { skip: missing("nc") }, async () => {
        forget(family);
        const sent = body(5_000_000);
        for (const [from, to, address] of [
          [left, right, RIGHT],
          [right, left, LEFT],
        ] as const) {
          const serving = to.run(`nc -${family} -l -N 9000 | sha256sum`);
          await to.listens(9000);
          assert.equal((await from.run(`nc -N ${address[family]} 9000`, sent)).code, 0);
          assert.equal((await serving).out.slice(0, 64), sha(sent));
        }
      });

      // Before those that use up what one destination may be told in a row (RFC 1812 §4.3.2.8).
      it(`IPv${family}: what cannot be delivered is reported, by the right name`, async () => {
        const nowhere = family === 4 ? "192.0.2.1" : "2001:db8::1";
        const noRoute = await left.run(`ping -n -c 1 -W 1 ${nowhere}`);
        assert.match(noRoute.out, family === 4 ? /Destination Net Unreachable/ : /Destination unreachable: No route/);
        const short = await left.run(`ping -n -c 1 -W 1 -t 1 ${RIGHT[family]}`);
        assert.match(short.out, family === 4 ? /Time to live exceeded/ : /Time exceeded: Hop limit/);
        router.addRoute({ to: family === 4 ? "198.51.100.0/24" : "2001:db8:1::/64", kind: "prohibit" });
        const prohibited = await left.run(`ping -n -c 1 -W 1 ${family === 4 ? "198.51.100.1" : "2001:db8:1::1"}`);
        assert.match(prohibited.out, family === 4 ? /Packet filtered|Prohibited/ : /Administratively prohibited/);
      });

      it(`IPv${family}: traceroute and mtr see us in between`, { skip: missing("traceroute", "mtr") }, async () => {
        const { out } = await left.run(`traceroute -${family} -n -q 1 -w 1 ${RIGHT[family]}`);
        assert.match(out, new RegExp(`1 +${pattern(NEAR[family])} .*\\n *2 +${pattern(RIGHT[family])} `));
        const report = await left.run(`mtr -n -r -c 2 -i 0.1 -G 0.5 -Z 1 ${RIGHT[family]}`);
        assert.match(
          report.out,
          new RegExp(`1\\.\\|-- ${pattern(NEAR[family])} +0\\.0% .*\\n *2\\.\\|-- ${pattern(RIGHT[family])} +0\\.0%`),
        );
      });

      it(`IPv${family}: ssh goes through`, { skip: missing("ssh", "sshd", "ssh-keygen") }, async () => {
        await withFolder(async (folder) => {
          const ssh = await sshServer(right, folder, 2222);
          const sent = body(2_000_000);
          const { out } = await left.run(ssh(`-p 2222 root@${RIGHT[family]} sha256sum`), sent);
          assert.equal(out.slice(0, 64), sha(sent));
          await right.stopAll();
        });
      });
    }

    // Three seconds of asking for the neighbour: one of the two is enough.
    const once = offload ? false : "the same with offloads";
    it("a host that is not there is reported when its neighbour has given up asking", { skip: once }, async () => {
      const [four, six] = await Promise.all(["10.82.0.99", "fd82::99"].map((silent) => left.run(`ping -n -c 1 -W 5 ${silent}`)));
      assert.match(four.out, /Destination Host Unreachable/);
      assert.match(six.out, /Destination unreachable: Address unreachable/);
    });

    it("gave every buffer back", async () => {
      await until(() => router.engine.pool().inFlight === 0);
      assert.equal(router.engine.counters().stats.double_frees, 0);
    });
  });
}
