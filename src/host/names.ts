/** Names of one host: its hosts file and its resolver, on the host's clock and chance. */
import { type Alarms, alarmsOn } from "../base/alarms.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { Hosts } from "../dns/hosts.ts";
import { type LookupAddress, type LookupOptions, lookup } from "../dns/lookup.ts";
import type { IpStack } from "../ip/stack.ts";

export interface NamesOptions {
  /** Text of a hosts file, or names and their addresses: `{ "db.test": ["10.0.0.7", "fd00::7"] }`. */
  hosts?: string | Readonly<Record<string, string | readonly string[]>>;
}

export class HostNames {
  readonly hosts: Hosts;
  /** The host's timers, for those who know no stack. */
  readonly alarms: Alarms;
  private readonly stack: IpStack;

  constructor(stack: IpStack, options: NamesOptions) {
    this.stack = stack;
    this.hosts = hostsOf(options.hosts ?? {});
    this.alarms = alarmsOn(stack.timers, () => stack.engine.clock.now());
  }

  lookup(name: string, options: LookupOptions = {}): Promise<LookupAddress[]> {
    return lookup({ hosts: this.hosts, sourceFor: (address) => this.sourceFor(address) }, name, options);
  }

  private sourceFor(address: IpAddress): IpAddress | undefined {
    const path = this.stack.pathTo(address);
    return path.hop === 0 ? undefined : this.stack.sourceFor(address, path);
  }
}

function hostsOf(given: NonNullable<NamesOptions["hosts"]>): Hosts {
  if (typeof given === "string") return Hosts.parse(given);
  const hosts = new Hosts();
  for (const [name, addresses] of Object.entries(given)) for (const each of [addresses].flat()) hosts.add(each as string, name);
  return hosts;
}
