/**
 * packetloom as the router of topology.ts: a host that forwards, on an engine in virtual time, with its network's rules compiled from nft's
 * language. Neighbours are permanent, as the kernel's.
 */
import { VirtualClock } from "../../src/base/clock.ts";
import { IpAddress } from "../../src/base/ip-address.ts";
import { Engine } from "../../src/engine/engine.ts";
import { Host } from "../../src/host/host.ts";
import { Conntrack, flowText } from "../../src/track/index.ts";
import type { Frame } from "./case.ts";
import { listing, type Router } from "./router.ts";
import { FIRST_HOST, GATEWAY4, GATEWAY6, host4, host6, LAST_HOST, macOf, PORTS, PREFIX4, PREFIX6 } from "./topology.ts";
import { fromHex, toHex } from "./words.ts";

const SETTLE_MS = 120_000;

export class OurRouter implements Router {
  private readonly host: Host;
  private readonly engine: Engine;
  private readonly clock: VirtualClock;
  private readonly conntrack: Conntrack;

  static async create(build: "shared" | "plain" = "plain"): Promise<OurRouter> {
    const clock = new VirtualClock();
    const sizes = {
      ports: 3,
      flows: 1024,
      buffers: 1024,
      nextHops: 4096,
      routes4: 4096,
      routes6: 4096,
      appBytes: 4 << 20,
      filterBytes: 16 << 20,
    };
    const engine = await Engine.create({ build, clock, secret: new Uint8Array(8), ...sizes });
    const host = await Host.create({
      engine,
      forwarding: true,
      neighbours: 2048,
      seed: 1,
      interfaces: PORTS.map((port, i) => ({
        name: port.name,
        port: engine.port(i),
        mac: macOf(port),
        mtu: port.mtu,
        addresses: [`${port.address4}/${PREFIX4}`, `${port.address6}/${PREFIX6}`],
        gateway: port.name === "wan" ? [GATEWAY4, GATEWAY6] : [],
      })),
    });
    return new OurRouter(host, clock);
  }

  constructor(host: Host, clock: VirtualClock) {
    this.host = host;
    this.engine = host.engine;
    this.clock = clock;
    host.ip.sendRedirects = false;
    for (const port of PORTS) {
      const iface = host.ip.interface(port.name);
      for (let last = FIRST_HOST; last <= LAST_HOST; last++) {
        for (const address of [host4(port, last), host6(port, last)])
          host.ip.neighbours.setPermanent(iface, IpAddress.parse(address), fromHex(macOf(port, last).replaceAll(":", "")));
      }
    }
    // Rates depend on time, as the kernel's that topology.ts switches off.
    const unlimited = { take: () => true };
    Object.assign((host.ip as unknown as { icmp: object }).icmp, { limit: unlimited, limits: unlimited });
    this.conntrack = new Conntrack(this.engine);
  }

  async begin(text: string, sysctls: Readonly<Record<string, number>> = {}): Promise<void> {
    this.conntrack.flush();
    this.host.firewall.apply(`flush ruleset\n${text}`);
    this.configure(sysctls);
    // What the last case left to wait for (fragments, rates) is over.
    await this.wait(SETTLE_MS);
  }

  private configure(sysctls: Readonly<Record<string, number>>): void {
    const timeouts: Record<string, number> = { udp: 30, tcp_established: 432_000 };
    const switches = { tcpBeLiberal: false, tcpLoose: true, checksum: true };
    for (const [path, value] of Object.entries(sysctls)) {
      const name = path.replace("netfilter/nf_conntrack_", "");
      if (name === "tcp_be_liberal") switches.tcpBeLiberal = value === 1;
      else if (name === "tcp_loose") switches.tcpLoose = value === 1;
      else if (name === "checksum") switches.checksum = value === 1;
      else timeouts[name.replace("_timeout", "")] = value;
    }
    this.conntrack.configure({ ...switches, timeouts });
  }

  async send(frames: readonly Frame[]): Promise<Frame[][]> {
    return frames.map(({ port, frame }) => {
      const at = PORTS.findIndex(({ name }) => name === port);
      if (!this.engine.port(at).receive(fromHex(frame))) throw new Error("no room for a frame");
      return this.settle();
    });
  }

  /** Polls until nothing more comes out. */
  private settle(): Frame[] {
    const out: Frame[] = [];
    for (let quiet = 0; quiet < 2; quiet++) {
      this.engine.poll();
      for (const [i, port] of PORTS.entries()) {
        this.engine.port(i).transmitted((bytes) => {
          quiet = 0;
          if (!isReport(bytes)) out.push({ port: port.name, frame: toHex(bytes) });
        });
      }
    }
    return out.sort((a, b) => order(a) - order(b));
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms);
    this.settle();
  }

  async connections(): Promise<readonly string[]> {
    return [...this.conntrack.list()].map((flow) => listing(flowText(flow))).sort();
  }

  async counters(): Promise<readonly string[]> {
    const states = this.host.firewall.counters().filter(({ op }) => op === "counter");
    return this.host.firewall.spec.tables.flatMap(({ family, name, chains }) =>
      chains.flatMap((chain) =>
        chain.rules.flatMap((rule, number) =>
          states
            .filter(
              (state) => state.family === family && state.table === name && state.chain === chain.name && state.handle === rule.handle,
            )
            .map(({ packets, bytes }) => `${family} ${name} ${chain.name} ${number} packets ${packets} bytes ${bytes}`),
        ),
      ),
    );
  }

  async close(): Promise<void> {
    await this.host.close();
    await this.engine.close();
  }
}

/** What a router says of itself to its links: groups, neighbours. */
function isReport(bytes: Uint8Array): boolean {
  const type = toHex(bytes.subarray(12, 14));
  if (type !== "86dd") return type === "0806";
  const [next, at] = bytes[20] === 0 ? [bytes[54], 62] : [bytes[20], 54];
  return next === 58 && (bytes[at] === 143 || (bytes[at] >= 130 && bytes[at] <= 136)) && bytes[22] === 0xfe;
}

/** As the kernel's agent reads its ports: one after the other. */
const order = ({ port }: Frame) => PORTS.findIndex(({ name }) => name === port);
