/** The same job on the user's own files: a capture through a table into a capture. */
import { realpath, writeFile } from "node:fs/promises";
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { RouteSet } from "../base/routes.ts";
import { Engine } from "../engine/engine.ts";
import { CaptureWriter, readCapture } from "../link/pcap.ts";
import { frameOf } from "../link/replay.ts";
import { nextHop } from "../measure/rig.ts";
import { grouped, progress } from "./output.ts";
import { readInput, userTables } from "./tables.ts";

export interface ForwardOptions {
  pcap: string;
  routes: string[];
  out: string;
  format: "pcap" | "pcapng";
  mtu: number;
  /** No progress on the terminal. */
  quiet: boolean;
}

export interface ForwardResult {
  readonly packets: number;
  readonly forwarded: number;
  readonly drops: Record<string, number>;
  readonly punts: Record<string, number>;
  readonly unsupported: number;
  readonly oversized: number;
  readonly routes4: number;
  readonly routes6: number;
  readonly warnings: string[];
}

/** Packets of a burst keep their order and their timestamps: one burst in, one burst out. */
const BURST = abi.BURST;

export async function forward(options: ForwardOptions): Promise<ForwardResult> {
  if (await isSameFile(options.pcap, options.out))
    throw new LoomError("EINVAL", `--out ${options.out} is the capture that is read; choose another file`);
  const [bytes, routes] = await inputs(options);
  const capture = readCapture(bytes, options.pcap);
  if (!(options.mtu >= 68 && options.mtu <= 65_535)) throw new LoomError("EINVAL", `--mtu ${options.mtu}; expected 68 to 65535`);
  const engine = await Engine.create({
    ports: 2,
    buffers: 2048,
    nextHops: Math.min(Math.max(routes.nextHops.length + 1, 255), 65_535),
    routes4: routes.v4.count + 1000,
    routes6: routes.v6.count + 1000,
  });
  engine.port(1).configure({ mtu: options.mtu });
  const [table4, table6] = [engine.createTable(4), engine.createTable(6)];
  for (const table of [table4, table6]) {
    for (const [i, spec] of routes.nextHops.entries()) {
      table.addNextHop(spec.members ? { kind: "group", members: spec.members } : nextHop(spec, i + 1));
    }
    table.load(table.family === 4 ? routes.v4 : routes.v6);
  }
  engine.port(0).configure({ table4, table6, promiscuous: true });
  const writer = new CaptureWriter({ format: options.format });
  const lost = run(engine, capture.packets, writer);
  await writeFile(options.out, writer.bytes()).catch((error: Error) => {
    throw new LoomError("EINVAL", `cannot write ${options.out}: ${error.message}`);
  });
  const { drops, punts, stats } = engine.counters();
  const warnings = [...routes.warnings, ...(capture.problem ? [capture.problem] : [])];
  const result = { packets: capture.packets.length, forwarded: stats.transmitted, ...lost, warnings };
  return {
    ...result,
    drops: drops as Record<string, number>,
    punts: punts as Record<string, number>,
    routes4: table4.size,
    routes6: table6.size,
  };
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [one, two] = await Promise.all([a, b].map((path) => realpath(path).catch(() => undefined)));
  return one !== undefined && one === two;
}

async function inputs(options: ForwardOptions): Promise<[Uint8Array, RouteSet]> {
  const steps = progress(1, options.quiet || !process.stderr.isTTY);
  try {
    return [await readInput(options.pcap, "capture"), await userTables(options.routes, steps)];
  } finally {
    steps.stop();
  }
}

function run(
  engine: Engine,
  packets: ReturnType<typeof readCapture>["packets"],
  writer: CaptureWriter,
): { unsupported: number; oversized: number } {
  const [ingress, egress] = [engine.port(0), engine.port(1)];
  let unsupported = 0;
  let oversized = 0;
  for (const packet of packets) {
    const frame = frameOf(packet, ingress.macBytes);
    // What a snapshot length cut off cannot be forwarded whole; the data plane drops it by its length.
    if (!frame) unsupported++;
    else if (frame.length > ingress.frameLimit) oversized++;
    else {
      ingress.receive(frame);
      engine.poll(BURST);
      egress.transmitted((bytes) => writer.write(bytes, packet.timestamp));
    }
  }
  return { unsupported, oversized };
}

export function forwardText(result: ForwardResult, out: string): string {
  const named = (counts: Record<string, number>) => Object.entries(counts).map(([name, n]) => `  ${name.padEnd(28)} ${grouped(n)}`);
  const rows = [
    `${grouped(result.packets)} packets through ${grouped(result.routes4)} IPv4 and ${grouped(result.routes6)} IPv6 routes`,
    `forwarded to ${out}: ${grouped(result.forwarded)}`,
  ];
  if (Object.keys(result.drops).length) rows.push("dropped:", ...named(result.drops));
  if (Object.keys(result.punts).length) rows.push("for the host (not forwarded):", ...named(result.punts));
  if (result.unsupported) rows.push(`of a link type without Ethernet or IP: ${grouped(result.unsupported)}`);
  if (result.oversized) rows.push(`larger than a buffer: ${grouped(result.oversized)}`);
  return rows.join("\n");
}
