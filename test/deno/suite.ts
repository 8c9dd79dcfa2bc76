/** What programs do with Deno's sockets, and what they see: run over Deno's own and over ours, the outcomes must be equal. */
import type { HostDeno } from "../../src/deno/index.ts";

type Net = Pick<HostDeno, "connect" | "listen" | "listenDatagram">;
export interface DenoPlace {
  readonly near: Net;
  readonly far: Net;
  readonly address: string;
  readonly nearAddress: string;
}

const text = (value: string) => new TextEncoder().encode(value);
const words = (value: Uint8Array) => new TextDecoder().decode(value);
const nameOf = (error: unknown) => (error as Error).name;
const failure = (what: Promise<unknown>) => what.then((value) => `no error but ${value}`, nameOf);
const thrown = (what: () => unknown) => {
  try {
    what();
    return "no error";
  } catch (error) {
    return nameOf(error);
  }
};

async function digest(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const CASES: Record<string, (place: DenoPlace) => Promise<unknown>> = {
  async "reads, writes, ends and addresses"({ near, far, address, nearAddress }) {
    const listener = far.listen({ port: 0, hostname: address });
    const { port } = listener.addr;
    const [conn, other] = await Promise.all([near.connect({ hostname: address, port }), listener.accept()]);
    const seen: unknown[] = [listener.addr.transport, listener.addr.hostname === address];
    seen.push(conn.remoteAddr.port === port, conn.remoteAddr.hostname === address, conn.localAddr.hostname === nearAddress);
    seen.push(other.remoteAddr.port === conn.localAddr.port, other.localAddr.port === port);
    conn.setNoDelay();
    conn.setKeepAlive(true);
    seen.push(await conn.write(text("hello")));
    const space = new Uint8Array(100);
    const n = (await other.read(space)) as number;
    seen.push(n, words(space.subarray(0, n)), await other.read(new Uint8Array(0)));
    await conn.closeWrite();
    seen.push(await other.read(space), await other.write(text("after your end")));
    seen.push(await conn.read(space));
    other.close();
    seen.push(await conn.read(space));
    conn.close();
    seen.push(
      await failure(conn.read(space)),
      await failure(conn.write(space)),
      thrown(() => conn.close()),
    );
    listener.close();
    seen.push(
      await failure(listener.accept()),
      thrown(() => listener.close()),
    );
    return seen;
  },

  async "pipes streams, 10 MB there and back"({ near, far, address }) {
    const listener = far.listen({ port: 0, hostname: address });
    const serving = (async () => {
      for await (const conn of listener) await conn.readable.pipeTo(conn.writable).catch(() => {});
    })();
    const conn = await near.connect({ hostname: address, port: listener.addr.port });
    const sent = Uint8Array.from({ length: 10_000_000 }, (_, i) => (i * 2654435761) >>> 24);
    const writer = conn.writable.getWriter();
    // Not the stream's own close: Deno's takes the whole connection with it.
    const writing = writer.write(sent).then(() => {
      writer.releaseLock();
      return conn.closeWrite();
    });
    const got = new Uint8Array(await new Response(conn.readable).arrayBuffer());
    await writing;
    listener.close();
    await serving;
    return [got.length, (await digest(got)) === (await digest(sent))];
  },

  async "names its errors"({ near, far, address }) {
    const listener = far.listen({ port: 0, hostname: address });
    const { port } = listener.addr;
    const seen: unknown[] = [
      thrown(() => far.listen({ port, hostname: address })),
      thrown(() => far.listen({ port: 0, hostname: "192.0.2.77" })),
    ];
    listener.close();
    seen.push(await failure(near.connect({ hostname: address, port })));
    seen.push(
      await near.connect({ hostname: address, port }).then(
        () => "connected",
        (error) => error.code,
      ),
    );
    return seen;
  },

  async "stops waiting when it is closed"({ near, far, address }) {
    const listener = far.listen({ port: 0, hostname: address });
    const [conn, other] = await Promise.all([near.connect({ hostname: address, port: listener.addr.port }), listener.accept()]);
    const reading = failure(conn.read(new Uint8Array(10)));
    const accepting = failure(listener.accept());
    // Both wait by now.
    await new Promise((resolve) => setTimeout(resolve, 20));
    conn.close();
    listener.close();
    const seen = [await reading, await accepting, await other.read(new Uint8Array(10))];
    other.close();
    return seen;
  },

  async "sends datagrams"({ near, far, address, nearAddress }) {
    const server = far.listenDatagram({ port: 0, hostname: address, transport: "udp" });
    const client = near.listenDatagram({ port: 0, hostname: nearAddress, transport: "udp" });
    const seen: unknown[] = [server.addr.transport, server.addr.hostname === address];
    seen.push(await client.send(text("question"), server.addr));
    const [message, from] = await server.receive();
    seen.push(words(message), from.transport, from.hostname === nearAddress, from.port === client.addr.port);
    await server.send(text("a long answer"), from);
    const [cut] = await client.receive(new Uint8Array(6));
    seen.push(words(cut));
    const messages: string[] = [];
    const hearing = (async () => {
      for await (const [each] of server) messages.push(words(each));
    })();
    for (const each of ["one", "two"]) await client.send(text(each), server.addr);
    while (messages.length < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    server.close();
    await hearing;
    seen.push(
      messages,
      thrown(() => server.close()),
      await failure(server.receive()),
    );
    client.close();
    return seen;
  },
};

/** Every case's name with what was seen. */
export async function outcomes(place: DenoPlace): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = {};
  for (const [name, run] of Object.entries(CASES)) all[name] = await run(place);
  return all;
}
