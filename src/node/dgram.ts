/** `dgram` of a host: sockets of UDP with Node's events, arguments and errors. */
import type { Buffer } from "node:buffer";
import { errorMonitor } from "node:events";
import { isIP } from "node:net";
import process from "node:process";
import { promisify } from "node:util";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { ZonedAddress } from "../ip/zone.ts";
import type { UdpEndpoint } from "../udp/endpoint.ts";
import { checkFunction, checkInteger, checkNumber, checkPort, checkSignal, checkText } from "./checks.ts";
import type { Context } from "./context.ts";
import { type Payload, type SendArguments, sendArguments } from "./dgram-arguments.ts";
import { ConfiguredSocket, type Setting } from "./dgram-options.ts";
import { Receiver, shown } from "./dgram-receiver.ts";
import type { Lookup } from "./dns.ts";
import { codeOf, nodeError, systemError } from "./errors.ts";

export interface SocketOptions {
  type: "udp4" | "udp6";
  reuseAddr?: boolean;
  reusePort?: boolean;
  /** A udp6 socket leaves IPv4 alone. */
  ipv6Only?: boolean;
  recvBufferSize?: number;
  sendBufferSize?: number;
  lookup?: Lookup;
  signal?: AbortSignal;
}

export interface BindOptions {
  port?: number;
  address?: string;
  exclusive?: boolean;
}

export interface RemoteInfo {
  address: string;
  family: "IPv4" | "IPv6";
  port: number;
  size: number;
}

interface AddressInfo {
  address: string;
  family: string;
  port: number;
}

export type MessageListener = (message: Buffer, remote: RemoteInfo) => void;

const MOST_BUFFER = 2 ** 32 - 1;
/** Linux: net.core.wmem_default. A datagram is sent or refused at once: nothing waits in a send buffer. */
const SEND_BUFFER = 212_992;

export class Socket extends ConfiguredSocket {
  readonly type: "udp4" | "udp6";
  readonly #context: Context;
  readonly #options: SocketOptions;
  #receiver: Receiver | undefined;
  #state: "unbound" | "binding" | "bound" | "closed" = "unbound";
  #peer: "none" | "connecting" | "connected" = "none";
  /** What waits until the socket is bound. */
  #waiting: (() => void)[] | undefined;
  #isUnref = false;
  #sendBuffer: number;
  /** Memberships for when there is an endpoint. */
  readonly #settings: [what: string, setting: Setting][] = [];

  constructor(context: Context, options: SocketOptions | SocketOptions["type"], listener?: MessageListener) {
    super(context.host);
    this.#context = context;
    this.#options = typeof options === "string" ? { type: options } : { ...options };
    this.type = this.#options.type;
    if (this.type !== "udp4" && this.type !== "udp6") {
      throw nodeError("ERR_SOCKET_BAD_TYPE", "Bad socket type specified. Valid types are: udp4, udp6", TypeError);
    }
    const { lookup, recvBufferSize, sendBufferSize, signal } = this.#options;
    if (lookup !== undefined) checkFunction(lookup, "lookup");
    if (recvBufferSize) checkInteger(recvBufferSize, "options.recvBufferSize", 0, MOST_BUFFER);
    if (sendBufferSize) checkInteger(sendBufferSize, "options.sendBufferSize", 0, MOST_BUFFER);
    this.#sendBuffer = sendBufferSize || SEND_BUFFER;
    if (listener) this.on("message", listener);
    if (signal !== undefined) checkSignal(signal, "options.signal");
    this.#obey(signal);
  }

  #obey(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const stop = () => {
      if (this.#state !== "closed") this.close();
    };
    if (signal.aborted) stop();
    else {
      signal.addEventListener("abort", stop, { once: true });
      this.once("close", () => signal.removeEventListener("abort", stop));
    }
  }

  // ── Binding, connecting ───────────────────────────────────────────────────────────────────────

  /** `bind([port[, address]][, callback])` or `bind(options[, callback])`. */
  bind(...args: readonly (BindOptions | number | string | (() => void) | null | undefined)[]): this {
    this.#check();
    if (this.#state !== "unbound") throw nodeError("ERR_SOCKET_ALREADY_BOUND", "Socket is already bound");
    this.#state = "binding";
    const [first, second] = args;
    const callback = args.at(-1);
    if (typeof callback === "function") this.#onceBound(callback);
    const given = typeof first === "object" && first !== null ? first : { port: first as number, address: second };
    const address = (typeof given.address === "string" && given.address) || (this.type === "udp4" ? "0.0.0.0" : "::");
    const port = typeof given.port === "number" || typeof given.port === "string" ? checkPort(given.port, "Port") : 0;
    this.#lookUp(address, (error, found) => {
      if (this.#state === "closed") return;
      if (error) this.#failBind(error);
      else this.#open(found, port);
    });
    return this;
  }

  #onceBound(callback: () => void): void {
    const forget = () => {
      this.off("error", forget);
      this.off("listening", bound);
    };
    const bound = () => {
      forget();
      callback.call(this);
    };
    this.on("error", forget);
    this.on("listening", bound);
  }

  #open(address: string, port: number): void {
    const { host } = this.#context;
    const { reuseAddr, reusePort, ipv6Only, recvBufferSize } = this.#options;
    try {
      if (ipv6Only && this.type === "udp4") throw new LoomError("EINVAL", "a socket of IPv4 cannot be for IPv6 alone");
      const options = { reuseAddress: reuseAddr, reusePort, v6Only: ipv6Only };
      const { address: local, iface } = host.ip.parse(address);
      this.#receiver = new Receiver(this.#context, host.udp.bind(local, port, options, iface), this);
    } catch (error) {
      this.#failBind(systemError(codeOf(error), "bind", { address, port }));
      return;
    }
    this.#state = "bound";
    if (this.#isUnref) this.#receiver.unref();
    if (recvBufferSize) this.setRecvBufferSize(recvBufferSize);
    for (const [what, setting] of this.#settings.splice(0)) this.#settle(what, setting, this.#receiver.endpoint);
    this.emit("listening");
  }

  #failBind(error: Error): void {
    this.#state = "unbound";
    this.emit("error", error);
  }

  /** Binds to any port when it was not bound, and does this when it is. */
  #whenBound(what: () => void): void {
    if (this.#state === "unbound") this.bind({ port: 0 });
    // A literal address is bound in the next tick; what is sent until then waits in order.
    if (this.#state === "bound") what();
    else if (this.#waiting) this.#waiting.push(what);
    else {
      this.#waiting = [what];
      const bound = () => {
        this.off(errorMonitor, failed);
        for (const each of this.#takeWaiting()) each();
      };
      const failed = () => {
        this.off("listening", bound);
        this.#takeWaiting();
      };
      this.once("listening", bound);
      this.once(errorMonitor, failed);
    }
  }

  #takeWaiting(): (() => void)[] {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    return waiting;
  }

  #lookUp(address: string, then: (error: Error | null, address: string) => void): void {
    const lookup = this.#options.lookup ?? this.#context.lookup;
    const name = address || (this.type === "udp4" ? "127.0.0.1" : "::1");
    lookup(name, { family: this.type === "udp4" ? 4 : 6 }, (error, found) => then(error, found as string));
  }

  connect(port: number, address?: string | ((error?: Error) => void), callback?: (error?: Error) => void): void {
    const checked = checkPort(port, "Port", false);
    const then = typeof address === "function" ? address : callback;
    const name = typeof address === "string" ? address : "";
    if (this.#peer !== "none") throw nodeError("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected");
    this.#check();
    this.#peer = "connecting";
    this.#whenBound(() => {
      if (then) this.once("connect", then);
      this.#lookUp(name, (error, found) => this.#connect(error, found, checked, name, then));
    });
  }

  #connect(failure: Error | null, found: string, port: number, name: string, callback?: (error?: Error) => void): void {
    if (this.#state === "closed") return;
    let error = failure;
    try {
      if (!error) {
        const { address, iface } = this.#destination(found);
        this.#endpoint.connect(address, port, iface);
      }
    } catch (thrown) {
      error = systemError(codeOf(thrown), "connect", { address: name, port });
    }
    this.#peer = error ? "none" : "connected";
    process.nextTick(() => {
      if (!error) this.emit("connect");
      else if (callback) {
        this.off("connect", callback);
        callback(error);
      } else this.emit("error", error);
    });
  }

  disconnect(): void {
    this.#needPeer();
    this.#endpoint.remote = undefined;
    this.#endpoint.remotePort = 0;
    this.#peer = "none";
  }

  #needPeer(): void {
    this.#check();
    if (this.#peer !== "connected") throw nodeError("ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected");
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────────

  /** `send(message[, offset, length][, port][, address][, callback])`; `message` may be a list of pieces. */
  send(...args: SendArguments): void {
    const { bytes, port, address, callback } = sendArguments(args, this.#peer === "connected");
    this.#check();
    this.#whenBound(() => {
      if (port === undefined) this.#send(bytes, undefined, undefined, callback);
      else this.#lookUp(address ?? "", (error, found) => this.#send(bytes, error ?? found, port, callback, address));
    });
  }

  /** The old form. */
  sendto(bytes: Payload, offset: number, length: number, port: number, address: string, callback?: SendCallback): void {
    checkNumber(offset, "offset");
    checkNumber(length, "length");
    checkNumber(port, "port");
    checkText(address, "address");
    this.send(bytes as Uint8Array, offset, length, port, address, callback);
  }

  #send(bytes: Uint8Array, to: string | Error | undefined, port: number | undefined, callback?: SendCallback, address?: string): void {
    if (this.#state === "closed") return;
    if (to instanceof Error) {
      process.nextTick(() => (callback ? callback(to) : this.emit("error", to)));
      return;
    }
    try {
      if (to === undefined) this.#endpoint.send(bytes);
      else {
        const { address: peer, iface } = this.#destination(to);
        this.#endpoint.send(bytes, peer, port, iface && { iface });
      }
    } catch (error) {
      // As with Node, an error that nobody asked for is lost: UDP promises nothing.
      if (callback) process.nextTick(callback, systemError(codeOf(error), "send", { address, port }));
      return;
    }
    if (callback) process.nextTick(callback, null, bytes.length);
  }

  /** An address that a socket of this type may speak to. */
  #destination(text: string): ZonedAddress {
    const zoned = this.#context.host.ip.parse(text);
    const { address } = zoned;
    const isOther = this.type === "udp4" ? isIP(text) === 6 : isIP(text) === 4;
    if (isOther) throw new LoomError("EINVAL", `${text} is not of the socket's family`);
    return address.isUnspecified ? { address: IpAddress.parse(address.family === 4 ? "127.0.0.1" : "::1"), iface: undefined } : zoned;
  }

  // ── State ─────────────────────────────────────────────────────────────────────────────────────

  close(callback?: () => void): this {
    if (typeof callback === "function") this.once("close", callback);
    if (this.#waiting) {
      this.#waiting.push(() => this.close());
      return this;
    }
    this.#check();
    this.#state = "closed";
    this.#receiver?.close();
    this.#receiver = undefined;
    process.nextTick(() => this.emit("close"));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state !== "closed") await promisify((done: () => void) => this.close(done))();
  }

  #check(): void {
    if (this.#state === "closed") throw nodeError("ERR_SOCKET_DGRAM_NOT_RUNNING", "Not running");
  }

  get #endpoint(): UdpEndpoint {
    this.#check();
    if (!this.#receiver) throw systemError("EBADF", "getsockname");
    return this.#receiver.endpoint;
  }

  address(): AddressInfo {
    const { local: bound, port, remote, device } = this.#endpoint;
    const { ip } = this.#context.host;
    // Connected, it sends from the address that leads there.
    const local = (bound.isUnspecified && remote && ip.sourceFor(remote, ip.pathTo(remote, device))) || bound;
    const family = this.type === "udp4" ? "IPv4" : "IPv6";
    return { address: local.isUnspecified && family === "IPv4" ? "0.0.0.0" : String(local), family, port };
  }

  remoteAddress(): AddressInfo {
    this.#needPeer();
    const { remote, remotePort } = this.#endpoint;
    return { ...shown(remote as IpAddress, this.type), port: remotePort };
  }

  ref(): this {
    this.#isUnref = false;
    this.#receiver?.ref();
    return this;
  }

  unref(): this {
    this.#isUnref = true;
    this.#receiver?.unref();
    return this;
  }

  getRecvBufferSize(): number {
    return this.#buffered("recv").receiveBuffer;
  }

  setRecvBufferSize(size: number): void {
    checkSize(size);
    this.#buffered("recv").receiveBuffer = size;
  }

  getSendBufferSize(): number {
    this.#buffered("send");
    return this.#sendBuffer;
  }

  setSendBufferSize(size: number): void {
    checkSize(size);
    this.#buffered("send");
    this.#sendBuffer = size;
  }

  /** The endpoint, whose buffers are meant. */
  #buffered(which: "recv" | "send"): UdpEndpoint {
    this.#check();
    if (this.#receiver) return this.#receiver.endpoint;
    const what = `uv_${which}_buffer_size`;
    const error = nodeError("ERR_SOCKET_BUFFER_SIZE", `Could not get or set buffer size: ${what} returned EBADF (bad file descriptor)`);
    throw Object.assign(error, { name: "SystemError", syscall: what, errno: systemError("EBADF", what).errno });
  }

  /** Nothing waits: a datagram is sent or refused at once. */
  getSendQueueSize(): number {
    return 0;
  }

  getSendQueueCount(): number {
    return 0;
  }

  /** A membership needs a socket of the system: an unbound one is bound. */
  protected override configureBound(what: string, setting: Setting): void {
    this.#check();
    if (this.#state === "unbound") this.bind({ port: 0 });
    if (this.#receiver) this.configure(what, setting);
    else this.#settings.push([what, setting]);
  }

  /** Errors are those of `setsockopt`. */
  protected override configure(what: string, setting: Setting): void {
    this.#check();
    if (!this.#receiver) throw systemError("EBADF", what);
    try {
      setting(this.#receiver.endpoint);
    } catch (error) {
      throw systemError(codeOf(error), what);
    }
  }

  /** The call that asked is over: what went wrong is an event. */
  #settle(what: string, setting: Setting, endpoint: UdpEndpoint): void {
    try {
      setting(endpoint);
    } catch (error) {
      this.emit("error", systemError(codeOf(error), what));
    }
  }
}

export type SendCallback = (error: Error | null, bytes?: number) => void;

function checkSize(size: number): void {
  if (size >>> 0 !== size) throw nodeError("ERR_SOCKET_BAD_BUFFER_SIZE", "Buffer size must be a positive integer", TypeError);
}
