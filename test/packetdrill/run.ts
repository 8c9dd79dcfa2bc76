/**
 * Runs packetdrill scripts against the stack, in virtual time:
 *
 *   npx tsx test/packetdrill/run.ts [-v] [--json] [--strict] [--option=value …] FILE|FOLDER …
 *
 * A line for each file; exit code 0 when all passed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { ScriptOption } from "./script.ts";
import type { Verdict } from "./verdict.ts";

const USAGE = "usage: run.ts [-v] [--json] [--strict] [--ip_version=ipv4|ipv4-mapped-ipv6|ipv6] [--option=value] FILE|FOLDER...";

interface Arguments {
  verbose: boolean;
  json: boolean;
  strict: boolean;
  options: ScriptOption[];
  files: string[];
}

function read(args: readonly string[]): Arguments {
  const out: Arguments = { verbose: false, json: false, strict: false, options: [], files: [] };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === "-v" || arg === "--verbose") out.verbose = true;
    else if (arg === "--json") out.json = true;
    else if (arg === "--strict") out.strict = true;
    else if (arg === "-D" && i + 1 < args.length) out.options.push({ name: "define", value: args[++i] });
    else if (arg.startsWith("--")) {
      const [, name, value = ""] = /^--(\w+)(?:=(.*))?$/s.exec(arg) ?? [];
      if (!name) throw new Error(`"${arg}" is no option`);
      out.options.push({ name, value });
    } else out.files.push(...scripts(arg));
  }
  return out;
}

/** A file, or all scripts of a folder. */
function scripts(path: string): string[] {
  if (!existsSync(path)) throw new Error(`there is no file or folder ${path}`);
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path, { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => name.endsWith(".pkt"))
    .sort()
    .map((name) => join(path, name));
}

/** A fresh clone has neither the data plane's bytes nor the thread's module: it is built first. */
function build(): void {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  if (!existsSync(join(root, "package.json"))) return;
  if (existsSync(join(root, "src/engine/wasm-shared.ts")) && existsSync(join(root, "dist/src/engine/threads-node.js"))) return;
  const { status } = spawnSync(process.execPath, ["scripts/build.mjs", "--quiet"], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error("the build failed");
}

function show({ file, status, ipVersion, line, message }: Verdict): string {
  if (status === "pass") return `PASS ${file}`;
  if (status === "unsupported") return `UNSUPPORTED ${file}${ipVersion ? ` [${ipVersion}]` : ""}: ${message}`;
  return `FAIL ${file}${ipVersion ? ` [${ipVersion}]` : ""}\n${file}:${line}: ${message}`;
}

export async function main(args: readonly string[]): Promise<number> {
  const { verbose, json, strict, options, files } = read(args);
  if (files.length === 0) throw new Error(USAGE);
  build();
  const { judge } = await import("./verdict.ts");
  const counts = { pass: 0, fail: 0, unsupported: 0 };
  const trace = verbose ? (line: string) => console.error(line) : undefined;
  for (const file of files) {
    const verdict = await judge(file, { options, strict, trace });
    counts[verdict.status]++;
    console.log(json ? JSON.stringify(verdict) : show(verdict));
  }
  if (!json && files.length > 1) console.log(`${counts.pass} passed, ${counts.fail} failed, ${counts.unsupported} unsupported`);
  return counts.pass === files.length ? 0 : 1;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
