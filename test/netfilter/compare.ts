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
/** Where the fragment header of an IPv6 packet is, or 0. */
function fragmentAt(bytes: Uint8Array): number {
  if (u16(bytes, 12) !== 0x86dd) return 0;
  let at = ETHERNET + 40;
  for (let next = bytes[ETHERNET + 6]; at + 8 <= bytes.length; at += 8 * (bytes[at + 1] + 1)) {
    if (next === 44) return at;
    if (next !== 0 && next !== 43 && next !== 60) return 0;
    next = bytes[at];
  }
  return 0;
}

/** An ICMP or ICMPv6 error, in a packet without options or extension headers: all that routers make themselves. */
function isError(bytes: Uint8Array): boolean {
  if (isV4(bytes)) return bytes[ETHERNET] === 0x45 && bytes[ETHERNET + 9] === 1 && [3, 4, 11, 12].includes(bytes[ETHERNET + 20]);
  return u16(bytes, 12) === 0x86dd && bytes[ETHERNET + 6] === 58 && bytes[ETHERNET + 40] < 128;
}

/**
 * A packet that begins its way here: everything forwarded has lost a hop, and senders begin with 64; where rules have set the hops,
 * an error that answers none can only be ours.
 */
function isOwn(sent: Uint8Array, cause: Uint8Array): boolean {
  const hops = (bytes: Uint8Array) => bytes[ETHERNET + (isV4(bytes) ? 8 : 7)];
  return (hops(sent) === 64 && hops(cause) !== 65) || (isError(sent) && !isError(cause));
}

/** Blanks what a router chooses at will in what it makes, in both packets (differences.md). */
function blankChoices(sent: Uint8Array, other: Uint8Array, cause: Uint8Array): void {
  if (isOwn(sent, cause)) {
    for (const bytes of [sent, other]) {
      if (isV4(bytes)) bytes.fill(0, ETHERNET + 4, ETHERNET + 6).fill(0, ETHERNET + 10, ETHERNET + 12);
      else bytes.fill(0, ETHERNET + 1, ETHERNET + 4);
    }
  }
  const [at, otherAt, causeAt] = [sent, other, cause].map(fragmentAt);
  if (at > 0 && at === otherAt && (causeAt === 0 || u32(sent, at + 4) !== u32(cause, causeAt + 4))) {
    for (const bytes of [sent, other]) bytes.fill(0, at + 4, at + 8);
  }
}

function sameFrame(expected: Frame, got: Frame, cause: Frame): boolean {
  if (expected.frame === got.frame && expected.port === got.port) return true;
  const [a, b, c] = [expected, got, cause].map(({ frame }) => fromHex(frame));
  blankChoices(a, b, c);
  return expected.port === got.port && toHex(a) === toHex(b);
}

/** Seconds that a connection has left may be two less or one more: time passes in a kernel. */
const TIME_LESS = 2;
const TIME_MORE = 1;

/** A line's protocol, the seconds it has left, and the rest. */
function parts(line: string): { name: string; time: number } {
  const [, protocol, time, rest] = /^(protocol \d+|\S+) (\d+) (.*)$/.exec(line) ?? [];
  return { name: `${protocol} ${rest}`, time: Number(time) };
}

function sameConnection(expected: string, got: string): boolean {
  const [a, b] = [parts(expected), parts(got)];
  return a.name === b.name && b.time - a.time >= -TIME_LESS && b.time - a.time <= TIME_MORE;
}

/** Lines in an order that does not depend on the time that is left. */
const ordered = (lines: readonly string[]) =>
  lines
    .map((line) => ({ line, name: parts(line).name }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .map(({ line }) => line);

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
