/** What ICMP says about a datagram, as the errors that sockets report (RFC 1122 §4.1.3.3, RFC 3542 §6). */
import { u16 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import { icmpErrno } from "../ip/icmp-errno.ts";
import type { SocketError } from "./datagram.ts";

const UDP = 17;

export function socketError(report: IcmpErrorReport): SocketError {
  const { transport, protocol, source, destination, from, type, code, mtu, pointer } = report;
  return {
    code: icmpErrno(source.family, type, code).code,
    origin: report.isLocal ? "local" : source.family === 4 ? "icmp" : "icmp6",
    type,
    icmpCode: code,
    info: mtu || pointer,
    offender: from,
    address: destination,
    port: protocol === UDP ? u16(transport, 2) : 0,
    // Of UDP what its user sent, of others all that is above IP.
    data: transport.slice(protocol === UDP ? 8 : 0),
  };
}

export function errorOf({ code, address, port, type, icmpCode, offender, info }: SocketError): LoomError {
  const where = port === 0 ? `${address}` : `${address} port ${port}`;
  if (code === "ECONNREFUSED") return new LoomError(code, `${where} refused the datagram`);
  if (code === "EMSGSIZE") return new LoomError(code, `a datagram to ${where} is larger than the path takes (${info} bytes)`);
  return new LoomError(code, `${where} cannot be reached (ICMP type ${type} code ${icmpCode} from ${offender})`);
}
