// Format, lint, import rule, both Wasm builds, types, what the modules promise, and all tests.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const bin = (path) => `node_modules/${path}`;
const steps = [
  ["format and lint", bin("@biomejs/biome/bin/biome"), ["check", "."]],
  ["both Wasm builds and types", "scripts/build.mjs", ["--quiet"]],
  ["import rule", bin("dependency-cruiser/bin/dependency-cruise.mjs"), ["--config", ".dependency-cruiser.cjs", "src", "assembly"]],
  ["API reference", bin("typedoc/bin/typedoc"), []],
  ["all tests", "scripts/test.mjs", []],
];

/** Promises of the modules that only their text shows. */
function promises() {
  for (const build of ["shared", "plain"]) {
    const text = readFileSync(`build/wasm/packetloom.${build}.wat`, "utf8");
    for (const [what, pattern] of [
      ["the AssemblyScript runtime", /~lib\/rt/],
      ["a mutable global", /\(global \$\S+ \(mut/],
      ["a data segment", /^ \(data /m],
      ["an import that is not memory or table", /\(import "(?!env" "(memory|table)")/],
    ]) {
      if (!pattern.test(text)) continue;
      console.error(`the ${build} module contains ${what}`);
      process.exit(1);
    }
  }
}

for (const [name, script, args] of steps) {
  console.log(`── ${name}`);
  const { status } = spawnSync(process.execPath, [script, ...args], { stdio: "inherit" });
  if (status !== 0) {
    console.error(`check: ${name} failed`);
    process.exit(status ?? 1);
  }
  if (script === "scripts/build.mjs") promises();
}
