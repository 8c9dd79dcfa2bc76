/** What ICMP says about a datagram, as the errors that sockets report (RFC 1122 §4.1.3.3, RFC 3542 §6). */
import { LoomError } from "../base/errors.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import { icmpErrno } from "../ip/icmp-errno.ts";
import type { SocketError } from "./datagram.ts";

export function socketError(report: IcmpErrorReport): SocketError {
  const { transport, source, destination, from, type, code, mtu, pointer } = report;
  return {
    code: icmpErrno(source.family, type, code).code,
    origin: report.isLocal ? "local" : source.family === 4 ? "icmp" : "icmp6",
    type,
    icmpCode: code,
    info: mtu || pointer,
    offender: from,
    address: destination,
    port: (transport[2] << 8) | transport[3],
    data: transport.slice(8),
  };
}

export function errorOf({ code, address, port, type, icmpCode, offender, info }: SocketError): LoomError {
  const where = `${address} port ${port}`;
  if (code === "ECONNREFUSED") return new LoomError(code, `${where} refused the datagram`);
  if (code === "EMSGSIZE") return new LoomError(code, `a datagram to ${where} is larger than the path takes (${info} bytes)`);
  return new LoomError(code, `${where} cannot be reached (ICMP type ${type} code ${icmpCode} from ${offender})`);
}
