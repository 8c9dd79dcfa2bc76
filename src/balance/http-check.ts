/**
 * One GET and its answer, for health checks: HTTP/1.1 (RFC 9112) as far as an answer can be read without trusting it. Interim answers
 * (1xx) are passed over; a body ends by its length, its chunks or the connection; head and body are bounded.
 */
import { concat } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";

export interface HttpAnswer {
  readonly status: number;
  /** As UTF-8, as far as it was read; "" when nobody asked for it. */
  readonly body: string;
}

export interface HttpRequest {
  readonly host: string;
  readonly path: string;
  readonly wantsBody: boolean;
}

export interface ByteStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

export const MOST_HEAD = 16_384;
export const MOST_BODY = 65_536;

const latin1 = (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const broken = (why: string) => new LoomError("EPROTO", `no HTTP answer: ${why}`);

/** Aborting ends the reading; what it ends with then is of no interest. */
export async function httpGet({ readable, writable }: ByteStream, request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
  const lines = [`GET ${request.path} HTTP/1.1`, `Host: ${request.host}`, "User-Agent: packetloom", "Accept: */*", "Connection: close"];
  const writer = writable.getWriter();
  // Whoever answers early may close before all is taken; the answer counts.
  const written = writer.write(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`)).catch(() => {});
  const input = new Input(readable);
  const giveUp = () => input.cancel();
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    let head = await readHead(input);
    while (head.status < 200) head = await readHead(input);
    await written;
    const body = request.wantsBody ? await readBody(input, head) : new Uint8Array(0);
    return { status: head.status, body: new TextDecoder().decode(body) };
  } finally {
    signal.removeEventListener("abort", giveUp);
    writer.releaseLock();
    input.release();
  }
}

interface Head {
  readonly status: number;
  readonly fields: ReadonlyMap<string, string>;
}

/** Fields by their names in lower case; the last of a name counts. */
async function readHead(input: Input): Promise<Head> {
  const first = await input.line();
  const status = /^HTTP\/1\.[01] (\d{3})(?: .*)?$/.exec(first)?.[1];
  if (status === undefined) throw broken(`it begins with ${JSON.stringify(first.slice(0, 40))}`);
  const fields = new Map<string, string>();
  let room = MOST_HEAD - first.length;
  for (let line = await input.line(room); line !== ""; line = await input.line(room)) {
    const colon = line.indexOf(":");
    if (colon <= 0) throw broken(`a header line without a name, ${JSON.stringify(line.slice(0, 40))}`);
    fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    room -= line.length + 2;
  }
  return { status: Number(status), fields };
}

/** At most MOST_BODY bytes: what is beyond them is not looked at (RFC 9112 §6.3 says where a body ends). */
async function readBody(input: Input, { status, fields }: Head): Promise<Uint8Array> {
  if (status === 204 || status === 304) return new Uint8Array(0);
  const coding = fields.get("transfer-encoding");
  if (coding !== undefined) {
    if (coding.toLowerCase() !== "chunked") throw broken(`its transfer coding is ${JSON.stringify(coding.slice(0, 40))}`);
    return readChunks(input);
  }
  const length = fields.get("content-length");
  if (length === undefined) return input.take(MOST_BODY, true);
  if (!/^\d{1,15}$/.test(length)) throw broken(`its length is ${JSON.stringify(length.slice(0, 40))}`);
  return input.take(Math.min(Number(length), MOST_BODY), false);
}

async function readChunks(input: Input): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let room = MOST_BODY; room > 0; ) {
    const size = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/.exec(await input.line())?.[1];
    if (size === undefined) throw broken("a chunk has no size");
    const bytes = Number.parseInt(size, 16);
    if (bytes === 0) break;
    parts.push(await input.take(Math.min(bytes, room), false));
    room -= bytes;
    if (room > 0 && (await input.line()) !== "") throw broken("a chunk does not end where it should");
  }
  return concat(parts);
}

/** Bytes of a stream, as many as are asked for. */
class Input {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private held: Uint8Array = new Uint8Array(0);

  constructor(readable: ReadableStream<Uint8Array>) {
    this.reader = readable.getReader();
  }

  /** Without its end. */
  async line(most = 1024): Promise<string> {
    let end = this.held.indexOf(10);
    while (end < 0) {
      if (this.held.length > most) throw broken("its head is too long");
      const from = this.held.length;
      if (!(await this.more())) throw broken("the connection was closed");
      end = this.held.indexOf(10, from);
    }
    if (end > most) throw broken("its head is too long");
    const line = latin1(this.held.subarray(0, end));
    this.held = this.held.subarray(end + 1);
    return line.endsWith("\r") ? line.slice(0, -1) : line;
  }

  /** `n` bytes; fewer only where the stream ends and may. */
  async take(n: number, mayEnd: boolean): Promise<Uint8Array> {
    while (this.held.length < n && (await this.more())) {}
    if (this.held.length < n && !mayEnd) throw broken("the connection was closed in its body");
    const taken = this.held.subarray(0, n);
    this.held = this.held.subarray(n);
    return taken;
  }

  cancel(): void {
    this.reader.cancel().catch(() => {});
  }

  release(): void {
    this.cancel();
    this.reader.releaseLock();
  }

  private async more(): Promise<boolean> {
    const { value, done } = await this.reader.read();
    if (done || value === undefined) return false;
    this.held = this.held.length === 0 ? value : concat([this.held, value]);
    return true;
  }
}
