/** SSDP (UDA 1.1 §1): the gateway says that it is there, and answers those who search for it. */
import { type Names, targetsOf, usnOf } from "./names.ts";

export const SSDP_PORT = 1900;
export const SSDP_GROUP = "239.255.255.250";
/** Seconds for which what was heard holds. */
export const MAX_AGE = 1800;

export interface Announced {
  readonly names: Names;
  readonly location: string;
  readonly server: string;
  /** Rises with every start (seconds of the clock). */
  readonly bootId: number;
}

const message = (first: string, fields: readonly (readonly [string, string])[]): Uint8Array =>
  new TextEncoder().encode(`${[first, ...fields.map(([name, value]) => `${name}: ${value}`)].join("\r\n")}\r\n\r\n`);

const common = ({ location, server, bootId }: Announced) =>
  [
    ["CACHE-CONTROL", `max-age=${MAX_AGE}`],
    ["LOCATION", location],
    ["SERVER", server],
    ["BOOTID.UPNP.ORG", String(bootId)],
    ["CONFIGID.UPNP.ORG", "1"],
  ] as const;

/** One message for each device and service, to the group. */
export function notifications(announced: Announced, kind: "alive" | "byebye"): readonly Uint8Array[] {
  return targetsOf(announced.names).map(({ target, name }) =>
    message("NOTIFY * HTTP/1.1", [
      ["HOST", `${SSDP_GROUP}:${SSDP_PORT}`],
      ["NT", target],
      ["NTS", `ssdp:${kind}`],
      ["USN", usnOf(name, target)],
      ...(kind === "alive" ? common(announced) : common(announced).slice(3)),
    ]),
  );
}

export interface Search {
  /** What is searched for. */
  readonly target: string;
  /** Seconds within which answers are to come, spread by chance. */
  readonly within: number;
}

/** Reads M-SEARCH; undefined for everything else. */
export function readSearch(data: Uint8Array): Search | undefined {
  if (data.length > 1500) return undefined;
  const lines = String.fromCharCode(...data).split(/\r?\n/);
  if (!/^M-SEARCH \* HTTP\/1\.[01]$/.test(lines[0])) return undefined;
  const field = (name: string) =>
    lines
      .find((line) => line.slice(0, name.length + 1).toUpperCase() === `${name}:`)
      ?.slice(name.length + 1)
      .trim();
  const target = field("ST");
  if (field("MAN") !== '"ssdp:discover"' || target === undefined) return undefined;
  const wait = Number(field("MX") ?? 1);
  return { target, within: Number.isFinite(wait) ? Math.min(Math.max(wait, 0), 5) : 1 };
}

/** Answers to a search: one for each thing that fits. Searches for later versions find nothing, those for this one do. */
export function answersTo({ target }: Search, announced: Announced): readonly Uint8Array[] {
  const found = targetsOf(announced.names).filter((each) => target === "ssdp:all" || each.target === target);
  return found.map((each) =>
    message("HTTP/1.1 200 OK", [["EXT", ""], ["ST", each.target], ["USN", usnOf(each.name, each.target)], ...common(announced)]),
  );
}
