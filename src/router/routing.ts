/** Static routes and policy rules of a configuration. */
import { LoomError } from "../base/errors.ts";
import { parseInterfaceAddress } from "../base/ip-address.ts";
import type { Host, RuleOptions } from "../host/host.ts";
import { MAIN_TABLE } from "../ip/policy-routing.ts";
import { changed } from "./changes.ts";
import type { RouteConfig, RouterConfig } from "./schema.ts";

export class Routing {
  private readonly host: Host;

  constructor(host: Host) {
    this.host = host;
  }

  set(next: RouterConfig, before: RouterConfig | undefined): void {
    this.setPrefixes(next);
    const routes = changed(next.routes ?? [], before?.routes ?? []);
    for (const route of routes.gone) for (const to of targets(route)) this.removeRoute(to, route);
    for (const route of next.routes ?? []) for (const to of targets(route)) this.addRoute(to, route);
    const rules = changed(next.policyRules ?? [], before?.policyRules ?? []);
    const there = () => new Set(this.host.ip.rules.list().map(({ priority }) => priority));
    for (const { priority } of rules.gone) if (there().has(priority)) this.host.removeRule(priority);
    for (const rule of next.policyRules ?? []) if (!there().has(rule.priority)) this.host.addRule(rule as RuleOptions);
  }

  /** Prefixes that are other ones outside (RFC 6296). */
  private setPrefixes({ nptv6 = [] }: RouterConfig): void {
    const { network, ip } = this.host;
    if (!network) {
      if (nptv6.length > 0) throw new LoomError("ENOTSUP", "nptv6: this router's engine has no room for rules; create it with filterBytes");
      return;
    }
    network.translatePrefixes(
      nptv6.map(({ inside, outside, interface: name }) => {
        const [{ address: inner, length }, { address: outer }] = [inside, outside].map((text) => parseInterfaceAddress(text));
        return { inside: inner, outside: outer, length, port: ip.interface(name).port };
      }),
    );
  }

  /** One that is there already stays. */
  private addRoute(to: string, { to: _, ...route }: RouteConfig): void {
    try {
      this.host.addRoute({ ...route, to });
    } catch (error) {
      if ((error as LoomError).code !== "EEXIST") throw error;
    }
  }

  /** One that went with its interface is gone already. */
  private removeRoute(to: string, { metric = 0, table = MAIN_TABLE }: RouteConfig): void {
    try {
      this.host.removeRoute(to, metric, table);
    } catch (error) {
      if ((error as LoomError).code !== "ENOENT") throw error;
    }
  }
}

/** "default" is of the family of its gateway, or of both where it has none. */
export function targets({ to, via, nextHops }: RouteConfig): string[] {
  if (to !== "default") return [to];
  const gateway = via ?? nextHops?.find((hop) => hop.via !== undefined)?.via;
  if (gateway === undefined) return ["0.0.0.0/0", "::/0"];
  return [gateway.includes(":") ? "::/0" : "0.0.0.0/0"];
}
