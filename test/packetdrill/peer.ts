/**
 * The far end of the socket under test. Scripts speak in numbers of their own: sequence numbers from 0 or 1, timestamps
 * from 100, no ports. This translates them to those of the run and back.
 */

import { icmpMessage, type Quoted } from "./icmp.ts";
import { ACK, type Ip, type Packet, SYN, type Tcp, zeros } from "./packet.ts";
import { Mismatch, type ScriptPacket, type ScriptTcp } from "./script.ts";
import type { TcpOption } from "./tcp-options.ts";

export interface Endpoint {
  readonly address: Uint8Array;
  readonly port: number;
}

/** Where the connection stands, as far as translating it needs. */
export type PeerState = "new" | "listening" | "packet received" | "syn,ack sent" | "established" | "connecting" | "syn sent";

const sameBytes = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);

export class Peer {
  readonly protocol: "tcp" | "udp" | "icmp";
  state: PeerState = "new";
  local: Endpoint | undefined;
  remote: Endpoint | undefined;
  /** Initial sequence numbers; the remote one is the script's own. */
  private localIsn = 0;
  private localScriptIsn = 0;
  private remoteIsn = 0;
  /** Timestamps of the host by what the script called them, and the first of each. */
  private readonly timestamps = new Map<number, number>();
  private firstTimestamp: { script: number; live: number } | undefined;
  /** Flow labels come in the script's own numbers too (RFC 6437). */
  private flowLabel: { script: number; live: number } | undefined;

  constructor(protocol: Peer["protocol"]) {
    this.protocol = protocol;
  }

  /** The first packet of the script for a listener: whose it is from now on. */
  received(packet: ScriptPacket, local: Endpoint, remote: Endpoint): void {
    this.state = "packet received";
    this.local = local;
    this.remote = remote;
    if (packet.protocol === "tcp") this.remoteIsn = packet.seq >>> 0;
  }

  /** The script expects the SYN of a connect(2), from whatever port. */
  expectsSyn(packet: ScriptTcp): void {
    this.local = undefined;
    this.state = "syn sent";
    this.localScriptIsn = packet.seq >>> 0;
  }

  expectsSynAck(packet: ScriptTcp): void {
    this.localScriptIsn = packet.seq >>> 0;
  }

  /** Does this packet that the host sent belong here? Learns the local port from the first one. */
  owns({ ip, transport }: Packet): boolean {
    if (transport.protocol === "icmp")
      return this.protocol === "icmp" && this.remote !== undefined && sameBytes(ip.destination, this.remote.address);
    if (transport.protocol !== this.protocol || !this.remote) return false;
    if (!sameBytes(ip.destination, this.remote.address) || transport.destinationPort !== this.remote.port) return false;
    if (this.local) return transport.sourcePort === this.local.port && sameBytes(ip.source, this.local.address);
    const starts =
      transport.protocol === "tcp" ? this.state === "syn sent" && (transport.flags & (SYN | ACK)) === SYN : this.state === "connecting";
    if (!starts) return false;
    this.local = { address: ip.source.slice(), port: transport.sourcePort };
    if (transport.protocol === "tcp") this.localIsn = transport.seq;
    return true;
  }

  /** The host answered a SYN: the sequence number it chose. */
  sawSynAck(tcp: Tcp): void {
    this.localIsn = tcp.seq;
    this.state = "syn,ack sent";
  }

  // ── Inbound: from the script to the run ───────────────────────────────────────────────────────

  private get localOffset(): number {
    return this.localIsn;
  }

  private ends(packet: ScriptPacket): { source: Endpoint; destination: Endpoint } {
    if (!this.local || !this.remote) throw new Mismatch("a packet arrives for a socket that has no peer yet");
    const ports = "ports" in packet ? packet.ports : null;
    return {
      source: { address: this.remote.address, port: ports?.source || this.remote.port },
      destination: { address: this.local.address, port: ports?.destination || this.local.port },
    };
  }

  private inboundIp(packet: ScriptPacket, source: Endpoint, destination: Endpoint): Ip {
    const { tos = 0, ttl, flowLabel = 0 } = packet.ip;
    const family = source.address.length === 4 ? 4 : 6;
    return { family, tos, ttl: ttl || 255, flowLabel, source: source.address, destination: destination.address };
  }

  /** The packet to inject for one of the script. */
  inbound(packet: ScriptPacket): Packet {
    const { source, destination } = this.ends(packet);
    const ip = this.inboundIp(packet, source, destination);
    if (packet.protocol === "tcp") return { ip, transport: this.inboundTcp(packet, source.port, destination.port) };
    if (packet.protocol === "icmp") return { ip, transport: icmpMessage(packet, ip.family, this.quoted(packet, ip)) };
    const payload = zeros(packet.protocol === "udp" ? packet.length : 0);
    return { ip, transport: { protocol: "udp", sourcePort: source.port, destinationPort: destination.port, payload } };
  }

  private quoted(packet: ScriptPacket & { protocol: "icmp" }, ip: Ip): Quoted | undefined {
    if (!this.local || !this.remote) return undefined;
    const ours = { ...ip, tos: 0, ttl: 64, flowLabel: 0, source: ip.destination, destination: ip.source };
    const seq = ((packet.quoted?.seq ?? 0) + this.localOffset) >>> 0;
    return { ip: ours, sourcePort: this.local.port, destinationPort: this.remote.port, seq };
  }

  private inboundTcp(packet: ScriptTcp, sourcePort: number, destinationPort: number): Tcp {
    const isSyn = (packet.flags & SYN) !== 0;
    if (isSyn && packet.flags & ACK && this.state === "syn sent") this.remoteIsn = packet.seq >>> 0;
    if (this.state === "syn,ack sent" && packet.flags & ACK) this.state = "established";
    const seq = packet.seq + (isSyn ? 0 : this.remoteIsn);
    const offset = isSyn ? this.localIsn - this.localScriptIsn : this.localOffset;
    if (packet.win === null) throw new Mismatch("an inbound packet needs a window");
    if (packet.options === "unchecked") throw new Mismatch("the options of an inbound packet must be given");
    return {
      protocol: "tcp",
      sourcePort,
      destinationPort,
      flags: packet.flags,
      seq: seq >>> 0,
      ack: packet.flags & ACK ? (packet.ack + offset) >>> 0 : packet.ack >>> 0,
      win: packet.win,
      urg: packet.urg,
      options: packet.options.map((option) => this.inboundOption(option, offset, (packet.flags & ACK) !== 0)),
      payload: zeros(packet.length),
    };
  }

  private inboundOption(option: TcpOption, offset: number, acks: boolean): TcpOption {
    if (option.kind === "sack") return shiftSack(option, offset);
    return option.kind === "TS" && acks ? { ...option, ecr: this.liveTimestamp(option.ecr) } : option;
  }

  /** The host's timestamp that a script's echo means: the one it was called, or as far from the first. */
  private liveTimestamp(script: number): number {
    const known = this.timestamps.get(script);
    if (known !== undefined) return known;
    if (!this.firstTimestamp) throw new Mismatch(`TS ecr ${script} echoes a timestamp that was never sent`);
    return (script - this.firstTimestamp.script + this.firstTimestamp.live) >>> 0;
  }

  // ── Outbound: from the run to the script ──────────────────────────────────────────────────────

  /** A packet of the host in the script's numbers; timestamps are left to `timestampOf`. */
  outbound(packet: Packet): Packet {
    const { transport } = packet;
    if (transport.protocol !== "tcp") return packet;
    const isSyn = (transport.flags & SYN) !== 0;
    const seq = transport.seq - (isSyn ? this.localIsn - this.localScriptIsn : this.localIsn);
    const offset = isSyn ? 0 : this.remoteIsn;
    return {
      ip: packet.ip,
      transport: {
        ...transport,
        seq: seq >>> 0,
        ack: transport.flags & ACK ? (transport.ack - offset) >>> 0 : transport.ack,
        options: transport.options.map((option) => (option.kind === "sack" ? shiftSack(option, -offset) : option)),
      },
    };
  }

  /** Remembers what the script calls the timestamp of a packet; returns that in the script's clock. */
  timestampOf(expected: ScriptTcp, actual: Tcp): { expected: TcpOption & { kind: "TS" }; actual: TcpOption & { kind: "TS" } } | undefined {
    if (expected.options === "unchecked") return undefined;
    const script = expected.options.find((option) => option.kind === "TS");
    const live = actual.options.find((option) => option.kind === "TS");
    if (script?.kind !== "TS" || live?.kind !== "TS") return undefined;
    this.timestamps.set(script.val, live.val);
    this.firstTimestamp ??= { script: script.val, live: live.val };
    const val = (live.val - this.firstTimestamp.live + this.firstTimestamp.script) >>> 0;
    return { expected: script, actual: { ...live, val } };
  }

  /** What is wrong with the flow label: absent, not the same as before, or the same when another was expected. */
  flowLabelError(script: number, live: number): string | undefined {
    if (live === 0) return "flow label: expected one, got none";
    const before = this.flowLabel;
    if (before === undefined || (before.script !== script && before.live !== live)) {
      this.flowLabel = { script, live };
      return undefined;
    }
    if (before.script !== script) return "flow label: expected another one than before, got the same";
    return before.live === live ? undefined : "flow label: expected the same as before, got another one";
  }
}

function shiftSack(option: TcpOption & { kind: "sack" }, by: number): TcpOption {
  return { kind: "sack", blocks: option.blocks.map(({ left, right }) => ({ left: (left + by) >>> 0, right: (right + by) >>> 0 })) };
}
