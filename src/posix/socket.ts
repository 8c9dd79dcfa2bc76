/** What every kind of socket answers, whatever its family: calls that a kind does not know fail as Linux has it. */
import { SHUT_RDWR } from "./constants.ts";
import { Description } from "./description.ts";
import { EINVAL, EOPNOTSUPP } from "./errno.ts";
import { type Message, sizeOf } from "./message.ts";
import type { SocketName } from "./names.ts";
import { newSettings, type Settings } from "./settings.ts";

export const RCV_SHUTDOWN = 1;
export const SEND_SHUTDOWN = 2;

/** Linux's net.core.{r,w}mem_default. */
const DEFAULT_BUFFER = 212_992;

let lastCookie = 0;

export abstract class Socket extends Description {
  readonly domain: number;
  readonly type: number;
  readonly protocol: number;
  readonly settings: Settings;
  /** Error that waits to be reported (`sk_err`): once, by a call or by SO_ERROR. */
  error = 0;
  /** RCV_SHUTDOWN | SEND_SHUTDOWN. */
  shut = 0;
  private number = 0;
  private readonly scratch: Message = { iov: [], nameless: true };

  constructor(domain: number, type: number, protocol: number, settings: Settings = newSettings()) {
    super();
    this.domain = domain;
    this.type = type;
    this.protocol = protocol;
    this.settings = settings;
  }

  /** A number that no other socket of this program has (SO_COOKIE); given to those that are asked. */
  get cookie(): number {
    this.number ||= ++lastCookie;
    return this.number;
  }

  abstract bind(name: SocketName): number;
  abstract connect(name: SocketName): number;
  abstract send(message: Message, flags: number): number;
  abstract receive(message: Message, flags: number): number;
  abstract shutdown(how: number): number;
  abstract localName(): SocketName;
  /** A name, or a negative error. */
  abstract peerName(): SocketName | number;

  listen(_backlog: number): number {
    return -EOPNOTSUPP;
  }

  /** The next connection, or a negative error. */
  accept(): Socket | number {
    return -EOPNOTSUPP;
  }

  get isListening(): boolean {
    return false;
  }

  /** What SO_RCVBUF or SO_SNDBUF shows. */
  bufferSize(which: "receiveBuffer" | "sendBuffer"): number {
    return this.settings[which] || DEFAULT_BUFFER;
  }

  /** Bytes that wait in it, and datagrams that were dropped for want of room (SO_MEMINFO). */
  held(): { unread: number; unsent: number; drops: number } {
    return { unread: 0, unsent: 0, drops: 0 };
  }

  /** Where the identifiers of SO_TIMESTAMPING begin: at datagrams, or at bytes of a stream; undefined: it has none yet. */
  firstTimestampKey(_atWrite: boolean): number | undefined {
    return 0;
  }

  /** Most that SO_RCVLOWAT takes. */
  get mostLowWater(): number {
    return 0x7fff_ffff;
  }

  /** A setting that the transport below should hear of has changed. */
  settingChanged(_which: keyof Settings): void {}

  override read(into: Uint8Array): number {
    if (into.length === 0) return 0;
    this.scratch.iov = [into];
    return this.receive(this.scratch, 0);
  }

  override write(from: Uint8Array): number {
    this.scratch.iov = [from];
    return this.send(this.scratch, 0);
  }

  override readv(pieces: readonly Uint8Array[]): number {
    if (sizeOf(pieces) === 0) return 0;
    this.scratch.iov = pieces;
    return this.receive(this.scratch, 0);
  }

  override writev(pieces: readonly Uint8Array[]): number {
    this.scratch.iov = pieces;
    return this.send(this.scratch, 0);
  }

  /** The waiting error, negative, and no longer waiting; 0 without one. */
  takeError(): number {
    const { error } = this;
    this.error = 0;
    return -error;
  }
}

/** RCV_SHUTDOWN and SEND_SHUTDOWN for SHUT_RD, SHUT_WR, SHUT_RDWR; a negative error for anything else. */
export function shutdownMask(how: number): number {
  return Number.isInteger(how) && how >= 0 && how <= SHUT_RDWR ? how + 1 : -EINVAL;
}
