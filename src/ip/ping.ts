/** Echo requests of this host and their answers (RFC 792, RFC 4443 §4). */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import type { IcmpErrorReport } from "./icmp.ts";
import type { NetInterface } from "./interface.ts";
import type { IpStack, Transport } from "./stack.ts";
import { formatZoned } from "./zone.ts";

export interface EchoReply {
  readonly from: string;
  readonly bytes: number;
  readonly hopLimit: number;
  /** Milliseconds. */
  readonly time: number;
}

interface Waiting {
  readonly sentAt: number;
  readonly timer: Timer;
  resolve(reply: EchoReply): void;
  reject(error: LoomError): void;
  /** Nobody listens for its end any more. */
  over(): void;
}

export class Pinger implements Transport {
  private readonly stack: IpStack;
  private readonly waiting = new Map<number, Waiting>();
  private readonly identifier: number;
  private sequence = 0;

  constructor(stack: IpStack) {
    this.stack = stack;
    this.identifier = stack.random.below(65_536);
    stack.setTransport(1, this);
    stack.setTransport(58, this);
  }

  /** One echo request; rejects when nothing came back within `timeout` ms, or when an error did. */
  ping(to: IpAddress, size: number, timeout: number, hopLimit?: number, iface?: NetInterface, signal?: AbortSignal): Promise<EchoReply> {
    const { stack } = this;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const sequence = ++this.sequence & 0xffff;
    stack.touch();
    return new Promise((resolve, reject) => {
      const aborted = () => this.settle(sequence)?.reject((signal as AbortSignal).reason);
      signal?.addEventListener("abort", aborted, { once: true });
      const over = () => signal?.removeEventListener("abort", aborted);
      const timer = new Timer(() => {
        this.waiting.delete(sequence);
        over();
        reject(new LoomError("ETIMEDOUT", `${to} did not answer within ${timeout} ms`));
      });
      this.waiting.set(sequence, { sentAt: stack.now, timer, resolve, reject, over });
      stack.timers.arm(timer, stack.now + timeout);
      const rest = ((this.identifier << 16) | sequence) >>> 0;
      const sent = stack.sendIcmp(iface, undefined, to, to.family === 4 ? 8 : 128, 0, rest, new Uint8Array(size), hopLimit);
      stack.flush();
      if (!sent) this.settle(sequence)?.reject(new LoomError("ENETUNREACH", `there is no route to ${to}`));
    });
  }

  /** Nobody answers any more. */
  close(why: LoomError): void {
    for (const sequence of [...this.waiting.keys()]) this.settle(sequence)?.reject(why);
  }

  private settle(sequence: number): Waiting | undefined {
    const waiting = this.waiting.get(sequence);
    if (waiting) this.stack.timers.remove(waiting.timer);
    waiting?.over();
    this.waiting.delete(sequence);
    return waiting;
  }

  receive(id: number): void {
    const { words } = this.stack;
    const packet = this.stack.packetBytes(id);
    const at = packet.length - words[abi.SEG_PAYLOAD_LENGTH / 4];
    if (((packet[at + 4] << 8) | packet[at + 5]) !== this.identifier) return;
    const waiting = this.settle((packet[at + 6] << 8) | packet[at + 7]);
    const hopLimit = (words[abi.SEG_FAMILY / 4] >>> 24) & 255;
    waiting?.resolve({
      from: formatZoned(this.stack.source(), this.stack.ingress(id)),
      bytes: packet.length - at - 8,
      hopLimit,
      time: this.stack.now - waiting.sentAt,
    });
  }

  failed(report: IcmpErrorReport): boolean {
    const t = report.transport;
    if (((t[4] << 8) | t[5]) !== this.identifier) return false;
    const what = report.kind === "timeExceeded" ? "the hop limit was used up" : "it cannot be reached";
    const waiting = this.settle((t[6] << 8) | t[7]);
    waiting?.reject(new LoomError("EHOSTUNREACH", `${report.from} says of ${report.destination}: ${what}`));
    return waiting !== undefined;
  }
}
