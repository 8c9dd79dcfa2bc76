/**
 * One case, two routers: where they differ first. What may differ is written in differences.md, and allowed here and nowhere else.
 */
import { u16, u32 } from "../../src/base/bytes.ts";
import { type Case, type Event, type Frame, textIn, textOut } from "./case.ts";
import { fromHex, toHex } from "./words.ts";

export interface Difference {
  /** Index of the event, or the number of events for the counters. */
  readonly at: number;
  readonly text: string;
}

const ETHERNET = 14;
const isV4 = (bytes: Uint8Array) => u16(bytes, 12) === 0x0800;
/** Of an IPv6 packet whose first header is a fragment's. */
const isFragment6 = (bytes: Uint8Array) => u16(bytes, 12) === 0x86dd && bytes[ETHERNET + 6] === 44;

/** Identifications that the router chose itself: neither is comparable (differences.md, "identification"). */
function blankId(bytes: Uint8Array, cause: Uint8Array): void {
  if (isV4(bytes) && (!isV4(cause) || u16(bytes, ETHERNET + 4) !== u16(cause, ETHERNET + 4)) && (bytes[ETHERNET + 6] & 0x40) === 0) {
    bytes.fill(0, ETHERNET + 4, ETHERNET + 6);
    bytes.fill(0, ETHERNET + 10, ETHERNET + 12);
  } else if (isFragment6(bytes) && (!isFragment6(cause) || u32(bytes, ETHERNET + 44) !== u32(cause, ETHERNET + 44))) {
    bytes.fill(0, ETHERNET + 44, ETHERNET + 48);
  }
}

function sameFrame(expected: Frame, got: Frame, cause: Frame): boolean {
  if (expected.frame === got.frame && expected.port === got.port) return true;
  const [a, b, c] = [expected, got, cause].map(({ frame }) => fromHex(frame));
  blankId(a, c);
  // What the expected router took over, the other must have too.
  if (toHex(a) === expected.frame) return false;
  blankId(b, c);
  return expected.port === got.port && toHex(a) === toHex(b);
}

/** Seconds that a connection has left may be two less or one more: time passes in a kernel. */
const TIME_LESS = 2;
const TIME_MORE = 1;

function sameConnection(expected: string, got: string): boolean {
  const parts = (line: string) => /^(\D\S*(?: \d+(?= \d+ ))?) (\d+) (.*)$/.exec(line);
  const [, protocol, time, rest] = parts(expected) ?? [];
  const [, protocol2, time2, rest2] = parts(got) ?? [];
  const late = Number(time2) - Number(time);
  return protocol === protocol2 && rest === rest2 && late >= -TIME_LESS && late <= TIME_MORE;
}

/** Lines in an order that does not depend on the time that is left. */
const ordered = (lines: readonly string[]) =>
  lines
    .map((line) => [line.replace(/ \d+/, ""), line])
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, line]) => line);

function eventText(event: Event): string {
  if (event.kind === "packet") return [textIn(event.in), ...(event.out.length ? event.out.map(textOut) : ["(nothing)"])].join("\n  ");
  return event.kind === "show" ? ["show", ...event.connections.map((line) => `= ${line}`)].join("\n  ") : `wait ${event.ms}`;
}

function sameEvent(expected: Event, got: Event): boolean {
  if (expected.kind === "packet" && got.kind === "packet") {
    return expected.out.length === got.out.length && expected.out.every((frame, i) => sameFrame(frame, got.out[i], expected.in));
  }
  if (expected.kind === "show" && got.kind === "show") {
    const [a, b] = [ordered(expected.connections), ordered(got.connections)];
    return a.length === b.length && a.every((line, i) => sameConnection(line, b[i]));
  }
  return expected.kind === got.kind;
}

/** The first difference of two runs of one case, or undefined. */
export function compare(expected: Case, got: Case): Difference | undefined {
  for (const [at, event] of expected.events.entries()) {
    if (!sameEvent(event, got.events[at])) {
      return { at, text: `expected\n  ${eventText(event)}\ngot\n  ${eventText(got.events[at])}` };
    }
  }
  const [a, b] = [expected.counters.join("\n"), got.counters.join("\n")];
  if (a === b) return undefined;
  return { at: expected.events.length, text: `expected counters\n${a}\ngot\n${b}` };
}
