/** Four congestion controls over the same path, each in a lab of its own, side by side in virtual time. */
import { realClock } from "../base/clock.ts";
import { Lab } from "../lab/lab.ts";
import type { TcpSocket } from "../socket/stream.ts";
import type { FromLab, LabResult, Path, ToLab } from "./messages.ts";

const scope = globalThis as unknown as { postMessage(message: FromLab): void; onmessage: ((event: { data: ToLab }) => void) | null };
const CONTROLS = ["cubic", "reno", "bbr", "dctcp"] as const;
/** Virtual milliseconds between two rows. */
const STEP_MS = 400;
/** Bytes in the queue above which the switch marks what may be marked: DCTCP lives by that (RFC 8257). */
const MARK = 30_000;
const memory = { ports: 2, buffers: 4096, bareDescriptors: 8192, routes4: 100, routes6: 100, appBytes: 24 << 20 };

interface Flow {
  readonly lab: Lab;
  socket: TcpSocket | undefined;
  received: number;
}

async function flowOver({ delay, loss, rate, seed }: Path, congestion: string): Promise<Flow> {
  const mark = MARK;
  // #show lab
  const lab = await Lab.create({ seed, memory });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
  lab.link(a, b, { delay, loss, rate, mark }); // ms, 0 to 1, bits a second, bytes
  // #end
  const flow: Flow = { lab, socket: undefined, received: 0 };
  void (async () => {
    // #show lab

    const listener = b.listen({ port: 80 });
    const socket = await a.connect({ hostname: "10.0.0.2", port: 80, congestion });
    // #end
    flow.socket = socket;
    void (async () => {
      const peer = await listener.accept();
      const space = new Uint8Array(262_144);
      for (let n = await peer.read(space); n !== null; n = await peer.read(space)) flow.received += n;
    })().catch(() => {});
    for (const chunk = new Uint8Array(65_536); ; ) await socket.write(chunk);
  })().catch(() => {});
  return flow;
}

async function run(path: Path, seconds: number): Promise<void> {
  const began = realClock.now();
  const flows: Flow[] = [];
  for (const name of CONTROLS) flows.push(await flowOver(path, name));
  try {
    for (let at = STEP_MS; at <= seconds * 1000; at += STEP_MS) {
      const mbps: number[] = [];
      for (const flow of flows) {
        const before = flow.received;
        const { lab } = flow;
        // #show lab
        await lab.run(STEP_MS); // virtual time: the same seed gives the same run
        // #end
        mbps.push(((flow.received - before) * 8) / STEP_MS / 1000);
      }
      scope.postMessage({ type: "row", at: at / 1000, mbps });
    }
    const results: LabResult[] = flows.map(({ socket, received }, i) => {
      const status = socket?.status();
      return {
        name: CONTROLS[i],
        mbps: (received * 8) / seconds / 1e6,
        srtt: status?.srtt ?? 0,
        retransmissions: status?.retransmissions ?? 0,
      };
    });
    scope.postMessage({ type: "done", results, ms: realClock.now() - began });
  } finally {
    for (const { lab } of flows) await lab.engine.close();
  }
}

scope.onmessage = ({ data }) => {
  run(data.path, data.seconds).catch((error: Error) => scope.postMessage({ type: "failed", message: error.message }));
};
