/**
 * The middle of the network: NAT, a stateful filter, balancing, new connections. 64-byte frames in by a generator's port and out by a sink's,
 * on one core, generator included. Every run looks at packets that came out: addresses, ports and the header's checksum.
 */
import * as abi from "../assembly/abi.ts";
import { Balancer } from "../src/balance/index.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { Firewall } from "../src/filter/index.ts";
import { Engine, type EngineOptions } from "../src/index.ts";
import { attachGenerator, type GeneratorOptions, generatorBytes, Samples } from "../src/link/generator.ts";
import { Conntrack } from "../src/track/index.ts";
import { checksum, l4Checksum, parseEthernet, parseIpv4, parseIpv6 } from "../src/wire/index.ts";
import { kernelRates } from "./compare/kernel.ts";
import { type Context, type Profile, type Result, repeat, result } from "./harness.ts";

const WAN = IpAddress.parse("192.0.2.1");
const VIP = IpAddress.parse("30.0.0.1");
const mac = (last: number) => Uint8Array.of(2, 0, 0, 0, 1, last);
const spread = (count: number) => Uint32Array.from({ length: count }, (_, i) => 0x14000000 + (Math.imul(i, 0x9e3779b1) >>> 8));

/** Addresses in 2001:db8::/32, as they lie in packets. */
const spread6 = (count: number) => {
  const bytes = new Uint8Array(16 * count);
  for (let i = 0; i < count; i++) {
    bytes.set([0x20, 1, 0xd, 0xb8], 16 * i);
    new DataView(bytes.buffer).setUint32(16 * i + 12, Math.imul(i, 0x9e3779b1) >>> 0);
  }
  return bytes;
};

interface Setup {
  readonly flows: number;
  readonly family?: 4 | 6;
  readonly ruleset?: string;
  readonly destinations?: Uint32Array;
  readonly options?: EngineOptions;
  /** Measured against the kernel as well. */
  readonly beside?: "kernel";
}

/** A router with a generator on port 0 ("lan") and a sink on port 1 ("wan"). */
async function middle({ flows, family = 4, ruleset, destinations = spread(flows), options }: Setup) {
  const engine = await Engine.create({
    ports: 2,
    buffers: 4096,
    build: "plain",
    // Room for a tenth more, as a table in use has.
    flows: Math.ceil(flows * 1.1) + 1024,
    flowAccounting: 0,
    filterBytes: 16 << 20,
    generatorBytes: generatorBytes({ flows, destinations }),
    samples: 256,
    routes4: 1000,
    ...options,
  });
  const [table4, table6] = [engine.createTable(4), engine.createTable(6)];
  for (const [table, everything] of [[table4, "0.0.0.0/0"] as const, [table6, "::/0"] as const]) {
    table.set(everything, table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) }));
  }
  engine.port(0).configure({ table4, table6 });
  engine.memory.u8[engine.memory.port(1) + abi.PORT_KIND] = abi.KIND_GENERATOR;
  engine.memory.setU32(engine.memory.port(1) + abi.PORT_RX, 0);
  const network = engine.createNetwork().add(engine.port(0));
  network.describe(0, { name: "lan", index: 1, type: 1 }).describe(1, { name: "wan", index: 2, type: 1, address4: WAN });
  network.configure({ track: true });
  const firewall = new Firewall(engine, network);
  if (ruleset) firewall.apply(ruleset);
  const load: GeneratorOptions = {
    family,
    destinations: family === 4 ? destinations : spread6(flows),
    frameSize: 64,
    flows,
    sourceMac: mac(9),
  };
  attachGenerator(engine, engine.port(0), load);
  return { engine, network, firewall, table4, load, conntrack: new Conntrack(engine) };
}

type Middle = Awaited<ReturnType<typeof middle>>;

/** Forwards for some milliseconds; million packets a second that left. */
function drive({ engine }: Middle, ms: number): number {
  const sent = () => engine.port(1).counters().txPackets;
  const [start, before] = [performance.now(), sent()];
  let now = start;
  while (now - start < ms) {
    engine.plane.poll(0, now / 1000, 16_384);
    engine.plane.flowsTurn(0, now >>> 0, 4096);
    now = performance.now();
  }
  return (sent() - before) / (now - start) / 1000;
}

/** What is wrong with the packets that came out, if anything. */
function problem({ engine }: Middle, samples: Samples, fits: (source: number, destination: number) => boolean): string | undefined {
  const { stats, dropped, punted } = engine.counters();
  if (dropped + punted !== 0) return `${dropped} dropped, ${punted} punted`;
  if (stats.generated !== stats.sunk) return `${stats.generated} packets in, ${stats.sunk} out`;
  const seen = samples.read();
  if (seen.length === 0) return "no sample was taken";
  for (const { bytes } of seen) {
    const packet = parseEthernet(bytes).payload;
    if (packet[0] >> 4 === 6) {
      const { source, destination, protocol, payload, hopLimit } = parseIpv6(packet);
      if (hopLimit !== 63 || l4Checksum(source, destination, protocol, payload) !== 0) return "a packet's hop limit or checksum is wrong";
      continue;
    }
    if (checksum(packet.subarray(0, 20)) !== 0) return "a header's checksum is wrong";
    const { source, destination } = parseIpv4(packet);
    if (!fits(source, destination)) return `a packet from ${IpAddress.v4(source)} to ${IpAddress.v4(destination)}`;
  }
  return undefined;
}

async function measure(
  name: string,
  context: Context,
  setup: Setup,
  fits: (s: number, d: number) => boolean,
  prepare?: (m: Middle) => void,
): Promise<Result[]> {
  const it = await middle(setup);
  prepare?.(it);
  // Every flow has been seen before the clock runs.
  while (it.conntrack.count < setup.flows) drive(it, 50);
  // Flows take turns in another order than that in which they began, so that their records are met all over memory.
  attachGenerator(it.engine, it.engine.port(0), { ...it.load, shuffle: 1 });
  const samples = new Samples(it.engine, [it.engine.port(1)], 20_011);
  const rates = repeat(context, () => drive(it, context.ms));
  const wrong = problem(it, samples, fits) ?? (it.conntrack.count === setup.flows ? undefined : `${it.conntrack.count} flows`);
  const bytes = it.engine.memory.size(abi.REGION_FLOWS);
  await it.engine.close();
  const found = result(name, "Mpps", rates, {
    verified: wrong === undefined,
    note: wrong ?? `${setup.flows} flows, ${(bytes / 1e6).toFixed(0)} MB`,
  });
  return [setup.beside === "kernel" && setup.ruleset ? await besideKernel(found, setup.ruleset, setup.flows) : found];
}

/** The same rules in the kernel, in the same run. */
async function besideKernel(ours: Result, ruleset: string, flows: number): Promise<Result> {
  return { ...ours, note: `${ours.note}; ${await kernelRates(ruleset, flows, spread(flows))}` };
}

const MASQUERADE = `table ip nat {
  chain out {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade
  }
}`;
const STATEFUL = `table ip filter {
  chain forward {
    type filter hook forward priority filter; policy drop
    ct state established,related accept
    iifname "lan" meta l4proto udp ct state new accept
  }
}`;
const STATEFUL6 = STATEFUL.replace("table ip filter", "table ip6 filter");

const fromWan = (source: number) => source === WAN.v4 >>> 0;

const nat1k: Profile = (context) => measure("nat44-1k", context, { flows: 1024, ruleset: MASQUERADE, beside: "kernel" }, fromWan);
const nat1m: Profile = (context) => measure("nat44-1m", context, { flows: 1_000_000, ruleset: MASQUERADE }, fromWan);
const acl: Profile = (context) =>
  measure("acl-stateful", context, { flows: 1024, ruleset: STATEFUL, beside: "kernel" }, (source) => source >>> 16 === 0xc612);
const acl6: Profile = (context) => measure("acl6-stateful", context, { flows: 1024, family: 6, ruleset: STATEFUL6 }, () => false);
const acl6m: Profile = (context) => measure("acl6-1m", context, { flows: 1_000_000, family: 6, ruleset: STATEFUL6 }, () => false);

/** 100 backends behind one address, 100,000 clients, each with a flow. */
const maglev: Profile = async (context) => {
  const backends = new Set<number>();
  const results = await measure(
    "lb-maglev",
    context,
    { flows: 100_000, destinations: Uint32Array.of(VIP.v4), options: { services: 2, backends: 128 } },
    (_source, destination) => backends.add(destination) !== undefined && destination >>> 8 === 0x280000,
    ({ engine, network }) => {
      network.configure({ balance: true });
      const service = new Balancer({ engine }).add({ address: String(VIP), port: 9, protocol: "udp", scheduler: "maglev" });
      for (let i = 1; i <= 100; i++) service.add({ address: `40.0.0.${i}`, port: 9 });
    },
  );
  return results;
};

/** Connections begun through NAT: every packet is the first of a flow; flows end as fast as they come. */
const cps: Profile = async (context) => {
  const flows = 200_000;
  const it = await middle({ flows, ruleset: MASQUERADE });
  const began = () => it.conntrack.stats().insert;
  const rates = repeat(context, () => {
    let [spent, made] = [0, 0];
    while (spent < context.ms) {
      // The generator has come round to its first flow.
      it.conntrack.flush();
      const [start, before] = [performance.now(), began()];
      // Once through all templates: no flow is met twice.
      for (let sent = 0; sent < flows; ) sent += it.engine.plane.poll(0, start / 1000, Math.min(16_384, flows - sent));
      spent += performance.now() - start;
      made += began() - before;
    }
    return (made / spent) * 1000;
  });
  const { insertFailed, drop } = it.conntrack.stats();
  const whole = it.conntrack.count === flows && insertFailed + drop === 0;
  await it.engine.close();
  return [
    result("nat-cps", "connections/s", rates, { verified: whole, note: whole ? undefined : `${it.conntrack.count} of ${flows} flows` }),
  ];
};

/** 10,000 rules parsed, compiled and put in force between two bursts of traffic; nothing that is under way is lost. */
const swap: Profile = async (context) => {
  const it = await middle({ flows: 1024, ruleset: STATEFUL });
  while (it.conntrack.count < 1024) drive(it, 50);
  const before = it.engine.counters();
  const times = repeat(context, () => {
    const lines = Array.from(
      { length: 10_000 },
      (_, i) => `    ip saddr 172.${16 + (i >> 12)}.${(i >> 4) & 255}.${(i & 15) * 16} tcp dport ${1 + i} drop`,
    );
    const text = `flush ruleset\n${STATEFUL.replace("    ct state", `    ct state established,related accept\n${lines.join("\n")}\n    ct state`)}`;
    const start = performance.now();
    it.firewall.apply(text);
    const took = performance.now() - start;
    drive(it, 20);
    return took;
  });
  const { dropped, punted } = it.engine.counters();
  const lost = dropped + punted - before.dropped - before.punted;
  await it.engine.close();
  return [result("ruleset-10k", "ms", times, { verified: lost === 0, note: lost === 0 ? "no packet lost" : `${lost} packets lost` })];
};

export const tracking: Record<string, Profile> = {
  "nat44-1k": nat1k,
  "nat44-1m": nat1m,
  "acl-stateful": acl,
  "acl6-stateful": acl6,
  "acl6-1m": acl6m,
  "lb-maglev": maglev,
  "nat-cps": cps,
  "ruleset-10k": swap,
};
