/** FTP (RFC 959, RFC 2428): data connections that PORT, EPRT and the answers 227 and 229 announce. */
import { IpAddress } from "../../base/ip-address.ts";
import type { Announcer, Ends } from "./announcer.ts";
import { decodeText, encodeText } from "./payload.ts";

const TCP = 6;
/** Commands and answers are short (RFC 959 §5.3); what is longer announces nothing. */
const LONGEST_LINE = 512;
/** Below are services. */
const LOWEST_PORT = 1024;

/** An address and port in a line, and where they stand in it. */
export interface Announced {
  readonly address: IpAddress | undefined;
  readonly port: number;
  /** What stands between the two is replaced. */
  readonly from: number;
  readonly to: number;
  /** The same for another address and port. */
  write(address: IpAddress, port: number): string;
}

const six = (address: IpAddress, port: number) => [...address.bytes(), port >>> 8, port & 255].join(",");

function numbers(text: string): { address: IpAddress; port: number } | undefined {
  const parts = text.split(",").map(Number);
  if (parts.length !== 6 || parts.some((part) => !(Number.isInteger(part) && part >= 0 && part <= 255))) return undefined;
  const port = parts[4] * 256 + parts[5];
  return port === 0 ? undefined : { address: IpAddress.fromBytes(Uint8Array.from(parts.slice(0, 4))), port };
}

function extended(text: string, from: number): Announced | undefined {
  // |1|132.235.1.2|6275| and, in answers, |||6446|: any printable character may separate.
  const separator = text[from];
  const [, family, host, port, rest] = text.slice(from).split(separator, 5);
  const value = Number(port);
  if (rest === undefined || !(Number.isInteger(value) && value > 0 && value < 65_536)) return undefined;
  let address: IpAddress | undefined;
  try {
    address = host === "" ? undefined : IpAddress.parse(host);
  } catch {
    return undefined;
  }
  const length = [separator, family, separator, host, separator, port, separator].join("").length;
  return {
    address,
    port: value,
    from,
    to: from + length,
    write: (other, otherPort) =>
      host === ""
        ? `${separator}${separator}${separator}${otherPort}${separator}`
        : `${separator}${other.family === 4 ? 1 : 2}${separator}${other}${separator}${otherPort}${separator}`,
  };
}

/** What a line of the control connection announces; lines that are not whole announce nothing. */
export function announcedIn(line: string, fromServer: boolean): Announced | undefined {
  if (!/\r?\n$/.test(line)) return undefined;
  if (!fromServer) {
    const port = /^PORT +([\d,]+)/i.exec(line);
    if (port) return plain(line.indexOf(port[1]), port[1]);
    const eprt = /^EPRT +(?=[\x21-\x7e])/i.exec(line);
    return eprt ? extended(line, eprt[0].length) : undefined;
  }
  const passive = /^227 [^\r\n]{0,200}?(?<!\d)(\d{1,3}(?:,\d{1,3}){5})(?!\d)/.exec(line);
  if (passive) return plain(line.indexOf(passive[1]), passive[1]);
  const long = /^229 [^(\r\n]{0,200}\((?=[\x21-\x7e])/.exec(line);
  return long ? extended(line, long[0].length) : undefined;
}

function plain(from: number, text: string): Announced | undefined {
  const found = numbers(text);
  return found && { ...found, from, to: from + text.length, write: six };
}

/** Does it end with a line's end? */
export const isFtpWhole = (payload: Uint8Array): boolean => payload[payload.length - 1] === 10;

/** Expects the connection that a line announces; the line that is to be sent instead, or undefined when it says the right thing already. */
export function ftpChange(payload: Uint8Array, ends: Ends, direction: number, announcer: Announcer): Uint8Array | undefined {
  if (payload.length > LONGEST_LINE) return undefined;
  const line = decodeText(payload);
  const announced = announcedIn(line, direction === 1);
  if (!announced) return undefined;
  const { mine, theirs } = ends;
  // Nobody may announce somebody else's address, nor a service's port (FTP bounce, RFC 2577 §3).
  if ((announced.address && !announced.address.equals(mine.src)) || announced.port < LOWEST_PORT) return undefined;
  const port = announcer.announce(ends, { protocol: TCP, port: announced.port, most: 1 });
  if (port === undefined || theirs.dst.equals(mine.src)) return undefined;
  return encodeText(line.slice(0, announced.from) + announced.write(theirs.dst, port) + line.slice(announced.to));
}
