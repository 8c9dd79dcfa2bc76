/** `conntrack -L|-E|-D|-F|-S|-C`: conntrack(8) against the router's flows. */
import type { FlowEvent, FlowFilter } from "../../track/conntrack.ts";
import { PROTOCOL_NAMES } from "../../track/flow.ts";
import { flowText } from "../../track/index.ts";
import { type Command, type Output, usage } from "./command.ts";

const VERSION = "conntrack v1.4.7 (packetloom)";
/** How often events are looked for (ms). */
const EVENTS_MS = 50;

const FILTERS: Readonly<Record<string, (value: string) => Partial<FlowFilter>>> = {
  "-s": (src) => ({ src }),
  "--orig-src": (src) => ({ src }),
  "--src": (src) => ({ src }),
  "-d": (dst) => ({ dst }),
  "--orig-dst": (dst) => ({ dst }),
  "--dst": (dst) => ({ dst }),
  "-p": (protocol) => ({ protocol: /^\d+$/.test(protocol) ? Number(protocol) : protocol }),
  "--proto": (protocol) => ({ protocol: /^\d+$/.test(protocol) ? Number(protocol) : protocol }),
  "-f": (family) => ({ family: family === "ipv6" ? 6 : 4 }),
  "--family": (family) => ({ family: family === "ipv6" ? 6 : 4 }),
  "-w": (zone) => ({ zone: Number(zone) }),
  "--zone": (zone) => ({ zone: Number(zone) }),
  "-m": (mark) => ({ mark: Number(mark) }),
  "--mark": (mark) => ({ mark: Number(mark) }),
  "--state": (state) => ({ state }),
  "--sport": (port) => ({ sport: Number(port) }),
  "--orig-port-src": (port) => ({ sport: Number(port) }),
  "--dport": (port) => ({ dport: Number(port) }),
  "--orig-port-dst": (port) => ({ dport: Number(port) }),
};
const ACTIONS: Readonly<Record<string, string>> = {
  "-L": "list",
  "--dump": "list",
  "-D": "delete",
  "--delete": "delete",
  "-E": "events",
  "--event": "events",
  "-F": "flush",
  "--flush": "flush",
  "-S": "stats",
  "--stats": "stats",
  "-C": "count",
  "--count": "count",
};

export const conntrack: Command = ({ rules, host }, words) => {
  const { conntrack: tracked } = rules;
  if (!tracked) throw usage(`${VERSION}: this router tracks no connections (conntrack.max is 0)`);
  let action: string | undefined;
  // Hosts of one engine share its table, each in a zone of its own; the first has zone 0, and rules may choose others.
  let filter: FlowFilter = host.network?.index ? { zone: host.network.index } : {};
  let isExtended = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (Object.hasOwn(ACTIONS, word)) action = ACTIONS[word];
    else if (Object.hasOwn(FILTERS, word)) filter = { ...filter, ...FILTERS[word](words[++i] ?? "") };
    else if (word === "-o" || word === "--output") isExtended ||= (words[++i] ?? "").split(",").includes("extended");
    else if (!(word === "conntrack" && words[i - 1] in ACTIONS)) throw usage(`${VERSION}: unknown option \`${word}'`);
  }
  const counted = host.engine.memory.layout.sizes.flowAccounting === 1;
  const line = (flow: Parameters<typeof flowText>[0]) => {
    const text = flowText(flow, counted);
    return isExtended ? text : text.replace(/^ipv\d +\d+ /, "");
  };
  switch (action) {
    case "list": {
      const flows = [...tracked.list(filter)].map((flow) => `${line(flow)}\n`);
      return { stdout: flows.join(""), stderr: `${VERSION}: ${flows.length} flow entries have been shown.\n` };
    }
    case "delete": {
      const flows = [...tracked.list(filter)].map((flow) => `${line(flow)}\n`);
      const ended = tracked.delete(filter);
      return { stdout: flows.join(""), stderr: `${VERSION}: ${ended} flow entries have been deleted.\n`, code: ended > 0 ? 0 : 1 };
    }
    case "flush":
      tracked.delete(filter);
      return { stderr: `${VERSION}: connection tracking table has been emptied.\n` };
    case "count":
      return { stdout: `${tracked.count}\n` };
    case "stats": {
      const s = tracked.stats();
      return {
        stdout: `cpu=0   \tfound=${s.found} invalid=${s.invalid} insert=${s.insert} insert_failed=${s.insertFailed} drop=${s.drop} early_drop=${s.earlyDrop} error=0 search_restart=0 clash_resolve=${s.clashResolve} chaintoolong=0 \n`,
      };
    }
    case "events":
      return events(() => tracked.events(), host.engine.clock, filter);
    default:
      throw usage(`${VERSION}: You need to supply a command: -L, -E, -D, -F, -S or -C`);
  }
};

function events(take: () => Iterable<FlowEvent>, clock: { sleep(ms: number): Promise<void> }, filter: FlowFilter): Output {
  return {
    follow: (print) => {
      let isOver = false;
      void (async () => {
        while (!isOver) {
          for (const event of take()) if (fits(event, filter)) print(eventText(event));
          await clock.sleep(EVENTS_MS);
        }
      })();
      return () => {
        isOver = true;
      };
    },
  };
}

function fits({ family, protocol, zone, original }: FlowEvent, filter: FlowFilter): boolean {
  const number =
    typeof filter.protocol === "string"
      ? Number(Object.entries(PROTOCOL_NAMES).find(([, name]) => name === filter.protocol)?.[0])
      : filter.protocol;
  return (
    (filter.family ?? family) === family &&
    (number ?? protocol) === protocol &&
    (filter.zone ?? zone) === zone &&
    (filter.src === undefined || String(filter.src) === String(original.src)) &&
    (filter.dst === undefined || String(filter.dst) === String(original.dst)) &&
    (filter.sport ?? original.sport) === original.sport &&
    (filter.dport ?? original.dport) === original.dport
  );
}

export function eventText({ kind, protocol, original, reply, zone }: FlowEvent): string {
  const tuple = ({ src, dst, sport, dport, type, code, id, packets, bytes }: FlowEvent["original"]) =>
    `src=${src} dst=${dst}${sport !== undefined ? ` sport=${sport} dport=${dport}` : type !== undefined ? ` type=${type} code=${code} id=${id}` : ""}${kind === "destroy" ? ` packets=${packets} bytes=${bytes}` : ""}`;
  const name = (PROTOCOL_NAMES[protocol] ?? "unknown").padEnd(8);
  return `${`[${kind.toUpperCase()}]`.padStart(9)} ${name} ${protocol} ${tuple(original)} ${tuple(reply)}${zone ? ` zone=${zone}` : ""}\n`;
}
