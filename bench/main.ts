/**
 * npm run bench [-- PROFILE …] [--json] [--runs N] [--ms N] [--routes FILE …]
 *
 * A table, or one JSON object a line. Every profile verifies what it measured.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Command } from "commander";
import { table } from "../src/cli/output.ts";
import { filter } from "./filter.ts";
import { functions } from "./functions.ts";
import { benchRoutes, type Context, commit, machine, type Result } from "./harness.ts";
import { paths, soloWorker } from "./paths.ts";
import { queueing } from "./queue.ts";
import { tracking } from "./tracking.ts";
import { transport } from "./transport.ts";
import { many } from "./transport-many.ts";
import { tapTransport } from "./transport-tap.ts";

const profiles = { ...paths, ...functions, ...filter, ...tracking, ...transport, ...many, ...tapTransport, ...queueing };
const program = new Command("bench")
  .argument("[profiles...]", `any of ${Object.keys(profiles).join(", ")}`)
  .option("--json", "one JSON object a line")
  .option("--runs <n>", "runs of each measurement", Number, 5)
  .option("--ms <n>", "milliseconds of each run", Number, 600)
  .option("--routes <file...>", "routes to measure with")
  .option("--out <file>", "where the JSON goes as well", "build/bench.json")
  .option("--solo", "one worker that waits for its start (used by the workers profile)")
  .parse();
const options = program.opts();
const context: Context = { runs: options.runs, ms: options.ms, routes: () => benchRoutes(options.routes ?? []) };

if (options.solo) await soloWorker(context);

const wanted = program.args.length ? program.args : Object.keys(profiles);
const unknown = wanted.find((name) => !(name in profiles));
if (unknown) {
  console.error(`bench: no profile "${unknown}"; there are ${Object.keys(profiles).join(", ")}`);
  process.exit(2);
}

const about = { machine: machine(), commit: commit() };
const results: Result[] = [];
for (const name of wanted) {
  if (!options.json) process.stderr.write(`${name} …\n`);
  for (const one of await profiles[name as keyof typeof profiles](context)) {
    results.push(one);
    if (options.json) console.log(JSON.stringify({ ...one, ...about }));
  }
}
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, `${results.map((one) => JSON.stringify({ ...one, ...about })).join("\n")}\n`);

if (!options.json) {
  const rows = results.map((one) => [
    one.profile,
    one.value >= 1000 ? Math.round(one.value).toLocaleString("en-US") : one.value.toFixed(1),
    one.unit,
    one.spread.map((share) => share.toFixed(2)).join("–"),
    Object.entries(one.vs)
      .map(([peer, ratio]) => `${ratio.toFixed(2)}× ${peer}`)
      .join(", "),
    one.verified ? "yes" : "NO",
    one.note ?? "",
  ]);
  console.log(table(["profile", "value", "unit", "spread", "against", "verified", "note"], rows));
  console.log(`${about.machine}, commit ${about.commit}`);
}
process.exit(results.every((one) => one.verified) ? 0 : 1);
