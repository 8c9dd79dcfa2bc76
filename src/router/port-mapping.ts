/** Ports that machines of the router's links ask for: PCP, NAT-PMP and UPnP by one configuration. */
import { invalid } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import { Gateway, type PortControl, PortMapper, servePortControl } from "../portmap/index.ts";
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
      interfaces.filter(({ name }) => portMapping?.interfaces.includes(name)),
    ];
    const isSame = this.config && same(parts(next), parts(this.config));
    this.config = next;
    if (isSame) return;
    this.close();
    if (next.portMapping) this.running = this.start(next.portMapping, next);
  }

  private start(config: PortMappingConfig, { nat }: RouterConfig): Running {
    const { external, interfaces, protocols = ["pcp", "nat-pmp", "upnp"], ports, mostPerClient, longest } = config;
    if (!this.host.network) throw invalid("portMapping: this router tracks no connections (conntrack.max is 0)");
    const masquerades = nat?.masquerade.includes(external) ?? false;
    const isTaken = (protocol: number, port: number) => this.isForwarded(protocol, port);
    const mapper = new PortMapper(this.host, { external, masquerades, ports, mostPerClient, longest, isTaken });
    const hasControl = protocols.includes("pcp") || protocols.includes("nat-pmp");
    const control = hasControl
      ? servePortControl(this.host, mapper, { interfaces, pcp: protocols.includes("pcp"), natPmp: protocols.includes("nat-pmp") })
      : undefined;
    const gateway = protocols.includes("upnp") ? new Gateway(this.host, mapper, { interfaces, name: config.name }) : undefined;
    return { mapper, control, gateway };
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
