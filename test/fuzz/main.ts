/** npm run fuzz -- NAME [--minutes N] [--seed N] */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzzer.ts";
import { TARGETS } from "./targets.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string", default: "1" }, seed: { type: "string", default: String(Date.now() & 0x7fffffff) } },
});
const [name] = positionals;
const make = Object.hasOwn(TARGETS, name ?? "") ? TARGETS[name] : undefined;
if (!make || !(Number(values.minutes) > 0)) {
  console.error(`usage: npm run fuzz -- NAME --minutes N, where NAME is one of ${Object.keys(TARGETS).join(", ")}`);
  process.exit(2);
}
const { runs, failure } = await fuzz(await make(), Number(values.seed), Number(values.minutes) * 60_000);
console.log(`${name}: ${runs.toLocaleString("en-US")} runs, seed ${values.seed}`);
if (failure) {
  console.error(`${failure.error.stack}\nwritten to ${failure.path}`);
  process.exit(1);
}
