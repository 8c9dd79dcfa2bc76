/**
 * Hosts at real devices of the Linux kernel, in namespaces that this file makes and removes: packet sockets and AF_XDP on
 * one end of a veth pair, TAP, and a machine plugged in as QEMU does it; the kernel's ping and curl on the other end.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type DeviceFor, Engine, Host, type LinkInfo, type TcpSocket } from "../src/index.ts";
import { packet } from "../src/link/packet.ts";
import { qemuListen } from "../src/link/qemu-node.ts";
import { tap } from "../src/link/tap.ts";
import { xdp } from "../src/link/xdp.ts";

const NEAR = `loomn${process.pid}`;
const FAR = `loomf${process.pid}`;
const OURS = { 4: "10.88.0.2", 6: "fd88::2" } as const;
const THEIRS = { 4: "10.88.0.1", 6: "fd88::1" } as const;

function missing(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync("/dev/net/tun")) return "needs /dev/net/tun";
  const folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
  const absent = ["ip", ...programs].filter((name) => !folders.some((folder) => existsSync(`${folder}/${name}`)));
  return absent.length ? `needs ${absent.join(", ")}` : false;
}

const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
const ip = (...args: string[]) => run("ip", ...args);
const body = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 24);
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Runs a shell command in the far namespace. */
function far(command: string, input?: Uint8Array): Promise<{ code: number | null; out: string; bytes: Buffer }> {
  return new Promise((resolve) => {
    const child = spawn("ip", ["netns", "exec", FAR, "sh", "-c", command], { stdio: ["pipe", "pipe", "pipe"] });
    const chunks: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => chunks.push(chunk));
    child.on("close", (code) => resolve({ code, out: Buffer.concat(chunks).toString(), bytes: Buffer.concat(chunks) }));
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within five seconds: ${what}`);
}

async function readAll(socket: TcpSocket): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of socket.readable) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The kernel fetches `page` from the host with curl. */
async function fetchPage(host: Host, family: 4 | 6, page: Uint8Array): Promise<void> {
  const listener = host.listen({ port: 80 });
  const serving = (async () => {
    const socket = await listener.accept();
    const reader = socket.readable.getReader();
    await reader.read();
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${page.length}\r\nConnection: close\r\n\r\n`));
    await writer.write(page);
    await writer.close();
    await socket.closed;
  })();
  const address = family === 4 ? OURS[4] : `[${OURS[6]}]`;
  const { bytes, code } = await far(`curl -s -m 20 http://${address}/`);
  assert.equal(code, 0);
  assert.equal(sha(bytes), sha(page));
  await serving;
  listener.close();
}

/** The kernel sends `sent` to the host with nc. */
async function take(host: Host, sent: Uint8Array): Promise<void> {
  const listener = host.listen({ port: 9000 });
  const sending = far(`nc -N ${OURS[4]} 9000`, sent);
  const socket = await listener.accept();
  assert.equal(sha(await readAll(socket)), sha(sent));
  await socket.close();
  await sending;
  listener.close();
}

interface Kind {
  readonly name: string;
  readonly device: () => DeviceFor;
  /** The kernel's interface on the far side. */
  readonly peer: string;
  readonly programs?: string[];
  readonly prepare?: () => void | Promise<void>;
  readonly cleanUp?: () => void;
  /** Largest frame the peer sent to us. */
  readonly large?: boolean;
}

/** A veth pair, and an end of it in each namespace. */
function veth(): void {
  ip("-n", NEAR, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", FAR);
  ip("-n", NEAR, "link", "set", "v0", "up");
}

/** What XDP cannot see: checksums that a veth leaves open, and segments that it leaves uncut. */
function plainVeth(): void {
  veth();
  run("ip", "netns", "exec", FAR, "ethtool", "-K", "v1", "tx", "off", "tso", "off", "gso", "off");
}

const socketPath = join(tmpdir(), `loom-devices-${process.pid}.sock`);
let machine: ChildProcess | undefined;

const KINDS: Kind[] = [
  { name: "a packet socket", device: () => packet({ interface: "v0", namespace: NEAR }), peer: "v1", prepare: veth, large: true },
  {
    name: "a packet socket without offloads, in a fanout group, past the queue",
    device: () => packet({ interface: "v0", namespace: NEAR, offload: false, bypassQueue: true, fanout: { group: 7, mode: "hash" } }),
    peer: "v1",
    prepare: veth,
  },
  {
    name: "AF_XDP in native mode",
    device: () => xdp({ interface: "v0", namespace: NEAR, mode: "native" }),
    peer: "v1",
    programs: ["ethtool"],
    prepare: plainVeth,
  },
  {
    name: "AF_XDP in generic mode",
    device: () => xdp({ interface: "v0", namespace: NEAR, mode: "generic", ring: 256 }),
    peer: "v1",
    programs: ["ethtool"],
    prepare: plainVeth,
  },
  {
    name: "a machine over QEMU's socket format",
    device: () => qemuListen({ path: socketPath }),
    peer: "q0",
    programs: ["python3"],
    prepare: async () => {
      machine = spawn("ip", ["netns", "exec", FAR, "python3", "test/qemu-peer.py", socketPath, "q0"], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await until(() => ip("-n", FAR, "link").includes("q0"), "the machine's TAP");
    },
    cleanUp: () => {
      machine?.kill();
      rmSync(socketPath, { force: true });
    },
  },
];

for (const kind of KINDS) {
  describe(`a host at ${kind.name}`, { skip: missing("ping", "curl", "nc", ...(kind.programs ?? [])) }, () => {
    let host: Host;
    const link = (): LinkInfo => host.links()[0];
    const addresses = [`${OURS[4]}/24`, `${OURS[6]}/64`];

    before(async () => {
      for (const name of [NEAR, FAR]) ip("netns", "add", name);
      await kind.prepare?.();
      ip("-n", FAR, "link", "set", "lo", "up");
      ip("-n", FAR, "link", "set", kind.peer, "up");
      ip("-n", FAR, "addr", "add", `${THEIRS[4]}/24`, "dev", kind.peer);
      ip("-n", FAR, "addr", "add", `${THEIRS[6]}/64`, "dev", kind.peer, "nodad");
      host = await Host.create({ interfaces: [{ device: kind.device(), addresses }] });
      await until(() => link().carrier, "a carrier");
    });

    after(async () => {
      await host?.close();
      kind.cleanUp?.();
      for (const name of [NEAR, FAR]) ip("netns", "del", name);
    });

    for (const family of [4, 6] as const) {
      it(`IPv${family}: the kernel pings it, and it the kernel`, async () => {
        // ping waits two round trips for the last answer: on a busy machine that one may be late.
        const { out } = await far(`ping -c 5 -w 10 -i 0.02 -s 1400 ${OURS[family]}`);
        // Of the first five, four at least.
        assert.ok((out.match(/icmp_seq=[1-5] /g) ?? []).length >= 4, out);
        assert.equal((await host.ping(THEIRS[family], { size: 1200 })).bytes, 1200);
      });

      it(`IPv${family}: the kernel's curl fetches from it`, () => fetchPage(host, family, body(2_000_000)));
    }

    it("takes what the kernel sends", async () => {
      await take(host, body(3_000_000));
      if (kind.large) {
        const { rx } = link().stats;
        assert.ok(rx.bytes / rx.packets > 1514 / 2, "large segments came whole");
      }
    });

    /** Of the kernel's end of the wire on our side, where there is one. */
    const droppedHere = () => {
      if (kind.peer === "q0") return 0;
      const links: { ifname: string; stats64: { tx: { dropped: number } } }[] = JSON.parse(ip("-n", NEAR, "-s", "-j", "link", "show"));
      return links.find(({ ifname }) => ifname === "v0")?.stats64.tx.dropped ?? 0;
    };

    it("counts as the kernel does on the other end", async () => {
      await far(`ping -c 20 -i 0.01 -s 500 ${OURS[4]}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
      const [{ stats64 }] = JSON.parse(ip("-n", FAR, "-s", "-j", "link", "show", kind.peer));
      const { rx, tx } = link().stats;
      // What was announced before there was a carrier is all that may be lost.
      assert.equal(rx.errors + tx.errors - tx.carrier, 0);
      assert.ok(tx.carrier < 20);
      // Neither end is read at the same moment, and the kernel may have spoken before we listened.
      const near = (ours: number, theirs: number) => assert.ok(Math.abs(ours - theirs) <= 10 + theirs / 50, `${ours} and ${theirs}`);
      // What a busy kernel has no place for is lost in front of the wire or behind it, and counted there.
      near(tx.packets, stats64.rx.packets + stats64.rx.dropped + droppedHere());
      near(rx.packets + rx.missed + rx.dropped, stats64.tx.packets);
      assert.ok(rx.mcast > 0);
    });

    it("notices that the other end goes down and comes back", async () => {
      if (kind.peer !== "q0") {
        ip("-n", FAR, "link", "set", kind.peer, "down");
        await until(() => !link().carrier, "no carrier");
        assert.equal(host.ip.neighbours.list().filter(({ state }) => state === "REACHABLE").length, 0);
        ip("-n", FAR, "link", "set", kind.peer, "up");
        await until(() => link().carrier, "the carrier again");
      }
      assert.equal((await host.ping(THEIRS[4], { timeout: 3000 })).bytes, 56);
    });

    it("lives through its own interface going down and coming back", { skip: kind.peer === "q0" ? "has none" : false }, async () => {
      ip("-n", NEAR, "link", "set", "v0", "down");
      await until(() => !link().carrier, "no carrier");
      await assert.rejects(host.ping(THEIRS[4], { timeout: 50 }));
      const busy = process.cpuUsage();
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { user, system } = process.cpuUsage(busy);
      assert.ok(user + system < 400_000, "the event loop does not spin on the socket's error");
      ip("-n", NEAR, "link", "set", "v0", "up");
      await until(() => link().carrier, "the carrier again");
      assert.equal((await host.ping(THEIRS[4], { timeout: 3000 })).bytes, 56);
    });

    it("passes its MTU on", { skip: kind.peer === "q0" ? "has none" : false }, async () => {
      const mtuOf = () => JSON.parse(ip("-n", NEAR, "-j", "link", "show", "v0"))[0].mtu;
      host.setMtu("eth0", 1400);
      assert.equal(mtuOf(), 1400);
      assert.equal((await host.ping(THEIRS[4], { size: 1300 })).bytes, 1300);
      ip("-n", FAR, "link", "set", kind.peer, "mtu", "4000");
      host.setMtu("eth0", 4000);
      assert.equal((await host.ping(THEIRS[4], { size: 3900 })).bytes, 3900);
      assert.match((await far(`ping -c 2 -i 0.05 -M do -s 3900 ${OURS[4]}`)).out, /[12] received/);
      await take(host, body(500_000));
      // Somebody else changes it: the host follows.
      ip("-n", NEAR, "link", "set", "v0", "mtu", "1500");
      await until(() => link().mtu === 1500, "the interface's MTU");
      ip("-n", FAR, "link", "set", kind.peer, "mtu", "1500");
    });

    it("is removed and added again while the host runs, and gives every buffer back", async () => {
      host.removeInterface("eth0");
      assert.equal(host.engine.pool().inFlight, 0);
      assert.equal(host.engine.pool("bare").inFlight, 0);
      assert.equal(host.engine.counters().stats.double_frees, 0);
      const again = host.addInterface({ device: kind.device(), addresses });
      if (machine && kind.peer === "q0") {
        await once(machine, "exit");
        await again;
        await kind.prepare?.();
        ip("-n", FAR, "link", "set", "q0", "up");
        ip("-n", FAR, "addr", "add", `${THEIRS[4]}/24`, "dev", "q0");
      }
      await again;
      await until(() => link().carrier, "a carrier");
      const { out } = await far(`ping -c 3 -i 0.05 ${OURS[4]}`);
      assert.match(out, /[23] received/);
    });
  });
}

/** Sockets that this process has open. */
function sockets(): number {
  const names = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return names.filter((name) => name.startsWith("socket:")).length;
}

describe("what a packet socket and AF_XDP hand over", { skip: missing("python3", "ethtool", "nc") }, () => {
  before(() => {
    for (const name of [NEAR, FAR]) ip("netns", "add", name);
    veth();
    ip("-n", FAR, "link", "set", "v1", "up");
  });
  after(() => {
    for (const name of [NEAR, FAR]) ip("netns", "del", name);
  });

  /** An ARP request in VLAN 100, sent by the far side as it stands. */
  const TAGGED = "ffffffffffff0200000000078100606408060001080006040001020000000007c0000207000000000000c0000201".padEnd(120, "0");
  for (const [name, open] of [
    ["a packet socket", packet],
    ["AF_XDP", xdp],
  ] as const) {
    it(`${name}: a tag is where it was, though the kernel takes tags off`, async () => {
      const engine = await Engine.create({ ports: 1, buffers: 4096 });
      engine.attach(await open({ interface: "v0", namespace: NEAR })(engine, engine.port(0)));
      const seen: string[] = [];
      engine.punted = (punt) => {
        if (punt.reason === "arp") seen.push(Buffer.from(punt.bytes()).toString("hex"));
        punt.release();
      };
      engine.start();
      await far(`python3 -c 'import socket; s = socket.socket(17, 3); s.bind(("v1", 0)); s.send(bytes.fromhex("${TAGGED}"))'`);
      await until(() => seen.length > 0, "the frame");
      assert.deepEqual(seen, [TAGGED]);
      await engine.close();
      assert.equal(engine.pool().inFlight, 0);
    });
  }

  it("a packet socket: a fanout group shares what comes, each frame once", async () => {
    const engine = await Engine.create({ ports: 2, buffers: 4096 });
    for (const port of [engine.port(0), engine.port(1)]) {
      const device = packet({ interface: "v0", namespace: NEAR, fanout: { group: process.pid & 0xffff, mode: "lb" } });
      engine.attach(await device(engine, port));
    }
    const seen: string[] = [];
    engine.punted = (punt) => {
      if (punt.reason === "arp") seen.push(Buffer.from(punt.bytes()).toString("hex"));
      punt.release();
    };
    engine.start();
    const ask = `${TAGGED.slice(0, 24)}${TAGGED.slice(32, 84)}`;
    const send = `[s.send(bytes.fromhex("${ask}" + "%08x" % i) + bytes(18)) for i in range(40)]`;
    await far(`python3 -c 'import socket; s = socket.socket(17, 3); s.bind(("v1", 0)); ${send}'`);
    await until(() => seen.length >= 40, "all frames");
    assert.equal(new Set(seen).size, 40);
    for (const port of [0, 1]) assert.ok(engine.port(port).linkStats().rx.packets >= 10);
    await engine.close();
  });

  it("AF_XDP: checksums that a veth left open are believed when asked for", async () => {
    run("ip", "netns", "exec", FAR, "ethtool", "-K", "v1", "tx", "on", "tso", "off", "gso", "off");
    ip("-n", FAR, "addr", "add", `${THEIRS[4]}/24`, "dev", "v1");
    const device = xdp({ interface: "v0", namespace: NEAR, checksums: "trust" });
    const host = await Host.create({ interfaces: [{ device, addresses: [`${OURS[4]}/24`] }] });
    await until(() => host.links()[0].carrier, "a carrier");
    await take(host, body(1_000_000));
    assert.throws(() => host.setMtu("eth0", 40_000), { code: "EINVAL", message: /^mtu is 40000; AF_XDP takes \d+ at most/ });
    assert.equal(host.links()[0].mtu, 1500);
    await host.close();
  });
});

describe("devices that cannot be had", { skip: missing() }, () => {
  before(() => ip("netns", "add", NEAR));
  after(() => ip("netns", "del", NEAR));

  for (const [what, device, code, sentence] of [
    [
      "a packet socket on nothing",
      packet({ interface: "nix0", namespace: NEAR }),
      "ENOENT",
      /cannot use interface nix0: there is no such device/,
    ],
    ["AF_XDP on nothing", xdp({ interface: "nix0", namespace: NEAR }), "ENOENT", /cannot use interface nix0: there is no such device/],
    [
      "a namespace that is not",
      packet({ interface: "lo", namespace: "nix" }),
      "ENOENT",
      /cannot open network namespace \/run\/netns\/nix: it does not exist/,
    ],
    ["a name too long", tap({ name: "a-name-of-17-byte" }), "EINVAL", /too long for a device; expected at most 15/],
  ] as const) {
    it(`say so in one sentence: ${what}`, async () => {
      const before = sockets();
      const host = await Host.create();
      await assert.rejects(host.addInterface({ device }), { code, message: sentence });
      await host.close();
      assert.ok(sockets() <= before, "no socket is left open");
    });
  }
});

describe("devices that nobody could open", () => {
  it("are refused before anything is opened", () => {
    const wrong: [() => unknown, RegExp][] = [
      [() => xdp({ interface: "lo", ring: 100 }), /^xdp: ring is 100; expected a power of two from 64 to 4096$/],
      [() => xdp({} as never), /^xdp: interface is missing; expected an object with interface$/],
      [() => packet(undefined as never), /^packet: undefined instead of options; expected an object with interface$/],
      [() => tap({ nmae: "tap0" } as never), /^there is no tap option "nmae"; did you mean "name"\?$/],
      [() => qemuListen({} as never), /^qemuListen: no address; expected \{ path: .* \} or \{ port: 5555 \}$/],
    ];
    for (const [what, message] of wrong) assert.throws(what, { code: "EINVAL", message });
  });

  it("say what is wrong with the place of a socket", async () => {
    const host = await Host.create();
    await assert.rejects(host.addInterface({ device: qemuListen({ path: "/nonexist/loom.sock" }) }), /its directory does not exist/);
    await assert.rejects(host.addInterface({ device: qemuListen({ port: 0, hostname: "192.0.2.1" }) }), {
      code: "EADDRNOTAVAIL",
      message: "cannot listen on port 0: this machine does not have that address",
    });
    await host.close();
  });
});

describe("devices without the privilege", { skip: missing() }, () => {
  // Who may open the file that TAP devices are made by is every machine's own affair.
  const isOpen = existsSync("/dev/net/tun") && (statSync("/dev/net/tun").mode & 0o006) === 0o006;
  const noTap = isOpen
    ? (["EPERM", /^cannot make a TAP device: not permitted; run as root or with CAP_NET_ADMIN$/] as const)
    : (["EACCES", /^cannot open \/dev\/net\/tun: permission denied; run as root or with CAP_NET_ADMIN$/] as const);
  for (const [what, device, code, sentence] of [
    ["TAP", tap(), ...noTap],
    [
      "a packet socket",
      packet({ interface: "lo" }),
      "EPERM",
      /^cannot open a packet socket: not permitted; run as root or with CAP_NET_RAW$/,
    ],
    ["AF_XDP", xdp({ interface: "lo" }), "EPERM", /^cannot open an AF_XDP socket: not permitted; run as root or with CAP_NET_RAW$/],
  ] as const) {
    it(`say which: ${what}`, async () => {
      const host = await Host.create();
      await import("../src/link/libc-node.ts");
      process.seteuid?.(65_534);
      try {
        await assert.rejects(host.addInterface({ device }), { code, message: sentence });
      } finally {
        process.seteuid?.(0);
      }
      assert.deepEqual(host.links(), []);
      await host.close();
    });
  }
});

describe("a TAP device while the host runs", { skip: missing("ping") }, () => {
  it("passes MTU and state on to the kernel", async () => {
    ip("netns", "add", FAR);
    const host = await Host.create({
      interfaces: [{ device: tap({ name: "t0", namespace: FAR }), addresses: [`${OURS[4]}/24`], mtu: 1400 }],
    });
    try {
      const kernel = () => JSON.parse(ip("-n", FAR, "-j", "link", "show", "t0"))[0] as { mtu: number; flags: string[] };
      assert.equal(kernel().mtu, 1400);
      assert.equal(host.links()[0].mtu, 1400);
      await until(() => !host.links()[0].carrier, "no carrier while the kernel's side is down");
      ip("-n", FAR, "addr", "add", `${THEIRS[4]}/24`, "dev", "t0");
      ip("-n", FAR, "link", "set", "t0", "up");
      await until(() => host.links()[0].carrier, "a carrier");
      host.setMtu("eth0", 9000);
      assert.equal(kernel().mtu, 9000);
      assert.match((await far(`ping -c 2 -i 0.05 -M do -s 8000 ${OURS[4]}`)).out, /[12] received/);
      assert.throws(() => host.setMtu("eth0", 65_535), { code: "EINVAL", message: /^cannot set the MTU of t0 to 65535: / });
      assert.deepEqual([host.links()[0].mtu, kernel().mtu], [9000, 9000]);
      host.setUp("eth0", false);
      await until(() => kernel().flags.includes("NO-CARRIER"), "the kernel sees no carrier");
      host.setUp("eth0", true);
      host.setMac("eth0", "02:00:00:00:88:02");
      assert.match((await far(`ping -c 2 -i 0.05 ${OURS[4]}`)).out, /[12] received/);
      assert.match(ip("-n", FAR, "neigh", "show", OURS[4]), /02:00:00:00:88:02/);
    } finally {
      await host.close();
      ip("netns", "del", FAR);
    }
  });
});
