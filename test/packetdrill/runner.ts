/** Runs the events of a script, one after the other, in virtual time. */
import * as c from "../../src/posix/constants.ts";
import type { Process } from "../../src/posix/process.ts";
import { tcpInfoFields } from "../../src/posix/tcp-info.ts";
import { Calls } from "./calls.ts";
import type { Config } from "./config.ts";
import { icmpNumbers } from "./icmp.ts";
import { showPacket, showScriptPacket } from "./notation.ts";
import { expectPacket } from "./outbound.ts";
import { Peer } from "./peer.ts";
import { type Names, runPython } from "./python.ts";
import { Mismatch, type Script, type ScriptEvent, type ScriptPacket, Unsupported } from "./script.ts";
import { Shell } from "./shell.ts";
import { CODE_NAMES } from "./symbols.ts";
import { Timing } from "./timing.ts";
import { Blocking, checkResult, invoke } from "./waiting.ts";
import type { Wire } from "./wire.ts";

export interface RunOptions {
  /** Told of every packet and call. */
  trace?: (line: string) => void;
  /** Also holds the host to what packetdrill leaves open: echoed timestamps, and packets that nobody expected. */
  strict?: boolean;
}

/** A difference, and the line of the script that shows it. */
export class Failure extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = "Failure";
    this.line = line;
  }
}

/** Milliseconds that a call or a packet takes on a real machine; a round trip of exactly nothing exists nowhere. */
const COST = 0.02;

export class Runner {
  readonly wire: Wire;
  readonly config: Config;
  readonly calls: Calls;
  readonly timing: Timing;
  readonly options: RunOptions;
  private readonly script: Script;
  private readonly shell: Shell;
  private readonly blocking: Blocking;
  private readonly names: Names = new Map(Object.entries(CODE_NAMES));
  private nextRemotePort = 40_001;

  constructor(wire: Wire, config: Config, script: Script, file: string, options: RunOptions) {
    this.wire = wire;
    this.config = config;
    this.script = script;
    this.options = options;
    this.shell = new Shell(wire, file);
    this.calls = new Calls(wire, config);
    this.timing = new Timing(config, () => wire.now);
    this.blocking = new Blocking(wire, this.timing);
  }

  /** Throws Failure, or Unsupported. */
  async run(): Promise<void> {
    for (const script of this.config.initScripts) this.shell.run(script);
    this.timing.begin();
    this.calls.start = this.timing.start;
    for (const event of this.script.events) {
      try {
        await this.event(event);
        this.blocking.check();
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error;
        if (!this.config.nonFatal.has(event.type)) throw new Failure(event.line, error.message);
        this.options.trace?.(`line ${event.line}: ${error.message}`);
      }
    }
    await this.end();
  }

  private async end(): Promise<void> {
    const line = this.script.events.at(-1)?.line ?? 1;
    try {
      await this.blocking.idle();
      this.blocking.check();
      const left = this.wire.sent.filter(({ packet }) => this.calls.descriptors.underTest?.owns(packet));
      if (this.options.strict && left.length > 0) throw new Mismatch(`a packet that the script does not expect: ${this.describe(left[0])}`);
    } catch (error) {
      throw error instanceof Mismatch ? new Failure(line, error.message) : error;
    }
  }

  /** A packet of the host, in the script's numbers, with its time. */
  describe({ at, packet }: Wire["sent"][number]): string {
    const peer = this.calls.descriptors.underTest;
    return `${this.timing.show(at)} ${showPacket(peer ? peer.outbound(packet) : packet, "out")}`;
  }

  private async event(event: ScriptEvent): Promise<void> {
    const isInbound = event.type === "packet" && event.packet.direction === "in";
    if (event.type === "packet" && event.packet.layers.length > 0)
      throw new Unsupported(`packets inside ${event.packet.layers.join(" inside ")}`);
    this.timing.next(event.time, isInbound);
    if (event.type === "packet" && event.packet.direction === "out") {
      await this.outbound(event.packet);
      return;
    }
    if (event.time.kind !== "now") {
      await this.wire.run(this.timing.at);
      this.timing.verify(this.wire.now, this.what(event));
    }
    if (event.type === "packet") this.inbound(event.packet);
    else if (event.type === "syscall") await this.systemCall(event);
    else if (event.type === "command") this.shell.run(event.command);
    else this.code(event.code);
    if (event.type === "packet" || event.type === "syscall") await this.wire.run(this.wire.now + COST);
  }

  private what(event: ScriptEvent): string {
    if (event.type === "packet") return showScriptPacket(event.packet);
    return event.type === "syscall" ? `${event.call.name}()` : event.type === "command" ? "the command" : "the code";
  }

  // ── Packets ───────────────────────────────────────────────────────────────────────────────────

  private inbound(packet: ScriptPacket): void {
    const peer = this.peerOf(packet);
    const live = peer.inbound(packet);
    this.options.trace?.(`${this.timing.show(this.wire.now)} ${showScriptPacket(packet)}`);
    this.wire.inject(live, this.config.mss);
  }

  private async outbound(packet: ScriptPacket): Promise<void> {
    const { underTest } = this.calls.descriptors;
    if (!underTest) throw new Mismatch("a packet is expected before there is a socket");
    if (packet.protocol === "icmp") icmpNumbers(packet, this.config.local.family);
    await expectPacket(this, underTest, packet);
  }

  /** Whose packet it is; one that comes to a listener, or to nobody, begins a new connection. */
  private peerOf(packet: ScriptPacket): Peer {
    const { descriptors } = this.calls;
    const { local, remote, bindPort, connectPort } = this.config;
    let peer = descriptors.underTest;
    if (packet.protocol === "tcp" && (!peer || peer.state === "listening")) {
      peer = new Peer("tcp");
      descriptors.underTest = peer;
      peer.received(packet, { address: local.bytes(), port: bindPort }, { address: remote.bytes(), port: this.nextRemotePort++ });
    }
    if (!peer) throw new Mismatch("a packet arrives before there is a socket");
    if (peer.protocol !== "tcp") {
      peer.local ??= { address: local.bytes(), port: bindPort };
      peer.remote ??= { address: remote.bytes(), port: connectPort };
    }
    return peer;
  }

  // ── System calls, code ────────────────────────────────────────────────────────────────────────

  private async systemCall(event: ScriptEvent & { type: "syscall" }): Promise<void> {
    const { call } = event;
    await this.blocking.idle();
    this.wire.host.ip.touch();
    const attempt = invoke(this.calls, call);
    if (call.end !== null) {
      if (this.blocking.isBusy) throw new Mismatch("the call before still waits; only one can");
      this.blocking.begin(event.line, attempt, call);
      return;
    }
    const result = attempt.run();
    this.options.trace?.(`${this.timing.show(this.wire.now)} ${call.name}() = ${result}`);
    this.wire.settle();
    if (attempt.waits?.(result)) throw new Mismatch(`${call.name}() waits (the script gives it no time to)`);
    checkResult(call, attempt, result);
  }

  private code(code: string): void {
    const fd = this.calls.descriptors.liveUnderTest;
    const info = fd === undefined ? undefined : this.calls.process.tcpInfo(fd);
    for (const [name, value] of info ? tcpInfoFields(info) : []) this.names.set(`tcpi_${name}`, value);
    if (fd !== undefined) for (const [name, value] of moreFacts(this.calls.process, fd)) this.names.set(name, value);
    if (info?.scales !== undefined) {
      this.names.set("tcpi_snd_wscale", info.scales & 15);
      this.names.set("tcpi_rcv_wscale", info.scales >> 4);
      this.names.set("tcpi_delivery_rate_app_limited", (info.flags ?? 0) & 1);
    }
    runPython(code, this.names, (text) => this.options.trace?.(text));
  }
}

const MEMORY = ["RMEM_ALLOC", "RCVBUF", "WMEM_ALLOC", "SNDBUF", "FWD_ALLOC", "WMEM_QUEUED", "OPTMEM", "BACKLOG", "DROPS"];
const CONTROL: Readonly<Record<string, readonly string[]>> = {
  bbr: ["bbr_bw_lo", "bbr_bw_hi", "bbr_min_rtt", "bbr_pacing_gain", "bbr_cwnd_gain"],
  dctcp: ["dctcp_enabled_and_ce_state", "dctcp_alpha", "dctcp_ab_ecn", "dctcp_ab_tot"],
};

/** What packetdrill's code may ask beside TCP_INFO: SO_MEMINFO and TCP_CC_INFO, by the names that packetdrill gives their words. */
function* moreFacts(process: Process, fd: number): Generator<[name: string, value: number]> {
  const read = (level: number, option: number) => {
    const space = new Uint8Array(64);
    const length = process.getsockopt(fd, level, option, space);
    return length > 0 ? space.slice(0, length) : new Uint8Array(0);
  };
  const words = (bytes: Uint8Array) =>
    Array.from({ length: bytes.length >> 2 }, (_, i) => new DataView(bytes.buffer).getUint32(4 * i, true));
  for (const [i, word] of words(read(c.SOL_SOCKET, c.SO_MEMINFO)).entries()) yield [`SK_MEMINFO_${MEMORY[i]}`, word];
  const name = new TextDecoder().decode(read(c.IPPROTO_TCP, c.TCP_CONGESTION)).replace(/\0.*$/s, "");
  for (const [i, word] of words(read(c.IPPROTO_TCP, c.TCP_CC_INFO)).entries()) {
    const known = CONTROL[name]?.[i];
    if (known === "dctcp_enabled_and_ce_state") {
      yield ["dctcp_enabled", word & 0xffff];
      yield ["dctcp_ce_state", word >>> 16];
    } else if (known) yield [known, word];
  }
}
