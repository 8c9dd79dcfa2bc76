/** PCP, NAT-PMP and UPnP as clients meet them on the wire: messages put together and read here by the RFCs' pictures, byte by byte. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Host } from "../src/host/index.ts";
import { IpAddress } from "../src/index.ts";
import { Lab } from "../src/lab/index.ts";
import { PortMapper } from "../src/portmap/index.ts";
import { checkConfig, Router, type RouterConfig, runCommand } from "../src/router/index.ts";
import { until } from "./nat-rig.ts";
import { SEED } from "./support.ts";

const CONFIG: RouterConfig = {
  interfaces: [
    { name: "wan", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
    { name: "lan", addresses: ["10.0.0.1/24", "fd00::1/64"] },
    { name: "lan2", addresses: ["10.0.1.1/24"] },
  ],
  nat: { masquerade: ["wan"] },
  forwards: [{ listen: "wan:8080", to: "10.0.0.2:80" }],
  portMapping: { external: "wan", interfaces: ["lan", "lan2"], mostPerClient: 8 },
};

async function world(config: Partial<RouterConfig> = {}) {
  const lab = await Lab.create({ seed: SEED, interfaces: 10, memory: { flows: 2048, filterBytes: 8 << 20 } });
  const [client, other, outside] = await Promise.all([
    lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "fd00::2/64"], gateway: ["10.0.0.1", "fd00::1"] }] }),
    lab.host({ interfaces: [{ addresses: ["10.0.1.3/24"], gateway: "10.0.1.1" }] }),
    lab.host({ interfaces: [{ addresses: ["192.0.2.9/24", "2001:db8::9/64"] }] }),
  ]);
  const all = { ...CONFIG, ...config } as RouterConfig;
  const router = await Router.create(all, {
    engine: lab.engine,
    ports: { wan: lab.engine.port(7), lan: lab.engine.port(8), lan2: lab.engine.port(9) },
    seed: SEED,
  });
  lab.link(client, router.host, {}, ["eth0", "lan"]);
  lab.link(other, router.host, {}, ["eth0", "lan2"]);
  lab.link(outside, router.host, {}, ["eth0", "wan"]);
  await lab.run(3000);
  return { lab, client, other, outside, router, config: all };
}

const LAN2 = "10.0.1.1";
const bytes = (text: string) => new TextEncoder().encode(text);
const u16 = (value: number) => [value >>> 8, value & 255];
const u32 = (value: number) => [...u16(value >>> 16), ...u16(value & 0xffff)];
const v4 = (text: string) => [...Array(10).fill(0), 255, 255, ...text.split(".").map(Number)];

/** One question to port 5351 and what came back. */
async function ask(lab: Lab, from: Host, message: readonly number[], to = "10.0.0.1") {
  const socket = from.datagram();
  socket.send(Uint8Array.from(message), { address: to, port: 5351 });
  await lab.run(20);
  const answer = socket.tryReceive();
  socket.close();
  if (answer) assert.deepEqual([answer.address, answer.port], [to, 5351], "the answer comes from whom was asked");
  return answer && Buffer.from(answer.data);
}

interface Map {
  protocol?: number;
  inner: number;
  outer?: number;
  seconds?: number;
  nonce?: number;
  from?: readonly number[];
  options?: readonly number[];
}
/** RFC 6887 §7.1, §11.1. */
const mapRequest = ({ protocol = 17, inner, outer = 0, seconds = 3600, nonce = 7, from = v4("10.0.0.2"), options = [] }: Map) => [
  ...[2, 1, 0, 0],
  ...u32(seconds),
  ...from,
  ...Array(12).fill(nonce),
  ...[protocol, 0, 0, 0],
  ...u16(inner),
  ...u16(outer),
  ...Array(16).fill(0),
  ...options,
];
const readMap = (answer: Buffer | undefined) => {
  assert.ok(answer, "no answer");
  assert.deepEqual([answer[0], answer[1]], [2, 0x81]);
  return {
    result: answer[3],
    seconds: answer.readUInt32BE(4),
    epoch: answer.readUInt32BE(8),
    inner: answer.length >= 44 ? answer.readUInt16BE(40) : undefined,
    outer: answer.length >= 44 ? answer.readUInt16BE(42) : undefined,
    address: answer.length >= 60 ? [...answer.subarray(56, 60)].join(".") : undefined,
  };
};

describe("PCP (RFC 6887)", () => {
  it("maps a port that anybody may come to, lets it be renewed and ended, and be changed by nobody else", async () => {
    const { lab, client, outside, router } = await world();
    const first = readMap(await ask(lab, client, mapRequest({ inner: 5000, outer: 6000 })));
    assert.deepEqual({ ...first, epoch: 0 }, { result: 0, seconds: 3600, epoch: 0, inner: 5000, outer: 6000, address: "192.0.2.1" });
    const service = client.datagram({ port: 5000 });
    outside.datagram({ port: 9 }).send(bytes("hello"), { address: "192.0.2.1", port: 6000 });
    await lab.run(20);
    const got = service.tryReceive();
    assert.deepEqual([got?.address, got?.port], ["192.0.2.9", 9]);
    // Answers and what it begins itself leave by the same port.
    const inbox = outside.datagram({ port: 10 });
    service.send(bytes("x"), { address: "192.0.2.9", port: 10 });
    await lab.run(20);
    assert.equal(inbox.tryReceive()?.port, 6000);
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, outer: 7000, seconds: 60 }))).outer, 6000, "the one it has");
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, nonce: 8 }))).result, 2);
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, nonce: 8, seconds: 0 }))).result, 2);
    assert.match(
      (await runCommand(router, { tool: "conntrack", words: ["-L", "mapping"] })).stdout ?? "",
      /sport=5000 dst=192\.0\.2\.1 dport=6000 full-cone \[EXPLICIT\]/,
    );
    assert.deepEqual(
      { ...readMap(await ask(lab, client, mapRequest({ inner: 5000, seconds: 0 }))), epoch: 0 },
      {
        result: 0,
        seconds: 0,
        epoch: 0,
        inner: 5000,
        outer: 0,
        address: "0.0.0.0",
      },
    );
    assert.deepEqual([...router.host.conntrack.mappings.list()], []);
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, seconds: 0 }))).result, 0, "what is not there is ended already");
  });

  it("gives another port when the wanted one is somebody's: a client's, a forward's, the router's own", async () => {
    const { lab, client, other, router } = await world();
    router.host.datagram({ port: 6001 });
    router.host.listen({ port: 6002 });
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, outer: 6000 }))).outer, 6000);
    const exact = [2, 0, 0, 0];
    for (const [protocol, outer] of [
      [17, 6000],
      [17, 6001],
      [6, 6002],
      [6, 8080],
      [17, 80],
    ]) {
      const request = { protocol, inner: 5001, outer, from: v4("10.0.1.3"), nonce: 9 };
      const refused = readMap(await ask(lab, other, mapRequest({ ...request, options: exact }), LAN2));
      assert.deepEqual([refused.result, refused.seconds], [11, 30], `${protocol}/${outer}`);
      const given = readMap(await ask(lab, other, mapRequest(request), LAN2));
      assert.equal(given.result, 0);
      assert.notEqual(given.outer, outer);
      assert.equal(readMap(await ask(lab, other, mapRequest({ ...request, seconds: 0 }), LAN2)).result, 0);
    }
    const had = readMap(await ask(lab, other, mapRequest({ inner: 5001, outer: 6003, from: v4("10.0.1.3"), options: exact }), LAN2));
    assert.deepEqual([had.result, had.outer], [0, 6003]);
  });

  it("makes a flow's mapping one that was asked for", async () => {
    const { lab, client, outside } = await world({ nat: { masquerade: ["wan"], mapping: "endpoint-independent" } });
    const inbox = outside.datagram({ port: 10 });
    client.datagram({ port: 5000 }).send(bytes("x"), { address: "192.0.2.9", port: 10 });
    await lab.run(20);
    const seen = inbox.tryReceive()?.port;
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, outer: 7000 }))).outer, seen);
  });

  it("does not promise a port that a flow's mapping contradicts (§11.3), nor a balancer's", async () => {
    const { lab, client, outside, router, config } = await world({
      nat: { masquerade: ["wan"], mapping: "endpoint-independent" },
      balancers: [{ address: "192.0.2.1", port: 8443, backends: [{ address: "10.0.1.3" }] }],
    });
    outside.datagram({ port: 10 });
    client.datagram({ port: 5000 }).send(bytes("x"), { address: "192.0.2.9", port: 10 });
    await lab.run(20);
    const exact = [2, 0, 0, 0];
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, outer: 7000, options: exact }))).result, 11);
    assert.equal(readMap(await ask(lab, client, mapRequest({ protocol: 6, inner: 5001, outer: 8443, options: exact }))).result, 11);
    await router.reload({ ...config, portMapping: { external: "wan", interfaces: ["lan"], ports: [20_000, 20_010] } });
    const given = readMap(await ask(lab, client, mapRequest({ inner: 5000 })));
    assert.ok((given.outer ?? 0) >= 20_000 && (given.outer ?? 0) <= 20_010, `${given.outer}, which nobody may have`);
  });

  it("hears nobody who says to be on another link", async () => {
    const { lab, client, router } = await world();
    client.addAddress("eth0", "10.0.1.77/32");
    await lab.run(3000);
    const socket = client.datagram({ hostname: "10.0.1.77" });
    socket.send(Uint8Array.from(mapRequest({ inner: 5000, from: v4("10.0.1.77") })), { address: "10.0.0.1", port: 5351 });
    await lab.run(50);
    assert.deepEqual(router.portMapping.mapper?.entries(), []);
    assert.equal(router.portMapping.counters.ignored, 1);
  });

  it("gives no more than there may be, and again when some ended", async () => {
    const { lab, router } = await world();
    const mapper = new PortMapper(router.host, { external: "wan", masquerades: true, most: 3 });
    const ask4 = (i: number, seconds = 3600) =>
      mapper.map({ kind: "pcp", protocol: 17, inner: { address: IpAddress.parse(`10.0.0.${10 + i}`), port: 5000 }, seconds });
    for (let i = 0; i < 3; i++) assert.equal(typeof ask4(i), "object");
    assert.equal(ask4(3), "no-room");
    assert.equal(typeof ask4(1), "object", "who has one keeps it");
    mapper.end(mapper.entries()[0]);
    assert.equal(typeof ask4(3, 120), "object");
    assert.equal(ask4(4), "no-room");
    await lab.run(121_000);
    assert.equal(typeof ask4(4), "object", "one has run out");
    const second = mapper.at(1, () => true);
    assert.deepEqual(second, mapper.entries()[1]);
    assert.equal(
      mapper.at(3, () => true),
      undefined,
    );
    assert.equal(mapper.at(0, ({ inner }) => inner.address.equals(IpAddress.parse("10.0.0.14")))?.inner.port, 5000);
    mapper.close();
    assert.deepEqual([...router.host.conntrack.mappings.list()], []);
  });

  it("says what is wrong with a request (§7.4)", async () => {
    const { lab, client, router } = await world();
    const good = mapRequest({ inner: 5000 });
    const results: [string, readonly number[], number][] = [
      ["of another version", [3, ...good.slice(1)], 1],
      ["too short", good.slice(0, 40), 3],
      ["of no multiple of four", [...good, 0], 3],
      ["too long", [...good, ...Array(1048).fill(0)], 3],
      ["PEER", [2, 2, ...good.slice(2), ...Array(20).fill(0)], 4],
      ["on behalf of another", mapRequest({ inner: 5000, from: v4("10.0.1.3") }), 12],
      ["THIRD_PARTY", mapRequest({ inner: 5000, options: [1, 0, 0, 16, ...v4("10.0.1.3")] }), 5],
      ["FILTER", mapRequest({ inner: 5000, options: [3, 0, 0, 20, ...Array(20).fill(0)] }), 5],
      ["an option that ends behind the message", mapRequest({ inner: 5000, options: [200, 0, 1, 0] }), 6],
      ["PREFER_FAILURE with something in it", mapRequest({ inner: 5000, options: [2, 0, 0, 4, 0, 0, 0, 0] }), 6],
      ["PREFER_FAILURE of an end", mapRequest({ inner: 5000, seconds: 0, options: [2, 0, 0, 0] }), 6],
      ["a port of no protocol", mapRequest({ inner: 5000, protocol: 0 }), 3],
      ["all protocols", mapRequest({ inner: 0, protocol: 0 }), 9],
      ["a protocol without ports", mapRequest({ inner: 5000, protocol: 47 }), 9],
      ["all ports", mapRequest({ inner: 0 }), 2],
    ];
    for (const [what, message, result] of results) {
      const answer = await ask(lab, client, message);
      assert.ok(answer && answer.length % 4 === 0 && answer.length <= 1100, what);
      assert.deepEqual([answer[0], answer[1] & 0x80, answer[3]], [2, 0x80, result], what);
    }
    for (const silent of [[2], [2, 0x81, ...good.slice(2)], []]) assert.equal(await ask(lab, client, silent), undefined);
    // Options that may be passed over are.
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000, options: [200, 0, 0, 1, 0, 0, 0, 0] }))).result, 0);
    for (let i = 1; i < 8; i++) assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000 + i }))).result, 0);
    assert.deepEqual([readMap(await ask(lab, client, mapRequest({ inner: 5008 }))).result], [10], "more than one client may have");
    assert.equal(router.portMapping.mapper?.entries().length, 8);
  });

  it("announces itself, and anew when the outer address went with what was given", async () => {
    const { lab, client, router } = await world();
    const heard = client.datagram({ port: 5350 });
    await ask(lab, client, mapRequest({ inner: 5000 }));
    await lab.run(60_000);
    const before = readMap(await ask(lab, client, mapRequest({ inner: 5000 }))).epoch;
    assert.ok(before >= 60, String(before));
    while (heard.tryReceive()) {}
    router.host.removeAddress("wan", "192.0.2.1/24");
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000 }))).result, 7);
    router.host.addAddress("wan", "192.0.2.77/24");
    await lab.run(3000);
    const kinds = new Set<string>();
    for (let each = heard.tryReceive(); each; each = heard.tryReceive()) {
      const data = Buffer.from(each.data);
      kinds.add(data[0] === 2 ? `pcp ${data[1]}` : `nat-pmp ${data.subarray(8, 12).join(".")}`);
    }
    assert.ok(kinds.has("pcp 128") && kinds.has("nat-pmp 192.0.2.77"), [...kinds].join());
    const after = readMap(await ask(lab, client, mapRequest({ inner: 5000 })));
    assert.ok(after.epoch < 10, String(after.epoch));
    assert.equal(after.address, "192.0.2.77");
  });

  it("opens a hole for what is not translated, as rules on `ct status dnat` let it", async () => {
    const ruleset = `table inet f { chain through { type filter hook forward priority filter; policy drop
      ct state established,related accept
      iifname "lan" accept
      ct status dnat accept
    }
    }`;
    const { lab, client, outside, router } = await world({ nat: { masquerade: [] }, forwards: [], ruleset });
    router.host.addRoute({ to: "fd00::/64", interface: "lan" });
    outside.addRoute({ to: "fd00::/64", via: "2001:db8::1" });
    const service = client.datagram({ port: 5000 });
    const from = outside.datagram({ port: 9 });
    const tries = async () => {
      from.send(bytes("x"), { address: "fd00::2", port: 5000 });
      await lab.run(50);
      return service.tryReceive() !== undefined;
    };
    assert.equal(await tries(), false);
    const own = [0xfd, ...Array(14).fill(0), 2];
    const answer = await ask(lab, client, mapRequest({ inner: 5000, from: own }), "fd00::1");
    assert.equal(answer?.[3], 0);
    assert.deepEqual([...(answer as Buffer).subarray(44, 60)], own);
    assert.equal(await tries(), true);
    service.send(bytes("back"), { address: "2001:db8::9", port: 9 });
    await lab.run(50);
    assert.equal(from.tryReceive()?.port, 5000);
  });

  it("answers whatever comes, in bounded messages, and survives", async () => {
    const { lab, client } = await world();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 1200 }), fc.nat(2), async (junk, kind) => {
        const head = kind === 0 ? [] : kind === 1 ? [2, 1, 0, 0, ...u32(3600), ...v4("10.0.0.2")] : mapRequest({ inner: 5000 });
        const answer = await ask(lab, client, [...head, ...junk]);
        if (answer) assert.ok(answer.length <= 1100 && answer[1] & 0x80);
      }),
      { seed: SEED, numRuns: 200 },
    );
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000 }))).result, 0);
  });
});

describe("NAT-PMP (RFC 6886)", () => {
  const pmp = (opcode: number, inner: number, outer: number, seconds: number) => [
    0,
    opcode,
    0,
    0,
    ...u16(inner),
    ...u16(outer),
    ...u32(seconds),
  ];
  it("tells the outer address, maps, ends one and all", async () => {
    const { lab, client, other, router } = await world();
    const address = await ask(lab, client, [0, 0]);
    assert.deepEqual([...(address as Buffer).subarray(0, 4), ...(address as Buffer).subarray(8)], [0, 128, 0, 0, 192, 0, 2, 1]);
    for (const [opcode, inner] of [
      [1, 5000],
      [2, 5000],
      [2, 5001],
    ]) {
      const answer = (await ask(lab, client, pmp(opcode, inner, 6000 + inner, 7200))) as Buffer;
      assert.deepEqual(
        [answer[1], answer.readUInt16BE(2), answer.readUInt16BE(8), answer.readUInt16BE(10), answer.readUInt32BE(12)],
        [opcode + 128, 0, inner, 6000 + inner, 7200],
      );
    }
    const taken = (await ask(lab, other, pmp(2, 5000, 11_000, 7200), LAN2)) as Buffer;
    assert.notEqual(taken.readUInt16BE(10), 11_000);
    await ask(lab, other, pmp(2, 5000, 0, 0), LAN2);
    await ask(lab, client, pmp(1, 5000, 0, 0));
    const left = () => (router.portMapping.mapper?.entries() ?? []).map(({ protocol, inner }) => `${protocol} ${inner.port}`).sort();
    assert.deepEqual(left(), ["6 5000", "6 5001"]);
    await ask(lab, client, pmp(2, 0, 0, 0));
    assert.deepEqual(left(), []);
    const unknown = (await ask(lab, client, [0, 9, 0, 0])) as Buffer;
    assert.deepEqual([unknown[1], unknown.readUInt16BE(2)], [137, 5]);
  });

  it("gives another port, not another service's", async () => {
    const { lab, client } = await world();
    const ports: number[] = [];
    for (const inner of [5000, 5001, 5000]) {
      const answer = (await ask(lab, client, [0, 1, 0, 0, ...u16(inner), ...u16(6000), ...u32(600)])) as Buffer;
      assert.equal(answer.readUInt16BE(2), 0);
      ports.push(answer.readUInt16BE(10));
    }
    assert.deepEqual([ports[0], ports[2]], [6000, 6000]);
    assert.notEqual(ports[1], 6000);
  });

  it("is told of the other protocol when it alone is spoken, and the other way round", async () => {
    const { lab, client, router, config } = await world();
    await router.reload({ ...config, portMapping: { external: "wan", interfaces: ["lan"], protocols: ["nat-pmp"] } });
    const old = (await ask(lab, client, mapRequest({ inner: 5000 }))) as Buffer;
    assert.deepEqual([old[0], old.readUInt16BE(2)], [0, 1]);
    await router.reload({ ...config, portMapping: { external: "wan", interfaces: ["lan"], protocols: ["pcp"] } });
    const fresh = (await ask(lab, client, [0, 0])) as Buffer;
    assert.deepEqual([fresh[0], fresh[3]], [2, 1]);
  });
});

async function http(lab: Lab, from: Host, request: string, port: number, hostname = "10.0.0.1") {
  const socket = await until(lab, from.connect({ hostname, port }));
  const writer = socket.writable.getWriter();
  await until(lab, writer.write(bytes(request)));
  let text = "";
  const read = async () => {
    for await (const chunk of socket.readable) text += new TextDecoder().decode(chunk);
  };
  await until(
    lab,
    read().catch(() => {}),
  );
  return text;
}

async function search(lab: Lab, from: Host, target: string) {
  const socket = from.datagram();
  const lines = ["M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900", 'MAN: "ssdp:discover"', "MX: 1", `ST: ${target}`];
  socket.send(bytes(`${lines.join("\r\n")}\r\n\r\n`), { address: "239.255.255.250", port: 1900 });
  await lab.run(1500);
  const found: string[] = [];
  for (let each = socket.tryReceive(); each; each = socket.tryReceive()) found.push(new TextDecoder().decode(each.data));
  return found;
}
const IP_CONNECTION = "urn:schemas-upnp-org:service:WANIPConnection:1";

/** An action of WANIPConnection: its answer's values, or the number of its fault. */
async function act(lab: Lab, from: Host, gateway: string, action: string, values: Record<string, string | number> = {}) {
  const inner = Object.entries(values).map(([name, value]) => `<${name}>${value}</${name}>`);
  const body = `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:${action} xmlns:u="${IP_CONNECTION}">${inner.join("")}</u:${action}></s:Body></s:Envelope>`;
  const head = [
    "POST /control/ip HTTP/1.1",
    `Host: ${gateway}`,
    `SOAPAction: "${IP_CONNECTION}#${action}"`,
    `Content-Length: ${bytes(body).length}`,
  ];
  const [hostname, port] = gateway.split(":");
  const answer = await http(lab, from, `${head.join("\r\n")}\r\n\r\n${body}`, Number(port), hostname);
  const fault = /<errorCode>(\d+)</.exec(answer);
  if (fault) return Number(fault[1]);
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  return Object.fromEntries([...answer.matchAll(/<(New\w+)>([^<]*)</g)].map(([, name, value]) => [name, value]));
}
const mapping = (outer: number, inner: number, more: Record<string, string | number> = {}) => ({
  NewRemoteHost: "",
  NewExternalPort: outer,
  NewProtocol: "TCP",
  NewInternalPort: inner,
  NewInternalClient: "10.0.0.2",
  NewEnabled: 1,
  NewPortMappingDescription: "a &lt;game&gt;",
  NewLeaseDuration: 0,
  ...more,
});

describe("UPnP's Internet Gateway Device", () => {
  it("is found, describes itself, and maps ports for who asks", async () => {
    const { lab, client, other, outside } = await world();
    const found = await search(lab, client, "urn:schemas-upnp-org:device:InternetGatewayDevice:1");
    assert.equal(found.length, 1);
    const gatewayOf = (message: string) => /LOCATION: http:\/\/(10\.0\.[01]\.1:\d+)\/description\.xml\r\n/.exec(message)?.[1] as string;
    const gateway = gatewayOf(found[0]);
    const second = gatewayOf((await search(lab, other, "upnp:rootdevice"))[0]);
    const port = Number(gateway.split(":")[1]);
    assert.equal((await search(lab, client, "ssdp:all")).length, 10);
    assert.equal((await search(lab, client, "urn:schemas-upnp-org:device:Printer:1")).length, 0);
    const description = await http(lab, client, `GET /description.xml HTTP/1.1\r\nHost: 10.0.0.1:${port}\r\n\r\n`, port);
    assert.ok(
      description.includes(`<serviceType>${IP_CONNECTION}</serviceType>`) && description.includes("<controlURL>/control/ip</controlURL>"),
    );
    assert.deepEqual(await act(lab, client, gateway, "GetExternalIPAddress"), { NewExternalIPAddress: "192.0.2.1" });
    assert.deepEqual(await act(lab, client, gateway, "AddPortMapping", mapping(6000, 80)), {});
    assert.deepEqual(await act(lab, client, gateway, "AddPortMapping", mapping(6001, 80, { NewLeaseDuration: 600 })), {}, "two for one");
    const listener = client.listen({ port: 80 });
    for (const each of [6000, 6001]) {
      const [accepted] = await until(lab, Promise.all([listener.accept(), outside.connect({ hostname: "192.0.2.1", port: each })]));
      assert.equal(accepted.remoteAddress.address, "192.0.2.9");
    }
    const entry = await act(lab, client, gateway, "GetGenericPortMappingEntry", { NewPortMappingIndex: 1 });
    assert.deepEqual(
      { ...(entry as object), NewLeaseDuration: 0 },
      { ...mapping(6001, 80), NewExternalPort: "6001", NewInternalPort: "80", NewEnabled: "1", NewLeaseDuration: 0 },
    );
    // What somebody has is not another's to take, to change or to end.
    assert.equal(await act(lab, other, second, "AddPortMapping", mapping(6000, 80, { NewInternalClient: "10.0.1.3" })), 718);
    assert.equal(await act(lab, other, second, "AddPortMapping", mapping(6002, 80)), 606);
    const names = { NewRemoteHost: "", NewExternalPort: 6000, NewProtocol: "TCP" };
    assert.equal(await act(lab, other, second, "DeletePortMapping", names), 606);
    assert.deepEqual(await act(lab, client, gateway, "DeletePortMapping", names), {});
    assert.equal(await act(lab, client, gateway, "DeletePortMapping", names), 714);
    assert.equal(await act(lab, client, gateway, "GetSpecificPortMappingEntry", names), 714);
    assert.equal(await act(lab, client, gateway, "GetGenericPortMappingEntry", { NewPortMappingIndex: 1 }), 713);
  });

  it("who holds connections open without a word holds eight of them", async () => {
    const { lab, client, other, router } = await world();
    const portOf = (answer: string) => Number(/LOCATION: http:\/\/[^:]+:(\d+)/.exec(answer)?.[1]);
    const [[here], [there]] = [await search(lab, client, IP_CONNECTION), await search(lab, other, IP_CONNECTION)];
    for (let i = 0; i < 40; i++) client.connect({ hostname: "10.0.0.1", port: portOf(here) }).catch(() => {});
    await lab.run(200);
    assert.equal(await act(lab, other, `10.0.1.1:${portOf(there)}`, "FormatDisk"), 401, "another is heard");
    assert.equal(router.portMapping.counters.refused, 32);
    await lab.engine.close();
  });

  it("says no by UPnP's numbers, and to HTTP that is none", async () => {
    const { lab, client, router } = await world();
    const [found] = await search(lab, client, IP_CONNECTION);
    const port = Number(/LOCATION: http:\/\/[^:]+:(\d+)/.exec(found)?.[1]);
    const gateway = `10.0.0.1:${port}`;
    const add = (more: Record<string, string | number>) => act(lab, client, gateway, "AddPortMapping", mapping(6000, 80, more));
    assert.equal(await add({ NewRemoteHost: "192.0.2.9" }), 726);
    assert.equal(await add({ NewExternalPort: 0 }), 716);
    assert.equal(await add({ NewExternalPort: 8080 }), 718);
    assert.equal(await add({ NewExternalPort: 70_000 }), 402);
    assert.equal(await add({ NewProtocol: "ICMP" }), 402);
    assert.equal(await add({ NewInternalClient: "fileserver" }), 402);
    assert.equal(await act(lab, client, gateway, "FormatDisk"), 401);
    assert.equal(await act(lab, client, gateway, "constructor"), 401);
    assert.equal(await act(lab, client, gateway, "AddPortMapping", { NewExternalPort: 1 }), 402);
    const say = (text: string) => http(lab, client, text, port);
    const host = `Host: 10.0.0.1:${port}`;
    for (const [text, status] of [
      [`GET /nothing HTTP/1.1\r\n${host}\r\n\r\n`, 404],
      [`GET /control/ip HTTP/1.1\r\n${host}\r\n\r\n`, 405],
      [`GET /__proto__ HTTP/1.1\r\n${host}\r\n\r\n`, 404],
      [`SUBSCRIBE /event/ip HTTP/1.1\r\n${host}\r\n\r\n`, 501],
      ["GET /description.xml HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400],
      [`POST /control/ip HTTP/1.1\r\n${host}\r\n\r\n`, 411],
      [`POST /control/ip HTTP/1.1\r\n${host}\r\nContent-Length: 9999999\r\n\r\n`, 413],
      [`POST /control/ip HTTP/1.1\r\n${host}\r\nContent-Length: 5\r\n\r\n<<<<<`, 400],
      [`POST /control/ip HTTP/1.1\r\n${host}\r\nContent-Length: 30000\r\n\r\n${"<a>".repeat(10_000)}`, 400],
      [`POST /control/ip HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n`, 501],
      [`GET / HTTP/1.1\r\n${"X: y\r\n".repeat(3000)}\r\n`, 431],
      ["hello\r\n\r\n", 400],
      [`POST /control/ip HTTP/1.1\r\n${host}\r\nContent-Length: 3\r\n\r\nabc`, 400],
      [`POST /control/ip HTTP/1.1\r\n${host}\r\nSOAPAction: x\r\nOrigin: http://evil.example\r\nContent-Length: 3\r\n\r\nabc`, 400],
    ] as const)
      assert.match(await say(text), new RegExp(`^HTTP/1\\.1 ${status} `), text.slice(0, 60));
    assert.match(await say(`GET http://10.0.0.1:${port}/description.xml HTTP/1.0\n\n`), /^HTTP\/1\.1 200 OK/);
    // Who says nothing is not waited for.
    const idle = await until(lab, client.connect({ hostname: "10.0.0.1", port }));
    await lab.run(11_000);
    await assert.rejects(until(lab, idle.closed));
    assert.ok((router.portMapping.counters.misnamed ?? 0) >= 2);
  });

  it("answers so many searches at a time, and its own link's alone", async () => {
    const { lab, client, router } = await world();
    client.addAddress("eth0", "10.0.1.77/32");
    await lab.run(3000);
    const lines = ["M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900", 'MAN: "ssdp:discover"', "MX: 5", "ST: upnp:rootdevice"];
    const ask1 = (socket: ReturnType<Host["datagram"]>) =>
      socket.send(bytes(`${lines.join("\r\n")}\r\n\r\n`), { address: "239.255.255.250", port: 1900 });
    const socket = client.datagram();
    for (let i = 0; i < 200; i++) ask1(socket);
    await lab.run(6000);
    let answers = 0;
    while (socket.tryReceive()) answers++;
    assert.ok(answers > 10 && answers <= 64, String(answers));
    const { searches = 0 } = router.portMapping.counters;
    ask1(client.datagram({ hostname: "10.0.1.77" }));
    await lab.run(6000);
    assert.equal(router.portMapping.counters.searches, searches);
  });

  it("has one port for inside and outside where nothing is translated", async () => {
    const { lab, client } = await world({ nat: { masquerade: [] } });
    const [found] = await search(lab, client, IP_CONNECTION);
    const gateway = /LOCATION: http:\/\/([^/]+)/.exec(found)?.[1] as string;
    assert.equal(await act(lab, client, gateway, "AddPortMapping", mapping(6000, 80)), 724);
    assert.deepEqual(await act(lab, client, gateway, "AddPortMapping", mapping(8000, 8000)), {});
  });
});

describe("portMapping of a configuration", () => {
  it("leaves nothing behind when it cannot be, and can be later", async () => {
    const { lab, client, router, config } = await world();
    const without = { ...config, portMapping: undefined };
    await router.reload(without);
    const blocker = router.host.datagram({ port: 5351, interface: "lan2" });
    await assert.rejects(router.reload(config), { code: "EADDRINUSE" });
    assert.equal(await ask(lab, client, mapRequest({ inner: 5000 })), undefined);
    blocker.close();
    await router.reload(config);
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000 }))).result, 0);
    await router.reload(without);
    router.host.datagram({ port: 5351, interface: "lan" }).close();
  });

  it("is refused by name before anything is made of it", () => {
    const interfaces = [
      { name: "wan", addresses: ["192.0.2.1/24"] },
      { name: "lan", addresses: ["fd00::1/64"] },
    ];
    const portMapping = { external: "wan", interfaces: ["lan"] };
    for (const [more, expected] of [
      [{ portMapping }, /portMapping\.interfaces\[0\] is "lan", which has no IPv4 address; expected one for upnp, or other protocols/],
      [
        { portMapping: { ...portMapping, protocols: ["pcp"] }, conntrack: { max: 0 } },
        /portMapping needs tracked connections; expected conntrack\.max above 0/,
      ],
      [{ nat64: {}, conntrack: { max: 0 } }, /nat64 needs tracked connections/],
      [
        { nptv6: Array.from({ length: 9 }, (_, i) => ({ inside: `fd00:0:${i}::/48`, outside: `2001:db8:${i}::/48`, interface: "wan" })) },
        /nptv6 has 9 pairs of prefixes; expected 8 at most/,
      ],
    ] as const)
      assert.throws(() => checkConfig({ interfaces, ...more }), expected);
    checkConfig({ interfaces, portMapping: { ...portMapping, protocols: ["pcp", "nat-pmp"] } });
  });

  it("ends what was given when it is taken away, and comes back", async () => {
    const { lab, client, router, config } = await world();
    await ask(lab, client, mapRequest({ inner: 5000 }));
    await router.reload({ ...config, forwards: [] });
    assert.equal(router.portMapping.mapper?.entries().length, 1, "nothing of it changed");
    await router.reload({ ...config, portMapping: undefined });
    assert.equal(await ask(lab, client, mapRequest({ inner: 5000 })), undefined);
    assert.deepEqual([...router.host.conntrack.mappings.list()], []);
    await router.reload(config);
    assert.equal(readMap(await ask(lab, client, mapRequest({ inner: 5000 }))).result, 0);
  });
});
