/** A parsed script: what `language.peggy` makes of the text. Times are milliseconds. */
import type { TcpOption } from "./tcp-options.ts";

export interface Script {
  readonly options: readonly ScriptOption[];
  readonly events: readonly ScriptEvent[];
}

export interface ScriptOption {
  readonly name: string;
  readonly value: string;
}

export type EventTime =
  | { readonly kind: "absolute" | "relative"; readonly at: number }
  | { readonly kind: "absolute range" | "relative range"; readonly from: number; readonly to: number }
  /** `*`: an outbound packet may come whenever it likes. */
  | { readonly kind: "any" }
  /** A command without a time: before the first event or after the last. */
  | { readonly kind: "now" };

export type ScriptEvent = { readonly line: number; readonly time: EventTime } & (
  | { readonly type: "packet"; readonly packet: ScriptPacket }
  | { readonly type: "syscall"; readonly call: SystemCall }
  | { readonly type: "command"; readonly command: string }
  | { readonly type: "code"; readonly code: string }
);

export interface Ports {
  readonly source: number;
  readonly destination: number;
}

export interface IpInfo {
  /** What of the TOS byte an outbound packet is held to. */
  readonly check?: "ecn" | "ect01" | "tos";
  readonly tos?: number;
  readonly ttl?: number;
  readonly flowLabel?: number;
}

export type ScriptPacket = { readonly direction: "in" | "out"; readonly layers: readonly string[]; readonly ip: IpInfo } & (
  | ScriptTcp
  | ScriptUdp
  | ScriptIcmp
  | { readonly protocol: "psp" }
);

export interface ScriptTcp {
  readonly protocol: "tcp";
  readonly ports: Ports | null;
  readonly flags: number;
  /** The ACE field was written as a number. */
  readonly ace?: number;
  readonly seq: number;
  readonly length: number;
  readonly ack: number;
  /** Absent: not compared. */
  readonly win: number | null;
  readonly urg: number;
  readonly options: readonly TcpOption[] | "unchecked";
}

export interface ScriptUdp {
  readonly protocol: "udp";
  readonly ports: Ports | null;
  readonly length: number;
}

export interface ScriptIcmp {
  readonly protocol: "icmp";
  readonly icmpType: string;
  readonly icmpCode: string;
  readonly mtu: number | null;
  readonly id: number;
  readonly quoted: { readonly protocol: "tcp" | "udp" | "raw"; readonly seq: number; readonly length: number } | null;
}

export interface SystemCall {
  readonly name: string;
  readonly args: readonly Expression[];
  readonly result: Expression;
  readonly error: string | null;
  /** When a call that blocks returns; null: at once. */
  readonly end: number | null;
}

export type Expression =
  | { readonly kind: "ellipsis" }
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "word"; readonly name: string }
  | { readonly kind: "or" | "list" | "struct"; readonly items: readonly Expression[] }
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Expression[] }
  | { readonly kind: "set"; readonly name: string; readonly value: Expression; readonly args?: readonly Expression[] };

/** A script cannot be run here, and why; never a failure of the stack. */
export class Unsupported extends Error {
  override name = "Unsupported";
}

/** The script is for another version of IP. */
export class NotApplicable extends Unsupported {
  override name = "NotApplicable";
}

/** A script that does not say what it means. */
export class ScriptError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = "ScriptError";
    this.line = line;
  }
}

/** What was seen is not what the script expects. */
export class Mismatch extends Error {
  override name = "Mismatch";
}
