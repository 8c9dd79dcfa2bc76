/** System calls until they return: results compared, and the one call at a time that may wait while events go on. */
import type { Attempt, Calls } from "./calls.ts";
import { DATA_CALLS } from "./calls-data.ts";
import { FILE_CALLS } from "./calls-files.ts";
import { SOCKET_CALLS } from "./calls-sockets.ts";
import { Mismatch, type SystemCall, Unsupported } from "./script.ts";
import { errorName, symbol } from "./symbols.ts";
import type { Timing } from "./timing.ts";
import { int } from "./values.ts";
import type { Wire } from "./wire.ts";

const ALL = { ...SOCKET_CALLS, ...DATA_CALLS, ...FILE_CALLS };
/** How long the script's end, or the next call, waits for one that is still waiting. */
const PATIENCE = 1000;

export function invoke(calls: Calls, call: SystemCall): Attempt {
  const begin = Object.hasOwn(ALL, call.name) ? ALL[call.name] : undefined;
  if (!begin) throw new Unsupported(`the system call ${call.name}() is not known`);
  return begin(calls, call.args, call);
}

const showResult = (result: number) => (result < 0 ? `-1 ${errorName(-result)}` : String(result));

/** Throws a Mismatch unless the call returned what the script says. */
export function checkResult(call: SystemCall, attempt: Attempt, result: number): void {
  const expected = int(call.result);
  const error = call.error === null ? undefined : symbol(call.error);
  if (call.error !== null && error === undefined) throw new Unsupported(`the error ${call.error} is not known`);
  const says = expected < 0 ? `${expected} ${call.error ?? "(any error)"}` : String(expected);
  const wrong = () => new Mismatch(`${call.name}() returned ${showResult(result)}; expected ${says}`);
  if (attempt.makes === "descriptor" && expected >= 0) {
    if (result < 0) throw wrong();
  } else if ((result < 0 ? -1 : result) !== expected) throw wrong();
  if (error !== undefined && result !== -error) throw wrong();
  if (result >= 0) attempt.done?.(result);
}

interface Pending {
  readonly line: number;
  readonly attempt: Attempt;
  readonly call: SystemCall;
  readonly began: number;
  /** When it is to return, on the run's clock. */
  readonly end: number;
  readonly deadline: number;
}

export class Blocking {
  private readonly wire: Wire;
  private readonly timing: Timing;
  private pending: Pending | undefined;
  private failure: unknown;

  constructor(wire: Wire, timing: Timing) {
    this.wire = wire;
    this.timing = timing;
    wire.settled = () => this.progress();
  }

  get isBusy(): boolean {
    return this.pending !== undefined;
  }

  begin(line: number, attempt: Attempt, call: SystemCall): void {
    const began = this.wire.now;
    const end = this.timing.endOf(call.end ?? 0);
    this.pending = { line, attempt, call, began, end, deadline: began + (attempt.timeout ?? Number.POSITIVE_INFINITY) };
    this.wire.alarm = this.pending.deadline;
    this.progress();
    this.wire.settle();
  }

  private progress(): void {
    const { pending } = this;
    if (!pending) return;
    try {
      this.wire.host.ip.touch();
      let result = pending.attempt.run();
      if (pending.attempt.waits?.(result)) {
        if (this.wire.now < pending.deadline) return;
        result = pending.attempt.onTimeout ?? result;
      }
      this.finish();
      checkResult(pending.call, pending.attempt, result);
      const late = this.timing.endError(pending.began, pending.end, this.wire.now);
      if (late) throw new Mismatch(`${pending.call.name}() of line ${pending.line}: ${late}`);
    } catch (error) {
      this.finish();
      this.failure ??= error;
    }
  }

  private finish(): void {
    this.pending = undefined;
    this.wire.alarm = Number.POSITIVE_INFINITY;
  }

  /** Throws what a call that returned meanwhile did wrong. */
  check(): void {
    if (this.failure) throw this.failure;
  }

  /** Lets a call that waits come to its end. */
  async idle(): Promise<void> {
    const { pending } = this;
    if (!pending) return;
    await this.wire.run(this.wire.now + PATIENCE, () => this.pending !== pending);
    if (this.pending === pending) throw new Mismatch(`${pending.call.name}() of line ${pending.line} still waits`);
  }
}
