/** `Deno.connectTls`, `startTls` and `listenTls` over a host: the runtime's own TLS (`node:tls`) over the host's connections. */
import type { ConnectionOptions, TLSSocket } from "node:tls";
import type { Host } from "../host/host.ts";
import { type Conn, duplexOf, nodeModule, StreamReader } from "./duplex-node.ts";
import { errors } from "./errors.ts";
import { connect, listen, type NetAddr, type TcpConn, type TcpListener } from "./tcp.ts";

export interface StartTlsOptions {
  /** The name on the peer's certificate. Default: the address of the connection. */
  hostname?: string;
  /** Certificates in PEM that are believed instead of the runtime's. */
  caCerts?: string[];
  alpnProtocols?: string[];
  /** As Deno has it: the name is not compared, for tests. */
  unsafelyDisableHostnameVerification?: boolean;
}

export interface ConnectTlsOptions extends StartTlsOptions {
  port: number;
  /** Default "127.0.0.1". */
  hostname?: string;
  /** The client's own certificate and key, in PEM. */
  cert?: string;
  key?: string;
}

export interface ListenTlsOptions {
  port?: number;
  hostname?: string;
  cert: string;
  key: string;
  alpnProtocols?: string[];
  reusePort?: boolean;
}

export interface TlsHandshakeInfo {
  alpnProtocol: string | null;
}

const loadTls = () => nodeModule(() => import("node:tls"), "TLS (node:tls)");

/** What went wrong with a certificate or with the protocol is invalid data to Deno. */
function tlsError(error: unknown): unknown {
  const { code, message } = error as { code?: string; message: string };
  if (!code || /^E[A-Z]+$/.test(code)) return error;
  return Object.assign(new errors.InvalidData(message), { code, cause: error });
}

export class TlsConn implements Disposable {
  readonly localAddr: NetAddr;
  readonly remoteAddr: NetAddr;
  private readonly socket: Promise<TLSSocket>;
  private readonly reader: Promise<StreamReader>;
  private readonly shaken: Promise<TlsHandshakeInfo>;
  private streams: { readable: ReadableStream<Uint8Array<ArrayBuffer>>; writable: WritableStream<Uint8Array> } | undefined;
  private isClosed = false;

  constructor(conn: TcpConn, socket: Promise<TLSSocket>) {
    this.localAddr = conn.localAddr;
    this.remoteAddr = conn.remoteAddr;
    this.socket = socket;
    this.reader = socket.then((made) => new StreamReader(made));
    this.shaken = socket.then(shake);
    for (const each of [socket, this.reader, this.shaken]) each.catch(() => {});
  }

  /** Waits for the handshake; reading and writing wait too. */
  handshake(): Promise<TlsHandshakeInfo> {
    return this.shaken;
  }

  async read(into: Uint8Array): Promise<number | null> {
    this.check();
    await this.shaken;
    return (await this.reader).read(into).catch((error) => Promise.reject(tlsError(error)));
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.check();
    await this.shaken;
    const socket = await this.socket;
    await new Promise<void>((resolve, reject) => {
      socket.write(bytes, (error) => (error ? reject(tlsError(error)) : resolve()));
    });
    return bytes.length;
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.both.readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return this.both.writable;
  }

  private get both(): NonNullable<TlsConn["streams"]> {
    this.streams ??= {
      readable: new ReadableStream<Uint8Array<ArrayBuffer>>(
        {
          pull: async (controller) => {
            const chunk = new Uint8Array(16_384);
            const n = await this.read(chunk);
            if (n === null) controller.close();
            else controller.enqueue(chunk.slice(0, n));
          },
          cancel: () => this.end(),
        },
        { highWaterMark: 0 },
      ),
      writable: new WritableStream<Uint8Array>({
        write: async (chunk) => void (await this.write(chunk)),
        close: () => this.closeWrite(),
        abort: () => this.end(),
      }),
    };
    return this.streams;
  }

  /** Says that no more will be sent (close_notify); reading goes on. */
  async closeWrite(): Promise<void> {
    this.check();
    await this.shaken;
    const socket = await this.socket;
    await new Promise<void>((resolve) => socket.end(resolve));
  }

  close(): void {
    this.check();
    this.end();
  }

  private end(): void {
    this.isClosed = true;
    this.socket.then(
      (socket) => {
        socket.on("error", () => {});
        if (socket.writableFinished) socket.destroy();
        else socket.end(() => socket.destroy());
      },
      () => {},
    );
  }

  [Symbol.dispose](): void {
    if (!this.isClosed) this.end();
  }

  private check(): void {
    if (this.isClosed) throw new errors.BadResource("Bad resource ID");
  }
}

function shake(socket: TLSSocket): Promise<TlsHandshakeInfo> {
  return new Promise((resolve, reject) => {
    const done = () => resolve({ alpnProtocol: socket.alpnProtocol || null });
    // A client has looked at the certificate by now, and has destroyed what it does not believe.
    socket.once("secure", () => !socket.destroyed && done());
    socket.once("error", (error) => reject(tlsError(error)));
    socket.once("close", () => reject(new errors.ConnectionReset("the connection ended during the TLS handshake")));
  });
}

async function client(conn: Conn, options: ConnectTlsOptions | StartTlsOptions, address: string): Promise<TLSSocket> {
  const tls = await loadTls();
  const { hostname = address, caCerts, alpnProtocols, unsafelyDisableHostnameVerification } = options;
  const { cert, key } = options as ConnectTlsOptions;
  const wanted: ConnectionOptions = {
    socket: await duplexOf(conn),
    host: hostname,
    ...(/^[\d.]+$|:/.test(hostname) ? {} : { servername: hostname }),
    ca: caCerts,
    ALPNProtocols: alpnProtocols,
    cert,
    key,
    ...(unsafelyDisableHostnameVerification && { checkServerIdentity: () => undefined }),
  };
  return tls.connect(wanted);
}

/** TLS over a connection that is there; the connection is its own from now on. */
export async function startTls(conn: TcpConn, options: StartTlsOptions = {}): Promise<TlsConn> {
  return new TlsConn(conn, client(conn, options, conn.remoteAddr.hostname));
}

export async function connectTls(host: Host, options: ConnectTlsOptions): Promise<TlsConn> {
  const { hostname = "127.0.0.1", port } = options;
  const conn = await connect(host, { hostname, port });
  const made = new TlsConn(conn, client(conn, options, hostname));
  await made.handshake();
  return made;
}

/** The server's side of TLS over a connection. */
export async function secured(conn: Conn, { cert, key, alpnProtocols }: Partial<ListenTlsOptions>): Promise<TLSSocket> {
  const tls = await loadTls();
  const stream = await duplexOf(conn);
  const secureContext = tls.createSecureContext({ cert, key });
  return new tls.TLSSocket(stream as never, { isServer: true, secureContext, ALPNProtocols: alpnProtocols });
}

export class TlsListener implements AsyncIterable<TlsConn>, Disposable {
  readonly addr: NetAddr;
  private readonly listener: TcpListener;
  private readonly options: ListenTlsOptions;

  constructor(listener: TcpListener, options: ListenTlsOptions) {
    this.listener = listener;
    this.options = options;
    this.addr = listener.addr;
  }

  /** The next connection, whose handshake has only begun. */
  async accept(): Promise<TlsConn> {
    const conn = await this.listener.accept();
    return new TlsConn(conn, secured(conn, this.options));
  }

  close(): void {
    this.listener.close();
  }

  ref(): void {
    this.listener.ref();
  }

  unref(): void {
    this.listener.unref();
  }

  [Symbol.dispose](): void {
    this.listener[Symbol.dispose]();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<TlsConn> {
    for await (const conn of this.listener) yield new TlsConn(conn, secured(conn, this.options));
  }
}

export function listenTls(host: Host, options: ListenTlsOptions): TlsListener {
  const { port = 0, hostname, reusePort, cert, key } = options;
  if (!cert || !key) throw new errors.InvalidData("listenTls needs a certificate and its key: cert and key, both PEM");
  return new TlsListener(listen(host, { port, hostname, reusePort }), options);
}
