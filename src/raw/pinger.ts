/** Echo requests of this host and their answers (RFC 792, RFC 4443 §4). */
import { u16 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack } from "../ip/stack.ts";
import { formatZoned } from "../ip/zone.ts";
import type { EchoLayer, EchoUser } from "./echo.ts";

const BOTH = [4, 6] as const;

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

export class Pinger implements EchoUser {
  readonly shares = false;
  private readonly stack: IpStack;
  private readonly waiting = new Map<number, Waiting>();
  private readonly identifier: number;
  private sequence = 0;

  constructor(layer: EchoLayer) {
    this.stack = layer.stack;
    this.identifier = layer.choose(BOTH);
    layer.add(this, BOTH, this.identifier);
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

  replied(message: Uint8Array, id: number): boolean {
    const waiting = this.settle(u16(message, 6));
    waiting?.resolve({
      from: formatZoned(this.stack.source(), this.stack.ingress(id)),
      bytes: message.length - 8,
      hopLimit: this.stack.words[0] >>> 24,
      time: this.stack.now - waiting.sentAt,
    });
    return true;
  }

  toldOf(report: IcmpErrorReport): boolean {
    const what = report.kind === "timeExceeded" ? "the hop limit was used up" : "it cannot be reached";
    const waiting = this.settle(u16(report.transport, 6));
    waiting?.reject(new LoomError("EHOSTUNREACH", `${report.from} says of ${report.destination}: ${what}`));
    return waiting !== undefined;
  }
}
