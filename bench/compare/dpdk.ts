/**
 * DPDK's own forwarder on the same packets: dpdk-testpmd, no huge pages, no hardware, one forwarding core,
 * packets from a capture by net_pcap, mode csum (which looks into headers and fixes checksums).
 *
 * Packets per CPU second of the forwarding thread, so that a shared machine does it no injustice.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CaptureWriter } from "../../src/index.ts";
import type { Load, Rig } from "../../src/measure/index.ts";

export interface Peer {
  readonly mpps?: number;
  readonly note?: string;
}

const SECONDS = 4;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export async function dpdkRate(rig: Rig, load: Load): Promise<Peer> {
  if (spawnSync("dpdk-testpmd", ["--version"]).error) return { note: "dpdk-testpmd is not installed (Debian: dpdk-dev)" };
  const folder = mkdtempSync(join(tmpdir(), "dpdk-"));
  try {
    const capture = join(folder, "flows.pcap");
    const writer = new CaptureWriter();
    for (const frame of rig.frames(load)) writer.write(frame);
    writeFileSync(capture, writer.bytes());
    return await run(capture, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** CPU seconds of the forwarding thread so far. */
function cpuSeconds(pid: number): number {
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const name = readFileSync(`/proc/${pid}/task/${task}/comm`, "utf8").trim();
    if (!/(worker|lcore-worker|rte-worker)-?1$/.test(name)) continue;
    return Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]) / 1e9;
  }
  return Number.NaN;
}

async function run(capture: string, folder: string): Promise<Peer> {
  const eal = [
    "-l",
    "0,1",
    "--no-huge",
    "-m",
    "1024",
    "--no-pci",
    "--no-telemetry",
    "--file-prefix",
    `pl${process.pid}`,
    "--log-level",
    "4",
  ];
  const ports = ["--vdev", `net_pcap0,rx_pcap=${capture},tx_pcap=/dev/null,infinite_rx=1`, "--vdev", "net_null0"];
  const app = ["--", "-i", "--forward-mode=csum", "--total-num-mbufs=16384", "--burst=64", "--portmask=0x3"];
  const child = spawn("dpdk-testpmd", [...eal, ...ports, ...app], { stdio: ["pipe", "pipe", "pipe"], cwd: folder });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const say = (text: string) => child.stdin.write(`${text}\n`);
  await pause(3000);
  say("start");
  await pause(500);
  say("clear fwd stats all");
  const before = cpuSeconds(child.pid as number);
  await pause(SECONDS * 1000);
  say("stop");
  const cpu = cpuSeconds(child.pid as number) - before;
  await pause(700);
  say("quit");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(timer);
  const total = output.slice(output.lastIndexOf("Accumulated forward statistics"));
  const received = Number(/RX-packets:\s*(\d+)/.exec(total)?.[1]);
  if (!received || !cpu) return { note: `dpdk-testpmd did not forward: ${output.trim().split("\n").slice(-2).join(" | ")}` };
  const mpps = received / cpu / 1e6;
  return { mpps, note: `dpdk-testpmd csum ${mpps.toFixed(1)} Mpps per CPU second` };
}
