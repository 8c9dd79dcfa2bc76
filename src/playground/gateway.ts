/** The section of the gateway: rules to be written, what two machines get through them, what they have counted, who is tracked. */
import { byId, count, row, setText, takeProcessor } from "./dom.ts";
import type { FromGateway, ToGateway, Try } from "./messages.ts";

const form = byId<HTMLFormElement>("gateway-controls");
const button = byId<HTMLButtonElement>("gateway-run");
const applying = byId<HTMLButtonElement>("gateway-apply");
const text = byId<HTMLTextAreaElement>("gateway-rules");
const status = (what: string) => setText("gateway-status", what);
let worker: Worker | undefined;
let running = false;

const NAT = `table inet gateway {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related counter accept
    iifname "lan" tcp dport 80 counter accept
    iifname "lan" meta l4proto icmp counter accept
    iifname "lan" counter reject
    counter
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan" counter masquerade
  }
}
`;
const FORWARDED = NAT.replace(
  "  chain forward {",
  `  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "wan" tcp dport 8080 counter dnat ip to 10.0.0.2:80
  }
  chain forward {`,
).replace("established,related counter accept", "established,related counter accept\n    ct status dnat counter accept");
const LIMITED = `table inet gateway {
  set greeted { type ipv4_addr; flags dynamic; timeout 10s; }
  chain forward {
    type filter hook forward priority filter; policy accept;
    tcp dport 25 counter reject with tcp reset
    ip protocol icmp limit rate over 20/minute burst 3 packets counter drop
    ct state new add @greeted { ip saddr } counter
  }
}
`;
const PRESETS: Readonly<Record<string, string>> = {
  nat: NAT,
  forwarded: FORWARDED,
  limited: LIMITED,
  closed: "table ip gateway {\n  chain forward {\n    type filter hook forward priority filter; policy drop;\n    counter\n  }\n}\n",
  open: "# no rules: everything is forwarded as it is\n",
};

function verdict({ result, isReached, ms }: Try): HTMLElement {
  const shown = isReached ? `${result} (${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms)` : result;
  return Object.assign(document.createElement("span"), { textContent: shown, className: isReached ? "reached" : "stopped" });
}

function showState(m: FromGateway & { type: "state" }): void {
  const body = byId("gateway-tries").querySelector("tbody");
  body?.replaceChildren(...m.tries.map((each) => row(each.name, verdict(each))));
  setText("gateway-listing", m.rules || "(none)");
  setText("gateway-flows", m.flows.join("\n") || "(none)");
  setText("gateway-count", `${count(m.count, "connection")}${m.count > m.flows.length ? `, the newest ${m.flows.length}` : ""}`);
}

function ended(what: string): void {
  running = false;
  button.textContent = "Start";
  applying.disabled = true;
  fault("");
  status(what);
}

function fault(message: string): void {
  byId("gateway-fault").hidden = message === "";
  setText("gateway-fault", message);
}

function told(m: FromGateway): void {
  if (m.type === "state") showState(m);
  else if (m.type === "applied") {
    fault("");
    status(`In force: read, compiled and put in place in ${m.ms.toFixed(1)} ms.`);
  } else if (m.type === "refused") {
    fault(m.message);
    status(m.hasRules ? "Refused; the rules before are in force." : "Refused; no rules are in force, and everything passes.");
  } else ended(m.type === "failed" ? `Something went wrong: ${m.message}` : "Stopped.");
}

const send = (message: ToGateway) => worker?.postMessage(message);

function start(): void {
  takeProcessor(stop);
  worker ??= Object.assign(new Worker("gateway-worker.js", { type: "module" }), {
    onmessage: ({ data }: MessageEvent<FromGateway>) => told(data),
    onerror: (event: ErrorEvent) => ended(`Something went wrong: ${event.message ?? "the worker could not be loaded"}`),
  });
  running = true;
  button.textContent = "Stop";
  applying.disabled = false;
  status("Starting three machines…");
  send({ type: "run", rules: text.value });
}

function stop(): void {
  if (running) send({ type: "stop" });
}

function choose(): void {
  text.value = PRESETS[String(new FormData(form).get("preset"))];
  if (running) send({ type: "apply", rules: text.value });
}

export function showGateway(): void {
  choose();
  button.disabled = false;
  button.onclick = () => (running ? stop() : start());
  (form.elements.namedItem("preset") as HTMLSelectElement).onchange = choose;
  form.onsubmit = (event) => {
    event.preventDefault();
    send({ type: "apply", rules: text.value });
  };
}
