/** A name server on a host's port 53, datagrams and streams. */
import { checkOptions, type Shape } from "../base/options.ts";
import type { DnsServerOptions } from "../dns/server.ts";
import { DnsServer } from "../dns/server.ts";
import type { Host } from "./host.ts";
import { SERVE_DNS } from "./option-shapes.ts";

export interface ServeDnsOptions extends Omit<DnsServerOptions, "forward" | "alarms"> {
  /** Ask the host's own name servers about what is not known here. Default false. */
  forward?: boolean;
  /** Default: all addresses. */
  hostname?: string;
  /** Default 53. */
  port?: number;
}

export interface RunningDnsServer {
  readonly server: DnsServer;
  close(): void;
}

/** Serves names from a host until it is closed. */
export function serveDns(host: Host, options: ServeDnsOptions = {}): RunningDnsServer {
  checkOptions("serveDns", SERVE_DNS satisfies Shape<ServeDnsOptions>, options);
  const { forward, hostname, port = 53, ...rest } = options;
  const server = new DnsServer({ ...rest, forward: forward ? host.resolver : undefined, alarms: host.names.alarms });
  const datagrams = host.datagram({ hostname, port });
  const listener = host.listen({ hostname, port });
  void server.serveDatagrams(datagrams);
  void (async () => {
    for await (const stream of listener) void server.serveStream(stream, stream.remoteAddress.address);
  })();
  return {
    server,
    close() {
      datagrams.close();
      listener.close();
    },
  };
}
