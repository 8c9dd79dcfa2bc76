/** IGMP and MLD: filters against an oracle, the machine in virtual time, and the Linux kernel's bridge as snooping router. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { IpAddress } from "../src/base/ip-address.ts";
import { Timers } from "../src/base/timers.ts";
import { Host } from "../src/host/host.ts";
import { Random } from "../src/index.ts";
import { allows, isNothing, merge, NOTHING, type SourceFilter, sourceFilter } from "../src/ip/multicast/filter.ts";
import { parseIgmp } from "../src/ip/multicast/igmp.ts";
import { GroupMachine, type GroupWire } from "../src/ip/multicast/machine.ts";
import { parseMldQuery } from "../src/ip/multicast/mld.ts";
import { type GroupQuery, type GroupRecord, packed, RECORD, recordBytes } from "../src/ip/multicast/records.ts";
import { tap } from "../src/link/tap.ts";
import { checksum } from "../src/wire/checksum.ts";
import { missing, Namespace, until, withFolder } from "./kernel-support.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);
const sources = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"].map(address);
const GROUP = address("239.1.1.1");
const aFilter = fc
  .tuple(fc.constantFrom("include" as const, "exclude" as const), fc.subarray(sources))
  .map(([mode, some]) => sourceFilter(mode, some));

/** What a router believes after the records it got (RFC 3376 §6.4 without its timers). */
class Router {
  filter: SourceFilter = NOTHING;

  take({ type, sources: list }: GroupRecord): void {
    const { mode, sources: known } = this.filter;
    const others = [...known.values()].filter((each) => !list.some((one) => one.equals(each)));
    if (type === RECORD.isInclude || type === RECORD.toInclude) this.filter = sourceFilter("include", list);
    else if (type === RECORD.isExclude || type === RECORD.toExclude) this.filter = sourceFilter("exclude", list);
    else this.filter = sourceFilter(mode, (type === RECORD.allow) === (mode === "include") ? [...others, ...list] : others);
  }
}

class Wire implements GroupWire {
  readonly newest = 3;
  readonly said: { at: number; what: string }[] = [];
  readonly router = new Router();
  /** Only every n-th report arrives. */
  lost = 0;
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  isSilent(): boolean {
    return false;
  }

  report(records: readonly GroupRecord[]): void {
    for (const { type, sources: list } of records) this.said.push({ at: this.now(), what: `v3 ${type} ${list.join(" ")}`.trim() });
    if (this.lost > 0) this.lost--;
    else for (const record of records) this.router.take(record);
  }

  reportOld(version: number, group: IpAddress): void {
    this.said.push({ at: this.now(), what: `v${version} report ${group}` });
  }

  leaveOld(version: number, group: IpAddress): void {
    this.said.push({ at: this.now(), what: `v${version} leave ${group}` });
  }
}

function machine() {
  const world = { timers: new Timers(), random: new Random(SEED), now: 0 };
  const wire = new Wire(() => world.now);
  const run = (ms: number) => {
    const end = world.now + ms;
    for (let next = world.timers.next(); next <= end; next = world.timers.next()) {
      world.now = Math.max(world.now, next);
      world.timers.run(world.now);
    }
    world.now = end;
  };
  return { world, wire, run, machine: new GroupMachine(world, wire) };
}

const query = (fields: Partial<GroupQuery>): GroupQuery => ({
  version: 3,
  maxResponseMs: 10_000,
  sources: [],
  robustness: 2,
  intervalMs: 125_000,
  ...fields,
});

describe("source filters", () => {
  it("an interface takes a source exactly when a socket wants it", () => {
    fc.assert(
      fc.property(fc.array(aFilter, { maxLength: 5 }), (filters) => {
        const merged = merge(filters);
        const stranger = address("10.9.9.9");
        for (const source of [...sources, stranger]) {
          assert.equal(
            allows(merged, source),
            filters.some((filter) => allows(filter, source)),
          );
        }
      }),
      { seed: SEED },
    );
  });
});

describe("the member's side of IGMPv3", () => {
  it("a router knows what is wanted after any changes, though the first report of each is lost", () => {
    const step = fc.tuple(fc.nat({ max: 3 }), aFilter, fc.constantFrom(0, 300, 5000), fc.boolean());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const { wire, run, machine: members } = machine();
        const owners = [{}, {}, {}, {}];
        for (const [owner, filter, ms, isLost] of steps) {
          wire.lost = isLost ? 1 : 0;
          members.want(GROUP, owners[owner], filter);
          run(ms);
          // A report is lost only when its repetition follows undisturbed.
          if (isLost) run(5000);
          wire.lost = 0;
        }
        run(5000);
        const wanted = members.memberships.get(GROUP.key)?.filter ?? NOTHING;
        for (const source of sources) assert.equal(allows(wire.router.filter, source), allows(wanted, source), `SEED=${SEED}`);
        assert.equal(isNothing(wire.router.filter), isNothing(wanted));
        for (const owner of owners) members.want(GROUP, owner, NOTHING);
        run(5000);
        assert.equal(members.memberships.size, 0, "all is forgotten");
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("answers general, group and source questions once, within the time that is given", () => {
    const { wire, run, machine: members } = machine();
    members.want(GROUP, {}, sourceFilter("exclude", [sources[0]]));
    run(5000);
    wire.said.length = 0;
    for (let i = 0; i < 20; i++) members.query(query({}));
    run(10_000);
    assert.deepEqual(
      wire.said.map(({ what }) => what),
      ["v3 2 10.0.0.1"],
    );
    members.query(query({ group: GROUP, sources: sources.slice(0, 2), maxResponseMs: 1000 }));
    members.query(query({ group: GROUP, sources: [sources[2]], maxResponseMs: 1000 }));
    run(1000);
    assert.equal(wire.said[1].what, "v3 1 10.0.0.2 10.0.0.3");
    members.query(query({ group: GROUP, sources: [sources[0]], maxResponseMs: 1000 }));
    members.query(query({ group: address("239.9.9.9"), maxResponseMs: 1000 }));
    run(1000);
    assert.equal(wire.said.length, 2, "nothing to say about an excluded source or a stranger's group");
  });

  it("speaks version 2 while such a router is there: suppressed by others, leaving when it spoke last", () => {
    const { wire, run, machine: members, world } = machine();
    const owner = {};
    members.query(query({ version: 2, robustness: 0, intervalMs: 0 }));
    members.want(GROUP, owner, sourceFilter("exclude"));
    run(11_000);
    assert.deepEqual(
      wire.said.map(({ what }) => what),
      ["v2 report 239.1.1.1", "v2 report 239.1.1.1"],
    );
    members.query(query({ version: 2, group: GROUP, maxResponseMs: 1000 }));
    members.heardReport(GROUP);
    run(2000);
    assert.equal(wire.said.length, 2, "another member spoke");
    members.want(GROUP, owner, NOTHING);
    assert.equal(wire.said.length, 2, "who spoke leaves");
    members.want(GROUP, owner, sourceFilter("exclude"));
    members.want(GROUP, owner, NOTHING);
    assert.equal(wire.said.at(-1)?.what, "v2 leave 239.1.1.1");
    assert.equal(members.version, 2);
    run(2 * 125_000 + 10_001);
    assert.equal(members.version, 3);
    assert.ok(world.now > 260_000);
  });

  it("version 1 has no leave message", () => {
    const { wire, machine: members } = machine();
    const owner = {};
    members.query(query({ version: 1, robustness: 0, intervalMs: 0 }));
    members.want(GROUP, owner, sourceFilter("exclude"));
    members.want(GROUP, owner, NOTHING);
    assert.equal(wire.said[0].what, "v1 report 239.1.1.1");
  });
});

describe("messages of groups", () => {
  it("any bytes are a question, a report or nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0x11, 0x12, 0x16, 0x22), (bytes, type) => {
        bytes[0] = type;
        if (bytes.length >= 8) {
          bytes[2] = bytes[3] = 0;
          const sum = checksum(bytes);
          bytes[2] = sum >>> 8;
          bytes[3] = sum;
        }
        const message = parseIgmp(bytes);
        if (message && "query" in message) assert.ok(message.query.maxResponseMs > 0 && message.query.sources.length <= 17);
        const about = parseMldQuery(bytes);
        if (about) assert.ok(about.sources.length <= 3);
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });

  it("reports fit their link, with every source that must be told", () => {
    const many = Array.from({ length: 1000 }, (_, i) => IpAddress.v4(0x0a000000 + i));
    const records: GroupRecord[] = [
      { type: RECORD.allow, group: GROUP, sources: many },
      { type: RECORD.toExclude, group: GROUP, sources: many },
      { type: RECORD.isInclude, group: GROUP, sources: many.slice(0, 3) },
    ];
    const messages = packed(records, 4, 1468);
    for (const message of messages) assert.ok(recordBytes(message).length <= 1468);
    const told = (type: number) => messages.flat().flatMap((each) => (each.type === type ? [...each.sources] : []));
    assert.equal(told(RECORD.allow).length, 1000);
    assert.ok(told(RECORD.toExclude).length > 300);
    assert.equal(told(RECORD.isInclude).length, 3);
  });
});

const RECEIVER = `
import socket, struct, sys
group, port, source = sys.argv[1], int(sys.argv[2]), (sys.argv[3:] or [None])[0]
six = ":" in group
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", port))
index = socket.if_nametoindex("t0")
if six:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index))
elif source:
    s.setsockopt(0, 39, socket.inet_aton(group) + socket.inet_aton("10.78.0.1") + socket.inet_aton(source))
else:
    s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=4sI", b"\\0" * 4, index))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    print("got", data.decode(), peer[0], flush=True)
`;

describe("groups and the Linux kernel", { skip: missing("python3", "bridge") }, () => {
  let kernel: Namespace;
  let host: Host;

  before(async () => {
    kernel = new Namespace();
    host = await Host.create({
      interfaces: [{ device: tap({ name: "t0", namespace: kernel.name }), addresses: ["10.78.0.2/24", "fd78::2/64"] }],
    });
    kernel.up("t0", "10.78.0.1/24", "fd78::1/64");
  });

  after(async () => {
    await host?.close();
    await kernel?.remove();
  });

  for (const [group, ours] of [
    ["239.7.7.7", "10.78.0.2"],
    ["ff15::7:7", "fd78::2"],
  ] as const) {
    it(`kernel members of ${group} hear the host, and the host hears the kernel`, async () => {
      const receiver = await kernel.start("python3", ["-c", RECEIVER, group, "7007"], /ready/);
      host.datagram().send(new TextEncoder().encode("from-loom"), { address: group, port: 7007 });
      await until(() => receiver.output().includes(`got from-loom ${ours}`));
      const inbox = host.datagram({ port: 7008 });
      inbox.join(group);
      const family = group.includes(":") ? "AF_INET6" : "AF_INET";
      const option = group.includes(":")
        ? "41, 17, __import__('struct').pack('@I', socket.if_nametoindex('t0'))"
        : "0, 32, socket.inet_aton('10.78.0.1')";
      await kernel.run(
        `python3 -c "import socket; s = socket.socket(socket.${family}, socket.SOCK_DGRAM); s.setsockopt(${option}); s.sendto(b'from-linux', ('${group}', 7008))"`,
      );
      const { data, destination } = await inbox.receive();
      assert.equal(Buffer.from(data).toString(), "from-linux");
      assert.equal(destination, group);
      inbox.close();
      await receiver.stop();
    });
  }

  it("a member for one source hears only that one", async () => {
    const receiver = await kernel.start("python3", ["-c", RECEIVER, "239.7.7.8", "7009", "10.78.0.2"], /ready/);
    host.datagram().send(new TextEncoder().encode("wanted"), { address: "239.7.7.8", port: 7009 });
    await until(() => receiver.output().includes("got wanted"));
    await receiver.stop();
  });

  it("the kernel hears broadcasts, and is heard", async () => {
    const receiver = await kernel.start(
      "python3",
      [
        "-c",
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 7010))\nprint('ready', flush=True)\nprint(s.recvfrom(99), flush=True)",
      ],
      /ready/,
    );
    host.datagram({ broadcast: true }).send(new TextEncoder().encode("everybody"), { address: "10.78.0.255", port: 7010 });
    await until(() => receiver.output().includes("everybody"));
    await receiver.stop();
    const inbox = host.datagram({ port: 7011 });
    for (const to of ["10.78.0.255", "255.255.255.255"]) {
      await kernel.run(
        `python3 -c "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(1, 6, 1); s.setsockopt(1, 25, b't0'); s.sendto(b'all', ('${to}', 7011))"`,
      );
      assert.equal((await inbox.receive()).destination, to);
    }
  });
});

describe("a snooping bridge of the Linux kernel", { skip: missing("bridge", "tcpdump", "tshark") }, () => {
  let kernel: Namespace;
  let host: Host;

  before(async () => {
    kernel = new Namespace();
    kernel.ip(
      "link",
      "add",
      "br0",
      "type",
      "bridge",
      "mcast_snooping",
      "1",
      "mcast_querier",
      "1",
      "mcast_igmp_version",
      "3",
      "mcast_mld_version",
      "2",
    );
    host = await Host.create({
      interfaces: [{ device: tap({ name: "t0", namespace: kernel.name, offload: false }), addresses: ["10.79.0.2/24", "fd79::2/64"] }],
    });
    kernel.ip("link", "set", "t0", "master", "br0");
    kernel.up("t0");
    kernel.up("br0", "10.79.0.1/24", "fd79::1/64");
  });

  after(async () => {
    await host?.close();
    await kernel?.remove();
  });

  const memberships = async () => (await kernel.run("bridge -d mdb show dev br0")).out;

  it("knows the groups and sources of the host, and when they are left; a dissector finds no fault", async () => {
    await withFolder(async (folder) => {
      const file = join(folder, "trace.pcap");
      const capture = await kernel.start("tcpdump", ["-U", "-i", "t0", "-w", file], /listening/);
      const socket = host.datagram({ port: 9 });
      socket.join("239.5.5.5");
      socket.join("ff15::5");
      socket.join("239.5.5.6", { sources: ["10.79.0.77"] });
      socket.join("ff15::6", { sources: ["fd79::77"] });
      await until(async () => {
        const text = await memberships();
        return ["239.5.5.5", "ff15::5"].every((group) => new RegExp(`grp ${group} .*filter_mode exclude`).test(text));
      });
      const text = await memberships();
      assert.match(text, /grp 239\.5\.5\.6 .*filter_mode include.*source_list 10\.79\.0\.77/);
      assert.match(text, /grp ff15::6 .*filter_mode include.*source_list fd79::77/);
      socket.close();
      await until(async () => !/239\.5\.5\.5|ff15::5 /.test(await memberships()));
      await new Promise((resolve) => setTimeout(resolve, 300));
      await capture.stop("SIGINT");
      const tshark = (filter: string) =>
        execFileSync("tshark", ["-r", file, "-Y", filter], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      assert.equal(tshark("_ws.malformed || igmp.checksum.status == 0 || icmpv6.checksum.status == 0"), "");
      assert.match(tshark("igmp.type == 0x22 && ip.src == 10.79.0.2"), /Membership Report/);
      assert.match(tshark("icmpv6.type == 143 && ipv6.src != fd79::1"), /Multicast Listener Report/);
    });
  });
});
