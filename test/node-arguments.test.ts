/**
 * Wrong arguments: what Node's own `net`, `dgram` and `dns` throw for them, ours throw: the same class, code and sentence. Several hundred calls, each
 * with sixteen values of all kinds.
 */
import assert from "node:assert/strict";
import * as nodeDgram from "node:dgram";
import * as nodeDns from "node:dns";
import * as nodeNet from "node:net";
import { after, before, describe, it } from "node:test";
import { inspect, promisify } from "node:util";
import { Host, Lab } from "../src/index.ts";
import { forHost } from "../src/node/index.ts";

type Modules = { net: typeof nodeNet; dgram: typeof nodeDgram; dns: typeof nodeDns };
type Closing = { close?(): void; destroy?(): void; on?(event: string, listener: () => void): void };
type Call = (modules: Modules, value: never) => unknown;

const VALUES: readonly unknown[] = [
  ...[undefined, null, 1, -1, 65_536, 1.5, Number.NaN, "", "x", "80", true, {}, [], () => {}, Symbol("s"), 1n],
];

const UDP = [
  ...["setTTL", "setMulticastTTL", "setMulticastLoopback", "setMulticastInterface", "setBroadcast", "addMembership", "dropMembership"],
  ...["addSourceSpecificMembership", "setRecvBufferSize", "setSendBufferSize", "connect", "send", "disconnect"],
];
const CONNECT = [
  ...["port", "localAddress", "lookup", "timeout", "keepAliveInitialDelay", "autoSelectFamily", "autoSelectFamilyAttemptTimeout", "path"],
  ...["objectMode", "readableObjectMode", "signal"],
];
const QUESTIONS = ["resolve", "resolve4", "resolve6", "resolveMx", "resolveTxt", "resolveSrv", "resolveAny", "resolveSoa", "reverse"];
const done = () => {};

/** Each call with what it is about; what it makes is closed again. */
const CALLS: Record<string, Call> = {
  "net.connect(_)": ({ net }, value) => net.connect(value),
  ...each(CONNECT, "net.connect({ #: _ })", ({ net }, value, name) => net.connect({ port: 1, host: "127.0.0.1", [name]: value })),
  "net.createServer(_)": ({ net }, value) => net.createServer(value),
  ...each(["port", "path", "signal"], "server.listen({ #: _ })", ({ net }, value, name) =>
    net.createServer().listen({ port: 0, host: "127.0.0.1", [name]: value }),
  ),
  "server.listen(_)": ({ net }, value) => net.createServer().listen(value),
  ...each(["setTimeout", "write", "setEncoding"], "socket.#(_)", ({ net }, value, name) => {
    const socket = new net.Socket();
    socket.on("error", done);
    return (socket[name as "setTimeout"] as (value: never) => unknown).call(socket, value);
  }),
  "dgram.createSocket(_)": ({ dgram }, value) => dgram.createSocket(value),
  ...each(["type", "lookup", "signal", "recvBufferSize", "sendBufferSize"], "dgram.createSocket({ #: _ })", ({ dgram }, value, name) =>
    dgram.createSocket({ type: "udp4", [name]: value }),
  ),
  ...each(UDP, "an unbound socket.#(_)", ({ dgram }, value, name) => {
    const socket = dgram.createSocket("udp4").on("error", done);
    closeLater(socket);
    return (socket[name as "setTTL"] as (value: never) => unknown).call(socket, value);
  }),
  ...each(QUESTIONS, "dns.#(_)", ({ dns }, value, name) => (dns[name as "resolve4"] as unknown as (value: never) => unknown)(value)),
  ...each(QUESTIONS, "dns.#(_, callback)", ({ dns }, value, name) =>
    typeof value === "string" ? undefined : (dns[name as "resolve4"] as (value: never, then: () => void) => unknown)(value, done),
  ),
  "dns.resolve(name, _, callback)": ({ dns }, value) => dns.resolve("127.0.0.1", value, done),
  "dns.setServers(_)": ({ dns }, value) => dns.setServers(value),
  "dns.setDefaultResultOrder(_)": ({ dns }, value) => dns.setDefaultResultOrder(value),
  "dns.lookup(_, callback)": ({ dns }, value) => (typeof value === "string" ? undefined : dns.lookup(value, done)),
  "dns.lookup(address, _, callback)": ({ dns }, value) => dns.lookup("127.0.0.1", value, done),
  "dns.lookup(address, {}, _)": ({ dns }, value) => dns.lookup("127.0.0.1", {}, value),
  ...each(["family", "hints", "all", "verbatim", "order"], "dns.lookup(address, { #: _ }, callback)", ({ dns }, value, name) =>
    dns.lookup("127.0.0.1", { [name]: value }, done),
  ),
  "dns.lookupService(_)": ({ dns }, value) => (dns.lookupService as unknown as (value: never) => unknown)(value),
  "dns.lookupService(_, 80, callback)": ({ dns }, value) => (typeof value === "string" ? dns.lookupService(value, 80, done) : undefined),
  "dns.lookupService(address, _, callback)": ({ dns }, value) => dns.lookupService("127.0.0.1", value, done),
  "dns.lookupService(address, 80, _)": ({ dns }, value) => void dns.lookupService("127.0.0.1", 80, value),
  "new dns.Resolver(_)": ({ dns }, value) => new dns.Resolver(value),
  ...each(["timeout", "tries"], "new dns.Resolver({ #: _ })", ({ dns }, value, name) => new dns.Resolver({ [name]: value })),
  "resolver.setLocalAddress(_)": ({ dns }, value) => new dns.Resolver().setLocalAddress(value),
  "resolver.setLocalAddress(address, _)": ({ dns }, value) => new dns.Resolver().setLocalAddress("127.0.0.1", value),
};

function each(
  names: readonly string[],
  title: string,
  call: (modules: Modules, value: never, name: string) => unknown,
): Record<string, Call> {
  return Object.fromEntries(names.map((name) => [title.replace("#", name), (modules, value) => call(modules, value, name)]));
}

function closeLater(made: Closing): void {
  setImmediate(() => {
    try {
      made.close?.();
    } catch {}
  });
}

/** What a call throws, or that it does not. */
function outcome(call: Call, modules: Modules, value: unknown): string {
  try {
    const made = call(modules, value as never) as Closing | undefined;
    if (typeof made === "object" && made !== null) {
      made.on?.("error", done);
      if (made.destroy) made.destroy();
      else if (made.close) closeLater(made);
    }
    return "nothing";
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException;
    return `${name} ${code}: ${message}`;
  }
}

describe("wrong arguments", () => {
  let host: Host;
  let ours: Modules;
  const theirs: Modules = { net: nodeNet, dgram: nodeDgram, dns: nodeDns };
  const servers = nodeDns.getServers();

  before(async () => {
    host = await Host.create({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    ours = forHost(host) as unknown as Modules;
  });

  after(async () => {
    nodeDns.setServers(servers);
    nodeDns.setDefaultResultOrder("verbatim");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.close();
  });

  for (const [title, call] of Object.entries(CALLS)) {
    it(title, () => {
      for (const value of VALUES) {
        // A symbol where a text is wanted: versions of Node differ in who finds that out.
        if (typeof value === "symbol" && title.includes("Membership")) continue;
        assert.equal(outcome(call, ours, value), outcome(call, theirs, value), inspect(value));
      }
    });
  }
});

it("addresses as inet_aton(3) reads them are addresses to dns.lookup; names of ports and addresses by lookupService", async () => {
  const host = await Host.create({ interfaces: [{ addresses: ["10.0.0.1/24"] }], hosts: { "db.test": "10.0.0.7" } });
  const { dns } = forHost(host);
  for (const text of ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "10.0x10", "1.2.3", "0"]) {
    const [mine, nodes] = await Promise.all([dns.promises.lookup(text, { all: true }), nodeDns.promises.lookup(text, { all: true })]);
    assert.deepEqual(mine, nodes, text);
  }
  assert.deepEqual(await dns.promises.lookupService("10.0.0.7", 22), { hostname: "db.test", service: "ssh" });
  assert.deepEqual(await dns.promises.lookupService("127.0.0.1", 59_999), { hostname: "localhost", service: "59999" });
  assert.deepEqual(await promisify(dns.lookupService)("10.0.0.7", 22), { hostname: "db.test", service: "ssh" });
  assert.deepEqual(await (promisify(dns.lookup) as (name: string) => Promise<unknown>)("127.0.0.1"), { address: "127.0.0.1", family: 4 });
  assert.deepEqual(await dns.promises.lookup("127.1", { family: 6, hints: dns.V4MAPPED }), { address: "::ffff:127.0.0.1", family: 6 });
  new dns.Resolver().setLocalAddress("fe80::1%eth0");
  await assert.rejects(dns.promises.lookupService("fe80::1%eth0", 22), { code: "ENOTFOUND" });
  const unknown = { code: "ENOTFOUND", syscall: "getnameinfo", hostname: "10.0.0.9", message: "getnameinfo ENOTFOUND 10.0.0.9" };
  await assert.rejects(dns.promises.lookupService("10.0.0.9", 22), unknown);
  await host.close();
});

it("a resolver asks from the address that it was given", async () => {
  const lab = await Lab.create({});
  const near = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "10.0.0.3/24"] }] });
  const far = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
  lab.link(near, far, { delay: 1 });
  const server = far.datagram({ port: 53 });
  const resolver = new (forHost(near).dns.Resolver)({ timeout: 100, tries: 1 });
  resolver.setServers(["10.0.0.2"]);
  for (const [given, expected] of [
    [undefined, "10.0.0.1"],
    ["10.0.0.3", "10.0.0.3"],
    ["0.0.0.0", "10.0.0.1"],
  ]) {
    if (given) resolver.setLocalAddress(given);
    resolver.resolve4("example.test", done);
    await lab.run(50);
    assert.equal(server.tryReceive()?.address, expected);
    await lab.run(500);
    while (server.tryReceive());
  }
  await lab.engine.close();
});
