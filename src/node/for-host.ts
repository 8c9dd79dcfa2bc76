import type { Host } from "../host/host.ts";
import type { Context } from "./context.ts";
import { dnsOf, type HostDns, type Lookup } from "./dns.ts";
import { EventQueue } from "./events.ts";
import { type HostNet, netOf } from "./net.ts";

export interface HostModules {
  readonly net: HostNet;
  readonly dns: HostDns;
}

const made = new WeakMap<Host, HostModules>();

export function forHost(host: Host): HostModules {
  const known = made.get(host);
  if (known) return known;
  const dns = dnsOf(host);
  const context: Context = { host, events: new EventQueue(), lookup: dns.lookup as Lookup };
  const modules = { net: netOf(context), dns };
  made.set(host, modules);
  return modules;
}
