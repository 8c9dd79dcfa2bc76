// Runs every compiled test with Node's runner, then as-pect's specs of the data plane.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";

/** Milliseconds after which a file of tests is stopped and counts as failed: an engine that a failed test left running would go on for ever. */
const LONGEST = 480_000;

const only = process.argv.slice(2);
const tests = readdirSync("dist/test", { recursive: true })
  .filter((name) => name.endsWith(".test.js") && (only.length === 0 || only.some((word) => name.includes(word))))
  .map((name) => resolve("dist/test", name))
  .sort();
if (tests.length === 0) {
  console.error(`no test matches ${only.map((word) => `"${word}"`).join(" or ")}; words are parts of the names of test/*.test.ts`);
  process.exit(2);
}

/** Runs files in processes of their own, two at a time; resolves to whether all passed. */
function passes(files) {
  return new Promise((done) => {
    let passed = true;
    const events = run({ files, concurrency: 2, timeout: LONGEST });
    events.on("test:fail", () => (passed = false));
    events
      .compose(new spec())
      .on("end", () => done(passed))
      .pipe(process.stdout);
  });
}

const passed = await passes(tests);
const specs =
  only.length === 0 ? spawnSync(process.execPath, ["node_modules/@as-pect/cli/bin/asp.js", "--summary"], { stdio: "inherit" }).status : 0;
process.exitCode = passed && specs === 0 ? 0 : 1;
