/** npm run simulate -- [--hours N] [--seed N] */
import { parseArgs } from "node:util";
import { simulate } from "./simulate.ts";

const { values } = parseArgs({
  options: { hours: { type: "string", default: "1" }, seed: { type: "string", default: String(Date.now() & 0x7fffffff) } },
});
const [hours, seed] = [Number(values.hours), Number(values.seed)];
if (!(hours > 0) || !Number.isInteger(seed)) {
  console.error("usage: npm run simulate -- [--hours N] [--seed N], with N more than 0 and a whole seed");
  process.exit(2);
}
const start = performance.now();
const summary = await simulate({
  seed,
  hours,
  progress: (hour) => process.stderr.isTTY && process.stderr.write(`\rhour ${hour} of ${hours} `),
});
console.log(`seed ${seed}, ${hours} hours in ${((performance.now() - start) / 1000).toFixed(1)} s`);
console.log(summary);
process.exit(summary.problems.length ? 1 : 0);
