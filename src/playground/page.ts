/** The page: controls, live figures, a chart. It never blocks; the engine works in a worker. */
import uPlot from "uplot";
import type { Load } from "../measure/index.ts";
import type { Figures, FromWorker, ToWorker } from "./messages.ts";

const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const worker = new Worker("worker.js", { type: "module" });
const send = (message: ToWorker) => worker.postMessage(message);
const button = byId<HTMLButtonElement>("run");
const form = byId<HTMLFormElement>("controls");
const status = (text: string) => {
  byId("status").textContent = text;
};
const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A minute of history at ten readings a second. */
const HISTORY = 600;
const history: [number[], number[], number[]] = [[], [], []];
let started = 0;
let running = false;
/** Stop was pressed and the worker has not answered yet. */
let stopping = false;
/** What should happen when the worker has stopped. */
let restart = false;
/** Readings are smoothed over about a second; a tenth of one says little. */
const SMOOTHING = 0.2;
let smooth: { mpps: number; plainMpps: number; gbps: number } | undefined;
let latest: Figures | undefined;
let chart: uPlot | undefined;

function makeChart(): uPlot {
  const axis = { stroke: colour("--ink"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const line = (label: string, stroke: string) => ({
    label,
    stroke,
    width: 2,
    points: { show: false },
    value: (_: uPlot, v: number | null) => v?.toFixed(2) ?? "–",
  });
  const width = byId("chart").clientWidth;
  return new uPlot(
    {
      width,
      height: 300,
      title: "million packets a second",
      legend: { live: false },
      scales: {
        x: { time: false, range: (_u, low, high) => [low ?? 0, Math.max(high ?? 0, (low ?? 0) + 10)] },
        y: { range: (_u, _low, high) => [0, Math.max(high * 1.15, 1)] },
      },
      axes: [{ ...axis, label: "seconds" }, axis],
      series: [
        { label: "time", value: (_, v) => v?.toFixed(1) ?? "–" },
        line("packetloom", colour("--loom")),
        line("plain JavaScript", colour("--plain")),
      ],
    },
    history,
    byId("chart"),
  );
}

/** Once a frame at most, whatever the worker sends. */
function draw(): void {
  requestAnimationFrame(draw);
  if (!latest) return;
  const f = latest;
  latest = undefined;
  const set = (id: string, text: string) => {
    byId(id).textContent = text;
  };
  set("mpps", f.mpps.toFixed(1));
  set("plain", f.plainMpps.toFixed(2));
  set("ratio", `${(f.mpps / f.plainMpps).toFixed(1)}×`);
  set("gbps", f.gbps.toFixed(1));
  set("ns", f.mpps > 0 ? (1000 / f.mpps).toFixed(1) : "–");
  set("total", f.packets.toLocaleString("en-US"));
  byId("total").dataset.transmitted = String(f.transmitted);
  drawDrops(f);
  chart?.setData(history);
}

function drawDrops({ drops, punts }: Figures): void {
  // A packet without a route goes to the host, and is dropped once the host's queue is full: one reason, one row.
  const { unreachable = 0, ...otherPunts } = punts;
  const { punt_ring_full: full = 0, ...otherDrops } = drops;
  const noRoute = Object.keys(otherPunts).length === 0 ? unreachable + full : unreachable;
  const rows = [
    ...(noRoute ? [["no route to the destination", noRoute] as const] : []),
    ...(full && noRoute === unreachable ? [["the host's queue was full", full] as const] : []),
    ...Object.entries(otherDrops).map(([name, n]) => [`dropped: ${name.replaceAll("_", " ")}`, n] as const),
    ...Object.entries(otherPunts).map(([name, n]) => [`to the host: ${name.replaceAll("_", " ")}`, n] as const),
  ];
  const body = byId("drops").querySelector("tbody") as HTMLElement;
  body.replaceChildren(
    ...(rows.length ? rows : [["none", ""] as const]).map(([name, n]) => {
      const row = document.createElement("tr");
      for (const text of [name, n.toLocaleString("en-US")]) row.append(Object.assign(document.createElement("td"), { textContent: text }));
      return row;
    }),
  );
}

function chosen(): Load {
  const data = new FormData(form);
  const size = String(data.get("frameSize"));
  return {
    family: data.get("family") === "6" ? 6 : 4,
    frameSize: size === "imix" ? "imix" : Number(size),
    flows: Number(data.get("flows")),
    everyPacket: data.get("destinations") === "every",
    distribution: data.get("distribution") as Load["distribution"],
  };
}

function start(): void {
  running = true;
  smooth = undefined;
  button.textContent = "Stop";
  started = performance.now();
  for (const column of history) column.length = 0;
  status("Running.");
  send({ type: "run", load: chosen() });
}

/** New settings are not the old ones' figures. */
function setStale(stale: boolean): void {
  byId("numbers").classList.toggle("stale", stale);
}

function note(figures: Figures): void {
  setStale(restart);
  const mix = (key: "mpps" | "plainMpps" | "gbps") => (smooth ? smooth[key] + SMOOTHING * (figures[key] - smooth[key]) : figures[key]);
  smooth = { mpps: mix("mpps"), plainMpps: mix("plainMpps"), gbps: mix("gbps") };
  latest = { ...figures, ...smooth };
  const row = [(performance.now() - started) / 1000, figures.mpps, figures.plainMpps];
  row.forEach((value, i) => {
    history[i].push(value);
    if (history[i].length > HISTORY) history[i].shift();
  });
}

const count = (n: number, what: string) => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`;

function stopped(message: FromWorker & { type: "stopped" }): void {
  latest = message.figures;
  running = stopping = false;
  button.textContent = "Start";
  status(
    message.verified
      ? `Stopped; the figures are the whole run's. ${count(message.samples, "sampled packet")} as the reference router makes them; every packet is accounted for.`
      : `Not verified: ${message.problem}`,
  );
  if (restart) {
    restart = false;
    start();
  }
}

function failed(message: string): void {
  running = stopping = restart = false;
  button.textContent = "Start";
  status(`Something went wrong: ${message}`);
}

worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
  if (data.type === "loaded") {
    byId("facts").textContent =
      `${data.routes4.toLocaleString("en-US")} IPv4 and ${data.routes6.toLocaleString("en-US")} IPv6 routes loaded in ${data.ms.toFixed(0)} ms into tries of ${(data.bytes / 2 ** 20).toFixed(1)} MiB (${data.build} build).`;
    status("Ready.");
    button.disabled = false;
  } else if (data.type === "figures") note(data.figures);
  else if (data.type === "stopped") stopped(data);
  else failed(data.message);
};
worker.onerror = (event) => failed(event.message ?? "the worker could not be loaded; reload the page to try again");

button.onclick = () => {
  if (!running) {
    start();
    return;
  }
  // A stop is a stop, whatever was changed a moment before.
  restart = false;
  stopping = true;
  send({ type: "stop" });
};
form.onchange = () => {
  const small = form.querySelector('option[value="64"]') as HTMLOptionElement;
  small.textContent = chosen().family === 6 ? "66 B" : "64 B";
  setStale(true);
  if (!running || stopping) return;
  restart = true;
  status("Changing…");
  send({ type: "stop" });
};
chart = makeChart();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  chart?.destroy();
  chart = makeChart();
});
addEventListener("resize", () => chart?.setSize({ width: byId("chart").clientWidth, height: 300 }));
requestAnimationFrame(draw);
send({ type: "load", tables: ["internet4.bin.gz", "internet6.bin.gz"] });
