/**
 * The text of SIP messages (RFC 3261 §7, §25) and of the session descriptions in them (RFC 8866): where addresses stand, and the same
 * text with others in their place. Nothing else of a message is read or changed.
 */
import { IpAddress } from "../../base/ip-address.ts";
import { decodeText } from "./payload.ts";

export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}
/** Another end in place of one; the same one where nothing is to change. `port` undefined: none was written. */
export type MapEnd = (address: IpAddress, port: number | undefined) => Endpoint | undefined;

export interface SipMessage {
  /** Request or status line, and headers, each with its line's end. */
  readonly lines: readonly string[];
  readonly body: string;
}
export const SIP_PORT = 5060;
const START = /^(?:[A-Z]{1,20} \S{1,2000} SIP\/2\.0|SIP\/2\.0 \d{3} [^\r\n]*)\r\n/;
const COMPACT: Readonly<Record<string, string>> = { v: "via", f: "from", t: "to", m: "contact", c: "content-type", l: "content-length" };

export function parseSip(text: string): SipMessage | undefined {
  if (!START.test(text)) return undefined;
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  // Folded lines (§7.3.1) stay with the line that they go on.
  const lines = text.slice(0, end + 2).split(/(?<=\r\n)(?![ \t])/);
  return { lines, body: text.slice(end + 4) };
}
export const sipText = ({ lines, body }: SipMessage): string => `${lines.join("")}\r\n${body}`;

/** Name of a header line, the long one, in small letters; "" for the first line. */
function nameOf(line: string): string {
  const name = /^([!-9;-~]+)[ \t]*:/.exec(line)?.[1].toLowerCase() ?? "";
  return COMPACT[name] ?? name;
}
export function header({ lines }: SipMessage, name: string): string | undefined {
  const found = lines.slice(1).find((line) => nameOf(line) === name);
  return found?.slice(found.indexOf(":") + 1).trim();
}
export const statusOf = ({ lines }: SipMessage): number => Number(/^SIP\/2\.0 (\d{3})/.exec(lines[0])?.[1] ?? 0);
export const methodOf = ({ lines }: SipMessage): string => (lines[0].startsWith("SIP/") ? "" : lines[0].slice(0, lines[0].indexOf(" ")));

/** Does a segment end with a whole message? Then the next one begins another. */
export function isSipWhole(payload: Uint8Array): boolean {
  const message = parseSip(decodeText(payload));
  return message !== undefined && message.body.length === Number(header(message, "content-length") ?? 0);
}

// ── Addresses ───────────────────────────────────────────────────────────────────────────────────────
const HOST = String.raw`\[[0-9A-Fa-f:.]{2,45}\]|\d{1,3}(?:\.\d{1,3}){3}(?![\w.-])`;
/** `sip:user@host:port`, `SIP/2.0/UDP host:port`. */
const END = new RegExp(String.raw`(sips?:(?:[^@\s<>;"]{1,255}@)?|SIP/2\.0/\w+[ \t]+)(${HOST})(?::(\d{1,5}))?`, "gi");
const RECEIVED = new RegExp(String.raw`(;[ \t]*received=)(${HOST}|[0-9A-Fa-f:]{2,39})`, "i");
const ADDRESSED = new Set(["", "via", "from", "to", "contact", "route", "record-route"]);

export function parseHost(text: string): IpAddress | undefined {
  try {
    return IpAddress.parse(text.replace(/^\[(.*)\]$/, "$1"));
  } catch {
    return undefined;
  }
}
export const hostText = (address: IpAddress): string => (address.family === 6 ? `[${address}]` : `${address}`);

/** The message with the ends that `map` gives in its first line, Via, From, To, Contact and routes. */
export function mapEnds({ lines, body }: SipMessage, map: MapEnd): SipMessage {
  return { lines: lines.map((line) => (ADDRESSED.has(nameOf(line)) ? mapLine(line, map) : line)), body };
}
function mapLine(line: string, map: MapEnd): string {
  const mapped = line.replace(END, (all, before: string, host: string, port: string | undefined) => {
    const address = parseHost(host);
    const end = address && map(address, port === undefined ? undefined : Number(port));
    if (!end) return all;
    return `${before}${hostText(end.address)}${port === undefined && end.port === SIP_PORT ? "" : `:${end.port}`}`;
  });
  return nameOf(line) === "via" ? mapReceived(mapped, map) : mapped;
}
/** Where the other side saw a request come from: `;received=` and `;rport=` (RFC 3581). */
function mapReceived(line: string, map: MapEnd): string {
  const found = RECEIVED.exec(line);
  const address = found && parseHost(found[2]);
  if (!found || !address) return line;
  const rport = /;[ \t]*rport=(\d{1,5})/i.exec(line);
  const end = map(address, rport ? Number(rport[1]) : SIP_PORT);
  if (!end) return line;
  const text = line.replace(RECEIVED, `$1${end.address}`);
  return rport ? text.replace(/(;[ \t]*rport=)\d{1,5}/i, `$1${end.port}`) : text;
}

/** The end that the first Contact names. */
export function contactOf(message: SipMessage): Endpoint | undefined {
  const text = header(message, "contact") ?? "";
  const found = new RegExp(END.source, "i").exec(text);
  const address = found && parseHost(found[2]);
  return address ? { address, port: found[3] === undefined ? SIP_PORT : Number(found[3]) } : undefined;
}
/** Seconds for which a registration holds (§10.2.1.1): of the contact itself, else of the message. */
export function expiresOf(message: SipMessage): number | undefined {
  const text = /;[ \t]*expires=(\d{1,9})/i.exec(header(message, "contact") ?? "")?.[1] ?? header(message, "expires");
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

// ── Session descriptions ────────────────────────────────────────────────────────────────────────────
const CONNECTION = /^c=IN IP[46] (\S{2,45})/;
const MEDIA = /^m=(\S{1,32}) (\d{1,5})(\/\d+)? /;
/** Where media of the sender are to come, by address and port as it knows them; undefined where nothing changes. */
export type MapMedia = (address: IpAddress, port: number) => Endpoint | undefined;

/** Another body, and the length of it in its header. */
export function withBody({ lines }: SipMessage, body: string): SipMessage {
  return { lines: lines.map((line) => (nameOf(line) === "content-length" ? line.replace(/\d+/, `${body.length}`) : line)), body };
}

/** The session description with `own`, the sender's address, and its media as `map` gives them. */
export function mapSession(body: string, own: IpAddress, outside: IpAddress, map: MapMedia): string {
  const [session, ...sections] = body.split(/(?=^m=)/m);
  const whole = addressIn(session);
  let isMapped = false;
  const media = sections.map((section) => {
    const found = MEDIA.exec(section);
    const address = addressIn(section) ?? whole;
    // Several ports in one line are left as they are; so is a stream that is refused (port 0).
    if (!found || !address || found[3] !== undefined || found[2] === "0") return section;
    const end = map(address, Number(found[2]));
    if (!end) return section;
    isMapped = true;
    return withConnection(section.replace(MEDIA, `m=$1 ${end.port} `), end.address).replace(
      /^a=rtcp:\d{1,5}[^\r\n]*/m,
      `a=rtcp:${end.port + 1}`,
    );
  });
  const origin = session.replace(/^(o=[^\r\n]* IN IP[46] )(\S+)/m, (all, before: string, host: string) =>
    parseHost(host)?.equals(own) ? `${before}${outside}` : all,
  );
  return (isMapped ? withConnection(origin, outside) : origin) + media.join("");
}
function addressIn(section: string): IpAddress | undefined {
  const found = new RegExp(CONNECTION.source, "m").exec(section);
  return found ? parseHost(found[1]) : undefined;
}
function withConnection(section: string, address: IpAddress): string {
  return section.replace(new RegExp(CONNECTION.source, "m"), `c=IN IP${address.family} ${address}`);
}
