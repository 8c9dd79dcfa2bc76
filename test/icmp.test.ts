/** ICMP: what options and extension headers bring about, errors and their rates, redirects in both roles with the Linux kernel. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { IpAddress } from "../src/base/ip-address.ts";
import { Timers } from "../src/base/timers.ts";
import { Host } from "../src/host/host.ts";
import { Random } from "../src/index.ts";
import { checkExtensions, upperLayer } from "../src/ip/extensions.ts";
import { deservesError, icmpMessage, parseError, RateLimits } from "../src/ip/icmp.ts";
import { checkOptions4 } from "../src/ip/options4.ts";
import { Reassembly } from "../src/ip/reassembly.ts";
import type { IncomingIcmp } from "../src/ip/types.ts";
import { Lab } from "../src/lab/lab.ts";
import { tap } from "../src/link/tap.ts";
import { parseIpv6, serializeIpv4, serializeIpv6, serializeUdp } from "../src/wire/index.ts";
import { missing, Namespace, until } from "./kernel-support.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);
const [A4, B4, A6, B6] = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"].map(address);

/** Two hosts; what b says of a packet of a's, as type, code and pointer, and what came to b's UDP port 7. */
async function pair() {
  const lab = await Lab.create({ seed: SEED });
  const [a, b] = [
    await lab.host({ interfaces: [{ addresses: [`${A4}/24`, `${A6}/64`] }] }),
    await lab.host({ interfaces: [{ addresses: [`${B4}/24`, `${B6}/64`] }] }),
  ];
  lab.link(a, b);
  for (const to of [B4, B6]) a.ping(String(to));
  await lab.run(10);
  const inbox = b.datagram({ port: 7 });
  const told: [number, number, number][] = [];
  const note = ({ message }: IncomingIcmp) => {
    told.push([message[0], message[1], message[0] === 12 ? message[4] : new DataView(message.buffer, message.byteOffset).getUint32(4)]);
  };
  for (const type of [3, 12]) a.ip.handleIcmp(4, type, note);
  for (const type of [1, 4]) a.ip.handleIcmp(6, type, note);
  const send = async (packet: Uint8Array, to = packet[0] >>> 4 === 4 ? B4 : B6) => {
    a.ip.touch();
    a.ip.sendPacket(packet, a.ip.pathTo(to));
    a.ip.flush();
    // Long enough that no rate matters.
    await lab.run(2000);
    let got = 0;
    while (inbox.tryReceive()) got++;
    return { told: told.splice(0), got };
  };
  return { lab, a, b, send };
}

const udp = (source: IpAddress, destination: IpAddress) =>
  serializeUdp(
    { sourcePort: 9, destinationPort: 7, payload: Uint8Array.of(1, 2, 3) },
    { source: source.bytes(), destination: destination.bytes() },
  );
const v4 = (...options: number[]) =>
  serializeIpv4({ source: A4.v4, destination: B4.v4, protocol: 17, id: 5, options: Uint8Array.from(options), payload: udp(A4, B4) });
const v6 = (extensions: readonly { type: number; bytes: number[] }[], protocol = 17, payload = udp(A6, B6), to = B6) =>
  serializeIpv6({
    source: A6.bytes(),
    destination: to.bytes(),
    protocol,
    payload,
    extensions: extensions.map(({ type, bytes }) => ({ type, bytes: Uint8Array.from(bytes) })),
  });
const option = (type: number) => [0, 0, type, 4, 0, 0, 0, 0];

describe("IPv4 options at a host (RFC 1122 §3.2.1.8)", () => {
  for (const [what, options, got, told] of [
    ["none", [], 1, []],
    ["no operation and end", [1, 1, 1, 0], 1, []],
    ["router alert", [148, 4, 0, 0], 1, []],
    ["record route", [7, 7, 4, 0, 0, 0, 0, 0], 1, []],
    ["an unknown option", [0x9e, 4, 1, 2], 1, []],
    ["a loose source route, though complete", [131, 7, 8, 10, 0, 0, 9, 0], 0, []],
    ["a strict source route", [137, 7, 4, 10, 0, 0, 9, 0], 0, []],
    ["an option of length one", [0x9e, 1, 0, 0], 0, [[12, 0, 20]]],
    ["an option that reaches beyond the header", [1, 0x9e, 9, 0], 0, [[12, 0, 21]]],
    ["a record route whose pointer is too small", [7, 7, 3, 0, 0, 0, 0, 0], 0, [[12, 0, 22]]],
    ["a record route with half a place", [7, 6, 4, 0, 0, 0, 1, 1], 0, [[12, 0, 22]]],
    ["a full record route", [7, 7, 8, 10, 0, 0, 9, 0], 1, []],
    ["a timestamp with room for a time but not for its address", [68, 8, 5, 1, 0, 0, 0, 0], 0, [[12, 0, 22]]],
    ["a full timestamp", [68, 8, 9, 0, 0, 0, 0, 1], 1, []],
    ["a timestamp that fifteen have found full", [68, 4, 5, 0xf0], 0, [[12, 0, 23]]],
  ] as const) {
    it(`${what}: ${got ? "taken" : told.length ? "answered with a parameter problem" : "dropped"}`, async () => {
      const { send, lab } = await pair();
      assert.deepEqual(await send(v4(...options)), { told, got });
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }
});

describe("IPv6 extension headers at a host (RFC 8200 §4)", () => {
  for (const [what, extensions, got, told] of [
    ["none", [], 1, []],
    ["destination options with padding", [{ type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }], 1, []],
    ["router alert", [{ type: 0, bytes: [0, 0, 5, 2, 0, 0, 1, 0] }], 1, []],
    ["an unknown option to be skipped", [{ type: 60, bytes: option(0x1e) }], 1, []],
    ["an unknown option that drops", [{ type: 60, bytes: option(0x5e) }], 0, []],
    ["an unknown option that is told", [{ type: 60, bytes: option(0x9e) }], 0, [[4, 2, 42]]],
    ["an unknown option that is told unless to a group", [{ type: 0, bytes: option(0xde) }], 0, [[4, 2, 42]]],
    ["padding of eight bytes and more", [{ type: 60, bytes: [0, 1, 1, 12, ...new Array(12).fill(0)] }], 0, []],
    ["an option that reaches beyond its header", [{ type: 60, bytes: [0, 0, 0x1e, 9, 0, 0, 0, 0] }], 0, []],
    ["routing header type 0 (RFC 5095)", [{ type: 43, bytes: [0, 2, 0, 1, 0, 0, 0, 0, ...A6.bytes()] }], 0, [[4, 0, 42]]],
    ["a routing header with nothing left", [{ type: 43, bytes: [0, 2, 0, 0, 0, 0, 0, 0, ...A6.bytes()] }], 1, []],
    [
      "a routing header behind options",
      [
        { type: 60, bytes: option(1) },
        { type: 43, bytes: [0, 0, 9, 3, 0, 0, 0, 0] },
      ],
      0,
      [[4, 0, 50]],
    ],
    [
      "hop-by-hop options behind others (RFC 8200 §4)",
      [
        { type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
        { type: 0, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
      ],
      0,
      [[4, 1, 40]],
    ],
    ["a first fragment that ends in its upper layer's header (RFC 7112)", [{ type: 44, bytes: [0, 0, 0, 1, 0, 0, 0, 7] }], 0, [[4, 3, 0]]],
    ["an atomic fragment (RFC 6946)", [{ type: 44, bytes: [0, 0, 0, 0, 0, 0, 0, 7] }], 1, []],
  ] as const) {
    it(`${what}: ${got ? "taken" : told.length ? "answered with a parameter problem" : "dropped"}`, async () => {
      const { send, lab } = await pair();
      const isCut = what.includes("ends in");
      assert.deepEqual(await send(v6(extensions as never, isCut ? 6 : 17, isCut ? new Uint8Array(8) : undefined)), { told, got });
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }

  it("to a group, only the option that says so is answered (RFC 4443 §2.4 e)", async () => {
    const { send, b } = await pair();
    const group = address("ff15::9");
    b.datagram({ port: 8 }).join("ff15::9");
    const to = (type: number) => send(v6([{ type: 60, bytes: option(type) }], 17, udp(A6, group), group), group);
    assert.deepEqual((await to(0x9e)).told, [[4, 2, 42]]);
    assert.deepEqual((await to(0xde)).told, []);
  });

  it("an unknown next header is pointed at, and none at all is silence", async () => {
    const { send } = await pair();
    assert.deepEqual((await send(v6([{ type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }], 200))).told, [[4, 1, 40]]);
    assert.deepEqual((await send(v6([], 200))).told, [[4, 1, 6]]);
    assert.deepEqual((await send(v6([], 59))).told, []);
  });

  it("fragments with extension headers behind the fragment header become whole", () => {
    const inner = v6([{ type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }], 17, new Random(1).fill(new Uint8Array(3000)));
    // As a sender would cut it that has its options in the fragmentable part.
    const whole = serializeIpv6({ ...parseIpv6(inner), extensions: [], protocol: 60, payload: inner.subarray(40) } as never);
    const reassembly = new Reassembly(new Timers(), () => {});
    const out = fragmentable(whole, 1280).map((piece) => reassembly.add(piece, 0));
    const last = out.at(-1) as Uint8Array;
    assert.deepEqual(last.subarray(40), inner.subarray(40));
    assert.equal(upperLayer(last).protocol, 17);
  });

  it("a fragment that is not a multiple of eight, or reaches too far, is answered", async () => {
    const { send } = await pair();
    const fragment = (field: number, size: number) =>
      v6([{ type: 44, bytes: [0, 0, field >>> 8, field & 255, 0, 0, 0, 7] }], 17, new Uint8Array(size));
    assert.deepEqual((await send(fragment(1, 13))).told, [[4, 0, 4]]);
    assert.deepEqual((await send(fragment(0xfff8, 16))).told, [[4, 0, 42]]);
  });

  it("any bytes are judged without reading beyond them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 200 }), fc.constantFrom(0, 43, 44, 51, 60), (bytes, first) => {
        bytes[0] = 0x60;
        bytes[6] = first;
        const problem = checkExtensions(bytes);
        if (problem?.error) assert.ok(problem.error.pointer < bytes.length);
        deservesError(bytes, false);
        bytes[0] = 0x45 + (bytes[1] % 11);
        const other = checkOptions4(bytes.subarray(0, Math.max(20, (bytes[0] & 15) * 4)));
        if (other?.error) assert.ok(other.error.pointer < 60);
        for (const from of [A4, A6]) parseError(bytes, from);
      }),
      { seed: SEED, numRuns: 3000 },
    );
  });
});

/** Cuts everything behind the fixed header. */
function fragmentable(packet: Uint8Array, mtu: number): Uint8Array[] {
  const { source, destination } = parseIpv6(packet);
  const payload = packet.subarray(40);
  const size = (mtu - 48) & ~7;
  const out: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setUint16(2, at | (at + size < payload.length ? 1 : 0));
    bytes[7] = 9;
    const piece = serializeIpv6({
      source,
      destination,
      protocol: packet[6],
      extensions: [{ type: 44, bytes }],
      payload: payload.subarray(at, at + size),
    });
    out.push(piece);
  }
  return out;
}

describe("rates and trust", () => {
  it("one destination gets six errors at once and then one a second; others are not held back by it", () => {
    const limits = new RateLimits(1, 6);
    const taken = (key: string, now: number) => Array.from({ length: 20 }, () => limits.take(key, now)).filter((each) => each).length;
    assert.equal(taken("a", 0), 6);
    assert.equal(taken("b", 0), 6);
    assert.equal(taken("a", 2500), 2);
  });

  it("an error about a later fragment names no ports", () => {
    const inner = serializeIpv4({ source: A4.v4, destination: B4.v4, protocol: 17, fragmentOffset: 64, payload: new Uint8Array(32) });
    assert.equal(parseError(icmpMessage(3, 3, 0, inner, B4, A4), B4), undefined);
  });

  it("a timestamp request is answered (RFC 792)", async () => {
    const { lab, a } = await pair();
    const replies: Uint8Array[] = [];
    a.ip.handleIcmp(4, 14, ({ message }) => replies.push(message.slice()));
    a.ip.sendIcmp(undefined, undefined, B4, 13, 0, 0x00070001, new Uint8Array(12).fill(7, 0, 4));
    a.ip.flush();
    await lab.run(10);
    assert.equal(replies.length, 1);
    assert.deepEqual([...replies[0].subarray(4, 12)], [0, 7, 0, 1, 7, 7, 7, 7]);
    assert.ok(replies[0][12] & 0x80, "not since midnight, and it says so");
  });

  it("redirects from anybody but the first hop in use change nothing", async () => {
    const { lab, a, b } = await pair();
    a.addRoute({ to: "10.99.0.0/16", via: "10.0.0.77" });
    a.addRoute({ to: "10.98.0.0/16", via: String(B4) });
    const inner = (to: string) => serializeIpv4({ source: A4.v4, destination: address(to).v4, protocol: 17, payload: new Uint8Array(8) });
    const redirect = (gateway: string, to: string) => {
      b.ip.sendIcmp(undefined, undefined, A4, 5, 1, address(gateway).v4, inner(to));
      b.ip.flush();
    };
    redirect("10.0.0.66", "10.99.0.1");
    redirect("192.0.2.1", "10.98.0.1");
    redirect(String(A4), "10.98.0.1");
    await lab.run(10);
    assert.ok(!a.ip.routes.list().some(({ protocol }) => protocol === "redirect"));
    assert.equal(a.ip.counters.in_redirects_refused, 1);
    redirect("10.0.0.66", "10.98.0.1");
    await lab.run(10);
    assert.equal(String(a.ip.pathTo(address("10.98.0.1")).neighbour?.address), "10.0.0.66");
    await lab.run(700_000);
    assert.equal(String(a.ip.pathTo(address("10.98.0.1")).neighbour?.address), String(B4), "forgotten");
    a.ip.acceptRedirects = false;
    redirect("10.0.0.66", "10.98.0.1");
    await lab.run(10);
    assert.equal(String(a.ip.pathTo(address("10.98.0.1")).neighbour?.address), String(B4));
  });
});

describe("redirects and the Linux kernel", { skip: missing("sysctl") }, () => {
  let kernel: Namespace;
  let host: Host;
  const start = async (forwarding: boolean) => {
    kernel = new Namespace();
    host = await Host.create({
      forwarding,
      interfaces: [{ device: tap({ name: "t0", namespace: kernel.name }), addresses: ["10.81.0.2/24", "fd81::2/64"] }],
    });
    await kernel.run("sysctl -qw net.ipv6.conf.t0.accept_dad=0 net.ipv4.conf.all.secure_redirects=1");
    kernel.up("t0", "10.81.0.1/24", "fd81::1/64");
    for (const gateway of ["10.81.0.254", "fe80::254"])
      kernel.ip("neigh", "add", gateway, "lladdr", "02:00:00:00:02:54", "dev", "t0", "nud", "permanent");
  };
  const stop = async () => {
    await host?.close();
    await kernel?.remove();
  };

  describe("the kernel as router", () => {
    before(async () => {
      await start(false);
      await kernel.run(
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.t0.send_redirects=1",
      );
      kernel.ip("route", "add", "10.99.0.0/16", "via", "10.81.0.254");
      kernel.ip("-6", "route", "add", "fd99::/16", "via", "fe80::254", "dev", "t0");
      host.addRoute({ to: "10.99.0.0/16", via: "10.81.0.1" });
      host.addRoute({
        to: "fd99::/16",
        via: String(address(/fe80::[0-9a-f:]+/.exec(kernel.ip("-6", "addr", "show", "dev", "t0"))?.[0] ?? "")),
        interface: "eth0",
      });
    });
    after(stop);

    for (const [to, via] of [
      ["10.99.0.5", "10.81.0.254"],
      ["fd99::5", "fe80::254"],
    ]) {
      it(`we turn to ${via} for ${to}`, async () => {
        const socket = host.datagram();
        await until(() => {
          socket.send(new Uint8Array(20), { address: to, port: 9 });
          return String(host.ip.pathTo(address(to)).neighbour?.address) === via;
        });
        assert.ok(host.ip.routes.list().some(({ protocol }) => protocol === "redirect"));
      });
    }
  });

  describe("the kernel as host", () => {
    before(async () => {
      await start(true);
      await kernel.run(
        "sysctl -qw net.ipv4.conf.all.accept_redirects=1 net.ipv4.conf.t0.accept_redirects=1 net.ipv6.conf.t0.accept_redirects=1",
      );
      host.addRoute({ to: "10.99.0.0/16", via: "10.81.0.254" });
      host.addRoute({ to: "fd99::/16", via: "fe80::254", interface: "eth0" });
      kernel.ip("route", "add", "10.99.0.0/16", "via", "10.81.0.2");
      kernel.ip("-6", "route", "add", "fd99::/16", "via", String(host.ip.interface("eth0").linkLocal), "dev", "t0");
    });
    after(stop);

    for (const [to, via] of [
      ["10.99.0.5", "10.81.0.254"],
      ["fd99::5", "fe80::254"],
    ]) {
      it(`it turns to ${via} for ${to} because we say so`, async () => {
        await until(async () => {
          await kernel.run(`ping -c 1 -W 0.1 ${to}`);
          return kernel.ip("route", "get", to).includes(`via ${via}`);
        });
      });
    }
  });
});
