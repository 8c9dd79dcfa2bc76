/** What `socket.send` is asked for, in all the ways in which Node lets it be said. */
import { Buffer } from "node:buffer";
import { checkPort, wrongType } from "./checks.ts";
import { nodeError } from "./errors.ts";

export type Payload = string | NodeJS.ArrayBufferView | readonly (string | NodeJS.ArrayBufferView)[];
type Callback = (error: Error | null, bytes?: number) => void;

export type SendArguments =
  | [message: Payload, port?: number, address?: string | null, callback?: Callback]
  | [message: Payload, port: number, callback: Callback]
  | [message: Payload, callback: Callback]
  | [message: Payload, offset: number, length: number, port?: number, address?: string | null, callback?: Callback]
  | [message: Payload, offset: number, length: number, port: number, callback: Callback]
  | [message: Payload, offset: number, length: number, callback: Callback];

export interface Sending {
  readonly bytes: Uint8Array;
  /** Undefined for a connected socket. */
  readonly port: number | undefined;
  readonly address: string | undefined;
  readonly callback: Callback | undefined;
}

const TYPES = "of type string or an instance of Buffer, TypedArray, or DataView";

export function sendArguments(args: readonly unknown[], connected: boolean): Sending {
  const [message, ...rest] = args;
  const end = rest.findIndex((each) => typeof each === "function");
  const callback = end < 0 ? undefined : (rest[end] as Callback);
  const words = end < 0 ? rest : rest.slice(0, end);
  const isPart = connected ? typeof words[1] === "number" : words.length > 2 && words[2] !== undefined;
  const bytes = isPart ? part(message, words[0] as number, words[1] as number) : whole(message);
  const [port, address] = isPart ? words.slice(2) : words;
  if (address != null && typeof address !== "string") throw wrongType("address", "of type string", address);
  if (connected) {
    // As Node does: what stands where a port and an address would, behind an offset and a length; a callback there is none of these.
    const isCallback = isPart && typeof args[3] === "function";
    if ((args[3] && !isCallback) || args[4]) throw nodeError("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected");
    return { bytes, port: undefined, address: undefined, callback };
  }
  return { bytes, port: checkPort(port, "Port", false), address: (address as string | null) ?? undefined, callback };
}

function whole(message: unknown): Uint8Array {
  if (!Array.isArray(message)) return view(message, "buffer");
  if (!message.every((each) => typeof each === "string" || ArrayBuffer.isView(each)))
    throw wrongType("buffer list arguments", TYPES, message);
  return Buffer.concat(message.map((each) => view(each, "buffer")));
}

function view(value: unknown, name: string): Uint8Array {
  if (typeof value === "string") return Buffer.from(value);
  if (!ArrayBuffer.isView(value)) throw wrongType(name, TYPES, value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

function part(message: unknown, offset: number, length: number): Uint8Array {
  const bytes = view(message, "buffer");
  const [from, count] = [offset >>> 0, length >>> 0];
  if (from > bytes.length) throw nodeError("ERR_BUFFER_OUT_OF_BOUNDS", '"offset" is outside of buffer bounds', RangeError);
  if (from + count > bytes.length) throw nodeError("ERR_BUFFER_OUT_OF_BOUNDS", '"length" is outside of buffer bounds', RangeError);
  return bytes.subarray(from, from + count);
}
