/** gzip by the runtime, bzip2 by a library; what is cut off is kept as far as it goes and said. */
import { concat } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";

export interface Inflated {
  readonly bytes: Uint8Array;
  /** A sentence when the compressed data ended early or broke, else undefined. */
  readonly problem?: string;
}

const isGzip = (bytes: Uint8Array) => bytes[0] === 0x1f && bytes[1] === 0x8b;
const isBzip2 = (bytes: Uint8Array) => bytes[0] === 0x42 && bytes[1] === 0x5a && bytes[2] === 0x68;

export async function inflate(bytes: Uint8Array): Promise<Inflated> {
  if (isGzip(bytes)) return gunzip(bytes);
  if (isBzip2(bytes)) return bunzip2(bytes);
  return { bytes };
}

async function gunzip(bytes: Uint8Array): Promise<Inflated> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  const reader = stream.getReader();
  const parts: Uint8Array[] = [];
  let problem: string | undefined;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) parts.push(next.value);
  } catch (error) {
    problem = `the gzip data is cut off or damaged (${(error as Error).message})`;
  }
  return result(parts, problem);
}

/** Collects bytes as the decoder writes them: blocks before a break are whole. */
class Collector {
  readonly parts: Uint8Array[] = [];
  private part = new Uint8Array(1 << 16);
  private used = 0;

  writeByte(byte: number): void {
    if (this.used === this.part.length) {
      this.parts.push(this.part);
      this.part = new Uint8Array(1 << 20);
      this.used = 0;
    }
    this.part[this.used++] = byte;
  }

  flush(): void {
    this.parts.push(this.part.subarray(0, this.used));
  }
}

async function bunzip2(bytes: Uint8Array): Promise<Inflated> {
  const { default: Bunzip } = await import("seek-bzip");
  const out = new Collector();
  let at = 0;
  const readByte = () => (at < bytes.length ? bytes[at++] : -1);
  const read = (buffer: Uint8Array, offset: number, length: number) => {
    const n = Math.min(length, bytes.length - at);
    for (let i = 0; i < n; i++) buffer[offset + i] = bytes[at++];
    return n;
  };
  const input = { readByte, read, eof: () => at >= bytes.length };
  let problem: string | undefined;
  try {
    Bunzip.decode(input, out, true);
  } catch (error) {
    problem = `the bzip2 data is cut off or damaged (${(error as Error).message})`;
  }
  out.flush();
  return result(out.parts, problem);
}

function result(parts: Uint8Array[], problem: string | undefined): Inflated {
  const bytes = concat(parts);
  if (bytes.length === 0 && problem) throw new LoomError("EPROTO", problem);
  return { bytes, problem };
}
