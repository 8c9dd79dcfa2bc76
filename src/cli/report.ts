/** The demo's result as one self-contained page: a table and two charts (uPlot, inlined). */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { DemoResult, Row } from "./demo.ts";
import { decimal, grouped, mebibytes } from "./output.ts";

const escapeHtml = (text: string) => text.replace(/[&<>"]/g, (c) => `&${{ "&": "amp", "<": "lt", ">": "gt", '"': "quot" }[c]};`);

const STYLE = `
:root { color-scheme: light dark; --ink: #1b2733; --paper: #fbfaf7; --line: #d8d4ca; --loom: #0b6e99; --plain: #c2571a }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --paper: #15191d; --line: #343b42; --loom: #4db6e2; --plain: #f0965a } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line) } th:first-child, td:first-child { text-align: left }
.chart { margin: 1rem 0 } .u-legend { color: var(--ink) } small { opacity: .8 }`;

function cells(row: Row): string {
  const values = [
    row.name,
    String(row.workers),
    decimal(row.mpps),
    decimal(row.gbps),
    decimal(row.nsPerPacket),
    row.plainMpps === undefined ? "" : decimal(row.plainMpps, 2),
    row.ratio === undefined ? "" : `${decimal(row.ratio)}×`,
    row.verified ? "yes" : "NO",
  ];
  return `<tr>${values.map((value) => `<td>${escapeHtml(value)}</td>`).join("")}</tr>`;
}

/** Draws with the uPlot that stands above it; data comes from the page's JSON. */
const SCRIPT = `
const { rows } = JSON.parse(document.getElementById("data").textContent);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ink = css("--ink"), line = css("--line"), loom = css("--loom"), plain = css("--plain");
const axis = { stroke: ink, grid: { stroke: line }, ticks: { stroke: line } };
const width = Math.min(960, document.body.clientWidth - 32);
const one = rows.filter((r) => r.workers === 1);
const bars = (align) => uPlot.paths.bars({ size: [0.35, 90], align });
new uPlot({ width, height: 320, legend: { live: false }, title: "million packets a second, one worker", scales: { x: { time: false, range: [-0.6, one.length - 0.4] }, y: { range: (u, low, high) => [0, high * 1.1] } },
  axes: [{ ...axis, splits: () => one.map((r, i) => i), values: () => one.map((r) => r.name) }, axis],
  series: [{ label: "traffic", value: (u, v) => v === null ? "" : one[v].name }, { label: "packetloom", fill: loom, stroke: loom, paths: bars(-1), points: { show: false } },
    { label: "plain JavaScript", fill: plain, stroke: plain, paths: bars(1), points: { show: false } }] },
  [one.map((r, i) => i), one.map((r) => r.mpps), one.map((r) => r.plainMpps ?? null)], document.getElementById("bars"));
const colours = ["#0b6e99", "#c2571a", "#5b8c2a", "#8e4ea8", "#b8972b", "#3d7f8f"];
new uPlot({ width, height: 280, legend: { live: false }, title: "over each row's time, one worker", scales: { x: { time: false }, y: { range: (u, low, high) => [0, high * 1.1] } }, axes: [{ ...axis, label: "tenth of the run", stroke: ink }, axis],
  series: [{ label: "tenth" }, ...one.map((r, i) => ({ label: r.name, stroke: colours[i % colours.length], width: 2 }))] },
  [one[0].series.map((_, i) => i + 1), ...one.map((r) => r.series)], document.getElementById("lines"));`;

export async function reportHtml(result: DemoResult): Promise<string> {
  const require = createRequire(import.meta.url);
  const file = (path: string) => readFile(require.resolve(path), "utf8");
  const [script, style] = await Promise.all([file("uplot/dist/uPlot.iife.min.js"), file("uplot/dist/uPlot.min.css")]);
  const head = ["traffic", "workers", "Mpps", "Gbit/s", "ns/packet", "plain JS", "ratio", "verified"];
  const memory = Object.entries(result.memory).filter(([, bytes]) => bytes >= 2 ** 16);
  const drops = Object.entries(Object.assign({}, ...result.rows.map((row) => row.drops)) as Record<string, number>);
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>packetloom: forwarding the Internet's table</title><style>${style}${STYLE}</style>
<h1>Forwarding the Internet's table</h1>
<p>${grouped(result.routes4)} IPv4 and ${grouped(result.routes6)} IPv6 routes, loaded in ${decimal(result.loadMs, 0)} ms, tries of ${mebibytes(result.trieBytes)}.
Every packet goes to another destination inside the table. ${result.verified ? "Verified against the oracle." : "<strong>Not verified.</strong>"}</p>
<div class="chart" id="bars"></div>
<table><tr>${head.map((name) => `<th>${name}</th>`).join("")}</tr>${result.rows.map(cells).join("")}</table>
<div class="chart" id="lines"></div>
<p><small>Drops: ${drops.length ? escapeHtml(drops.map(([name, n]) => `${name} ${grouped(n)}`).join(", ")) : "none"}. Memory: ${memory.map(([name, bytes]) => `${name} ${mebibytes(bytes)}`).join(", ")}.
Frame sizes with FCS (RFC 2544); ns per packet and worker. Route data: RouteViews and DB-IP, CC BY 4.0, unless a file was given.</small></p>
<script type="application/json" id="data">${JSON.stringify(result).replace(/</g, "\\u003c")}</script>
<script>${script}</script><script>${SCRIPT}</script></html>
`;
}
