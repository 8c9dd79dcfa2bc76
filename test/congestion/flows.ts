/** Bulk flows between two hosts of a lab over one bottleneck, in virtual time: what arrives, second by second. */
import { IpAddress } from "../../src/base/ip-address.ts";
import type { Host } from "../../src/host/host.ts";
import { Lab } from "../../src/lab/lab.ts";
import type { Impairment } from "../../src/lab/link.ts";
import type { Tcb, TcpOptions } from "../../src/tcp/tcb.ts";
import * as user from "../../src/tcp/user.ts";

export interface FlowOptions extends Partial<TcpOptions> {}

export interface Flow {
  readonly client: Tcb;
  /** Bytes that the receiving application has read. */
  received: number;
}

export interface Bottleneck {
  /** Round-trip time (ms), of which half is spent on each way. */
  rtt: number;
  /** Bits a second and bytes of queue of the way there; the way back has neither limit nor loss. */
  rate?: number;
  queue?: number;
  /** Share that is lost, or exactly every so many frames. */
  loss?: number;
  lossEvery?: number;
  /** Bytes of queue above which frames are marked. */
  mark?: number;
}

const BYTES = new Uint8Array(262_144);
const FIRST_PORT = 5000;

export class Flows {
  readonly lab: Lab;
  readonly hosts: readonly [Host, Host];
  readonly flows: Flow[] = [];
  private readonly chunk = new Uint8Array(262_144);

  private constructor(lab: Lab, hosts: [Host, Host]) {
    this.lab = lab;
    this.hosts = hosts;
  }

  static async create(path: Bottleneck, seed: number): Promise<Flows> {
    const lab = await Lab.create({
      seed,
      memory: { appBytes: 24 << 20, buffers: 4096, bareDescriptors: 8192, routes4: 100, routes6: 100 },
    });
    const host = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`] }] });
    const hosts: [Host, Host] = [await host(1), await host(2)];
    const flows = new Flows(lab, hosts);
    lab.link(...hosts);
    flows.set(path);
    return flows;
  }

  set({ rtt, ...rest }: Bottleneck): void {
    const forward: Impairment = { delay: rtt / 2, ...rest };
    this.lab.links[0].set({ delay: rtt / 2 }, 1).set(forward, 0);
  }

  /** A flow that always has something to send, and is read at once. */
  add(options: FlowOptions = {}): Flow {
    const [a, b] = this.hosts;
    const port = FIRST_PORT + this.flows.length;
    const listener = b.tcp.listen(undefined, port, 1, options);
    const client = a.tcp.connect(IpAddress.parse("10.0.0.2"), port, {}, options);
    const flow: Flow = { client, received: 0 };
    const pump = () => {
      while (user.write(client, BYTES) > 0);
    };
    client.events = { established: pump, writable: pump };
    listener.onConnection = () => {
      const server = listener.accept() as Tcb;
      const drain = () => {
        for (let n = user.read(server, this.chunk); n > 0; n = user.read(server, this.chunk)) flow.received += n;
      };
      server.events = { readable: drain };
      drain();
    };
    this.flows.push(flow);
    return flow;
  }

  /** Bits a second of each flow over the next `ms` milliseconds. */
  measure(ms: number): number[] {
    const before = this.flows.map((flow) => flow.received);
    this.lab.runNow(ms);
    return this.flows.map((flow, i) => ((flow.received - before[i]) * 8000) / ms);
  }
}

/** Jain's index of fairness: 1 when all have the same, 1/n when one has everything. */
export function jain(shares: readonly number[]): number {
  const sum = shares.reduce((a, b) => a + b, 0);
  const squares = shares.reduce((a, b) => a + b * b, 0);
  return (sum * sum) / (shares.length * squares);
}
