/** Ports that machines of the router's links ask for: PCP, NAT-PMP and UPnP by one configuration. */
import { invalid } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import { Gateway, type PortControl, PortMapper, servePortControl } from "../portmap/index.ts";
import type { End } from "../track/index.ts";
import { same } from "./changes.ts";
import type { PortMappingConfig, RouterConfig } from "./schema.ts";
import { parseEndpoint } from "./schema-parts.ts";

const NUMBERS = { tcp: 6, udp: 17 } as const;

interface Running {
  readonly mapper: PortMapper;
  readonly control: PortControl | undefined;
  readonly gateway: Gateway | undefined;
}

export class PortMapping {
  private readonly host: Host;
  private running: Running | undefined;
  private config: RouterConfig | undefined;

  constructor(host: Host) {
    this.host = host;
  }

  get mapper(): PortMapper | undefined {
    return this.running?.mapper;
  }

  get counters() {
    return { ...this.running?.control?.counters, ...this.running?.gateway?.counters };
  }

  /** What was given ends when something of the configuration changes that it was given by: clients hear of it and ask again. */
  set(next: RouterConfig): void {
    const parts = ({ portMapping, nat, interfaces }: RouterConfig) => [
      portMapping,
      nat?.masquerade,
      interfaces
        .filter(({ name }) => portMapping?.interfaces.includes(name))
        .map(({ name, device, addresses, master }) => ({ name, device, addresses, master })),
    ];
    const isSame = this.config && same(parts(next), parts(this.config));
    if (!isSame) this.close();
    this.config = next;
    if (isSame || !next.portMapping) return;
    try {
      this.running = this.start(next.portMapping, next);
    } catch (error) {
      // What is to be again then has to be made again.
      this.config = undefined;
      throw error;
    }
  }

  private start(config: PortMappingConfig, { nat }: RouterConfig): Running {
    const { external, interfaces, protocols = ["pcp", "nat-pmp", "upnp"], ports, mostPerClient, longest } = config;
    if (!this.host.network) throw invalid("portMapping: this router tracks no connections (conntrack.max is 0)");
    const masquerades = nat?.masquerade.includes(external) ?? false;
    const isTaken = (protocol: number, outer: End) => this.isForwarded(protocol, outer.port) || this.isBalanced(protocol, outer);
    const mapper = new PortMapper(this.host, { external, masquerades, ports, mostPerClient, longest, isTaken });
    const [pcp, natPmp, upnp] = (["pcp", "nat-pmp", "upnp"] as const).map((each) => protocols.includes(each));
    let control: PortControl | undefined;
    try {
      if (pcp || natPmp) control = servePortControl(this.host, mapper, { interfaces, pcp, natPmp });
      return { mapper, control, gateway: upnp ? new Gateway(this.host, mapper, { interfaces, name: config.name }) : undefined };
    } catch (error) {
      control?.close();
      mapper.close();
      throw error;
    }
  }

  private isBalanced(wanted: number, outer: End): boolean {
    return (this.config?.balancers ?? []).some(({ address, port, protocol = "tcp" }) => {
      const isPort = port === 0 || port === outer.port;
      return isPort && { ...NUMBERS, sctp: 132 }[protocol] === wanted && IpAddress.parse(address).equals(outer.address);
    });
  }

  private isForwarded(protocol: number, port: number): boolean {
    return (this.config?.forwards ?? []).some(({ listen, protocol: name = "tcp" }) => {
      const numbers: readonly number[] = name === "both" ? [6, 17] : [NUMBERS[name]];
      return numbers.includes(protocol) && parseEndpoint(listen, true)?.port === port;
    });
  }

  close(): void {
    this.running?.gateway?.close();
    this.running?.control?.close();
    this.running?.mapper.close();
    this.running = undefined;
  }
}
