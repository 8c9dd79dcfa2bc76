/** ICMP messages by the names that scripts use (RFC 792, RFC 1812 §5.2.7.1, RFC 4443), and the packet they quote. */
import { type Icmp, type Ip, protocolNumber, wrap } from "./packet.ts";
import { NotApplicable, type ScriptIcmp, Unsupported } from "./script.ts";

type Names = Readonly<Record<string, number>>;

const UNREACHABLE4 =
  "net_unreachable host_unreachable protocol_unreachable port_unreachable frag_needed source_route_failed net_unknown host_unknown source_host_isolated net_prohibited host_prohibited net_unreachable_for_tos host_unreachable_for_tos packet_filtered precedence_violation precedence_cutoff";
const UNREACHABLE6 = "no_route admin_prohibited not_neighbour address_unreachable port_unreachable";

const numbered = (names: string): Names => Object.fromEntries(names.split(" ").map((name, i) => [name, i]));

const TYPES4: Names = {
  echo_reply: 0,
  unreachable: 3,
  source_quench: 4,
  redirect: 5,
  echo_request: 8,
  time_exceeded: 11,
  parameter_problem: 12,
  timestamp_request: 13,
  timestamp_reply: 14,
  information_request: 15,
  information_reply: 16,
  address_mask_request: 17,
  address_mask_reply: 18,
};
const TYPES6: Names = {
  unreachable: 1,
  packet_too_big: 2,
  time_exceeded: 3,
  parameter_problem: 4,
  echo_request: 128,
  echo_reply: 129,
};
const CODES4: Readonly<Record<string, Names>> = { unreachable: numbered(UNREACHABLE4) };
const CODES6: Readonly<Record<string, Names>> = {
  unreachable: { net_unreachable: 0, ...numbered(UNREACHABLE6) },
  time_exceeded: { exceeded_hop_limit: 0, exceeded_frag_time: 1 },
  parameter_problem: { header_field: 0, unknown_next_header: 1, unknown_option: 2 },
};

/** Names, "type_N" and "code_N" as numbers of the family. */
export function icmpNumbers(icmp: ScriptIcmp, family: 4 | 6): { type: number; code: number } {
  const [types, codes] = family === 4 ? [TYPES4, CODES4] : [TYPES6, CODES6];
  const numeric = (text: string) => /^(?:type|code)_(\d+)$/.exec(text)?.[1];
  const type = types[icmp.icmpType] ?? numeric(icmp.icmpType);
  if (type === undefined) throw new NotApplicable(`ICMP type "${icmp.icmpType}" is none of IPv${family}'s`);
  const code = icmp.icmpCode === "" ? 0 : (codes[icmp.icmpType]?.[icmp.icmpCode] ?? numeric(icmp.icmpCode));
  if (code === undefined) throw new NotApplicable(`ICMP code "${icmp.icmpCode}" is none of IPv${family}'s ${icmp.icmpType}`);
  return { type: Number(type), code: Number(code) };
}

/** What an error quotes: the header of a packet of ours and eight bytes more, by its ports and sequence number. */
export interface Quoted {
  readonly ip: Ip;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
}

export function icmpMessage(icmp: ScriptIcmp, family: 4 | 6, quoted: Quoted | undefined): Icmp {
  const { type, code } = icmpNumbers(icmp, family);
  const rest = icmp.mtu ?? (icmp.id << 16) >>> 0;
  const asked = icmp.quoted;
  if (asked?.protocol === "raw") return { protocol: "icmp", type, code, rest, payload: new Uint8Array(Math.max(asked.length - 8, 0)) };
  if (!quoted) throw new Unsupported("an ICMP message about a packet of no socket");
  const protocol = asked?.protocol === "udp" ? "udp" : "tcp";
  const l4 = new Uint8Array((protocol === "udp" ? 8 : 20) + (asked?.length ?? 0));
  const view = new DataView(l4.buffer);
  view.setUint16(0, quoted.sourcePort);
  view.setUint16(2, quoted.destinationPort);
  if (protocol === "udp") view.setUint16(4, l4.length);
  else view.setUint32(4, quoted.seq);
  const whole = wrap(quoted.ip, protocolNumber(protocol, family), l4);
  return { protocol: "icmp", type, code, rest, payload: whole.slice(0, (family === 4 ? 20 : 40) + 8) };
}
