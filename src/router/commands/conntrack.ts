/** `conntrack -L|-E|-G|-D|-U|-F|-S|-C`: conntrack(8) against the router's flows; `-L mapping`, a table of our own, what NAT maps. */
import { type FlowChange, type FlowEvent, type FlowFilter, flowMatcher } from "../../track/conntrack.ts";
import type { Flow } from "../../track/flow.ts";
import { expectationText, mappingText } from "../../track/index.ts";
import { XML_HEAD } from "../../track/xml.ts";
import { type Command, type Output, usage } from "./command.ts";
import { followEvents } from "./conntrack-events.ts";
import { eventLine, flowLines, OUTPUTS, type OutputName } from "./conntrack-lines.ts";
import { FILTERS, markOf, numberOf, OPTIONAL, VERSION } from "./conntrack-words.ts";

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
  readonly outputs: ReadonlySet<OutputName>;
}

function read(words: readonly string[]): Order {
  let action: Action | undefined;
  let table = "conntrack";
  let filter: FlowFilter = {};
  let change: FlowChange = {};
  let mark: ReturnType<typeof markOf> | undefined;
  const kinds = new Set<FlowEvent["kind"]>();
  const outputs = new Set<OutputName>();
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
function outputsOf(text: string): readonly OutputName[] {
  return text.split(",").map((each) => {
    const known = OUTPUTS.find((name) => name === each);
    if (known === undefined) throw usage(`${VERSION}: there is no output "${each}"; expected some of ${OUTPUTS.join(", ")}`);
    return known;
  });
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
  const flows = (some: readonly Flow[], what: string, count = some.length): Output => ({
    ...listed([], `flow entries have been ${what}`, count),
    stdout: flowLines(some, counted, outputs),
  });
  switch (action) {
    case "list":
      return flows([...tracked.list(filter)], "shown");
    case "get": {
      const [found] = tracked.list(filter);
      if (!found) return { stderr: `${VERSION}: Operation failed: such conntrack doesn't exist\n`, code: 1 };
      return flows([found], "shown");
    }
    case "delete": {
      const found = [...tracked.list(filter)];
      return { ...flows(found, "deleted", tracked.delete(filter)), code: found.length > 0 ? 0 : 1 };
    }
    case "update": {
      if (Object.keys(change).length === 0) throw usage(`${VERSION}: -U changes nothing; expected -m MARK or -t SECONDS`);
      const changed = tracked.update(filter, change);
      const marked = change.mark === undefined ? {} : { mark: change.mark, markMask: change.markMask };
      return { ...flows([...tracked.list({ ...filter, ...marked })], "updated", changed), code: changed > 0 ? 0 : 1 };
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
      const { clock } = host.engine;
      const lineOf = (event: FlowEvent) => (kinds.has(event.kind) && fits(event) ? eventLine(event, counted, outputs, clock) : undefined);
      return followEvents(tracked, clock, lineOf, outputs.has("xml") ? XML_HEAD : "");
    }
  }
};

function listed(lines: readonly string[], what: string, count = lines.length): Output {
  return { stdout: lines.map((line) => `${line}\n`).join(""), stderr: `${VERSION}: ${count} ${what}.\n` };
}
