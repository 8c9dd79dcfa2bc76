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
let restart = false;
let latest: Figures | undefined;
let chart: uPlot | undefined;

function makeChart(): uPlot {
  const axis = { stroke: colour("--ink"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
  const line = (label: string, stroke: string) => ({
    label,
    stroke,
    width: 2,
    value: (_: uPlot, v: number | null) => v?.toFixed(2) ?? "–",
  });
  const width = byId("chart").clientWidth;
  return new uPlot(
    {
      width,
      height: 300,
      title: "million packets a second",
      legend: { live: false },
      scales: { x: { time: false }, y: { range: (_u, _low, high) => [0, Math.max(high * 1.15, 1)] } },
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
  const rows = [
    ...Object.entries(drops).map(([name, n]) => [`dropped: ${name}`, n] as const),
    ...Object.entries(punts).map(([name, n]) => [`to the host: ${name}`, n] as const),
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
  button.textContent = "Stop";
  started = performance.now();
  for (const column of history) column.length = 0;
  status("Running.");
  send({ type: "run", load: chosen() });
}

function note(figures: Figures): void {
  latest = figures;
  const row = [(performance.now() - started) / 1000, figures.mpps, figures.plainMpps];
  row.forEach((value, i) => {
    history[i].push(value);
    if (history[i].length > HISTORY) history[i].shift();
  });
}

function stopped(message: FromWorker & { type: "stopped" }): void {
  latest = message.figures;
  running = false;
  button.textContent = "Start";
  status(
    message.verified
      ? `Stopped. ${message.samples} sampled packets equal the oracle's; every packet is accounted for.`
      : `Not verified: ${message.problem}`,
  );
  if (restart) {
    restart = false;
    start();
  }
}

worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
  if (data.type === "loaded") {
    byId("facts").textContent =
      `${data.routes4.toLocaleString("en-US")} IPv4 and ${data.routes6.toLocaleString("en-US")} IPv6 routes loaded in ${data.ms.toFixed(0)} ms into tries of ${(data.bytes / 2 ** 20).toFixed(1)} MiB (${data.build} build).`;
    status("Ready.");
    button.disabled = false;
  } else if (data.type === "figures") note(data.figures);
  else if (data.type === "stopped") stopped(data);
  else status(`Something went wrong: ${data.message}`);
};
worker.onerror = (event) => status(`Something went wrong: ${event.message}`);

button.onclick = () => {
  if (running) send({ type: "stop" });
  else start();
};
form.onchange = () => {
  if (!running) return;
  restart = true;
  send({ type: "stop" });
};
chart = makeChart();
addEventListener("resize", () => chart?.setSize({ width: byId("chart").clientWidth, height: 300 }));
requestAnimationFrame(draw);
send({ type: "load", tables: ["internet4.bin.gz", "internet6.bin.gz"] });
