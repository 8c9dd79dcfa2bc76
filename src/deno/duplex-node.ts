/** Connections as Node's streams, and back: what Node's TLS and HTTP stand on, in Node and in Deno. */
import type { Duplex, Readable } from "node:stream";
import { errors } from "./errors.ts";
import type { TcpConn } from "./tcp.ts";
import type { UnixConn } from "./unix.ts";

/** What can be laid over a connection can be laid over any of these. */
export type Conn = Pick<TcpConn | UnixConn, "read" | "write" | "closeWrite" | "close">;

/** A module of Node's, which Deno and Bun have too. */
export async function nodeModule<T>(load: () => Promise<T>, name: string): Promise<T> {
  try {
    return await load();
  } catch {
    throw new errors.NotSupported(`this needs ${name} of the runtime, which a browser does not have`);
  }
}

const CHUNK = 65_536;

/** A connection as a stream of Node's; it is the stream's from now on. */
export async function duplexOf(conn: Conn): Promise<Duplex> {
  const { Duplex } = await nodeModule(() => import("node:stream"), "node:stream");
  const stream: Duplex = new Duplex({
    read: () => {
      const chunk = new Uint8Array(CHUNK);
      conn.read(chunk).then(
        (n) => stream.push(n === null ? null : chunk.subarray(0, n)),
        (error) => stream.destroy(error),
      );
    },
    write: (chunk: Uint8Array, _encoding, done) => {
      conn.write(chunk).then(() => done(), done);
    },
    final: (done) => {
      conn.closeWrite().then(() => done(), done);
    },
    destroy: (error, done) => {
      try {
        conn.close();
      } catch {}
      done(error);
    },
  });
  return stream;
}

/** Something can be read of a stream, or never will be. */
export function changeOf(stream: Readable, names = ["readable", "end", "close", "error"]): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      for (const name of names) stream.off(name, over);
      resolve();
    };
    for (const name of names) stream.on(name, over);
  });
}

/** Reads from a stream of Node's as from a connection of Deno's. */
export class StreamReader {
  private readonly stream: Duplex;
  private rest: Uint8Array | undefined;
  private failure: Error | undefined;

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on("error", (error) => {
      this.failure ??= error;
    });
  }

  /** Bytes read, or null at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    if (into.length === 0) return 0;
    for (;;) {
      const chunk = this.rest ?? (this.stream.read() as Uint8Array | null);
      if (chunk) {
        const n = Math.min(chunk.length, into.length);
        into.set(chunk.subarray(0, n));
        this.rest = n < chunk.length ? chunk.subarray(n) : undefined;
        return n;
      }
      if (this.failure) throw this.failure;
      if (this.stream.readableEnded || this.stream.destroyed) return null;
      await changeOf(this.stream);
    }
  }
}
