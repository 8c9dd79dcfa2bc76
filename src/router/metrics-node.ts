/** Metrics on an HTTP port of the machine that the router runs on: `GET /metrics`. */
import { createServer, type Server } from "node:http";
import { LoomError } from "../base/errors.ts";
import { METRICS_TYPE, metricsText } from "./metrics.ts";
import type { Router } from "./router.ts";

/** One text serves all who ask within so long (ms): it is made between two rounds of packets, however many ask. */
const FRESH_MS = 200;
const MOST_CONNECTIONS = 64;

/** `routerOf`: the router, once there is one; who asks before that is told to come back (503). */
export function serveMetrics(routerOf: () => Router | undefined, host: string, port: number): Promise<Server> {
  let text = "";
  let until = Number.NEGATIVE_INFINITY;
  const fresh = (router: Router): string => {
    const now = performance.now();
    if (now < until) return text;
    text = metricsText(router);
    until = now + FRESH_MS;
    return text;
  };
  const server = createServer(({ method, url }, response) => {
    const router = routerOf();
    const isThere = url?.split("?", 1)[0] === "/metrics";
    if (method !== "GET" && method !== "HEAD") response.writeHead(405, { allow: "GET, HEAD" }).end();
    else if (isThere && !router) response.writeHead(503, { "retry-after": "1" }).end();
    else if (isThere && router)
      response.writeHead(200, { "content-type": METRICS_TYPE }).end(method === "HEAD" ? undefined : fresh(router));
    else response.writeHead(404, { "content-type": "text/plain" }).end("metrics are at /metrics\n");
  });
  server.maxConnections = MOST_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once("error", (error: Error) =>
      reject(new LoomError("EADDRINUSE", `metrics: cannot listen on ${host} port ${port}: ${(error as NodeJS.ErrnoException).code}`)),
    );
    server.listen(port, host, () => resolve(server));
  });
}
