/**
 * HTTP/1.1 (RFC 9112) as far as UPnP's clients need it: one request and its answer a connection, bounded in every way, because
 * whoever is on the link may ask.
 */
import { concat } from "../../base/bytes.ts";

export interface Request {
  readonly method: string;
  readonly path: string;
  /** Names in lower case; the last of a name counts. */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body?: string;
  readonly fields?: Readonly<Record<string, string>>;
}

interface Stream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

const MOST_HEAD = 8192;
const MOST_BODY = 32_768;
const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  411: "Length Required",
  413: "Content Too Large",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
};

/** Reads a request, answers it, and ends the stream. */
export async function answerHttp({ readable, writable }: Stream, server: string, answer: (request: Request) => Answer): Promise<void> {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const write = (text: string) => writer.write(new TextEncoder().encode(text));
  try {
    const request = await readRequest(reader, () => write("HTTP/1.1 100 Continue\r\n\r\n"));
    if (request === undefined) return;
    const { status, type = "text/plain", body = "", fields = {} } = typeof request === "number" ? { status: request } : answer(request);
    const bytes = new TextEncoder().encode(body);
    const head = [
      `HTTP/1.1 ${status} ${REASONS[status] ?? "Error"}`,
      `Content-Length: ${bytes.length}`,
      `Content-Type: ${type}; charset="utf-8"`,
      `Server: ${server}`,
      "Connection: close",
      ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
    ];
    const isHead = typeof request !== "number" && request.method === "HEAD";
    await write(`${head.join("\r\n")}\r\n\r\n${isHead ? "" : body}`);
    await writer.close();
  } finally {
    reader.releaseLock();
    writer.releaseLock();
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

/** The request, a status when there is something wrong with it, undefined when nobody asked. */
async function readRequest(reader: Reader, goOn: () => Promise<void>): Promise<Request | number | undefined> {
  let bytes = new Uint8Array(0);
  let end = -1;
  while (end < 0) {
    const { value, done } = await reader.read();
    if (done) return bytes.length === 0 ? undefined : 400;
    bytes = concat([bytes, value]) as Uint8Array<ArrayBuffer>;
    end = headEnd(bytes);
    if (end < 0 ? bytes.length > MOST_HEAD : end > MOST_HEAD) return 431;
  }
  const lines = String.fromCharCode(...bytes.subarray(0, end)).split(/\r?\n/);
  const [, method, target] = /^([A-Z-]{1,20}) (\S{1,2048}) HTTP\/1\.[01]$/.exec(lines[0]) ?? [];
  if (method === undefined) return 400;
  const fields = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined) return 400;
    fields.set(name.toLowerCase(), value);
  }
  // An absolute form names the host; its path is what counts (RFC 9112 §3.2.2).
  const path = target.replace(/^https?:\/\/[^/]*/i, "").replace(/[?#].*$/, "") || "/";
  if (fields.has("transfer-encoding")) return 501;
  const length = fields.get("content-length");
  if (length === undefined) return method === "POST" ? 411 : { method, path, fields, body: "" };
  if (!/^\d{1,9}$/.test(length)) return 400;
  if (Number(length) > MOST_BODY) return 413;
  if (/100-continue/i.test(fields.get("expect") ?? "")) await goOn();
  let body = bytes.subarray(end + headGap(bytes, end));
  while (body.length < Number(length)) {
    const { value, done } = await reader.read();
    if (done) return 400;
    body = concat([body, value]) as Uint8Array<ArrayBuffer>;
  }
  return { method, path, fields, body: new TextDecoder().decode(body.subarray(0, Number(length))) };
}

/** Where the empty line begins, or -1. */
function headEnd(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== 10) continue;
    if (bytes[i + 1] === 10) return i;
    if (bytes[i + 1] === 13 && bytes[i + 2] === 10) return bytes[i - 1] === 13 ? i - 1 : i;
  }
  return -1;
}

/** Bytes of the two line ends behind the head. */
function headGap(bytes: Uint8Array, end: number): number {
  let at = end;
  for (let ends = 0; ends < 2; at++) if (bytes[at] === 10) ends++;
  return at - end;
}
