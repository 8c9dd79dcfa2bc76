/** Any route file: compressed or not, text, MRT or compact; what it is is seen from its bytes. */
import { LoomError } from "../base/errors.ts";
import type { RouteSet } from "../base/routes.ts";
import { decodeCompact, looksCompact } from "./compact.ts";
import { inflate } from "./decompress.ts";
import { looksLikeMrt, parseMrt } from "./mrt.ts";
import { looksLikeText, type Progress, parseText } from "./text.ts";

/** Reads routes from the bytes of a file; `name` is for messages. */
export async function loadRoutes(bytes: Uint8Array, name: string, progress?: Progress): Promise<RouteSet> {
  if (bytes.length === 0) throw new LoomError("EPROTO", `${name} is empty; expected routes`);
  const inflated = await inflate(bytes).catch((error: LoomError) => {
    throw new LoomError("EPROTO", `${name}: ${error.message}`);
  });
  const routes = parse(inflated.bytes, name, progress);
  if (inflated.problem) routes.warnings.push(`${name}: ${inflated.problem}; what came before is kept`);
  if (routes.size === 0) throw new LoomError("EPROTO", `${name} holds no routes`);
  return routes;
}

function parse(bytes: Uint8Array, name: string, progress?: Progress): RouteSet {
  if (looksCompact(bytes)) return decodeCompact(bytes, name);
  if (looksLikeText(bytes)) return parseText(bytes, name, progress);
  if (looksLikeMrt(bytes)) return parseMrt(bytes, name, progress);
  throw new LoomError(
    "EPROTO",
    `${name} is neither text ("prefix next-hop" or the output of \`ip route\`) nor an MRT dump, compressed or not`,
  );
}
