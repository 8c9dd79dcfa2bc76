/** The demo's result as a person reads it. */
import type { DemoResult, Row } from "./demo.ts";
import { decimal, grouped, mebibytes, table } from "./output.ts";

function named(counts: Record<string, number>): string {
  const entries = Object.entries(counts);
  return entries.length ? entries.map(([name, n]) => `${name} ${grouped(n)}`).join(", ") : "none";
}

function line(row: Row): (string | number)[] {
  return [
    row.name,
    row.workers,
    decimal(row.mpps),
    `${decimal(row.spread[0])}–${decimal(row.spread[1])}`,
    decimal(row.gbps),
    decimal(row.nsPerPacket),
    row.plainMpps === undefined ? "" : decimal(row.plainMpps, 2),
    row.ratio === undefined ? "" : `${decimal(row.ratio)}×`,
    decimal(row.copiedBytesPerPacket, 0),
    row.verified ? `${row.samples} samples` : "WRONG",
  ];
}

const HEAD = ["traffic", "workers", "Mpps", "spread", "Gbit/s", "ns/packet", "plain JS", "ratio", "copied B", "verified"];

export function demoText(result: DemoResult): string {
  const drops = merge(result.rows.map((row) => row.drops));
  const punts = merge(result.rows.map((row) => row.punts));
  const memory = Object.entries(result.memory)
    .filter(([, bytes]) => bytes >= 2 ** 16)
    .sort((a, b) => b[1] - a[1])
    .map(([name, bytes]) => `${name} ${mebibytes(bytes)}`);
  const problems = result.rows.filter((row) => row.problem).map((row) => `${row.name}: ${row.problem}`);
  return [
    `${grouped(result.routes4)} IPv4 and ${grouped(result.routes6)} IPv6 routes, read in ${decimal(result.decodeMs, 0)} ms, loaded in ${decimal(result.loadMs, 0)} ms; both tries ${mebibytes(result.trieBytes)}; ${result.build} build`,
    "",
    table(HEAD, result.rows.map(line)),
    "",
    "Every packet goes to another destination inside the table. Frame sizes with FCS (RFC 2544); ns are per worker.",
    `dropped:  ${named(drops)}`,
    `punted:   ${named(punts)}`,
    `memory:   ${memory.join(", ")}`,
    result.verified
      ? "verified: sampled output equals the oracle's byte for byte, and packets in = packets out + named drops + punts"
      : `NOT VERIFIED: ${problems.join("; ")}`,
    ...result.warnings.map((warning) => `warning:  ${warning}`),
  ].join("\n");
}

function merge(list: Record<string, number>[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const counts of list) for (const [name, n] of Object.entries(counts)) out[name] = (out[name] ?? 0) + n;
  return out;
}
