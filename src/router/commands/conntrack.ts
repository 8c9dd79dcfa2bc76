/** `conntrack -L|-E|-G|-D|-U|-F|-S|-C`: conntrack(8) against the router's flows; `-L mapping`, a table of our own, what NAT maps. */
import * as abi from "../../../assembly/abi.ts";
import { type Conntrack, type FlowChange, type FlowEvent, type FlowFilter, flowMatcher } from "../../track/conntrack.ts";
import { type Flow, PROTOCOL_NAMES } from "../../track/flow.ts";
import { expectationText, flowText, mappingText, zoneText } from "../../track/index.ts";
import { type Command, type Output, usage } from "./command.ts";
import { FILTERS, markOf, numberOf, OPTIONAL, VERSION } from "./conntrack-words.ts";

/** How often events are looked for (ms). */
const EVENTS_MS = 50;

type Action = "list" | "get" | "delete" | "update" | "events" | "flush" | "stats" | "count";
const ACTIONS: Readonly<Record<string, Action>> = {
  "-L": "list",
  "--dump": "list",
  "-G": "get",
  "--get": "get",
  "-D": "delete",
  "--delete": "delete",
  "-U": "update",
  "--update": "update",
  "-E": "events",
  "--event": "events",
  "-F": "flush",
  "--flush": "flush",
  "-S": "stats",
  "--stats": "stats",
  "-C": "count",
  "--count": "count",
};
/** Tables, and what may be done with each. */
const TABLES: Readonly<Record<string, readonly Action[]>> = {
  conntrack: ["list", "get", "delete", "update", "events", "flush", "count", "stats"],
  expect: ["list", "count"],
  mapping: ["list"],
};
const OUTPUTS = ["extended", "id"] as const;
const KINDS: Readonly<Record<string, readonly FlowEvent["kind"][]>> = {
  NEW: ["new"],
  UPDATES: ["update"],
  DESTROY: ["destroy"],
  ALL: ["new", "update", "destroy"],
};

interface Order {
  readonly action: Action;
  readonly table: string;
  readonly filter: FlowFilter;
  readonly change: FlowChange;
  readonly kinds: ReadonlySet<FlowEvent["kind"]>;
  readonly outputs: ReadonlySet<string>;
}

function read(words: readonly string[]): Order {
  let action: Action | undefined;
  let table = "conntrack";
  let filter: FlowFilter = {};
  let change: FlowChange = {};
  let mark: ReturnType<typeof markOf> | undefined;
  const kinds = new Set<FlowEvent["kind"]>();
  const outputs = new Set<string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const reading = FILTERS.get(word);
    if (Object.hasOwn(ACTIONS, word)) action = ACTIONS[word];
    else if (reading) {
      const isAlone = OPTIONAL.has(word) && /^(-|$)/.test(words[i + 1] ?? "");
      filter = { ...filter, ...reading(isAlone ? "" : (words[++i] ?? ""), word) };
    } else if (word === "-m" || word === "--mark") mark = markOf(words[++i] ?? "", word);
    else if (word === "-t" || word === "--timeout") change = { ...change, timeoutMs: 1000 * numberOf(words[++i] ?? "", word, 2_147_483) };
    else if (word === "-e" || word === "--event-mask") for (const kind of kindsOf(words[++i] ?? "", word)) kinds.add(kind);
    else if (word === "-o" || word === "--output") for (const output of outputsOf(words[++i] ?? "")) outputs.add(output);
    else if (Object.hasOwn(TABLES, word) && Object.hasOwn(ACTIONS, words[i - 1] ?? "")) table = word;
    else throw usage(`${VERSION}: unknown option \`${word}'`);
  }
  if (!action) throw usage(`${VERSION}: You need to supply a command: -L, -G, -E, -D, -U, -F, -S or -C`);
  if (!TABLES[table].includes(action)) throw usage(`${VERSION}: table ${table} can be asked for ${TABLES[table].join(" and ")} alone`);
  if (change.timeoutMs !== undefined && action !== "update") throw usage(`${VERSION}: -t changes a timeout, which -U does`);
  // A mark is what is looked for, or what is given.
  if (action === "update") change = { ...change, ...mark };
  else filter = { ...filter, ...mark };
  return { action, table, filter, change, kinds: kinds.size === 0 ? new Set(KINDS.ALL) : kinds, outputs };
}
function outputsOf(text: string): readonly string[] {
  const wanted = text.split(",");
  const other = wanted.find((each) => !OUTPUTS.includes(each as never));
  if (other !== undefined) throw usage(`${VERSION}: there is no output "${other}"; expected ${OUTPUTS.join(" or ")}`);
  return wanted;
}
function kindsOf(text: string, option: string): readonly FlowEvent["kind"][] {
  return text.split(",").flatMap((name) => {
    if (!Object.hasOwn(KINDS, name)) throw usage(`${VERSION}: ${option} is "${name}"; expected some of ${Object.keys(KINDS).join(", ")}`);
    return KINDS[name];
  });
}

export const conntrack: Command = ({ rules, host }, words) => {
  const { conntrack: tracked } = rules;
  if (!tracked) throw usage(`${VERSION}: this router tracks no connections (conntrack.max is 0)`);
  const order = read(words);
  const { action, table, filter, change, kinds, outputs } = order;
  if (table === "mapping") return listed([...tracked.mappings.list()].map(mappingText), "mappings have been shown");
  if (table === "expect") {
    const expected = [...tracked.expectations()].map(expectationText);
    return action === "count" ? { stdout: `${expected.length}\n` } : listed(expected, "expectations have been shown");
  }
  const counted = host.engine.memory.layout.sizes.flowAccounting === 1;
  const shown = (flow: Flow) => written(flowText(flow, counted), flow.id, outputs);
  switch (action) {
    case "list":
      return listed([...tracked.list(filter)].map(shown), "flow entries have been shown");
    case "get": {
      const [found] = tracked.list(filter);
      if (!found) return { stderr: `${VERSION}: Operation failed: such conntrack doesn't exist\n`, code: 1 };
      return listed([shown(found)], "flow entries have been shown");
    }
    case "delete": {
      const flows = [...tracked.list(filter)].map(shown);
      return { ...listed(flows, "flow entries have been deleted", tracked.delete(filter)), code: flows.length > 0 ? 0 : 1 };
    }
    case "update": {
      if (Object.keys(change).length === 0) throw usage(`${VERSION}: -U changes nothing; expected -m MARK or -t SECONDS`);
      const changed = tracked.update(filter, change);
      const flows = [
        ...tracked.list({ ...filter, ...(change.mark === undefined ? {} : { mark: change.mark, markMask: change.markMask }) }),
      ];
      return { ...listed(flows.map(shown), "flow entries have been updated", changed), code: changed > 0 ? 0 : 1 };
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
    default: {
      const fits = flowMatcher(filter);
      return events(tracked, host.engine.clock, (event) =>
        kinds.has(event.kind) && fits(event) ? eventLine(event, counted, outputs) : undefined,
      );
    }
  }
};

function listed(lines: readonly string[], what: string, count = lines.length): Output {
  return { stdout: lines.map((line) => `${line}\n`).join(""), stderr: `${VERSION}: ${count} ${what}.\n` };
}
/** A flow's line as the options behind -o want it. */
function written(text: string, id: number, outputs: ReadonlySet<string>): string {
  const line = outputs.has("extended") ? text : text.replace(/^ipv\d +\d+ /, "");
  return outputs.has("id") ? `${line} id=${id}` : line;
}

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

function events(tracked: Conntrack, clock: { sleep(ms: number): Promise<void> }, lineOf: (event: FlowEvent) => string | undefined): Output {
  const hub = hubs.get(tracked) ?? new EventHub(tracked);
  hubs.set(tracked, hub);
  return {
    follow: (print) =>
      hub.add((event) => {
        const line = lineOf(event);
        if (line !== undefined) print(line);
      }, clock),
  };
}

/** As conntrack prints it; `counted`: what a flow that ends has carried is known. */
function eventLine(event: FlowEvent, counted: boolean, outputs: ReadonlySet<string>): string {
  const { kind, family, protocol, status, state, mark, expiresMs, id } = event;
  const isEnd = kind === "destroy";
  const tuple = (direction: "original" | "reply") => {
    const { src, dst, sport, dport, type, code, id: echo, packets, bytes } = event[direction];
    return [
      `src=${src} dst=${dst}`,
      sport !== undefined ? `sport=${sport} dport=${dport}` : type !== undefined ? `type=${type} code=${code} id=${echo}` : "",
      zoneText(event, direction),
      isEnd && counted ? `packets=${packets} bytes=${bytes}` : "",
    ]
      .filter((word) => word !== "")
      .join(" ");
  };
  return `${[
    `[${kind.toUpperCase()}]`.padStart(9),
    outputs.has("extended") ? (family === 4 ? "ipv4     2" : "ipv6     10") : "",
    (PROTOCOL_NAMES[protocol] ?? "unknown").padEnd(8),
    protocol,
    ...(isEnd ? [] : [Math.ceil(expiresMs / 1000)]),
    state ?? "",
    tuple("original"),
    ...(status & abi.IPS_SEEN_REPLY ? [] : ["[UNREPLIED]"]),
    tuple("reply"),
    ...(status & abi.IPS_ASSURED ? ["[ASSURED]"] : []),
    isEnd && mark === 0 ? "" : `mark=${mark}`,
    zoneText(event, undefined),
    outputs.has("id") ? `id=${id}` : "",
  ]
    .filter((word) => word !== "")
    .join(" ")}\n`;
}
