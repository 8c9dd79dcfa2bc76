/** Several addresses, one connection: attempts overlap, the first to succeed wins, the others are given up (RFC 8305 §5). */
import type { Alarms } from "../base/alarms.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";

/** Connection Attempt Delay (ms), RFC 8305 §8. */
const ATTEMPT_DELAY_MS = 250;
/** How long (ms) IPv4 addresses wait for IPv6 ones (RFC 8305 §3, §8). */
export const RESOLUTION_DELAY_MS = 50;

/** Families in turn, the first of each in front (RFC 8305 §4). */
export function interleave(addresses: readonly IpAddress[]): IpAddress[] {
  const first = addresses.filter((each) => each.family === addresses[0].family);
  const other = addresses.filter((each) => each.family !== addresses[0].family);
  return first.flatMap((each, i) => (i < other.length ? [each, other[i]] : [each])).concat(other.slice(first.length));
}

/** Connects to one of `addresses` by `attempt`, which must give up when its signal says so. */
export function connectAny<T extends { abort(): void }>(
  addresses: readonly IpAddress[],
  where: string,
  alarms: Alarms,
  attempt: (address: IpAddress, signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const waiting = interleave(addresses);
  const running = new Map<IpAddress, AbortController>();
  const failures: { address: IpAddress; error: unknown }[] = [];
  return new Promise<T>((resolve, reject) => {
    let cancel = () => {};
    const finish = (settle: () => void) => {
      cancel();
      waiting.length = 0;
      signal?.removeEventListener("abort", stop);
      for (const controller of running.values()) controller.abort();
      running.clear();
      settle();
    };
    const stop = () => finish(() => reject(signal?.reason));
    const failed = (address: IpAddress, error: unknown) => {
      if (!running.delete(address)) return;
      failures.push({ address, error });
      cancel();
      if (waiting.length > 0) next();
      else if (running.size === 0) finish(() => reject(aggregate(where, failures)));
    };
    const next = () => {
      const address = waiting.shift();
      if (!address) return;
      const controller = new AbortController();
      running.set(address, controller);
      cancel = waiting.length > 0 ? alarms.after(ATTEMPT_DELAY_MS, next) : () => {};
      attempt(address, controller.signal).then(
        (connection) => {
          // Two may succeed at one moment: one of them wins.
          if (running.delete(address)) finish(() => resolve(connection));
          else connection.abort();
        },
        (error) => failed(address, error),
      );
    };
    signal?.addEventListener("abort", stop, { once: true });
    next();
  });
}

/** One failure is itself; of several the first gives the code, and the sentence has them all. */
function aggregate(where: string, failures: readonly { address: IpAddress; error: unknown }[]): unknown {
  const errors = failures.map(({ error }) => error);
  const [first] = errors;
  if (errors.length === 1 || !(first instanceof LoomError)) return first;
  const reasons = failures.map(({ address, error }) => `${address}: ${error instanceof Error ? error.message : error}`);
  const cause = new AggregateError(errors, reasons.join("; "));
  const own = failures.map(({ address, error }) => `${address}${outcome(error)}`);
  return new LoomError(first.code, `cannot connect to ${where}: ${own.join(", ")}`, { cause });
}

const OUTCOMES: Readonly<Record<string, string>> = {
  ECONNREFUSED: " refused",
  ETIMEDOUT: " did not answer",
  EHOSTUNREACH: " is unreachable",
  ENETUNREACH: " has no route",
};

function outcome(error: unknown): string {
  const known = error instanceof LoomError ? OUTCOMES[error.code] : undefined;
  return known ?? `: ${error instanceof Error ? error.message : error}`;
}
