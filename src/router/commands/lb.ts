/**
 * `lb list [--stats|--rate]`, `lb add SERVICE BACKEND [weight N]`, `lb remove|drain|enable|disable SERVICE BACKEND`, `lb weight SERVICE BACKEND N`.
 * A service is "tcp 192.0.2.80:80" or "192.0.2.80:80"; listings are ipvsadm's.
 */
import { listServices } from "../../balance/listing.ts";
import { parseEndpoint } from "../schema-parts.ts";
import { type Command, usage } from "./command.ts";

const WAYS = "lb: expected list, add, remove, weight, drain, enable or disable";

export const lb: Command = ({ balancer }, words) => {
  const [verb = "list", ...rest] = words;
  if (!balancer) throw usage("lb: this router has no room for balancers");
  if (verb === "list") {
    const what = rest.includes("--stats") ? "stats" : rest.includes("--rate") ? "rate" : "state";
    return {
      stdout: listServices(
        [...balancer.services.values()].map((service) => service.stats()),
        what,
      ),
    };
  }
  const named = /^(tcp|udp|sctp)$/.test(rest[0] ?? "") ? rest.splice(0, 2).join(" ") : `tcp ${rest.splice(0, 1)[0] ?? ""}`;
  const service = balancer.service(named);
  const [name = "", ...options] = rest;
  if (verb === "add") {
    const end = parseEndpoint(name);
    if (!end) throw usage(`lb: "${name}" is no backend; expected an address and a port, such as 10.0.0.5:80`);
    const weight = options[0] === "weight" ? Number(options[1]) : undefined;
    service.add({ address: end.host, ...(service.stats().mode === "nat" ? { port: end.port } : {}), weight });
    return {};
  }
  if (verb === "remove") service.remove(name);
  else if (verb === "weight") service.backend(name).weight = Number(options[0]);
  else if (verb === "drain") void service.backend(name).drain();
  else if (verb === "enable") service.backend(name).enable();
  else if (verb === "disable") service.backend(name).disable();
  else throw usage(WAYS);
  return {};
};
