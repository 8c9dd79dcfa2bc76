/** A host's rules and tracked connections: the network they belong to, and what of it comes up to the host. */
import * as abi from "../../assembly/abi.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Random } from "../base/random.ts";
import type { Engine, EngineOptions } from "../engine/engine.ts";
import type { Network } from "../engine/network.ts";
import type { LogSpec } from "../filter/expressions.ts";
import { Firewall } from "../filter/firewall.ts";
import type { TraceEntry } from "../filter/trace.ts";
import type { IpStack } from "../ip/stack.ts";
import { Conntrack } from "../track/conntrack.ts";
import { Helpers } from "../track/helpers/helpers.ts";
import { PacketQueues } from "./packet-queues.ts";
import { socketOf } from "./rule-sockets.ts";

/** Room that a host with a ruleset has unless it says otherwise: 65,536 connections, and sets of tens of thousands of elements. */
export const RULES_MEMORY: EngineOptions = { flows: 65_536, flowEvents: 4096, filterBytes: 16 << 20 };

/** Number of "lo" for rules that name it: packets of a host to itself meet no rules, and no others come by that interface. */
const LOOPBACK = 0x7fff_ffff;

/** A packet that a rule logged. */
export interface LogEntry {
  /** What the statement says: prefix, level, group. */
  readonly statement: LogSpec;
  /** Interfaces as rules see them; "" where there is none. */
  readonly in: string;
  readonly out: string;
  /** From the IP header on. */
  readonly packet: Uint8Array;
  /** Link-layer header, where there is one. */
  readonly link: Uint8Array;
  readonly mark: number;
}

export class HostRules {
  readonly network: Network;
  readonly firewall: Firewall | undefined;
  readonly conntrack: Conntrack | undefined;
  private readonly engine: Engine;
  private readonly ip: IpStack;
  /** Packets that wait for a verdict. */
  readonly queues: PacketQueues;
  private readonly listeners = new Set<(entry: LogEntry) => void>();
  private readonly tracers = new Set<(entry: TraceEntry) => void>();

  private constructor(engine: Engine, ip: IpStack, random: Random) {
    const { flows, filterBytes } = engine.memory.layout.sizes;
    this.engine = engine;
    this.ip = ip;
    this.network = engine.createNetwork();
    ip.useNetwork(this.network);
    if (flows > 0) this.conntrack = new Conntrack(engine, this.network.index);
    if (filterBytes > 0) {
      const find = (name: string) => ip.interfaces.find((iface) => iface.name === name);
      this.firewall = new Firewall(engine, this.network, {
        random,
        socketOf: (id) => socketOf(ip, id),
        interfaceIndex: (name) => (name === "lo" ? LOOPBACK : find(name) && (find(name)?.port.index as number) + 1),
        interfaceName: (index) => (index === LOOPBACK ? "lo" : ip.interfaces.find((iface) => iface.port.index === index - 1)?.name),
      });
    }
    const nameOf = (port: number) => ip.interfaces.find((iface) => iface.port.index === port)?.name ?? "";
    this.queues = new PacketQueues(engine, nameOf, (count) => this.firewall?.listening(count));
    ip.addresses.listeners.add((event, { address }) => {
      if (event === "removed") this.endTranslationsTo(address);
    });
    this.listen(flows > 0 ? new Helpers(engine) : undefined);
  }

  /** Rules of a host whose engine has room for any. */
  static of(engine: Engine, ip: IpStack, random: Random): HostRules | undefined {
    const { flows, filterBytes } = engine.memory.layout.sizes;
    return flows > 0 || filterBytes > 0 ? new HostRules(engine, ip, random) : undefined;
  }

  /** When the host has no interface any more: rules, flows and the network go. */
  close(): void {
    this.firewall?.close();
    this.conntrack?.flush();
    this.conntrack?.mappings.removeOf();
    this.engine.releaseNetwork(this.network);
  }

  hasFirewall(): this is HostRules & { firewall: Firewall } {
    return this.firewall !== undefined;
  }

  /** Flows that leave under an address that this host has no longer: nobody can answer them (nf_nat_masquerade's notifiers). */
  private endTranslationsTo(address: IpAddress): void {
    const { conntrack } = this;
    if (!conntrack) return;
    for (const { id, status, original, reply } of conntrack.list())
      if (status & abi.IPS_SRC_NAT && reply.dst.equals(address) && !original.src.equals(address)) conntrack.end(id);
    conntrack.mappings.removeOf(address);
  }

  private listen(helpers: Helpers | undefined): void {
    this.ip.verdicts.listener = {
      queue: (id, number, flags) => this.queues.receive(id, number, flags),
      log: (id, statement) => this.log(id, statement),
      trace: (id, point) => this.trace(id, point),
      help: (packet, flow) => helpers?.receive(flow, packet) ?? packet,
    };
  }

  onLog(listener: (entry: LogEntry) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  private log(id: number, number: number): void {
    const statement = this.listeners.size > 0 ? this.firewall?.logStatement(number) : undefined;
    if (!statement) return;
    const entry: LogEntry = { statement, ...this.seen(id) };
    for (const listener of this.listeners) listener(entry);
  }

  /** Hears what rules do with packets that `meta nftrace set 1` follows. */
  onTrace(listener: (entry: TraceEntry) => void): () => void {
    this.tracers.add(listener);
    this.firewall?.tracing(true);
    return () => {
      this.tracers.delete(listener);
      this.firewall?.tracing(this.tracers.size > 0);
    };
  }

  private trace(id: number, number: number): void {
    const { memory } = this.engine;
    const d = memory.descriptor(id);
    const [verdict, chain] = [memory.u8[d + abi.TRACE_VERDICT], memory.getU16(d + abi.TRACE_CHAIN)];
    const said = this.tracers.size > 0 ? this.firewall?.traced(number, verdict, chain) : undefined;
    if (!said) return;
    // One number after the other says little of which is which.
    const entry: TraceEntry = { id: Math.imul(memory.getU16(d + abi.TRACE_PACKET), 0x9e3779b1) >>> 0, ...said, ...this.seen(id) };
    for (const listener of this.tracers) listener(entry);
  }

  /** What a copy for the host shows of its packet. */
  private seen(id: number): Pick<LogEntry, "in" | "out" | "packet" | "link" | "mark"> {
    const { memory } = this.engine;
    const d = memory.descriptor(id);
    const l3 = memory.getU16(d + abi.DESC_L3);
    const data = memory.getU32(d + abi.DESC_DATA);
    const nameOf = (port: number) => this.ip.interfaces.find((iface) => iface.port.index === port)?.name ?? "";
    return {
      in: nameOf(memory.getU16(d + abi.DESC_INGRESS)),
      out: nameOf(memory.getU16(d + abi.DESC_LOG_OUT)),
      packet: this.ip.packetBytes(id),
      link: memory.u8.slice(data, data + l3),
      mark: memory.getU32(d + abi.DESC_MARK),
    };
  }
}
