/** The section of the router: controls, live figures, a chart. It never blocks; the engine works in a worker. */
import type { Load } from "../measure/index.ts";
import { LiveChart } from "./chart.ts";
import { byId, count, row, setText, takeProcessor } from "./dom.ts";
import type { Figures, FromWorker, ToWorker } from "./messages.ts";

const TABLES = ["internet4.bin.gz", "internet6.bin.gz"];
const button = byId<HTMLButtonElement>("run");
const again = byId<HTMLButtonElement>("again");
const form = byId<HTMLFormElement>("controls");
const status = (text: string) => setText("status", text);
let worker: Worker | undefined;
const send = (message: ToWorker) => worker?.postMessage(message);

/** A minute of history at ten readings a second. */
const HISTORY = 600;
let running = false;
/** Stop was pressed and the worker has not answered yet. */
let stopping = false;
/** What should happen when the worker has stopped. */
let restart = false;
/** The tab was hidden while the router ran: it goes on when the tab is seen again. */
let paused = false;
let loaded = false;
/** Readings are smoothed over about a second; a tenth of one says little. */
const SMOOTHING = 0.2;
let smooth: { mpps: number; plainMpps: number; gbps: number } | undefined;
let latest: Figures | undefined;
let readings = 0;
/** A shorter run says nothing about a ratio. */
const LEAST_SECONDS = 1;

const chart = new LiveChart(byId("chart"), {
  title: "million packets a second",
  x: "seconds",
  span: 10,
  most: HISTORY,
  lines: [
    { label: "packetloom", colour: "--loom" },
    { label: "plain JavaScript", colour: "--plain" },
  ],
});

/** Once a frame at most, whatever the worker sends. */
function draw(): void {
  requestAnimationFrame(draw);
  if (!latest) return;
  const f = latest;
  latest = undefined;
  setText("mpps", f.mpps.toFixed(1));
  setText("plain", f.plainMpps.toFixed(2));
  setText("ratio", f.seconds >= LEAST_SECONDS ? `${(f.mpps / f.plainMpps).toFixed(1)}×` : "–");
  setText("gbps", f.gbps.toFixed(1));
  setText("ns", f.mpps > 0 ? (1000 / f.mpps).toFixed(1) : "–");
  setText("total", f.packets.toLocaleString("en-US"));
  byId("total").dataset.transmitted = String(f.transmitted);
  drawDrops(f);
  chart.draw();
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
  body.replaceChildren(...(rows.length ? rows.map(([name, n]) => row(name, n.toLocaleString("en-US"))) : [row("none", "")]));
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
  takeProcessor(stop);
  running = true;
  paused = false;
  readings = 0;
  smooth = undefined;
  button.textContent = "Stop";
  chart.clear();
  status("Running.");
  send({ type: "run", load: chosen(), workers: Number(new FormData(form).get("workers") ?? 1) });
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
  readings++;
  chart.push(figures.seconds, figures.mpps, figures.plainMpps);
}

/** What the figures that stay are worth. */
function lengthOf({ seconds }: Figures): string {
  if (readings === 0) return "Stopped before the first reading.";
  const length = `${count(readings, "reading")} in ${seconds.toFixed(1)} s`;
  return seconds < LEAST_SECONDS
    ? `Stopped after ${length}: too short a run for a ratio.`
    : `Stopped; the figures are the whole run's, ${length}.`;
}

function stopped(message: FromWorker & { type: "stopped" }): void {
  const { figures } = message;
  latest = figures;
  running = stopping = false;
  button.textContent = "Start";
  chart.describe(`${lengthOf(figures)} packetloom ${figures.mpps.toFixed(1)}, plain JavaScript ${figures.plainMpps.toFixed(2)}`);
  const checked = `${count(message.samples, "sampled packet")} as the reference router makes them; every packet is accounted for.`;
  // A stop before the first packet proves nothing.
  if (readings === 0) status(lengthOf(figures));
  else status(message.verified ? `${lengthOf(figures)} ${checked}` : `Not verified: ${message.problem}`);
  if (paused) status("Paused while the tab is hidden.");
  if (!restart) return;
  restart = false;
  start();
}

function failed(message: string): void {
  running = stopping = restart = paused = false;
  button.textContent = "Start";
  button.disabled = !loaded;
  again.hidden = loaded;
  status(`Something went wrong: ${message}`);
}

function told({ data }: MessageEvent<FromWorker>): void {
  if (data.type === "loaded") {
    loaded = true;
    byId("facts").textContent =
      `${data.routes4.toLocaleString("en-US")} IPv4 and ${data.routes6.toLocaleString("en-US")} IPv6 routes loaded in ${data.ms.toFixed(0)} ms into tries of ${(data.bytes / 2 ** 20).toFixed(1)} MiB (${data.build} build).`;
    status("Ready.");
    button.disabled = false;
  } else if (data.type === "figures") note(data.figures);
  else if (data.type === "stopped") stopped(data);
  else failed(data.message);
}

function load(): void {
  again.hidden = true;
  status("Loading the tables…");
  worker?.terminate();
  worker = Object.assign(new Worker("worker.js", { type: "module" }), {
    onmessage: told,
    onerror: (event: ErrorEvent) => failed(event.message ?? "the script worker.js could not be loaded"),
  });
  send({ type: "load", tables: TABLES });
}

function stop(): void {
  if (!running) return;
  // A stop is a stop, whatever was changed a moment before.
  restart = paused = false;
  stopping = true;
  send({ type: "stop" });
}

/** Options that mean something else beside others say so: the smallest IPv6 packet, the twelve sizes of the mix. */
function relabel(): void {
  const { family, frameSize } = chosen();
  (form.querySelector('option[value="64"]') as HTMLOptionElement).textContent = family === 6 ? "66 B" : "64 B";
  for (const option of form.querySelectorAll<HTMLOptionElement>('select[name="flows"] option')) {
    const n = Number(option.value);
    option.textContent = String(frameSize === "imix" ? Math.ceil(n / 12) * 12 : n);
  }
}

function changed(): void {
  relabel();
  setStale(latest !== undefined || readings > 0);
  if (!running) {
    if (readings > 0) status("The figures are those of the settings before; press Start.");
    return;
  }
  if (stopping) return;
  restart = true;
  status("Changing…");
  send({ type: "stop" });
}

/** A hidden tab's timers are held back: what it measured would be that. */
function seen(): void {
  if (document.hidden && running && !stopping) {
    stop();
    paused = true;
  } else if (!document.hidden && paused) {
    if (running) restart = true;
    else start();
    paused = false;
  }
}

/** Threads need memory that is shared, which a page has only when it is isolated. */
function offerWorkers(): void {
  const select = form.elements.namedItem("workers") as HTMLSelectElement;
  const most = crossOriginIsolated ? Math.max(Math.min(navigator.hardwareConcurrency, 8), 2) : 1;
  select.replaceChildren(...Array.from({ length: most }, (_, i) => new Option(String(i + 1))));
  select.disabled = most === 1;
  byId("workers-why").hidden = most > 1;
}

export function showRouter(): void {
  offerWorkers();
  button.onclick = () => (running ? stop() : start());
  again.onclick = load;
  form.onchange = changed;
  relabel();
  document.addEventListener("visibilitychange", seen);
  requestAnimationFrame(draw);
  load();
}
