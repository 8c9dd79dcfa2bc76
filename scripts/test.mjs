// Runs every compiled test with Node's runner, then as-pect's specs of the data plane.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const only = process.argv.slice(2);
const tests = readdirSync("dist/test", { recursive: true })
  .filter((name) => name.endsWith(".test.js") && (only.length === 0 || only.some((word) => name.includes(word))))
  .map((name) => join("dist/test", name));
if (tests.length === 0) {
  console.error(`no test matches ${only.map((word) => `"${word}"`).join(" or ")}; words are parts of the names of test/*.test.ts`);
  process.exit(2);
}
const run = (command, args) => spawnSync(command, args, { stdio: "inherit" }).status ?? 1;
const node = run(process.execPath, ["--test", "--test-reporter=spec", "--test-concurrency=2", ...tests]);
const specs = only.length === 0 ? run(process.execPath, ["node_modules/@as-pect/cli/bin/asp.js", "--summary"]) : 0;
process.exit(node || specs);
