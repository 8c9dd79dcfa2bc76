/** The options of `connect`, checked. */
import { SocketError } from "./error.ts";

const KINDS = ["off", "on", "starttls"] as const;
export type SecureTransportKind = (typeof KINDS)[number];

export interface SocketOptions {
  /** Default "off". "on": TLS from the start. "starttls": plain until `startTls()`. */
  secureTransport?: SecureTransportKind;
  /** Whether `writable` stays open after the peer's end. Default false: the socket closes. Over TLS not in Bun, whose own TLS closes. */
  allowHalfOpen?: boolean;
  /** The name that TLS asks for and expects on the certificate. Default: the host's. Not with "off". */
  sni?: string | null;
  /** Protocols that TLS offers, the best first. Not with "off". */
  alpn?: string[];
}

/** Options that are all there. */
export interface CheckedOptions {
  readonly secureTransport: SecureTransportKind;
  readonly allowHalfOpen: boolean;
  readonly sni: string | undefined;
  readonly alpn: readonly string[];
}

export function checkedOptions(options: SocketOptions | null = {}): CheckedOptions {
  const { secureTransport = "off", allowHalfOpen = false, sni, alpn = [] } = options ?? {};
  if (!KINDS.includes(secureTransport)) {
    throw new SocketError(`secureTransport is ${JSON.stringify(secureTransport)}; expected "off", "on" or "starttls"`);
  }
  if (sni !== undefined && sni !== null && (typeof sni !== "string" || sni === ""))
    throw new SocketError("sni is no name; expected a text");
  if (!Array.isArray(alpn) || !alpn.every(isProtocol)) {
    throw new SocketError("alpn has something that is no protocol's name; expected a list of texts of 1 to 255 bytes");
  }
  if (secureTransport === "off" && (sni || alpn.length > 0)) {
    throw new SocketError('sni and alpn are of TLS; expected secureTransport "on" or "starttls" with them');
  }
  return { secureTransport, allowHalfOpen: Boolean(allowHalfOpen), sni: sni ?? undefined, alpn };
}

/** RFC 7301 §3.1. */
function isProtocol(name: unknown): boolean {
  if (typeof name !== "string") return false;
  const { length } = new TextEncoder().encode(name);
  return length > 0 && length < 256;
}
