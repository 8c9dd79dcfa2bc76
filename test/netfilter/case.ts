/**
 * Cases as text: rules, packets in, packets out, connections. A file holds several:
 *
 *   === title
 *   sysctl netfilter/nf_conntrack_tcp_loose 0
 *   [ruleset]
 *   table ip nat { … }
 *   [packets]
 *   lan> ip 192.168.1.10 > 198.51.100.7 / udp 40000 > 53 / data 4
 *   wan< ip 203.0.113.1 > 198.51.100.7 ttl 63 / udp 40000 > 53 / data 4
 *   show
 *   = udp 29 src=192.168.1.10 … [UNREPLIED] src=… mark=0
 *   [counters]
 *   ip nat post 0 packets 1 bytes 32
 *
 * `varies` before the ruleset says that the kernel draws lots: such a case is there to be read, and is not compared.
 * `PORT>` goes in, `PORT<` is what comes out for it, `wait MS` lets time pass, `show` lists the connections, of which `=` is one.
 * Frames whose Ethernet header is not the usual one are written whole: `frame HEX`.
 */
import { describeFrame } from "./describe.ts";
import { frameOf, packet } from "./packet.ts";
import { GATEWAY4, GATEWAY6, macOf, type PortName, type PortPlan, portOf } from "./topology.ts";
import { addressBytes, fromHex } from "./words.ts";

export interface Frame {
  readonly port: PortName;
  /** Whole, in hexadecimal. */
  readonly frame: string;
}

export type Event =
  | { readonly kind: "packet"; readonly in: Frame; readonly out: readonly Frame[] }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "show"; readonly connections: readonly string[] };

export interface Case {
  readonly title: string;
  readonly comments: readonly string[];
  /** The kernel draws lots here (a port that is taken, …): written down to be read, not compared. */
  readonly varies: boolean;
  readonly sysctls: Readonly<Record<string, number>>;
  readonly ruleset: string;
  readonly events: readonly Event[];
  readonly counters: readonly string[];
}

/** The MAC of a port's host that a packet goes to: the destination itself, or the gateway of the wan. */
function nextHop(port: PortPlan, bytes: Uint8Array): string {
  const six = bytes[0] >>> 4 === 6;
  const destination = six ? bytes.subarray(24, 40) : bytes.subarray(16, 20);
  const network = addressBytes(six ? port.address6 : port.address4);
  const attached = network.subarray(0, six ? 8 : 3).every((byte, i) => byte === destination[i]);
  const last = attached ? destination[destination.length - 1] : addressBytes(six ? GATEWAY6 : GATEWAY4).at(-1);
  return macOf(port, last);
}

/** The last byte of the MAC that frames for the router come from. */
const SENDER = 0xfe;

export const frameIn = (port: PortPlan, bytes: Uint8Array) => frameOf(bytes, macOf(port), macOf(port, SENDER));
export const frameOut = (port: PortPlan, bytes: Uint8Array) => frameOf(bytes, nextHop(port, bytes), macOf(port));

const frameFrom = (text: string, usual: (bytes: Uint8Array) => string) =>
  text.startsWith("frame ") ? text.slice(6) : usual(text.startsWith("hex ") ? fromHex(text.slice(4)) : packet(text));

function textOf(frame: string, usual: (bytes: Uint8Array) => string): string {
  const bytes = fromHex(frame.slice(28));
  return frame.slice(24, 28) !== "0806" && bytes.length > 0 && usual(bytes) === frame ? describeFrame(frame) : `frame ${frame}`;
}

export const textIn = ({ port, frame }: Frame) => `${port}> ${textOf(frame, (bytes) => frameIn(portOf(port), bytes))}`;
export const textOut = ({ port, frame }: Frame) => `${port}< ${textOf(frame, (bytes) => frameOut(portOf(port), bytes))}`;

function parseEvent(line: string, events: Event[]): void {
  const last = events.at(-1);
  const [, name, direction, rest] = /^(\w+)([<>]) +(.*)$/.exec(line) ?? [];
  if (direction === ">") {
    const port = portOf(name);
    events.push({ kind: "packet", in: { port: port.name, frame: frameFrom(rest, (bytes) => frameIn(port, bytes)) }, out: [] });
  } else if (direction === "<" && last?.kind === "packet") {
    const port = portOf(name);
    events[events.length - 1] = {
      ...last,
      out: [...last.out, { port: port.name, frame: frameFrom(rest, (bytes) => frameOut(port, bytes)) }],
    };
  } else if (line.startsWith("wait ")) events.push({ kind: "wait", ms: Number(line.slice(5)) });
  else if (line === "show") events.push({ kind: "show", connections: [] });
  else if (line.startsWith("= ") && last?.kind === "show") {
    events[events.length - 1] = { ...last, connections: [...last.connections, line.slice(2)] };
  } else throw new Error(`"${line}" is no event; expected PORT>, PORT<, wait, show or =`);
}

function parseCase(text: string): Case {
  const [title, ...lines] = text.split("\n");
  const comments: string[] = [];
  const sysctls: Record<string, number> = {};
  const events: Event[] = [];
  const ruleset: string[] = [];
  const counters: string[] = [];
  let section = "";
  let varies = false;
  for (const line of lines) {
    const trimmed = line.trim();
    if (/^\[\w+\]$/.test(trimmed)) section = trimmed.slice(1, -1);
    else if (section === "ruleset") ruleset.push(line);
    else if (trimmed === "") continue;
    else if (trimmed.startsWith("#")) comments.push(trimmed.slice(1).trim());
    else if (section === "packets") parseEvent(trimmed, events);
    else if (section === "counters") counters.push(trimmed);
    else if (trimmed === "varies") varies = true;
    else if (trimmed.startsWith("sysctl ")) {
      const [, path, value] = trimmed.split(/\s+/);
      sysctls[path] = Number(value);
    } else throw new Error(`${title}: "${line}" is in no section`);
  }
  return { title, comments, varies, sysctls, ruleset: ruleset.join("\n").trim(), events, counters };
}

export function parseCases(text: string): Case[] {
  return text.split(/^=== /m).slice(1).map(parseCase);
}

function printEvent(event: Event): string[] {
  if (event.kind === "wait") return [`wait ${event.ms}`];
  if (event.kind === "show") return ["show", ...event.connections.map((line) => `= ${line}`)];
  return [textIn(event.in), ...event.out.map(textOut)];
}

export function printCase(it: Case): string {
  return [
    `=== ${it.title}`,
    ...it.comments.map((line) => `# ${line}`),
    ...(it.varies ? ["varies"] : []),
    ...Object.entries(it.sysctls).map(([path, value]) => `sysctl ${path} ${value}`),
    ...(it.ruleset ? ["[ruleset]", it.ruleset] : []),
    "[packets]",
    ...it.events.flatMap(printEvent),
    ...(it.counters.length ? ["[counters]", ...it.counters] : []),
    "",
  ].join("\n");
}
