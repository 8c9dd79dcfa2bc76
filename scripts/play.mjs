// Bundles the playground into build/play and serves it on loopback, cross-origin isolated.
//
//   npm run play -- [--port N] [--not-isolated] [--bundle-only]
//
// With --bundle-only it ends there: build/play is a static page for any server. Threads need two headers of it:
// Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makePage } from "./play-page.mjs";

const root = join(fileURLToPath(import.meta.url), "../..");
const out = join(root, "build/play");
function usage(problem) {
  process.stderr.write(`${problem}\nusage: npm run play -- [--port N] [--not-isolated] [--bundle-only]\n`);
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

await makePage(root, out);

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".gz": "application/octet-stream",
  ".map": "application/json",
  ".txt": "text/plain; charset=utf-8",
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
