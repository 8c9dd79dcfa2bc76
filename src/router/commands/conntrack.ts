/** `conntrack -L|-E|-D|-F|-S|-C`: conntrack(8) against the router's flows; `-L mapping`, a table of our own, what NAT maps. */
import * as abi from "../../../assembly/abi.ts";
import { type Conntrack, type FlowEvent, type FlowFilter, flowMatcher } from "../../track/conntrack.ts";
import { PROTOCOL_NAMES, SCTP_STATES, TCP_STATES } from "../../track/flow.ts";
import { flowText, mappingText, zoneText } from "../../track/index.ts";
import { type Command, type Output, usage } from "./command.ts";

const VERSION = "conntrack v1.4.7 (packetloom)";
/** How often events are looked for (ms). */
const EVENTS_MS = 50;

type Reading = (value: string, option: string) => Partial<FlowFilter>;
const source: Reading = (src) => ({ src });
const destination: Reading = (dst) => ({ dst });
const protocol: Reading = (name) => ({ protocol: /^\d+$/.test(name) ? Number(name) : name });
const family: Reading = (name, option) => {
  if (name !== "ipv4" && name !== "ipv6") throw usage(`${VERSION}: ${option} is "${name}"; expected ipv4 or ipv6`);
  return { family: name === "ipv6" ? 6 : 4 };
};
const number =
  (name: "zone" | "mark" | "sport" | "dport", most: number): Reading =>
  (text, option) => {
    const value = Number(text);
    if (text === "" || !Number.isInteger(value) || value < 0 || value > most)
      throw usage(`${VERSION}: ${option} is "${text}"; expected a number from 0 to ${most}`);
    return { [name]: value };
  };
const zoneOf =
  (direction: "original" | "reply"): Reading =>
  (text, option) => ({ ...number("zone", 0xffff)(text, option), zoneOf: direction });
const FILTERS: Readonly<Record<string, Reading>> = {
  "-s": source,
  "--src": source,
  "--orig-src": source,
  "-d": destination,
  "--dst": destination,
  "--orig-dst": destination,
  "-p": protocol,
  "--proto": protocol,
  "-f": family,
  "--family": family,
  "-w": number("zone", 0xffff),
  "--zone": number("zone", 0xffff),
  "--orig-zone": zoneOf("original"),
  "--reply-zone": zoneOf("reply"),
  "-m": number("mark", 0xffff_ffff),
  "--mark": number("mark", 0xffff_ffff),
  "--state": (state, option) => {
    const known = [...new Set([...TCP_STATES, ...SCTP_STATES])];
    if (!known.includes(state)) throw usage(`${VERSION}: ${option} is "${state}"; expected one of ${known.join(", ")}`);
    return { state };
  },
  "--sport": number("sport", 0xffff),
  "--orig-port-src": number("sport", 0xffff),
  "--dport": number("dport", 0xffff),
  "--orig-port-dst": number("dport", 0xffff),
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
  let filter: FlowFilter = {};
  let isExtended = false;
  let isMappings = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (Object.hasOwn(ACTIONS, word)) action = ACTIONS[word];
    else if (Object.hasOwn(FILTERS, word)) filter = { ...filter, ...FILTERS[word](words[++i] ?? "", word) };
    else if (word === "-o" || word === "--output") {
      const wanted = (words[++i] ?? "").split(",");
      const other = wanted.find((each) => each !== "extended" && each !== "id");
      if (other !== undefined) throw usage(`${VERSION}: there is no output "${other}"; expected extended`);
      isExtended ||= wanted.includes("extended");
    } else if (word === "mapping" && ACTIONS[words[i - 1]] === "list") isMappings = true;
    else if (!(word === "conntrack" && words[i - 1] in ACTIONS)) throw usage(`${VERSION}: unknown option \`${word}'`);
  }
  const counted = host.engine.memory.layout.sizes.flowAccounting === 1;
  const line = (flow: Parameters<typeof flowText>[0]) => {
    const text = flowText(flow, counted);
    return isExtended ? text : text.replace(/^ipv\d +\d+ /, "");
  };
  switch (action) {
    case "list": {
      if (isMappings) {
        const mappings = [...tracked.mappings.list()].map((mapping) => `${mappingText(mapping)}\n`);
        return { stdout: mappings.join(""), stderr: `${VERSION}: ${mappings.length} mappings have been shown.\n` };
      }
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
      return events(tracked, host.engine.clock, filter);
    default:
      throw usage(`${VERSION}: You need to supply a command: -L, -E, -D, -F, -S or -C`);
  }
};

/** Everybody who listens hears every event from then on: the ring that they are taken from forgets them. */
class EventHub {
  private readonly listeners = new Set<(event: FlowEvent) => void>();

  constructor(private readonly tracked: Conntrack) {}

  add(listener: (event: FlowEvent) => void, clock: { sleep(ms: number): Promise<void> }): () => void {
    // What nobody was there to hear is past.
    this.take();
    this.listeners.add(listener);
    if (this.listeners.size === 1) void this.run(clock);
    return () => void this.listeners.delete(listener);
  }

  private async run(clock: { sleep(ms: number): Promise<void> }): Promise<void> {
    while (this.listeners.size > 0) {
      await clock.sleep(EVENTS_MS);
      this.take();
    }
  }

  private take(): void {
    for (const event of this.tracked.events()) for (const listener of this.listeners) listener(event);
  }
}
const hubs = new WeakMap<Conntrack, EventHub>();

function events(tracked: Conntrack, clock: { sleep(ms: number): Promise<void> }, filter: FlowFilter): Output {
  const hub = hubs.get(tracked) ?? new EventHub(tracked);
  hubs.set(tracked, hub);
  const fits = flowMatcher(filter);
  return { follow: (print) => hub.add((event) => void (fits(event) && print(eventText(event))), clock) };
}

export function eventText(event: FlowEvent): string {
  const { kind, protocol, status, expiresMs } = event;
  const tuple = (direction: "original" | "reply") => {
    const { src, dst, sport, dport, type, code, id, packets, bytes } = event[direction];
    return [
      `src=${src} dst=${dst}`,
      sport !== undefined ? `sport=${sport} dport=${dport}` : type !== undefined ? `type=${type} code=${code} id=${id}` : "",
      zoneText(event, direction),
      kind === "destroy" ? `packets=${packets} bytes=${bytes}` : "",
    ]
      .filter((word) => word !== "")
      .join(" ");
  };
  const name = (PROTOCOL_NAMES[protocol] ?? "unknown").padEnd(8);
  return `${[
    `[${kind.toUpperCase()}]`.padStart(9),
    name,
    protocol,
    ...(kind === "destroy" ? [] : [Math.ceil(expiresMs / 1000)]),
    tuple("original"),
    ...(status & abi.IPS_SEEN_REPLY ? [] : ["[UNREPLIED]"]),
    tuple("reply"),
    ...(status & abi.IPS_ASSURED ? ["[ASSURED]"] : []),
    zoneText(event, undefined),
  ]
    .filter((word) => word !== "")
    .join(" ")}\n`;
}
