/** Stateful objects: what their blocks say, as the machine takes it. */
import type { ObjectSpec } from "../expressions.ts";
import { Fault } from "./faults.ts";
import { IP_PROTOCOLS } from "./symbols.ts";
import type { Span } from "./vocabulary.ts";

type Fields = Readonly<Record<string, unknown>>;

export function objectSpec(type: string, name: string, block: readonly Fields[], at: Span): ObjectSpec {
  const all: Fields = Object.assign({}, ...block);
  const number = (key: string, otherwise = 0) => (all[key] as number | undefined) ?? otherwise;
  const need = (key: string, what: string) => {
    if (all[key] === undefined) throw new Fault(at, `${type} ${name}: expected ${what}`);
  };
  const protocol = () => {
    need("protocol", "protocol");
    const found = IP_PROTOCOLS.get(all.protocol as string);
    if (found === undefined) throw new Fault(at, `${type} ${name}: unknown protocol ${all.protocol}`);
    return Number(found);
  };
  const l3 = all.l3 === "ip" ? { l3: 4 as const } : all.l3 === "ip6" ? { l3: 6 as const } : {};
  switch (type) {
    case "counter":
      return { name, object: { type, packets: number("packets"), bytes: number("bytes") } };
    case "quota":
      need("bytes", "a number of bytes");
      return { name, object: { type, bytes: number("bytes"), used: number("used"), over: all.over === true } };
    case "limit":
      need("rate", "rate");
      return {
        name,
        object: {
          type,
          rate: number("rate"),
          per: number("per"),
          burst: number("burst"),
          unit: all.unit as "packets" | "bytes",
          over: all.over === true,
        },
      };
    case "ct helper":
      need("helper", `type "…" protocol …`);
      return { name, object: { type, helper: all.helper as string, protocol: protocol(), ...l3 } };
    case "ct timeout":
      return { name, object: { type, protocol: protocol(), ...l3, policy: (all.policy ?? {}) as Record<string, number> } };
    case "ct expectation":
      need("dport", "dport");
      return {
        name,
        object: { type, protocol: protocol(), ...l3, dport: number("dport"), timeoutMs: number("timeoutMs"), size: number("size") },
      };
    case "synproxy": {
      const flags = (all.mss === undefined ? 0 : 1) | (all.wscale === undefined ? 0 : 2) | (all.sackPerm ? 4 : 0) | (all.timestamp ? 8 : 0);
      return { name, object: { type, mss: number("mss"), wscale: number("wscale"), flags } };
    }
    case "secmark":
      need("context", "a security context");
      return { name, object: { type, context: all.context as string } };
    default:
      throw new Fault(at, `unknown kind of object ${type}`);
  }
}
