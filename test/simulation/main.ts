/** npm run simulate -- [--hours N] [--seed N] */
import { parseArgs } from "node:util";
import { simulate } from "./simulate.ts";

const USAGE = "usage: npm run simulate -- [--hours N] [--seed N], with N more than 0 and a whole seed";
function given() {
  try {
    return parseArgs({ options: { hours: { type: "string" }, seed: { type: "string" }, help: { type: "boolean", short: "h" } } }).values;
  } catch (error) {
    console.error(`${(error as Error).message.split(".")[0]}; ${USAGE}`);
    process.exit(2);
  }
}
const values = given();
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const [hours, seed] = [Number(values.hours ?? 1), Number(values.seed ?? Date.now() & 0x7fffffff)];
if (!(hours > 0) || !Number.isInteger(seed)) {
  console.error(USAGE);
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
