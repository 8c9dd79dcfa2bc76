/**
 * A network's day in minutes: two hosts, a router between them, links whose properties change all the time (delay, rate,
 * losses alone and in bursts, repetitions, reordering, damage, marks, MTU, outages), connections of every size, with any
 * options, in both directions and families. The property: every byte arrives once and in order, and every connection ends.
 */
import { createHash } from "node:crypto";
import { IpAddress } from "../../src/base/ip-address.ts";
import type { Host } from "../../src/host/host.ts";
import { Random } from "../../src/index.ts";
import { Lab } from "../../src/lab/lab.ts";
import type { ImpairedLink, Impairment, LinkCounters } from "../../src/lab/link.ts";
import { CONGESTION_NAMES } from "../../src/tcp/congestion/index.ts";
import type { Tcb, TcpOptions } from "../../src/tcp/tcb.ts";
import * as user from "../../src/tcp/user.ts";

export interface Summary {
  readonly hours: number;
  readonly connections: number;
  readonly bytes: number;
  /** Connections that ended with an error, by its code; allowed only while the link is cut. */
  readonly errors: Record<string, number>;
  readonly faults: {
    lost: number;
    duplicated: number;
    reordered: number;
    corrupted: number;
    queueDrops: number;
    mtuChanges: number;
    outages: number;
  };
  /** Connections by congestion control. */
  readonly congestion: Record<string, number>;
  readonly retransmissions: number;
  /** Hash of everything that happened: equal for equal seeds. */
  readonly trace: string;
  readonly problems: string[];
}

const PORT = 5000;
const MINUTE = 60_000;

class Simulation {
  readonly lab: Lab;
  readonly hosts: readonly [Host, Host];
  readonly random: Random;
  readonly trace = createHash("sha256");
  readonly problems: string[] = [];
  readonly errors: Record<string, number> = {};
  connections = 0;
  bytes = 0;
  open = 0;
  readonly congestion: Record<string, number> = {};
  private readonly chunk = new Uint8Array(65_536);
  /** Digest that a connection's bytes must have, by the port it came from. */
  private readonly expected = new Map<number, { digest: string; done: boolean }>();

  constructor(lab: Lab, hosts: [Host, Host], random: Random) {
    this.lab = lab;
    this.hosts = hosts;
    this.random = random;
    for (const host of hosts) this.serve(host);
  }

  private serve(host: Host): void {
    const listener = host.tcp.listen(undefined, PORT);
    listener.onConnection = () => {
      const tcb = listener.accept() as Tcb;
      const hash = createHash("sha256");
      const drain = () => {
        for (let n = user.read(tcb, this.chunk); n > 0; n = user.read(tcb, this.chunk)) {
          hash.update(this.chunk.subarray(0, n));
          this.bytes += n;
        }
        if (user.ended(tcb)) {
          this.finish(tcb.remotePort, hash.digest("hex"));
          tcb.events = {};
          user.close(tcb);
        }
      };
      tcb.events = { readable: drain };
      drain();
    };
  }

  private finish(port: number, digest: string): void {
    const entry = this.expected.get(port);
    this.trace.update(`${this.lab.clock.now().toFixed(3)} ${port} ${digest}\n`);
    if (!entry) this.problems.push(`a connection from port ${port} that nobody opened`);
    else if (entry.digest !== digest) this.problems.push(`wrong bytes from port ${port}`);
    else entry.done = true;
  }

  /** Opens a connection that sends `size` random bytes, in pieces, and closes. */
  connect(from: 0 | 1, size: number): void {
    const bytes = this.random.fill(new Uint8Array(size));
    const remote = IpAddress.parse(this.random.below(2) ? `10.0.${2 - from}.1` : `2001:db8:${2 - from}::1`);
    const options = anyOptions(this.random);
    const tcb = this.hosts[from].tcp.connect(remote, PORT, {}, options);
    this.congestion[options.congestion] = (this.congestion[options.congestion] ?? 0) + 1;
    const entry = { digest: createHash("sha256").update(bytes).digest("hex"), done: false };
    this.expected.set(tcb.localPort, entry);
    this.connections++;
    this.open++;
    let sent = 0;
    const pump = () => {
      while (sent < size) {
        const n = user.write(tcb, bytes.subarray(sent, sent + 1 + this.random.below(65_536)));
        sent += n;
        if (n === 0) return;
      }
      user.shutdown(tcb);
    };
    tcb.events = {
      established: pump,
      writable: pump,
      closed: (error) => {
        this.open--;
        this.trace.update(`${this.lab.clock.now().toFixed(3)} closed ${tcb.localPort} ${error?.code}\n`);
        if (error) this.errors[error.code] = (this.errors[error.code] ?? 0) + 1;
        else if (!entry.done) this.problems.push(`port ${tcb.localPort} ended in order, but not all bytes arrived`);
        this.expected.delete(tcb.localPort);
      },
    };
  }
}

/** Settings that connections may have, each as likely as not. */
function anyOptions(random: Random): Partial<TcpOptions> & { congestion: string } {
  const maybe = () => random.below(2) === 1;
  // Without SACK or timestamps now and then, not as often as with.
  const mostly = () => random.below(5) > 0;
  return {
    congestion: CONGESTION_NAMES[random.below(CONGESTION_NAMES.length)],
    sack: mostly(),
    timestamps: mostly(),
    windowScaling: mostly(),
    noDelay: maybe(),
    pacing: maybe(),
    fastOpen: maybe(),
    ecnRequest: (["off", "ecn", "accecn"] as const)[random.below(3)],
  };
}

/** A link for the next minute or so: usually fair, sometimes terrible. */
function weather(random: Random): Impairment {
  const bad = random.float();
  return {
    delay: random.below(bad > 0.8 ? 300 : 40),
    jitter: random.below(20),
    rate: bad > 0.7 ? 1e5 + random.below(2e6) : 1e7 + random.below(1e8),
    loss: bad > 0.5 ? random.float() * 0.1 : 0,
    duplicate: random.float() * 0.02,
    reorder: random.float() * 0.05,
    corrupt: bad > 0.6 ? random.float() * 0.02 : 0,
    queue: 15_000 + random.below(250_000),
    mark: random.below(4) === 0 ? 20_000 : undefined,
    burst: bad > 0.9 ? { enter: 0.01, leave: 0.3, loss: 0.8 } : undefined,
  };
}

/** A host, a router, a host; `narrow` sets the MTU of the router's far side. */
async function network(lab: Lab): Promise<{ hosts: [Host, Host]; links: ImpairedLink[]; narrow(mtu: number): void }> {
  const end = (n: number) =>
    lab.host({ interfaces: [{ addresses: [`10.0.${n}.1/24`, `2001:db8:${n}::1/64`], gateway: [`10.0.${n}.2`, `2001:db8:${n}::2`] }] });
  const hosts: [Host, Host] = [await end(1), await end(2)];
  const sides = [1, 2].map((n) => ({ addresses: [`10.0.${n}.2/24`, `2001:db8:${n}::2/64`] }));
  const router = await lab.host({ forwarding: true, interfaces: sides });
  const links = [lab.link(hosts[0], router), lab.link(router, hosts[1], {}, ["eth1", "eth0"])];
  return { hosts, links, narrow: (mtu) => router.ip.interface("eth1").port.configure({ mtu }) };
}

export async function simulate(options: { seed: number; hours: number; progress?: (hour: number) => void }): Promise<Summary> {
  const random = new Random(options.seed);
  const lab = await Lab.create({ seed: options.seed });
  const { hosts, links, narrow } = await network(lab);
  const run = new Simulation(lab, hosts, random);
  const faults = { mtuChanges: 0, outages: 0 };
  await lab.run(5000);
  for (let minute = 0; minute < options.hours * 60; minute++) {
    for (const link of links) link.set(weather(random));
    // The way between router and host takes less, or more again, now and then.
    if (random.below(10) === 0) {
      narrow(1280 + random.below(221));
      faults.mtuChanges++;
    }
    // An outage that connections must survive.
    if (random.below(20) === 0) {
      faults.outages++;
      const link = links[random.below(2)];
      link.set({ cut: true });
      await lab.run(1000 + random.below(20_000));
      link.set(weather(random));
    }
    for (let n = random.below(6); n > 0 && run.open < 50; n--)
      run.connect(random.below(2) as 0 | 1, 1 + Math.floor(2 ** (random.float() * 18)));
    await lab.run(MINUTE);
    // Everything that any host or link has counted belongs to the trace.
    run.trace.update(
      JSON.stringify([lab.hosts.map((host) => [host.tcp.counters, host.ip.counters]), links.map((link) => link.counters(0))]),
    );
    if (minute % 60 === 59) options.progress?.((minute + 1) / 60);
  }
  for (const link of links) link.set({ delay: 10 });
  await lab.run(20 * MINUTE, () => run.open === 0);
  if (run.open > 0) run.problems.push(`${run.open} connections did not end`);
  await lab.run(10 * MINUTE);
  for (const [what, held] of [
    ["buffers", lab.engine.pool().inFlight],
    ["descriptors", lab.engine.pool("bare").inFlight],
    ["slabs", lab.engine.slabs.total - lab.engine.slabs.available],
    ["connections", hosts[0].tcp.size + hosts[1].tcp.size],
  ] as const) {
    if (held !== 0) run.problems.push(`${held} ${what} are held at the end`);
  }
  const lanes = links.flatMap((link) => [link.counters(0), link.counters(1)]);
  const sum = (name: keyof LinkCounters) => lanes.reduce((total, lane) => total + lane[name], 0);
  return {
    hours: options.hours,
    connections: run.connections,
    bytes: run.bytes,
    errors: run.errors,
    faults: {
      lost: sum("lost"),
      duplicated: sum("duplicated"),
      reordered: sum("reordered"),
      corrupted: sum("corrupted"),
      queueDrops: sum("queueDrops"),
      ...faults,
    },
    congestion: run.congestion,
    retransmissions: hosts[0].tcp.counters.retrans_segs + hosts[1].tcp.counters.retrans_segs,
    trace: run.trace.digest("hex"),
    problems: run.problems,
  };
}
