// Bundles the playground into build/play and serves it on loopback, cross-origin isolated.
//
//   node scripts/play.mjs [--port N] [--not-isolated] [--bundle-only]
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const root = join(fileURLToPath(import.meta.url), "../..");
const out = join(root, "build/play");
function usage(problem) {
  process.stderr.write(`${problem}\nusage: npm run play -- [--port N] [--not-isolated]\n`);
  process.exit(2);
}

function readArguments(config) {
  try {
    return parseArgs(config);
  } catch (error) {
    return usage(error.message);
  }
}

const { values } = readArguments({
  options: {
    port: { type: "string", default: "8080" },
    "not-isolated": { type: "boolean", default: false },
    "bundle-only": { type: "boolean", default: false },
  },
});

if (!/^\d+$/.test(values.port) || Number(values.port) > 65_535) usage(`--port ${values.port}: expected a number from 0 to 65535`);

const entry = (name) => join(root, `dist/src/playground/${name}.js`);
await build({
  entryPoints: [entry("page"), entry("worker")],
  outdir: out,
  bundle: true,
  format: "esm",
  minify: true,
  sourcemap: true,
  platform: "browser",
  target: "es2022",
  logLevel: "warning",
});
mkdirSync(out, { recursive: true });
for (const [from, to] of [
  ["src/playground/index.html", "index.html"],
  ["src/playground/style.css", "style.css"],
  ["node_modules/uplot/dist/uPlot.min.css", "uplot.css"],
  ["data/internet4.bin.gz", "internet4.bin.gz"],
  ["data/internet6.bin.gz", "internet6.bin.gz"],
]) {
  copyFileSync(join(root, from), join(out, to));
}

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".gz": "application/octet-stream",
  ".map": "application/json",
};

function serve(request, response) {
  const path = normalize(new URL(request.url, "http://localhost").pathname);
  const name = path === "/" ? "/index.html" : path;
  try {
    const body = readFileSync(join(out, name));
    const headers = { "content-type": TYPES[extname(name)] ?? "application/octet-stream", "cache-control": "no-cache" };
    if (!values["not-isolated"])
      Object.assign(headers, { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" });
    response.writeHead(200, headers).end(body);
  } catch {
    response.writeHead(404, { "content-type": "text/plain" }).end("there is no such page\n");
  }
}

if (!values["bundle-only"]) {
  const server = createServer(serve);
  server.on("error", (error) => {
    console.error(error.code === "EADDRINUSE" ? `port ${values.port} is in use; choose another with --port` : error.message);
    process.exit(2);
  });
  server.listen(Number(values.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
}
