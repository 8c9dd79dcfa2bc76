/** The section of the tabs: this tab's host, the hosts of the other tabs, what they say to each other. */
import { byId, count, row, setText } from "./dom.ts";
import type { FromTab, ToTab } from "./messages.ts";

const button = byId<HTMLButtonElement>("tabs-join");
const form = byId<HTMLFormElement>("tabs-controls");
const text = byId<HTMLInputElement>("tabs-text");
const status = (words: string) => setText("tabs-status", words);
let worker: Worker | undefined;
const send = (message: ToTab) => worker?.postMessage(message);
/** What each of the other tabs answered last. */
const answers = new Map<string, string>();
let others: { address: string; ms?: number }[] = [];
/** Buttons stay the same element from one second to the next: a click must find them. */
const rows = new Map<string, HTMLTableRowElement>();

function rowOf(address: string): HTMLTableRowElement {
  let found = rows.get(address);
  if (!found) {
    const fetching = Object.assign(document.createElement("button"), { type: "button", textContent: "Fetch 16 MB" });
    fetching.onclick = () => {
      answers.set(address, "fetching…");
      show();
      send({ type: "fetch", address });
    };
    found = row(address, "", fetching, "");
    rows.set(address, found);
  }
  return found;
}

function show(): void {
  const body = byId("tabs-peers").querySelector("tbody") as HTMLTableSectionElement;
  for (const address of [...rows.keys()]) if (!others.some((peer) => peer.address === address)) rows.delete(address);
  const shown = others.map(({ address, ms }) => {
    const line = rowOf(address);
    line.cells[1].textContent = ms === undefined ? "no answer" : `${ms.toFixed(2)} ms`;
    line.cells[3].textContent = answers.get(address) ?? "";
    return line;
  });
  const nobody = row("nobody yet", "", "", "");
  const next = shown.length ? shown : [nobody];
  if (next.length !== body.rows.length || next.some((line, i) => body.rows[i] !== line)) body.replaceChildren(...next);
}

function told(m: FromTab): void {
  if (m.type === "joined") {
    setText("tabs-address", m.address);
    status("This tab has a host on the LAN. Open a second tab to meet it.");
  } else if (m.type === "peers") {
    const before = others.length;
    others = m.peers;
    if (others.length !== before) status(others.length ? `${count(others.length, "other tab")} on the LAN.` : "The other tabs have gone.");
    byId<HTMLButtonElement>("tabs-say").disabled = others.length === 0;
  } else if (m.type === "said") answers.set(m.address, `echoed “${m.text}”`);
  else if (m.type === "heard") answers.set(m.address, `sent ${count(m.bytes, "byte")}, which were echoed`);
  else if (m.type === "fetched") answers.set(m.address, `${m.mbytes.toFixed(0)} MB at ${m.gbps.toFixed(2)} Gbit/s`);
  else status(`Something went wrong: ${m.message}`);
  show();
}

function join(): void {
  if (worker) return;
  button.disabled = true;
  status("Joining…");
  worker = Object.assign(new Worker("tab-worker.js", { type: "module" }), {
    onmessage: ({ data }: MessageEvent<FromTab>) => told(data),
    onerror: (event: ErrorEvent) => status(`Something went wrong: ${event.message ?? "the worker could not be loaded"}`),
  });
  send({ type: "join" });
}

export function showTabs(): void {
  button.disabled = false;
  button.onclick = join;
  byId("tabs-open").onclick = join;
  form.onsubmit = (event) => {
    event.preventDefault();
    send({ type: "say", text: text.value });
  };
  // A tab that was opened by another one joins at once.
  if (location.hash === "#tabs") join();
}
