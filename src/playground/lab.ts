/** The section of the lab: sliders for a path, four congestion controls drawn over each other, the same for the same seed. */
import { LiveChart } from "./chart.ts";
import { byId, row, setText, takeProcessor } from "./dom.ts";
import type { FromLab, Path, ToLab } from "./messages.ts";

const form = byId<HTMLFormElement>("lab-controls");
const button = byId<HTMLButtonElement>("lab-run");
const status = (text: string) => setText("lab-status", text);
const SECONDS = 20;
let worker: Worker | undefined;

const chart = new LiveChart(byId("lab-chart"), {
  title: "Mbit/s that arrive",
  x: "virtual seconds",
  span: SECONDS,
  lines: [
    { label: "cubic", colour: "--loom" },
    { label: "reno", colour: "--plain" },
    { label: "bbr", colour: "--green" },
    { label: "dctcp", colour: "--violet" },
  ],
});

/** Loss and rate are better felt on a scale of powers. */
const LOSSES = [0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
const RATES = [1, 2, 5, 10, 20, 50, 100];

/** What the field allows, whatever was typed; the field shows what counts. */
function seed(): number {
  const field = form.elements.namedItem("seed") as HTMLInputElement;
  const wanted = Math.min(Math.max(Math.round(field.valueAsNumber || 1), Number(field.min)), Number(field.max));
  if (document.activeElement !== field) field.value = String(wanted);
  return wanted;
}

function chosen(): Path {
  const value = (name: string) => Number(new FormData(form).get(name));
  return { delay: value("delay"), loss: LOSSES[value("loss")] / 100, rate: RATES[value("rate")] * 1e6, seed: seed() };
}

function showChosen(): void {
  const { delay, loss, rate } = chosen();
  setText("lab-delay", `${delay} ms`);
  setText("lab-loss", `${Number((loss * 100).toFixed(2))}%`);
  setText("lab-rate", `${rate / 1e6} Mbit/s`);
}

function end(text: string): void {
  button.disabled = false;
  status(text);
}

function told(m: FromLab): void {
  if (m.type === "row") {
    chart.push(m.at, ...m.mbps);
    chart.draw();
    status(`${Math.floor(m.at)} of ${SECONDS} virtual seconds.`);
  } else if (m.type === "failed") end(`Something went wrong: ${m.message}`);
  else {
    byId("lab-results")
      .querySelector("tbody")
      ?.replaceChildren(
        ...m.results.map(({ name, mbps, srtt, retransmissions }) =>
          row(name, `${mbps.toFixed(2)} Mbit/s`, `${srtt.toFixed(0)} ms`, retransmissions.toLocaleString("en-US")),
        ),
      );
    chart.describe(m.results.map(({ name, mbps }) => `${name} ${mbps.toFixed(2)} Mbit/s`).join(", "));
    end(`Four runs of ${SECONDS} virtual seconds took ${(m.ms / 1000).toFixed(1)} s. The same seed gives the same run, bit for bit.`);
  }
}

function start(): void {
  takeProcessor(() => {});
  worker ??= Object.assign(new Worker("lab-worker.js", { type: "module" }), {
    onmessage: ({ data }: MessageEvent<FromLab>) => told(data),
    onerror: (event: ErrorEvent) => end(`Something went wrong: ${event.message ?? "the worker could not be loaded"}`),
  });
  button.disabled = true;
  chart.clear();
  status("Starting four labs…");
  worker.postMessage({ type: "run", path: chosen(), seconds: SECONDS } satisfies ToLab);
}

export function showLab(): void {
  button.disabled = false;
  button.onclick = start;
  form.oninput = showChosen;
  form.onsubmit = (event) => event.preventDefault();
  form.onchange = () => {
    if (!button.disabled && byId("lab-results").querySelector("tbody th[scope=row]"))
      status("The curves are those of the path before; press Run.");
  };
  showChosen();
}
