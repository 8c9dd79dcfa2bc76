/** `reject`: what is sent back depends on the family, and on what the rule knows of the packet. */
import type { StatementNode } from "./ast.ts";
import { constant } from "./constants.ts";
import { Fault } from "./faults.ts";
import type { Statement } from "./model.ts";
import type { Evaluation } from "./rule-scope.ts";
import { type TypeName, typeOf } from "./types.ts";

const PORT_UNREACHABLE = { ip: 3, ip6: 4, any: 1 };
type Reject = Statement & { readonly k: "reject" };
const unreachable = (family: "ip" | "ip6", code: number): Reject => ({
  k: "reject",
  type: "icmp-unreach",
  code,
  family: family === "ip" ? 4 : 6,
});

export function rejectStatement(each: StatementNode & { k: "reject" }, evaluator: Evaluation): Statement {
  const { headers, scope } = evaluator;
  const { family } = scope;
  if (family === "bridge" && headers.network?.name === "arp") throw new Fault(each.at, "cannot reject this network family");
  if (family === "arp") throw new Fault(each.at, "cannot use reject statement with arp tables");
  const single = family === "ip" || family === "ip6";
  const chosen = each.with;
  if (!chosen) {
    const known = headers.network?.name;
    if (known === "ip" || known === "ip6") return unreachable(known, PORT_UNREACHABLE[known]);
    return { k: "reject", type: "icmpx-unreach", code: PORT_UNREACHABLE.any };
  }
  if (chosen.type === "tcp") {
    if (!headers.isOpenTo("tcp")) throw new Fault(each.at, "you cannot use tcp reset with this protocol");
    evaluator.first(() => headers.needName("tcp", each.at));
    return { k: "reject", type: "tcp-rst", code: 0 };
  }
  const code = (type: TypeName) =>
    chosen.code ? Number(constant(chosen.code, { type: typeOf(type), bits: 8, order: "host" }, scope).from) : 0;
  if (chosen.type === "icmpx") {
    if (single) throw new Fault(each.at, "abstracted ICMP unreachable not supported");
    return { k: "reject", type: "icmpx-unreach", code: code("icmpx_code") };
  }
  const wanted = chosen.type === "icmp" ? "ip" : "ip6";
  if (single && family !== wanted) throw new Fault(each.at, "conflicting protocols specified: ip vs ip6");
  const number = code(wanted === "ip" ? "icmp_code" : "icmpv6_code");
  evaluator.first(() => (wanted === "ip" ? headers.needIp(each.at) : headers.needIpv6(each.at)));
  return unreachable(wanted, number);
}
