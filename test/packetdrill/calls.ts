/**
 * What all system calls of scripts share. They run over a Process of src/posix, which never waits: what a real call
 * would wait for is told to the runner, who tries again whenever something has happened.
 */
import type { IpAddress } from "../../src/base/ip-address.ts";
import * as c from "../../src/posix/constants.ts";
import { EAGAIN, EALREADY, EINPROGRESS } from "../../src/posix/errno.ts";
import type { SocketName } from "../../src/posix/names.ts";
import { Process } from "../../src/posix/process.ts";
import type { Config } from "./config.ts";
import { Descriptors } from "./descriptors.ts";
import type { Expression, SystemCall } from "./script.ts";
import { int } from "./values.ts";
import type { Wire } from "./wire.ts";

/** A call that was begun. */
export interface Attempt {
  /** One try: a result, or a negative error. */
  run(): number;
  /** With this result the call goes on waiting. */
  waits?(result: number): boolean;
  /** Milliseconds after which waiting ends, and with what. */
  timeout?: number;
  onTimeout?: number;
  /** The result is a new descriptor: any will do. */
  makes?: "descriptor";
  /** It returned: outputs to compare, things to remember. */
  done?(result: number): void;
}

/** Begins a call with its arguments. */
export type Begin = (calls: Calls, args: readonly Expression[], call: SystemCall) => Attempt;

const ZEROS = new Uint8Array(1 << 20);
export const buffer = (length: number) => (length <= ZEROS.length ? ZEROS.subarray(0, Math.max(length, 0)) : new Uint8Array(length));

export class Calls {
  readonly process: Process;
  readonly descriptors = new Descriptors();
  readonly config: Config;
  readonly wire: Wire;
  /** The script's beginning on the run's clock. */
  start = 0;

  constructor(wire: Wire, config: Config) {
    this.wire = wire;
    this.config = config;
    this.process = new Process(wire.host);
  }

  fd(args: readonly Expression[], at = 0): number {
    return this.descriptors.toLive(int(args[at]));
  }

  get domain(): number {
    return this.config.ipVersion === "ipv4" ? c.AF_INET : c.AF_INET6;
  }

  private name(address: IpAddress, port: number): SocketName {
    const text = address.family === 4 && this.domain === c.AF_INET6 ? `::ffff:${address}` : String(address);
    return { family: this.domain, address: text, port };
  }

  localName(): SocketName {
    return this.name(this.config.local, this.config.bindPort);
  }

  remoteName(): SocketName {
    return this.name(this.config.remote, this.config.connectPort);
  }

  /** Does a call on this descriptor wait? */
  blocks(fd: number): boolean {
    const status = this.process.fcntl(fd, c.F_GETFL);
    return status >= 0 && (status & c.O_NONBLOCK) === 0;
  }

  /** SO_RCVTIMEO or SO_SNDTIMEO in milliseconds. */
  timeout(fd: number, option: number): number | undefined {
    const value = new Uint8Array(16);
    if (this.process.getsockopt(fd, c.SOL_SOCKET, option, value) < 16) return undefined;
    const view = new DataView(value.buffer);
    const ms = Number(view.getBigInt64(0, true)) * 1000 + Number(view.getBigInt64(8, true)) / 1000;
    return ms > 0 ? ms : undefined;
  }

  /** A call that waits while it would fail with EAGAIN, as long as the descriptor and the flags let it. */
  waiting(fd: number, flags: number, option: number, attempt: Attempt): Attempt {
    if (flags & (c.MSG_DONTWAIT | c.MSG_ERRQUEUE) || !this.blocks(fd)) return attempt;
    return { ...attempt, waits: (result) => result === -EAGAIN, timeout: this.timeout(fd, option), onTimeout: -EAGAIN };
  }

  /**
   * A call that sends waits until everything has found room; with Fast Open first until the connection that it opened
   * is open, or is not.
   */
  sending(fd: number, flags: number, total: number, send: (from: number, isFirst: boolean) => number): Attempt {
    if (flags & c.MSG_DONTWAIT || !this.blocks(fd)) return { run: () => send(0, true) };
    let done = 0;
    let isOpening = false;
    let isFirst = true;
    let isFull = false;
    const run = () => {
      // Who waits for room is woken when a third of the buffer is free, as poll(2) is.
      if (isFull && this.process.poll([{ fd, events: c.POLLOUT, revents: 0 }]) === 0) return -EAGAIN;
      if (isOpening) {
        if (this.isOpening(fd)) return -EALREADY;
        isOpening = false;
        const error = this.pendingError(fd);
        if (error !== 0) return -error;
        if (done === total) return done;
      }
      const n = send(done, isFirst);
      isFirst = false;
      if (n > 0) done += n;
      isFull = n === -EAGAIN || (n > 0 && done < total);
      isOpening = this.isOpening(fd);
      if (isOpening && (n >= 0 || n === -EINPROGRESS)) return -EALREADY;
      return n >= 0 ? done : n === -EAGAIN || done === 0 ? n : done;
    };
    const waits = (result: number) => result === -EAGAIN || result === -EALREADY || (result >= 0 && result < total);
    return { run, waits, timeout: this.timeout(fd, c.SO_SNDTIMEO), onTimeout: -EAGAIN };
  }

  private isOpening(fd: number): boolean {
    return this.process.tcpInfo(fd)?.state === c.TCP_SYN_SENT;
  }

  private pendingError(fd: number): number {
    const error: { value?: number } = {};
    this.process.getsockopt(fd, c.SOL_SOCKET, c.SO_ERROR, error);
    return error.value ?? 0;
  }

  /** The script says where packets go from now on: to the remote host. */
  connecting(script: number): void {
    const peer = this.descriptors.peer(script);
    if (peer?.state !== "new") return;
    peer.state = "connecting";
    peer.remote = { address: this.config.remote.bytes(), port: this.config.connectPort };
  }
}
