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
  const { problem } = inflated;
  const cut = problem ? withoutLastLine(inflated.bytes) : inflated.bytes;
  let routes: RouteSet;
  try {
    routes = parse(cut, name, progress, problem !== undefined);
  } catch (error) {
    if (problem && error instanceof LoomError)
      throw new LoomError("EPROTO", `${name}: ${problem}; and what could be read: ${error.message}`);
    throw error;
  }
  if (problem) routes.warnings.push(`${name}: ${problem}; what came before is kept`);
  if (routes.size === 0) throw new LoomError("EPROTO", [`${name} holds no routes`, ...routes.warnings.slice(0, 1)].join(": "));
  return routes;
}

/** Of text that was cut off somewhere, the last line may be half a line. */
function withoutLastLine(bytes: Uint8Array): Uint8Array {
  return looksLikeText(bytes) ? bytes.subarray(0, bytes.lastIndexOf(10) + 1) : bytes;
}

function parse(bytes: Uint8Array, name: string, progress: Progress | undefined, damaged: boolean): RouteSet {
  if (looksCompact(bytes)) return decodeCompact(bytes, name);
  if (looksLikeText(bytes)) return parseText(bytes, name, progress);
  if (looksLikeMrt(bytes)) return parseMrt(bytes, name, progress, damaged);
  throw new LoomError(
    "EPROTO",
    `${name} is neither text ("prefix next-hop" or the output of \`ip route\`) nor an MRT dump, compressed or not`,
  );
}
