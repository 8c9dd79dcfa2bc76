/**
 * How a socket gets its connection: arguments, names, and one address after the other (`autoSelectFamily`, a simple form
 * of RFC 8305), with the events that Node has for it.
 */
import { isIP } from "node:net";
import process from "node:process";
import { format } from "node:util";
import { LoomError } from "../base/errors.ts";
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkNumber,
  checkPath,
  checkPort,
  checkText,
  isPipeName,
  wrongType,
} from "./checks.ts";
import type { Context } from "./context.ts";
import type { Lookup, LookupAddress } from "./dns.ts";
import { attemptsError, codeOf, nodeError, systemError } from "./errors.ts";
import { type Handle, TcpHandle } from "./handle.ts";
import type { HandleOwner } from "./held.ts";

export interface ConnectOptions {
  /** A Unix domain socket of the host; without port and host. */
  path?: string;
  port: number | string;
  host?: string;
  localAddress?: string;
  localPort?: number;
  family?: number | "IPv4" | "IPv6";
  hints?: number;
  lookup?: Lookup;
  autoSelectFamily?: boolean;
  /** Milliseconds before the next address is tried; at least 10. */
  autoSelectFamilyAttemptTimeout?: number;
}

export type ConnectArguments =
  | [options: ConnectOptions, listener?: () => void]
  | [options: { path: string }, listener?: () => void]
  | [port: number | string, listener?: () => void]
  | [port: number | string, host: string, listener?: () => void];

/** Milliseconds that a timer of Node's can wait. */
const MOST_TIMEOUT = 2 ** 31 - 1;

/** What is wanted, whichever way it was said. */
export function connectArguments(args: readonly unknown[]): [ConnectOptions, (() => void) | undefined] {
  const [first, second] = args;
  const last = args.at(-1);
  const callback = typeof last === "function" ? (last as () => void) : undefined;
  const options =
    typeof first === "object" && first !== null
      ? (first as ConnectOptions)
      : ({ port: first, host: typeof second === "string" ? second : undefined } as ConnectOptions);
  // An agent of Node's asks with a path that is null.
  const path = isPipeName(first) ? first : options.path;
  if (path) {
    checkText(path, "options.path");
    return [{ ...options, path: checkPath(path) }, callback];
  }
  if (options.port === undefined)
    throw nodeError("ERR_MISSING_ARGS", 'The "options" or "port" or "path" argument must be specified', TypeError);
  return [options, callback];
}

/** What a socket does while it is being connected. */
export interface Dialer {
  emit(event: string, ...args: unknown[]): void;
  /** Who hears of a handle once it is connected. */
  ears(): HandleOwner;
  tried(names: string[]): void;
  done(result: Handle | Error): void;
  touch(): void;
}

/** A connection that is being made. */
export interface Dial {
  cancel(): void;
  ref(): void;
  unref(): void;
}

interface Wanted {
  readonly host: string;
  readonly port: number;
  readonly localAddress: string | undefined;
  readonly localPort: number;
}

/** Begins to connect. Arguments that are wrong throw; everything else is told to the dialer, later. */
export function dial(context: Context, options: ConnectOptions, dialer: Dialer): Dial {
  const { localAddress, localPort: given, lookup, autoSelectFamily, autoSelectFamilyAttemptTimeout } = options;
  if (localAddress && !isIP(localAddress))
    throw nodeError("ERR_INVALID_IP_ADDRESS", format("Invalid IP address: %s", localAddress), TypeError);
  if (given) checkNumber(given, "options.localPort");
  const localPort = checkPort(given || 0, "options.localPort");
  if (typeof options.port !== "number" && typeof options.port !== "string") {
    throw wrongType("options.port", "one of type number or string", options.port);
  }
  const wanted = { host: options.host || "localhost", port: checkPort(options.port, "Port"), localAddress, localPort };
  if (autoSelectFamily != null) checkBoolean(autoSelectFamily, "options.autoSelectFamily");
  if (autoSelectFamilyAttemptTimeout != null)
    checkInteger(autoSelectFamilyAttemptTimeout, "options.autoSelectFamilyAttemptTimeout", 1, MOST_TIMEOUT);
  if (lookup != null && !isIP(wanted.host)) checkFunction(lookup, "options.lookup");
  return new Dialing(context, options, wanted, dialer);
}

class Dialing implements Dial {
  private readonly context: Context;
  private readonly options: ConnectOptions;
  private readonly wanted: Wanted;
  private readonly dialer: Dialer;
  private readonly errors: Error[] = [];
  private readonly names: string[] = [];
  private addresses: readonly LookupAddress[] = [];
  private next = 0;
  private handle: TcpHandle | undefined;
  /** Ends the wait for the attempt in hand. */
  private stopTimer = () => {};
  private isOver = false;
  private isUnref = false;

  constructor(context: Context, options: ConnectOptions, wanted: Wanted, dialer: Dialer) {
    this.context = context;
    this.options = options;
    this.wanted = wanted;
    this.dialer = dialer;
    const family = isIP(wanted.host);
    if (family) process.nextTick(() => this.use([{ address: wanted.host, family }]));
    else this.lookUp();
  }

  cancel(): void {
    this.isOver = true;
    this.stopTimer();
    this.handle?.close();
    this.handle = undefined;
  }

  ref(): void {
    this.isUnref = false;
    this.handle?.ref();
  }

  unref(): void {
    this.isUnref = true;
    this.handle?.unref();
  }

  private finish(result: TcpHandle | Error): void {
    if (this.isOver) return;
    this.isOver = true;
    this.stopTimer();
    this.handle = undefined;
    this.dialer.done(result);
  }

  // ── Names ─────────────────────────────────────────────────────────────────────────────────────

  private lookUp(): void {
    const { options, wanted, dialer } = this;
    const family = options.family === "IPv4" ? 4 : options.family === "IPv6" ? 6 : (options.family ?? 0);
    const lookup = options.lookup ?? this.context.lookup;
    const all =
      family !== 4 && family !== 6 && !wanted.localAddress && (options.autoSelectFamily ?? this.context.attempts.autoSelectFamily);
    lookup(wanted.host, { family, hints: options.hints ?? 0, ...(all && { all }) }, (error, found, foundFamily) => {
      const list = Array.isArray(found) ? found : [{ address: found as string, family: foundFamily as number }];
      if (error || !Array.isArray(found)) dialer.emit("lookup", error, found ?? undefined, foundFamily, wanted.host);
      else for (const each of list) dialer.emit("lookup", null, each.address, each.family, wanted.host);
      if (this.isOver) return;
      const result = error ?? this.checked(list);
      if (result instanceof Error) process.nextTick(() => this.finish(result));
      else this.use(result);
    });
  }

  /** Addresses to be tried, the families in turn, beginning with the first one's. */
  private checked(list: readonly LookupAddress[]): LookupAddress[] | Error {
    const isGood = ({ address, family }: LookupAddress) => isIP(address) !== 0 && (family === 4 || family === 6);
    const good = list.filter((each, i) => isGood(each) && list.findIndex((other) => other.address === each.address) === i);
    if (good.length === 0) {
      const [{ address, family }] = list;
      if (!isIP(address)) return nodeError("ERR_INVALID_IP_ADDRESS", `Invalid IP address: ${address}`, TypeError);
      const { host, port } = this.wanted;
      const error = nodeError("ERR_INVALID_ADDRESS_FAMILY", `Invalid address family: ${family} ${host}:${port}`, RangeError);
      return Object.assign(error, { host, port });
    }
    const first = good.filter((each) => each.family === good[0].family);
    const second = good.filter((each) => each.family !== good[0].family);
    return Array.from({ length: Math.max(first.length, second.length) }, (_, i) => [first[i], second[i]])
      .flat()
      .filter(Boolean);
  }

  // ── Attempts ──────────────────────────────────────────────────────────────────────────────────

  private use(addresses: readonly LookupAddress[]): void {
    if (this.isOver) return;
    this.addresses = addresses;
    if (addresses.length > 1) this.dialer.tried(this.names);
    this.dialer.touch();
    this.attempt();
  }

  private attempt(): void {
    const { address, family } = this.addresses[this.next++];
    const { port } = this.wanted;
    this.dialer.emit("connectionAttempt", address, port, family);
    if (this.isOver) return;
    if (this.addresses.length > 1) this.names.push(`${address}:${port}`);
    try {
      this.handle = this.begin(address, family);
    } catch (error) {
      this.failedAtOnce(address, family, error);
      return;
    }
    if (this.isUnref) this.handle.unref();
    if (this.next === this.addresses.length) return;
    const { autoSelectFamilyAttemptTimeout = this.context.attempts.timeoutMs } = this.options;
    // On the host's clock; told in a tick, for listeners may do anything.
    this.stopTimer = this.context.host.names.alarms.after(Math.max(autoSelectFamilyAttemptTimeout, 10), () => {
      const { handle } = this;
      process.nextTick(() => {
        if (!this.isOver && handle === this.handle) this.timedOut(address, family);
      });
    });
  }

  private begin(address: string, family: number): TcpHandle {
    const { host, events } = this.context;
    const { port, localPort, localAddress } = this.wanted;
    const own = localAddress ? host.ip.parse(localAddress) : undefined;
    const source = own?.address;
    const isAny = source?.isUnspecified;
    if (source && !isAny && !host.ip.isSource(source)) throw new BindError("EADDRNOTAVAIL", `${source} is not an address of this host`);
    // As bind(2) has it: somebody listens there.
    if (localPort !== 0 && host.tcp.users(localPort).listeners.some(({ local }) => local.isUnspecified || !source || local.equals(source)))
      throw new BindError("EADDRINUSE", `a listener has port ${localPort}`);
    host.ip.touch();
    const { address: remote, iface } = host.ip.parse(address);
    if (source && source.family !== remote.family) throw new BindError("EINVAL", `${source} and ${remote} are of different families`);
    const tcb = host.tcp.connect(remote, port, { address: source, port: localPort, device: iface ?? own?.iface });
    const ears = this.dialer.ears();
    const handle: TcpHandle = new TcpHandle(host, events, tcb, {
      ...ears,
      opened: (error) => this.opened(handle, address, family, error),
    });
    return handle;
  }

  private opened(handle: TcpHandle, address: string, family: number, error: LoomError | undefined): void {
    if (handle !== this.handle) return;
    this.stopTimer();
    if (!error) this.finish(handle);
    else this.failed(address, family, this.errorOf(codeOf(error), address));
  }

  private errorOf(code: string, address: string, local?: string): Error {
    const { port, localAddress, localPort } = this.wanted;
    if (localAddress && localPort) {
      const error = systemError(code, "connect", { address, port, localAddress, localPort });
      return Object.assign(error, { localAddress, localPort });
    }
    return systemError(code, "connect", { address, port, ...(local && { localAddress: local, localPort: 0 }) });
  }

  /** No route, no address: nothing was sent. */
  private failedAtOnce(address: string, family: number, error: unknown): void {
    const code = codeOf(error);
    const { localAddress, localPort } = this.wanted;
    const isBind = error instanceof BindError || code === "EADDRINUSE";
    const own = localAddress ?? (family === 4 ? "0.0.0.0" : "::");
    if (isBind) this.failed(address, family, systemError(code, "bind", { address: own, port: localPort }));
    else this.failed(address, family, this.errorOf(code, address, own));
  }

  private failed(address: string, family: number, error: Error): void {
    this.handle = undefined;
    this.errors.push(error);
    this.dialer.emit("connectionAttemptFailed", address, this.wanted.port, family, error);
    this.goOn();
  }

  private timedOut(address: string, family: number): void {
    this.dialer.emit("connectionAttemptTimeout", address, this.wanted.port, family);
    this.handle?.close();
    this.handle = undefined;
    this.errors.push(this.errorOf("ETIMEDOUT", address));
    this.goOn();
  }

  private goOn(): void {
    if (this.isOver) return;
    if (this.next < this.addresses.length) this.attempt();
    else this.finish(this.addresses.length === 1 ? this.errors[0] : attemptsError(this.errors));
  }
}

/** The socket's own address is at fault, not the peer's. */
class BindError extends LoomError {}
