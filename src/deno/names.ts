/** `Deno.resolveDns` over a host's resolver, its records in Deno's shapes. */
import type { DnsRecord } from "../dns/records.ts";
import type { Host } from "../host/host.ts";
import { rejecting } from "./errors.ts";
import { holding } from "./hold.ts";

export type RecordType = "A" | "AAAA" | "CAA" | "CNAME" | "MX" | "NAPTR" | "NS" | "PTR" | "SOA" | "SRV" | "TXT";

export interface ResolveDnsOptions {
  signal?: AbortSignal;
}

/** Names end with the dot of the root, as Deno gives them. */
const rooted = (name: string) => (name.endsWith(".") ? name : `${name}.`);

export async function resolveDns(host: Host, query: string, type: RecordType, options: ResolveDnsOptions = {}): Promise<unknown[]> {
  const { resolver } = host.names;
  // Without anybody to ask Deno says so by a plain Error: nobody has refused anything.
  if (resolver.servers.length === 0) throw Object.assign(new Error("there is no name server to ask"), { code: "ECONNREFUSED" });
  const records = await rejecting(holding(host.engine, resolver.resolve(query, type, { signal: options.signal })));
  return records.filter((record) => record.type === type).map(shapeOf);
}

function shapeOf(record: DnsRecord): unknown {
  switch (record.type) {
    case "A":
    case "AAAA":
      return record.address;
    case "CNAME":
    case "NS":
    case "PTR":
      return rooted((record as { target: string }).target);
    case "TXT":
      return record.entries.map((entry) => new TextDecoder().decode(entry));
    case "MX":
      return { preference: record.preference, exchange: rooted(record.exchange) };
    case "SRV":
      return { priority: record.priority, weight: record.weight, port: record.port, target: rooted(record.target) };
    case "CAA":
      return { critical: record.critical, tag: record.tag, value: record.value };
    case "SOA": {
      const { primary, mailbox, serial, refresh, retry, expire, minimum } = record;
      return { mname: rooted(primary), rname: rooted(mailbox), serial, refresh, retry, expire, minimum };
    }
    case "NAPTR": {
      const { order, preference, flags, services, regexp, replacement } = record;
      return { order, preference, flags, services, regexp, replacement: rooted(replacement) };
    }
  }
  return record;
}
