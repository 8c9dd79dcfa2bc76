/** Addresses of the Sockets API: `{ hostname, port }` or "host:port", an IPv6 address of the latter in brackets. */
import { SocketError } from "./error.ts";

export interface SocketAddress {
  /** A name or an address. */
  hostname: string;
  /** 1 to 65535. */
  port: number;
}

export type AnySocketAddress = string | SocketAddress;

const EXPECTED = 'expected { hostname, port } or "host:port", like "example.com:443" or "[2001:db8::1]:443"';

/** The parts of an address, the brackets of an IPv6 address taken off. */
export function addressOf(address: AnySocketAddress): SocketAddress {
  const { hostname, port } = typeof address === "string" ? split(address) : (address ?? {});
  if (typeof hostname !== "string" || hostname === "") throw new SocketError(`an address without a host; ${EXPECTED}`);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new SocketError(`the port ${String(port)} of the address; expected a whole number from 1 to 65535`);
  }
  return { hostname: /^\[.*:.*\]$/.test(hostname) ? hostname.slice(1, -1) : hostname, port };
}

function split(address: string): SocketAddress {
  const parts = /^(\[[^\]]+\]|[^:[\]]+):(\d{1,5})$/.exec(address);
  if (!parts) throw new SocketError(`"${address}" is no address; ${EXPECTED}`);
  return { hostname: parts[1], port: Number(parts[2]) };
}

/** An address and a port as one text. */
export function joined(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
