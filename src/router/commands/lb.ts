/**
 * `lb list [--stats|--rate]`, `lb add SERVICE BACKEND [weight N]`, `lb remove|drain|enable|disable SERVICE BACKEND`, `lb weight SERVICE BACKEND N`.
 * A service is "tcp 192.0.2.80:80" or "192.0.2.80:80"; listings are ipvsadm's.
 */
import { listServices } from "../../balance/listing.ts";
import { parseEndpoint } from "../schema-parts.ts";
import { type Command, usage } from "./command.ts";

const WAYS = "lb: expected list, add, remove, weight, drain, enable or disable";

const HELP = `Usage: lb list [ --stats | --rate ]
       lb add SERVICE BACKEND [ weight N ]
       lb { remove | drain | enable | disable } SERVICE BACKEND
       lb weight SERVICE BACKEND N
SERVICE: [ tcp | udp | sctp ] ADDRESS:PORT    BACKEND: ADDRESS:PORT
`;
/** Words behind the backend. */
const OPTIONS: Readonly<Record<string, number>> = { add: 2, remove: 0, weight: 1, drain: 0, enable: 0, disable: 0 };

function weightOf(word: string | undefined): number {
  if (word === undefined || !/^\d{1,5}$/.test(word))
    throw usage(`lb: the weight is ${word === undefined ? "missing" : `"${word}"`}; expected a number from 0 to 65535`);
  return Number(word);
}

export const lb: Command = ({ balancer }, words) => {
  const [verb = "list", ...rest] = words;
  if (!balancer) throw usage("lb: this router has no room for balancers");
  if (verb === "list") {
    const extra = rest.find((word) => word !== "--stats" && word !== "--rate");
    if (extra !== undefined) throw usage(`lb list: there is no "${extra}"; expected --stats, --rate or nothing`);
    const what = rest.includes("--stats") ? "stats" : rest.includes("--rate") ? "rate" : "state";
    return {
      stdout: listServices(
        [...balancer.services.values()].map((service) => service.stats()),
        what,
      ),
    };
  }
  if (verb === "help") return { stdout: HELP };
  if (!Object.hasOwn(OPTIONS, verb)) throw usage(WAYS);
  if (rest.length === 0) throw usage(`lb ${verb}: expected a service, such as 192.0.2.80:80 or udp 192.0.2.80:53`);
  const named = /^(tcp|udp|sctp)$/.test(rest[0] ?? "") ? rest.splice(0, 2).join(" ") : `tcp ${rest.splice(0, 1)[0] ?? ""}`;
  const service = balancer.service(named);
  const [name = "", ...options] = rest;
  if (options.length > OPTIONS[verb]) throw usage(`lb ${verb}: "${options[OPTIONS[verb]]}" is too much\n${HELP}`.trimEnd());
  if (verb === "add") {
    const end = parseEndpoint(name);
    if (!end) throw usage(`lb: "${name}" is no backend; expected an address and a port, such as 10.0.0.5:80`);
    if (options.length > 0 && options[0] !== "weight") throw usage(`lb add: "${options[0]}" stands where "weight N" was expected`);
    const weight = options.length > 0 ? weightOf(options[1]) : undefined;
    service.add({ address: end.host, ...(service.stats().mode === "nat" ? { port: end.port } : {}), weight });
    return {};
  }
  if (verb === "remove") service.remove(name);
  else if (verb === "weight") service.backend(name).weight = weightOf(options[0]);
  else if (verb === "drain") void service.backend(name).drain();
  else if (verb === "enable") service.backend(name).enable();
  else service.backend(name).disable();
  return {};
};
