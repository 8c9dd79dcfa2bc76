/** A router's counters in the text format of Prometheus (version 0.0.4 of the exposition formats). */
import type { Router } from "./router.ts";
import type { RouterStatus } from "./status.ts";

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

const escaped = (value: string) => value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

/** HELP, TYPE, and a line for each sample; nothing without samples. */
function metric(name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return "";
  const lines = samples.map(([labels, value]) => {
    const inner = Object.entries(labels).map(([key, each]) => `${key}="${escaped(each)}"`);
    return `packetloom_${name}${inner.length ? `{${inner.join(",")}}` : ""} ${value}`;
  });
  const text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return `# HELP packetloom_${name} ${text}\n# TYPE packetloom_${name} ${type}\n${lines.join("\n")}\n`;
}

export function metricsText(router: Router): string {
  const status = router.status();
  return [...whole(status), ...interfaces(status), ...tracking(status), ...services(status)].join("");
}

const one = (value: number): Sample[] => [[{}, value]];
const named = (key: string, counts: Readonly<Record<string, number>>): Sample[] =>
  Object.entries(counts).map(([name, value]) => [{ [key]: name }, value]);

function whole({ uptimeMs, drops, punts, forwarded, routes, neighbours, buffers, problems }: RouterStatus): string[] {
  return [
    metric("uptime_seconds", "gauge", "Time since the router was started.", one(uptimeMs / 1000)),
    metric("transmitted_packets_total", "counter", "Packets handed to output ports.", one(forwarded)),
    metric("dropped_packets_total", "counter", "Packets that ended in the router, by reason.", named("reason", drops)),
    metric("punted_packets_total", "counter", "Packets that the data plane left to the host layer, by reason.", named("reason", punts)),
    metric("routes", "gauge", "Routes of the main table.", one(routes)),
    metric("neighbours", "gauge", "Neighbours that are known.", one(neighbours)),
    metric("buffers", "gauge", "Packet buffers.", one(buffers.total)),
    metric("buffers_free", "gauge", "Packet buffers that nobody holds.", one(buffers.free)),
    metric("problems", "gauge", "Parts of the configuration that do not work at present.", one(problems.length)),
  ];
}

function interfaces({ interfaces: all }: RouterStatus): string[] {
  const each = (value: (link: (typeof all)[number]) => number): Sample[] => all.map((link) => [{ interface: link.name }, value(link)]);
  const direction = (way: "receive" | "transmit", key: "rx" | "tx") => {
    const of = (field: "bytes" | "packets" | "errors" | "dropped") => each((link) => link.stats[key][field]);
    return [
      metric(`interface_${way}_bytes_total`, "counter", `Bytes of frames: ${way}.`, of("bytes")),
      metric(`interface_${way}_packets_total`, "counter", `Frames: ${way}.`, of("packets")),
      metric(`interface_${way}_errors_total`, "counter", `Frames with errors: ${way}.`, of("errors")),
      metric(`interface_${way}_dropped_total`, "counter", `Frames without a place: ${way}.`, of("dropped")),
    ];
  };
  const queued = all.filter(({ queue }) => queue !== undefined);
  const queue = (value: (of: NonNullable<(typeof all)[number]["queue"]>) => number): Sample[] =>
    queued.flatMap((link) => (link.queue ? [[{ interface: link.name, kind: link.queue.kind }, value(link.queue)] as const] : []));
  return [
    metric(
      "interface_up",
      "gauge",
      "1 while the interface is up and somebody is on the other side.",
      each(({ up, carrier }) => (up && carrier ? 1 : 0)),
    ),
    metric(
      "interface_mtu_bytes",
      "gauge",
      "MTU.",
      each(({ mtu }) => mtu),
    ),
    ...direction("receive", "rx"),
    ...direction("transmit", "tx"),
    metric(
      "qdisc_sent_bytes_total",
      "counter",
      "Bytes that left the root qdisc.",
      queue((of) => of.sentBytes),
    ),
    metric(
      "qdisc_sent_packets_total",
      "counter",
      "Packets that left the root qdisc.",
      queue((of) => of.sentPackets),
    ),
    metric(
      "qdisc_dropped_packets_total",
      "counter",
      "Packets that the root qdisc dropped.",
      queue((of) => of.dropped),
    ),
    metric(
      "qdisc_overlimits_total",
      "counter",
      "Times that the root qdisc held packets back.",
      queue((of) => of.overlimits),
    ),
    metric(
      "qdisc_backlog_bytes",
      "gauge",
      "Bytes that wait in the root qdisc.",
      queue((of) => of.backlogBytes),
    ),
  ];
}

function tracking({ conntrack }: RouterStatus): string[] {
  if (!conntrack) return [];
  const { entries, max, found, invalid, insert, insertFailed, drop, earlyDrop, expired } = conntrack;
  return [
    metric("conntrack_entries", "gauge", "Connections that are tracked.", one(entries)),
    metric("conntrack_max", "gauge", "Connections that can be tracked.", one(max)),
    metric(
      "conntrack_events_total",
      "counter",
      "What happened to entries, by conntrack's names.",
      named("event", { found, invalid, insert, insert_failed: insertFailed, drop, early_drop: earlyDrop, expired }),
    ),
  ];
}

function services({ services: all, dns, dhcpLeases }: RouterStatus): string[] {
  const backends = all.flatMap((service) =>
    service.backends.map((backend) => ({ labels: { service: service.name, backend: backend.name }, backend })),
  );
  const each = (value: (of: (typeof backends)[number]["backend"]) => number): Sample[] =>
    backends.map(({ labels, backend }) => [labels, value(backend)]);
  return [
    metric(
      "backend_up",
      "gauge",
      "1 while the backend takes new connections.",
      each(({ state }) => (state === "up" || state === "slow-start" ? 1 : 0)),
    ),
    metric(
      "backend_connections_total",
      "counter",
      "Connections that a backend was given.",
      each(({ conns }) => conns),
    ),
    metric(
      "backend_active_connections",
      "gauge",
      "Connections that a backend has.",
      each(({ activeConns }) => activeConns),
    ),
    metric(
      "backend_receive_bytes_total",
      "counter",
      "Bytes from clients to a backend.",
      each(({ inBytes }) => inBytes),
    ),
    metric(
      "backend_transmit_bytes_total",
      "counter",
      "Bytes from a backend to clients.",
      each(({ outBytes }) => outBytes),
    ),
    metric("dns_total", "counter", "What the DNS forwarder did with questions.", named("event", dns ?? {})),
    metric("dhcp_leases", "gauge", "Leases that are held, by interface.", named("interface", dhcpLeases)),
  ];
}
