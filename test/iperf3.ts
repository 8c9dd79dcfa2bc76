/**
 * iperf3's protocol, both sides, over a host: a control connection of one-byte states and JSON, streams that begin with
 * a cookie. Facts from its source (iperf_api.c, iperf_client_api.c, iperf_udp.c, BSD licence), version 3.12.
 */
import type { Host } from "../src/host/host.ts";
import type { DatagramSocket } from "../src/socket/datagram.ts";
import type { TcpSocket } from "../src/socket/stream.ts";

const TEST_START = 1;
const TEST_RUNNING = 2;
const TEST_END = 4;
const PARAM_EXCHANGE = 9;
const CREATE_STREAMS = 10;
const EXCHANGE_RESULTS = 13;
const DISPLAY_RESULTS = 14;
const IPERF_DONE = 16;
const COOKIE_SIZE = 37;
/** What opens a UDP stream, and its answer (little-endian on the machines of this test). */
const UDP_HELLO = Uint8Array.of(0x39, 0x38, 0x37, 0x36);
const UDP_ANSWER = Uint8Array.of(0x36, 0x37, 0x38, 0x39);

interface Parameters {
  tcp?: boolean;
  udp?: boolean;
  reverse?: boolean;
  parallel?: number;
  len?: number;
  num?: number;
  bandwidth?: number;
  time?: number;
  udp_counters_64bit?: number;
}

interface StreamResult {
  id: number;
  bytes: number;
  packets: number;
  errors: number;
}

/** One stream's traffic: what was moved so far, and how to end it. */
interface Traffic {
  readonly id: number;
  bytes: number;
  packets: number;
  errors: number;
  stop(): void;
}

/** What both ends counted. */
export interface Outcome {
  /** Bytes, packets and lost packets by our count, all streams together. */
  readonly ours: { bytes: number; packets: number; errors: number };
  readonly theirs: { bytes: number; packets: number; errors: number };
}

/** The control connection. */
class Control {
  constructor(private readonly socket: TcpSocket) {}

  private async bytes(n: number): Promise<Uint8Array> {
    const out = new Uint8Array(n);
    for (let at = 0; at < n; ) {
      const got = await this.socket.read(out.subarray(at));
      if (got === null) throw new Error("iperf3 closed its control connection");
      at += got;
    }
    return out;
  }

  cookie(): Promise<Uint8Array> {
    return this.bytes(COOKIE_SIZE);
  }

  async state(expected: number): Promise<void> {
    const [state] = await this.bytes(1);
    if (state !== expected) throw new Error(`iperf3 says state ${(state << 24) >> 24}; expected ${expected}`);
  }

  async say(state: number): Promise<void> {
    await this.socket.write(Uint8Array.of(state));
  }

  async json<T>(): Promise<T> {
    const length = new DataView((await this.bytes(4)).buffer).getUint32(0);
    return JSON.parse(new TextDecoder().decode(await this.bytes(length)));
  }

  async sayJson(value: unknown): Promise<void> {
    const text = new TextEncoder().encode(JSON.stringify(value));
    const out = new Uint8Array(4 + text.length);
    new DataView(out.buffer).setUint32(0, text.length);
    out.set(text, 4);
    await this.socket.write(out);
  }

  close(): Promise<void> {
    return this.socket.close();
  }
}

/** iperf3 numbers its streams 1, 3, 4, 5, … */
const streamId = (index: number) => (index === 0 ? 1 : index + 2);

function results(streams: readonly Traffic[], sends: boolean): unknown {
  return {
    cpu_util_total: 0,
    cpu_util_user: 0,
    cpu_util_system: 0,
    sender_has_retransmits: sends ? 0 : -1,
    streams: streams.map(({ id, bytes, packets, errors }) => ({
      id,
      bytes,
      packets,
      errors,
      retransmits: sends ? 0 : -1,
      jitter: 0,
      start_time: 0,
      end_time: 1,
    })),
  };
}

const sum = (streams: readonly StreamResult[]) => ({
  bytes: streams.reduce((n, each) => n + each.bytes, 0),
  packets: streams.reduce((n, each) => n + each.packets, 0),
  errors: streams.reduce((n, each) => n + each.errors, 0),
});

function carryTcp(socket: TcpSocket, id: number, sends: boolean, parameters: Parameters, done?: () => void): Traffic {
  const traffic: Traffic = { id, bytes: 0, packets: 0, errors: 0, stop: () => socket.abort() };
  const length = parameters.len ?? 131_072;
  const most = (parameters.num || Number.POSITIVE_INFINITY) / (parameters.parallel ?? 1);
  const work = async () => {
    const block = new Uint8Array(length);
    while (traffic.bytes < most) {
      const n = sends ? await socket.write(block) : await socket.read(block);
      if (n === null) return;
      traffic.bytes += n;
    }
    done?.();
    // What the other side has already sent must not fill its window.
    if (!sends) while ((await socket.read(block)) !== null);
  };
  work().catch(() => {});
  return traffic;
}

function carryUdp(socket: DatagramSocket, id: number, sends: boolean, parameters: Parameters, done?: () => void): Traffic {
  let stopped = false;
  const traffic: Traffic = {
    id,
    bytes: 0,
    packets: 0,
    errors: 0,
    stop: () => {
      stopped = true;
      socket.close();
    },
  };
  const length = parameters.len || 1448;
  const wide = parameters.udp_counters_64bit === 1;
  const most = parameters.num || Number.POSITIVE_INFINITY;
  const send = async () => {
    const datagram = new Uint8Array(length);
    const view = new DataView(datagram.buffer);
    const start = performance.now();
    const rate = (parameters.bandwidth || 1e8) / 8000;
    while (!stopped && traffic.bytes < most) {
      for (; traffic.bytes < Math.min((performance.now() - start) * rate, most); traffic.bytes += length) {
        traffic.packets++;
        if (wide) view.setBigUint64(8, BigInt(traffic.packets));
        else view.setUint32(8, traffic.packets);
        socket.send(datagram);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    done?.();
  };
  const receive = async () => {
    for await (const { data } of socket) {
      const view = new DataView(data.buffer, data.byteOffset);
      const number = wide ? Number(view.getBigUint64(8)) : view.getUint32(8);
      // Gaps count as lost until the missing one turns up late (iperf_udp_recv).
      if (number > traffic.packets) {
        traffic.errors += number - traffic.packets - 1;
        traffic.packets = number;
      } else if (traffic.errors > 0) traffic.errors--;
      traffic.bytes += data.length;
      if (traffic.bytes >= most) done?.();
    }
  };
  (sends ? send : receive)().catch(() => {});
  return traffic;
}

/** Serves one test of an iperf3 client, as `iperf3 -s -1` would. */
export async function serveOnce(host: Host, port: number): Promise<Outcome> {
  const listener = host.listen({ port });
  const control = new Control(await listener.accept());
  await control.cookie();
  await control.say(PARAM_EXCHANGE);
  const parameters = await control.json<Parameters>();
  const sends = parameters.reverse ?? false;
  const count = parameters.parallel ?? 1;
  const sockets: (TcpSocket | DatagramSocket)[] = [];
  const inbox = parameters.udp ? host.datagram({ port, reusePort: true }) : undefined;
  await control.say(CREATE_STREAMS);
  for (let i = 0; i < count; i++) {
    if (inbox) {
      const { address, port: from } = await inbox.receive();
      inbox.send(UDP_ANSWER, { address, port: from });
      inbox.connect({ address, port: from });
      sockets.push(inbox);
    } else {
      const socket = await listener.accept();
      for (let cookie = new Uint8Array(COOKIE_SIZE); cookie.length > 0; ) {
        cookie = cookie.subarray((await socket.read(cookie)) ?? COOKIE_SIZE);
      }
      sockets.push(socket);
    }
  }
  await control.say(TEST_START);
  await control.say(TEST_RUNNING);
  // The client ends the test: a sender here has no end of its own.
  const endless = { ...parameters, num: 0 };
  const streams = sockets.map((socket, i) =>
    inbox ? carryUdp(socket as DatagramSocket, streamId(i), sends, endless) : carryTcp(socket as TcpSocket, streamId(i), sends, endless),
  );
  await control.state(TEST_END);
  await control.say(EXCHANGE_RESULTS);
  const theirs = await control.json<{ streams: StreamResult[] }>();
  await control.sayJson(results(streams, sends));
  const ours = sum(streams);
  await control.say(DISPLAY_RESULTS);
  await control.state(IPERF_DONE);
  for (const stream of streams) stream.stop();
  await control.close();
  listener.close();
  return { ours, theirs: sum(theirs.streams) };
}

/** Runs a test against an iperf3 server, as `iperf3 -c ADDRESS -n NUM [-R] [-P N] [-u -b RATE]` would. */
export async function runClient(host: Host, address: string, port: number, parameters: Parameters): Promise<Outcome> {
  const cookie = new TextEncoder().encode("packetloom-iperf3-test-cookie-123456\0").slice(0, COOKIE_SIZE);
  const count = parameters.parallel ?? 1;
  const sends = !parameters.reverse;
  const first = await host.connect({ hostname: address, port });
  const control = new Control(first);
  await first.write(cookie);
  await control.state(PARAM_EXCHANGE);
  const all = {
    tcp: !parameters.udp,
    omit: 0,
    time: 0,
    blockcount: 0,
    len: parameters.udp ? 1448 : 131_072,
    udp_counters_64bit: 1,
    ...parameters,
  };
  await control.sayJson({ ...all, parallel: count, pacing_timer: 1000, client_version: "3.12" });
  await control.state(CREATE_STREAMS);
  const sockets: (TcpSocket | DatagramSocket)[] = [];
  for (let i = 0; i < count; i++) {
    if (parameters.udp) {
      const socket = host.datagram();
      socket.connect({ address, port });
      socket.send(UDP_HELLO);
      await socket.receive();
      sockets.push(socket);
    } else {
      const socket = await host.connect({ hostname: address, port });
      await socket.write(cookie);
      sockets.push(socket);
    }
  }
  await control.state(TEST_START);
  await control.state(TEST_RUNNING);
  let streams: Traffic[] = [];
  let left = count;
  await new Promise<void>((resolve) => {
    const done = () => --left === 0 && resolve();
    streams = sockets.map((socket, i) =>
      parameters.udp
        ? carryUdp(socket as DatagramSocket, streamId(i), sends, all, done)
        : carryTcp(socket as TcpSocket, streamId(i), sends, { ...all, parallel: count }, done),
    );
  });
  await control.say(TEST_END);
  await control.state(EXCHANGE_RESULTS);
  await control.sayJson(results(streams, sends));
  const theirs = await control.json<{ streams: StreamResult[] }>();
  const ours = sum(streams);
  await control.state(DISPLAY_RESULTS);
  await control.say(IPERF_DONE);
  for (const stream of streams) stream.stop();
  await control.close();
  return { ours, theirs: sum(theirs.streams) };
}
