/** The section of the two hosts: figures of the three measurements, and what the sender knows, drawn as it learns it. */
import { LiveChart } from "./chart.ts";
import { byId, count, setText, takeProcessor } from "./dom.ts";
import type { FromTcp, ToTcp } from "./messages.ts";

const form = byId<HTMLFormElement>("tcp-controls");
const button = byId<HTMLButtonElement>("tcp-run");
const status = (text: string) => setText("tcp-status", text);
let worker: Worker | undefined;
let running = false;
let smooth = 0;
let sum = 0;
let readings = 0;

const rate = new LiveChart(byId("tcp-rate"), {
  title: "Gbit/s that arrive",
  x: "seconds",
  span: 6,
  lines: [{ label: "one TCP stream", colour: "--loom" }],
});
const window = new LiveChart(byId("tcp-window"), {
  title: "what the sender knows",
  x: "seconds",
  span: 6,
  right: "µs",
  lines: [
    { label: "cwnd (KiB)", colour: "--loom" },
    { label: "srtt (µs, right)", colour: "--plain", right: true },
  ],
});

function bulk(m: FromTcp & { type: "bulk" }): void {
  smooth = smooth ? smooth + 0.2 * (m.gbps - smooth) : m.gbps;
  sum += m.gbps;
  readings++;
  setText("tcp-gbps", smooth.toFixed(1));
  setText("tcp-cwnd", (m.cwnd / 1024).toFixed(0));
  setText("tcp-srtt", (m.srtt * 1000).toFixed(0));
  setText("tcp-mode", m.mode);
  rate.push(m.at, m.gbps);
  window.push(m.at, m.cwnd / 1024, m.srtt * 1000);
  rate.draw();
  window.draw();
  status(`One stream through the sockets: ${m.at.toFixed(0)} s of 6; ${count(m.retransmissions, "retransmission")}.`);
}

function ended(text: string): void {
  running = false;
  button.textContent = "Start";
  if (readings > 0) {
    const mean = (sum / readings).toFixed(1);
    setText("tcp-gbps", mean);
    rate.describe(`${mean} Gbit/s on average over ${count(readings, "reading")}`);
    window.describe(
      `the last congestion window was ${byId("tcp-cwnd").textContent} KiB, the round trip ${byId("tcp-srtt").textContent} µs`,
    );
  }
  status(text);
}

function told(m: FromTcp): void {
  if (m.type === "bulk") bulk(m);
  else if (m.type === "rtt") {
    setText("tcp-rtt", m.us.toFixed(1));
    status(`Round trips: the mean of ${count(m.trips, "byte")} sent and sent back. Then connections.`);
  } else if (m.type === "connections") setText("tcp-crr", Math.round(m.perSecond).toLocaleString("en-US"));
  else if (m.type === "failed") ended(`Something went wrong: ${m.message}`);
  else ended(m.stopped ? "Stopped." : "Done. Gbit/s is the mean of the run; both hosts shared one thread.");
}

function start(): void {
  takeProcessor(stop);
  worker ??= Object.assign(new Worker("tcp-worker.js", { type: "module" }), {
    onmessage: ({ data }: MessageEvent<FromTcp>) => told(data),
    onerror: (event: ErrorEvent) => ended(`Something went wrong: ${event.message ?? "the worker could not be loaded"}`),
  });
  running = true;
  smooth = sum = readings = 0;
  rate.clear();
  window.clear();
  for (const id of ["gbps", "rtt", "crr", "cwnd", "srtt", "mode"]) setText(`tcp-${id}`, "–");
  byId("tcp-numbers").classList.remove("stale");
  button.textContent = "Stop";
  status("Starting two hosts…");
  const data = new FormData(form);
  worker.postMessage({ type: "run", congestion: String(data.get("congestion")), cut: data.get("segments") === "cut" } satisfies ToTcp);
}

function stop(): void {
  if (running) worker?.postMessage({ type: "stop" } satisfies ToTcp);
}

export function showTcp(): void {
  button.disabled = false;
  button.onclick = () => (running ? stop() : start());
  form.onchange = () => {
    if (readings === 0) return;
    byId("tcp-numbers").classList.add("stale");
    status(running ? "The change counts from the next start." : "The figures are those of the settings before; press Start.");
  };
  // What a hidden tab measures is the browser's throttle.
  document.addEventListener("visibilitychange", () => document.hidden && stop());
}
