/**
 * One packet as scripts and the wire know it: IPv4 or IPv6 with TCP, UDP or ICMP in it. Bytes come from and go through
 * the readable codecs of src/wire, not through the data plane under test.
 */
import {
  addressBytes4,
  parseIcmp,
  parseIpv4,
  parseIpv6,
  parseTcp,
  parseUdp,
  serializeIcmp,
  serializeIpv4,
  serializeIpv6,
  serializeTcp,
  serializeUdp,
} from "../../src/wire/index.ts";
import { decodeOptions, encodeOptions, type TcpOption } from "./tcp-options.ts";

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;
/** The bit that AccECN took over from the nonce (RFC 9768 §3.1.1). */
export const AE = 0x100;

export interface Ip {
  readonly family: 4 | 6;
  readonly tos: number;
  readonly ttl: number;
  readonly flowLabel: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

export interface Tcp {
  readonly protocol: "tcp";
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly win: number;
  readonly urg: number;
  readonly options: readonly TcpOption[];
  readonly payload: Uint8Array;
}

export interface Udp {
  readonly protocol: "udp";
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

export interface Icmp {
  readonly protocol: "icmp";
  readonly type: number;
  readonly code: number;
  /** The header's second word. */
  readonly rest: number;
  readonly payload: Uint8Array;
}

export type Transport = Tcp | Udp | Icmp;
export type Packet = { readonly ip: Ip } & { readonly transport: Transport };

const NUMBERS = { tcp: 6, udp: 17, icmp: 1 } as const;
export const protocolNumber = (protocol: Transport["protocol"], family: 4 | 6) =>
  protocol === "icmp" && family === 6 ? 58 : NUMBERS[protocol];

const ZEROS = new Uint8Array(65_536);
/** Payload of scripts: zeros, as many as they say. */
export const zeros = (length: number) => ZEROS.subarray(0, length);

function encodeTransport(transport: Transport, ip: Ip): Uint8Array {
  switch (transport.protocol) {
    case "udp":
      return serializeUdp(transport, ip);
    case "icmp":
      return serializeIcmp(transport, ip.family === 6 ? ip : undefined);
    default:
      return serializeTcp(
        {
          sourcePort: transport.sourcePort,
          destinationPort: transport.destinationPort,
          sequence: transport.seq,
          acknowledgement: transport.ack,
          flags: transport.flags,
          window: transport.win,
          urgentPointer: transport.urg,
          options: encodeOptions(transport.options),
          payload: transport.payload,
        },
        ip,
      );
  }
}

/** The whole IP packet, checksums in place. */
export function encodePacket({ ip, transport }: Packet): Uint8Array {
  return wrap(ip, protocolNumber(transport.protocol, ip.family), encodeTransport(transport, ip));
}

export function wrap(ip: Ip, protocol: number, payload: Uint8Array): Uint8Array {
  const ends = { protocol, payload };
  if (ip.family === 6) {
    const { source, destination } = ip;
    return serializeIpv6({ trafficClass: ip.tos, flowLabel: ip.flowLabel, hopLimit: ip.ttl, source, destination, ...ends });
  }
  const number = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return serializeIpv4({ tos: ip.tos, ttl: ip.ttl, source: number(ip.source), destination: number(ip.destination), ...ends });
}

/** Throws WireError when the packet is malformed. Undefined: a protocol that scripts do not speak. */
export function decodePacket(bytes: Uint8Array): Packet | undefined {
  if (bytes[0] >>> 4 === 4) {
    const { tos, ttl, protocol, payload, ...rest } = parseIpv4(bytes);
    const ip: Ip = { family: 4, tos, ttl, flowLabel: 0, source: addressBytes4(rest.source), destination: addressBytes4(rest.destination) };
    return decodeTransport(ip, protocol, payload);
  }
  const { trafficClass, hopLimit, flowLabel, source, destination, protocol, payload } = parseIpv6(bytes);
  return decodeTransport({ family: 6, tos: trafficClass, ttl: hopLimit, flowLabel, source, destination }, protocol, payload);
}

function decodeTransport(ip: Ip, protocol: number, bytes: Uint8Array): Packet | undefined {
  if (protocol === 6) return { ip, transport: decodeTcp(bytes) };
  if (protocol === 17) return { ip, transport: { protocol: "udp", ...parseUdp(bytes) } };
  if (protocol === 1 || protocol === 58) return { ip, transport: { protocol: "icmp", ...parseIcmp(bytes) } };
  return undefined;
}

function decodeTcp(bytes: Uint8Array): Tcp {
  const { sourcePort, destinationPort, sequence, acknowledgement, flags, window, urgentPointer, options, payload } = parseTcp(bytes);
  return {
    protocol: "tcp",
    sourcePort,
    destinationPort,
    flags: flags | (bytes[12] & 1 ? AE : 0),
    seq: sequence,
    ack: acknowledgement,
    win: window,
    urg: urgentPointer,
    options: decodeOptions(options),
    payload,
  };
}
