/** Options as people mistype them: each call says in one sentence what was wrong, where, and what was expected. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { checkOptions, oneOf, text, whole } from "../src/base/options.ts";
import { Zone } from "../src/dns/zone.ts";
import { CONNECT } from "../src/host/option-shapes.ts";
import { Engine, Host, joinPorts, Lab, serveDhcp, serveDhcp6, serveDns } from "../src/index.ts";
import { channelLink } from "../src/link/channel.ts";
import { CaptureWriter, readCapture } from "../src/link/pcap.ts";
import { Replay } from "../src/link/replay.ts";
import { streamLink } from "../src/link/stream.ts";
import { webSocketLink } from "../src/link/websocket.ts";
import { PortMapper } from "../src/portmap/index.ts";
import { attachPolicers } from "../src/queue/index.ts";
import { Router } from "../src/router/index.ts";
import { forHost } from "../src/sockets/index.ts";

const EINVAL = (message: string | RegExp) => ({ name: "LoomError", code: "EINVAL", message });
/** What a program without types may pass. */
const any = (value: unknown) => value as never;

describe("the checker", () => {
  const shape = { name: text, port: whole(0, 65_535), mode: oneOf("a", "b") };

  it("takes what is right, and what is left out", () => {
    for (const given of [{}, { name: "x" }, { port: 65_535, mode: "b" }, { name: undefined }]) checkOptions("test", shape, given);
  });

  it("says what, where, and what was expected", () => {
    for (const [given, message] of [
      [{ nam: "x" }, 'there is no test option "nam"; did you mean "name"?'],
      [{ Port: 7 }, 'there is no test option "Port"; did you mean "port"?'],
      [{ colour: 1 }, 'there is no test option "colour"; expected one of name, port, mode'],
      [{ port: "7" }, 'test: port is "7"; expected a whole number from 0 to 65535'],
      [{ port: Number.NaN }, "test: port is NaN; expected a whole number from 0 to 65535"],
      [{ mode: "c" }, 'test: mode is "c"; expected one of "a", "b"'],
      [7, "test: 7 instead of options; expected an object with name, port, mode …"],
      [null, "test: null instead of options; expected an object with name, port, mode …"],
    ] as const)
      assert.throws(() => checkOptions("test", shape, given), EINVAL(message));
    assert.throws(() => checkOptions("test", shape, {}, ["port"]), EINVAL("test: port is missing; expected an object with port"));
  });

  it("finds the name that was meant when two letters changed places", () => {
    const known = Object.keys(CONNECT).filter((name) => name.length > 4);
    const places = fc.constantFrom(...known).chain((name) => fc.tuple(fc.constant(name), fc.integer({ min: 0, max: name.length - 2 })));
    fc.assert(
      fc.property(places, ([name, at]) => {
        const wrong = `${name.slice(0, at)}${name[at + 1]}${name[at]}${name.slice(at + 2)}`;
        fc.pre(!known.includes(wrong));
        const all = Object.fromEntries(known.map((each) => [each, text]));
        assert.throws(
          () => checkOptions("test", all, { [wrong]: 1 }),
          EINVAL(`there is no test option "${wrong}"; did you mean "${name}"?`),
        );
      }),
    );
  });
});

describe("wrong options", () => {
  let engine: Engine;
  let host: Host;

  before(async () => {
    engine = await Engine.create({ ports: 4 });
    host = await Host.create({ engine, interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    engine.start();
  });

  after(() => engine.close());

  it("are refused when a host is made", async () => {
    for (const [options, message] of [
      [{ interfaces: [{ adresses: [] }] }, 'there is no interface option "adresses"; did you mean "addresses"?'],
      [{ interfaces: [{ device: 3 }] }, /^interface: device is 3; expected a function that makes a device/],
      [{ interfaces: [{ addresses: "10.0.0.5/24" }] }, 'interface: addresses is "10.0.0.5/24"; expected a list'],
      [{ tcp: { congestoin: "bbr" } }, 'there is no tcp option "congestoin"; did you mean "congestion"?'],
      [{ tcp: { congestion: "vegas" } }, 'tcp: congestion is "vegas"; expected one of "cubic", "reno", "bbr", "dctcp"'],
      [{ engine: Promise.resolve() }, /^host: engine is a promise \(await it first\); expected an engine/],
    ] as const)
      await assert.rejects(Host.create(any(options)), EINVAL(message));
    for (const [options, message] of [
      [{ prots: 2 }, 'there is no engine option "prots"; did you mean "ports"?'],
      [{ build: "foo" }, 'engine: build is "foo"; expected one of "auto", "plain", "shared"'],
    ] as const)
      await assert.rejects(Engine.create(any(options)), EINVAL(message));
  });

  it("are refused by connect, listen, datagram, ping and dhcp", async () => {
    for (const [options, message] of [
      [undefined, "connect: undefined instead of options; expected an object with hostname and port"],
      [{}, "connect: hostname is missing; expected an object with hostname and port"],
      [{ host: "10.0.0.2", port: 7 }, 'there is no connect option "host"; did you mean "port"?'],
      [{ hostname: "10.0.0.2", port: 7, congestoin: "bbr" }, 'there is no connect option "congestoin"; did you mean "congestion"?'],
      [{ hostname: "10.0.0.2", port: "7" }, 'connect: port is "7"; expected a whole number from 1 to 65535'],
      ["http://10.0.0.2/", /^connect: "http:\/\/10.0.0.2\/" instead of options/],
    ] as const)
      await assert.rejects(host.connect(any(options)), EINVAL(message));
    for (const [options, message] of [
      [undefined, "listen: undefined instead of options; expected an object with port"],
      [7, "listen: 7 instead of options; expected an object with port"],
      [{ port: 10, congestion: "vegas" }, /^listen: congestion is "vegas"; expected one of "cubic"/],
    ] as const)
      assert.throws(() => host.listen(any(options)), EINVAL(message));
    await assert.rejects(host.ping(any(undefined)), EINVAL("undefined is no host; expected an address or a name"));
    await assert.rejects(host.dhcp("eth7"), { code: "ENOENT", message: /there is no interface eth7/ });
    assert.throws(() => host.setUp("eth0", any(undefined)), EINVAL("setUp: up is undefined; expected true or false"));
    assert.throws(() => host.addRoute(any({ via: "10.0.0.2" })), EINVAL("route: to is missing; expected an object with to"));
    assert.throws(() => serveDhcp(host, any({})), EINVAL("serveDhcp: pools is missing; expected an object with pools"));
    assert.throws(() => serveDns(host, any({ zone: [] })), EINVAL('there is no serveDns option "zone"; did you mean "zones"?'));
  });

  it("are refused by serveDhcp and serveDhcp6, down to their pools", () => {
    const pool = { subnet: "10.0.0.0/24", range: ["10.0.0.100", "10.0.0.200"] };
    for (const [more, message] of [
      [{ dns: ["fd00::1"] }, 'pool: dns is a list of 1; expected a list, each an IPv4 address (one is "fd00::1")'],
      [{ routers: "10.0.0.1" }, 'pool: routers is "10.0.0.1"; expected a list'],
      [{ router: ["10.0.0.1"] }, 'there is no pool option "router"; did you mean "routers"?'],
      [{ leaseSeconds: -4 }, "pool: leaseSeconds is -4; expected a whole number from 1 to 4294967295"],
      [{ fixed: [{ mac: "02:00:00:00:00:01" }] }, /^fixed address: address is missing/],
    ] as const)
      assert.throws(() => serveDhcp(host, any({ pools: [{ ...pool, ...more }] })), EINVAL(message));
    for (const [options, message] of [
      [{ dns: ["x"] }, /^serveDhcp6: dns .* IPv6 address \(one is "x"\)$/],
      [{ dnss: [] }, 'there is no serveDhcp6 option "dnss"; did you mean "dns"?'],
      [{ validSeconds: -1 }, /^serveDhcp6: validSeconds is -1/],
      [{ delegate: { prefix: "2001:db8::/48", lenght: 56 } }, 'there is no delegate option "lenght"; did you mean "length"?'],
    ] as const)
      assert.throws(() => serveDhcp6(host, any(options)), EINVAL(message));
  });

  it("are refused by conntrack and the firewall: what is misspelt does not mean everything", async () => {
    const lab = await Lab.create({ memory: { flows: 64, filterBytes: 1 << 20 } });
    const { conntrack, firewall } = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    for (const act of [
      () => conntrack.delete(any({ proto: "udp" })),
      () => conntrack.list(any({ proto: "udp" })),
      () => conntrack.update(any({ proto: "udp" }), { mark: 7 }),
    ])
      assert.throws(act, EINVAL(/^there is no filter option "proto"/));
    assert.throws(() => conntrack.list(any({ dport: "7" })), EINVAL('filter: dport is "7"; expected a whole number from 0 to 65535'));
    assert.throws(() => conntrack.update({}, any({ marc: 9 })), EINVAL('there is no change option "marc"; did you mean "mark"?'));
    assert.throws(
      () => conntrack.configure(any({ tcploose: false })),
      EINVAL('there is no conntrack option "tcploose"; did you mean "tcpLoose"?'),
    );
    assert.throws(
      () => firewall.apply("add table ip gone", any({ chck: true })),
      EINVAL('there is no apply option "chck"; did you mean "check"?'),
    );
    assert.throws(
      () => firewall.applyIptables("", any({ restor: true })),
      EINVAL('there is no applyIptables option "restor"; did you mean "restore"?'),
    );
    assert.equal(firewall.list(), "");
    await lab.engine.close();
  });

  it("are refused by datagrams, which are bytes for an address", () => {
    const socket = host.datagram();
    assert.throws(() => socket.send(any("abc"), { address: "10.0.0.2", port: 9 }), EINVAL(/^"abc" is no datagram; expected a Uint8Array/));
    assert.throws(
      () => socket.send(Uint8Array.of(1), any({ hostname: "10.0.0.2", port: 9 })),
      EINVAL(/^send: address is undefined; expected \{ address/),
    );
    assert.throws(() => socket.send(Uint8Array.of(1), any({ address: "10.0.0.2" })), EINVAL(/^port 0; expected 1 to 65535/));
    socket.close();
  });

  it("are refused by joinPorts, a third port too", () => {
    assert.throws(
      () => joinPorts(engine, any(0), any(1)),
      EINVAL("joinPorts: the second argument is 0; expected a port, such as engine.port(0)"),
    );
    joinPorts(engine, engine.port(1), engine.port(2));
    joinPorts(engine, engine.port(1), engine.port(2));
    assert.throws(() => joinPorts(engine, engine.port(3), engine.port(2)), {
      code: "EBUSY",
      message: "port 2 is joined to another already",
    });
  });

  it("are refused by links, captures, ports, zones, policers, mappers and routers", async () => {
    const port = engine.port(1);
    const taken = new TransformStream<Uint8Array, Uint8Array>();
    taken.readable.getReader();
    for (const [make, message] of [
      [() => webSocketLink(any("ws://x")), /^webSocketLink: socket is "ws:\/\/x"; expected a WebSocket, or a function that makes one$/],
      [() => channelLink(any(undefined)), "channelLink: channel is undefined; expected a MessagePort or a BroadcastChannel"],
      [() => streamLink(any({})), /^streamLink: duplex is an object of Object; expected \{ readable, writable \}/],
      [() => streamLink(taken), /expected streams that nobody else reads or writes \(one is locked\)$/],
      [
        () => streamLink(new TransformStream(), any({ hihgWater: 1 })),
        'there is no streamLink option "hihgWater"; did you mean "highWater"?',
      ],
      [() => readCapture(any("lan.pcap")), 'readCapture: bytes is "lan.pcap"; expected a Uint8Array'],
      [() => new CaptureWriter(any({ format: "snoop" })), 'capture: format is "snoop"; expected one of "pcap", "pcapng"'],
      [() => new CaptureWriter(any({ snaplen: 96 })), 'there is no capture option "snaplen"; did you mean "snapLength"?'],
      [() => new Replay(port, [], any({ speed: "slow" })), 'replay: speed is "slow"; expected one of "recorded", "full"'],
      [() => new Replay(port, [], { speed: "recorded" }), "replay: clock is missing; expected an object with clock"],
      [() => port.configure(any({ mut: 1400 })), 'there is no port option "mut"; did you mean "mtu"?'],
      [() => port.configure({ mtu: 40 }), "port: mtu is 40; expected a whole number from 68 to 65535"],
      [() => port.configure(any({ table4: 0 })), /^port: table4 is 0; expected a routing table of the engine/],
      [() => engine.createNetwork().configure(any({ tracks: true })), 'there is no network option "tracks"; did you mean "track"?'],
      [() => new Zone("example", any({ name: "example" })), "zone: records is an object of Object; expected a list"],
      [() => new Zone("example", [], -1), "zone: ttl is -1; expected a whole number from 0 to 2147483647"],
      [() => attachPolicers(engine, port, any("both"), []), 'policers: direction is "both"; expected one of "in", "out"'],
      [() => attachPolicers(engine, port, "in", any({ kind: "srtcm" })), "policers: list is an object of Object; expected a list"],
      [() => new PortMapper(host, any({ external: "wan" })), /^port mapper: masquerades is missing/],
      [
        () => new PortMapper(host, { external: "wan", masquerades: true, ports: [2000, 1000] }),
        /^port mapper: ports is a list of 2; expected the first and the last port of a range/,
      ],
      [() => forHost(host, any({ caCert: [] })), 'there is no sockets option "caCert"; did you mean "caCerts"?'],
      [
        () => host.datagram().join("224.0.0.251", any({ iface: "eth0" })),
        'there is no join option "iface"; expected one of interface, sources',
      ],
      [() => host.datagram().configure(any({ ttl: 1 })), /^there is no datagram option "ttl"; /],
    ] as const)
      assert.throws(make, EINVAL(message));
    await assert.rejects(
      Router.create({ interfaces: [] }, any({ engin: engine })),
      EINVAL('there is no router option "engin"; did you mean "engine"?'),
    );
  });

  it("are refused by labs and their links", async () => {
    await assert.rejects(Lab.create(any({ sede: 1 })), EINVAL('there is no lab option "sede"; did you mean "seed"?'));
    const lab = await Lab.create();
    const [a, b] = [await lab.host({ interfaces: [{}] }), await lab.host({ interfaces: [{}] })];
    for (const [impairment, message] of [
      [{ delay: "20ms" }, 'link: delay is "20ms"; expected a number of milliseconds, 0 or more'],
      [{ loss: 2 }, "link: loss is 2; expected a share from 0 to 1"],
      [{ rate: -5 }, /^link: rate is -5; expected bits a second, more than 0/],
      [{ dealy: 1 }, 'there is no link option "dealy"; did you mean "delay"?'],
    ] as const)
      assert.throws(() => lab.link(a, b, any(impairment)), EINVAL(message));
    lab.link(a, b);
    assert.throws(() => lab.link(a, b), { code: "EBUSY" });
    assert.throws(() => lab.link(a, undefined as never), { code: "EINVAL", message: /a link joins two hosts/ });
    await assert.rejects(lab.run(any("1s")), EINVAL('"1s" is no time to run; expected milliseconds, 0 or more'));
    await lab.engine.close();
  });
});

describe("what is left out", () => {
  it("is enough for two hosts that send megabytes", async () => {
    const engine = await Engine.create({ ports: 2 });
    const host = (i: number) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`] }] });
    const [client, server] = [await host(0), await host(1)];
    joinPorts(engine, engine.port(0), engine.port(1));
    engine.start();
    const listener = server.listen({ port: 7 });
    const socket = await client.connect({ hostname: "10.0.0.2", port: 7 });
    const peer = await listener.accept();
    socket.setCongestion("bbr");
    assert.equal(socket.status().congestion, "bbr");
    assert.throws(() => socket.setCongestion("vegas"), EINVAL(/"vegas" is no congestion control/));
    const sending = socket.write(new Uint8Array(5_000_000)).then(() => socket.closeWrite());
    let bytes = 0;
    for await (const chunk of peer.readable) bytes += chunk.length;
    await sending;
    assert.equal(bytes, 5_000_000);
    await engine.close();
  });

  it("is said where nothing would work without it", async () => {
    const engine = await Engine.create({ ports: 1, appBytes: 0 });
    await assert.rejects(Host.create({ engine }), { code: "ENOMEM", message: /raise appBytes \(it is 0\)$/ });
    await engine.close();
  });

  it("is said when it is the start of the engine", () => {
    const program = `
      import { Engine, Host } from "packetloom";
      const engine = await Engine.create({ ports: 1 });
      const host = await Host.create({ engine, interfaces: [{ addresses: ["10.0.0.1/24"] }] });
      await host.ping("10.0.0.1");`;
    const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
    assert.match(stderr, /the engine does not run, so its hosts neither send nor receive; call engine\.start\(\)/);
  });

  it("pings by name", async () => {
    const host = await Host.create({ interfaces: [{ addresses: ["10.0.0.1/24"] }], hosts: { "me.test": "10.0.0.1" } });
    assert.equal(String((await host.ping("me.test")).from), "10.0.0.1");
    const nobody = host.ping("nonsense");
    await assert.rejects(
      nobody.finally(() => host.close()),
      { code: "EAI_AGAIN" },
    );
  });
});
