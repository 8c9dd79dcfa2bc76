/**
 * The Linux kernel's forwarding of the same packets by the same rules: two network namespaces, two veth pairs, the flows of the other side
 * sent in by a packet socket. The kernel forwards on the sender's core, so that its rate includes making the packets, as ours does. Its
 * packets cross a socket and two devices, ours stay in memory: what the rules alone cost there is the difference to its rate without
 * any, which is measured too. No ratio is made of the two.
 */
import { execFileSync } from "node:child_process";
import { Engine } from "../../src/index.ts";
import { attachGenerator } from "../../src/link/generator.ts";
import { packet } from "../../src/link/packet.ts";
import type { Peer } from "./dpdk.ts";

const MS = 2000;
const [IN, OUT] = ["02:00:00:00:0f:01", "02:00:00:00:0f:02"];
const bytesOf = (mac: string) => Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
const run = (program: string, args: readonly string[], input?: string) =>
  execFileSync(program, args, { encoding: "utf8", input, stdio: ["pipe", "pipe", "pipe"] });

/** What the kernel does with a ruleset and with none, as a sentence. */
export async function kernelRates(ruleset: string, flows: number, destinations: Uint32Array): Promise<string> {
  const [ruled, plain] = [await kernelRate(ruleset, flows, destinations), await kernelRate("table ip none { }\n", flows, destinations)];
  if (ruled.mpps === undefined || plain.mpps === undefined) return ruled.note ?? plain.note ?? "";
  return `the kernel between namespaces ${ruled.mpps.toFixed(2)} Mpps, ${plain.mpps.toFixed(2)} without rules`;
}

/** Million packets a second that leave by "wan", of 64-byte frames from "lan" to `destinations`. */
async function kernelRate(ruleset: string, flows: number, destinations: Uint32Array): Promise<Peer> {
  if (process.getuid?.() !== 0) return { note: "the kernel side needs root" };
  const [router, outside] = [`loomk${process.pid}r`, `loomk${process.pid}o`];
  const ip = (space: string, ...args: string[]) => run("ip", ["-n", space, ...args]);
  const inside = (...args: string[]) => run("ip", ["netns", "exec", router, ...args]);
  try {
    for (const space of [router, outside]) run("ip", ["netns", "add", space]);
    for (const [name, mac] of [
      ["lan", IN],
      ["wan", OUT],
    ]) {
      ip(router, "link", "add", name, "address", mac, "type", "veth", "peer", "name", `${name}0`, "netns", outside);
      ip(router, "link", "set", name, "up");
      ip(outside, "link", "set", `${name}0`, "up");
    }
    ip(router, "addr", "add", "192.0.2.1/24", "dev", "wan");
    ip(router, "route", "add", "198.18.0.0/15", "dev", "lan");
    ip(router, "neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:0f:03", "dev", "wan");
    ip(router, "route", "add", "default", "via", "192.0.2.2");
    inside("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.lan.rp_filter=0");
    run("ip", ["netns", "exec", router, "nft", "-f", "-"], ruleset);
    return await measure(() => Number(inside("cat", "/sys/class/net/wan/statistics/tx_packets")), outside, flows, destinations);
  } catch (error) {
    return { note: `no kernel side: ${(error as Error).message.split("\n")[0]}` };
  } finally {
    for (const space of [router, outside]) {
      try {
        run("ip", ["netns", "del", space]);
      } catch {
        // It was not made.
      }
    }
  }
}

async function measure(sent: () => number, namespace: string, flows: number, destinations: Uint32Array): Promise<Peer> {
  const engine = await Engine.create({
    ports: 2,
    buffers: 8192,
    ringCapacity: 4096,
    generatorBytes: flows * 192 + (1 << 20),
    routes4: 1000,
  });
  try {
    const table4 = engine.createTable(4);
    const hop = table4.addNextHop({ kind: "forward", port: 1, destinationMac: bytesOf(IN), sourceMac: Uint8Array.of(2, 0, 0, 0, 15, 9) });
    table4.set("0.0.0.0/0", hop);
    engine.port(0).configure({ table4 });
    attachGenerator(engine, engine.port(0), { family: 4, frameSize: 64, flows, destinations });
    engine.attach(await packet({ interface: "lan0", namespace, offload: false, bypassQueue: true })(engine, engine.port(1)));
    const drive = (ms: number) => {
      for (const end = performance.now() + ms; performance.now() < end; ) engine.poll(256);
    };
    drive(500);
    const [before, start] = [sent(), performance.now()];
    drive(MS);
    const mpps = (sent() - before) / (performance.now() - start) / 1000;
    return mpps > 0 ? { mpps } : { note: "the kernel forwarded nothing" };
  } finally {
    await engine.close();
  }
}
