/**
 * Active health checks: connect (or ask for a page) every so often; so many failures in a row are a verdict, so many successes another.
 *
 * Connections come from whoever lends them: a packetloom host (`(target) => host.connect(target)`), sockets of the runtime, a test.
 * The first check comes at a random moment of the first interval and later ones jitter, so that a thousand checks do not meet.
 */
import type { Clock } from "../base/clock.ts";
import { LoomError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { after } from "./after.ts";
import { type ByteStream, httpGet } from "./http-check.ts";

export interface HealthOptions {
  readonly kind: "tcp" | "http";
  /** Default: the backend's own. */
  readonly port?: number;
  /** From one check's beginning to the next. Default 5,000. */
  readonly intervalMs?: number;
  /** For a whole check, an answer included; at most the interval. Default 3,000. */
  readonly timeoutMs?: number;
  /** Part of the interval by which each check may be early or late. Default 0.1. */
  readonly jitter?: number;
  /** In a row, for "down". Default 3. */
  readonly failures?: number;
  /** In a row, for "up". Default 2. */
  readonly successes?: number;
  /** HTTP: default "/". */
  readonly path?: string;
  /** HTTP: the Host header. Default: address and port. */
  readonly host?: string;
  /** HTTP: the status, or the first and last of a range. Default [200, 399]. */
  readonly status?: number | readonly [number, number];
  /** HTTP: what its first 64 KiB have to contain. */
  readonly body?: string | RegExp;
}

export interface ConnectTarget {
  readonly hostname: string;
  readonly port: number;
  /** Aborted when the check has taken too long or is not wanted any more. */
  readonly signal: AbortSignal;
}

export interface HealthStream extends ByteStream {
  /** Ends both directions at once; without it, its streams are cancelled. */
  abort?(): void;
}

export type Connect = (target: ConnectTarget) => Promise<HealthStream>;

export interface CheckResult {
  readonly isGood: boolean;
  /** "HTTP 503; expected 200 to 399", "connection refused", … */
  readonly why: string;
  readonly tookMs: number;
}

export interface HealthWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly connect: Connect;
}

export const HEALTH_DEFAULTS = { intervalMs: 5000, timeoutMs: 3000, jitter: 0.1, failures: 3, successes: 2 };

/** The checks of one backend. */
export class HealthCheck {
  readonly options: HealthOptions;
  /** Of the checks in a row that ended alike, how many. */
  streak = 0;
  last: CheckResult | undefined;
  private readonly target: { hostname: string; port: number };
  private readonly world: HealthWorld;
  private readonly verdict: (event: "passed" | "failed", result: CheckResult) => void;
  private stopTimer: (() => void) | undefined;
  private running: AbortController | undefined;

  constructor(
    options: HealthOptions,
    target: { hostname: string; port: number },
    world: HealthWorld,
    verdict: (event: "passed" | "failed", result: CheckResult) => void,
  ) {
    this.options = options;
    this.target = target;
    this.world = world;
    this.verdict = verdict;
  }

  get isRunning(): boolean {
    return this.stopTimer !== undefined;
  }

  start(): void {
    if (this.isRunning) return;
    this.streak = 0;
    this.last = undefined;
    this.plan(this.world.random.float() * this.interval);
  }

  stop(): void {
    this.stopTimer?.();
    this.stopTimer = undefined;
    this.running?.abort();
    this.running = undefined;
  }

  private get interval(): number {
    return this.options.intervalMs ?? HEALTH_DEFAULTS.intervalMs;
  }

  private plan(ms: number): void {
    this.stopTimer = after(this.world.clock, ms, () => {
      const jitter = this.options.jitter ?? HEALTH_DEFAULTS.jitter;
      this.plan(this.interval * (1 + jitter * (2 * this.world.random.float() - 1)));
      this.check();
    });
  }

  private async check(): Promise<void> {
    // One that jitter brought near still waits for its answer: the next is asked in its turn.
    if (this.running) return;
    const control = new AbortController();
    this.running = control;
    const began = this.world.clock.now();
    const timeoutMs = this.options.timeoutMs ?? HEALTH_DEFAULTS.timeoutMs;
    const cancel = after(this.world.clock, timeoutMs, () => control.abort(new LoomError("ETIMEDOUT", `no answer within ${timeoutMs} ms`)));
    const why = await probe(this.options, { ...this.target, signal: control.signal }, this.world.connect);
    cancel();
    // Stopped meanwhile: nobody asks any more.
    if (this.running !== control) return;
    this.running = undefined;
    this.note({ isGood: why === undefined, why: why ?? "good", tookMs: this.world.clock.now() - began });
  }

  private note(result: CheckResult): void {
    this.streak = this.last?.isGood === result.isGood ? this.streak + 1 : 1;
    this.last = result;
    const { failures, successes } = { ...HEALTH_DEFAULTS, ...this.options };
    if (this.streak >= (result.isGood ? successes : failures)) this.verdict(result.isGood ? "passed" : "failed", result);
  }
}

/** One check; what is wrong, or undefined. */
export async function probe(options: HealthOptions, target: ConnectTarget, connect: Connect): Promise<string | undefined> {
  const { signal } = target;
  let stream: HealthStream | undefined;
  const aborted = new Promise<never>((_, reject) => {
    const fail = () => reject(signal.reason);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
  aborted.catch(() => {});
  const connecting = connect(target).then((opened) => {
    // It came too late: nobody waits for it.
    if (signal.aborted) end(opened);
    return opened;
  });
  try {
    stream = await Promise.race([connecting, aborted]);
    if (options.kind === "tcp") return undefined;
    return await Promise.race([askPage(options, target, stream), aborted]);
  } catch (error) {
    connecting.catch(() => {});
    return (error as Error).message;
  } finally {
    if (stream) end(stream);
  }
}

async function askPage(
  options: HealthOptions,
  { hostname, port, signal }: ConnectTarget,
  stream: HealthStream,
): Promise<string | undefined> {
  const { path = "/", status = [200, 399], body } = options;
  const host = options.host ?? (hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`);
  const answer = await httpGet(stream, { path, host, wantsBody: body !== undefined }, signal);
  const [low, high] = typeof status === "number" ? [status, status] : status;
  if (answer.status < low || answer.status > high) return `HTTP ${answer.status}; expected ${low === high ? low : `${low} to ${high}`}`;
  if (body === undefined) return undefined;
  const isThere = typeof body === "string" ? answer.body.includes(body) : answer.body.search(body) >= 0;
  return isThere ? undefined : `HTTP ${answer.status} without ${typeof body === "string" ? JSON.stringify(body) : body} in its body`;
}

function end(stream: HealthStream): void {
  if (stream.abort) {
    stream.abort();
    return;
  }
  stream.readable.cancel().catch(() => {});
  stream.writable.abort().catch(() => {});
}
