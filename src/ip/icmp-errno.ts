/**
 * What a program is told of an ICMP error, and whether it is hard (ends a connection's opening, reaches a connected socket that
 * did not ask for errors): by type and code, as Linux's icmp_err_convert and icmpv6_err_convert have it.
 */
import type { LoomErrorCode } from "../base/errors.ts";

export interface IcmpErrno {
  readonly code: Extract<
    LoomErrorCode,
    "ENETUNREACH" | "EHOSTUNREACH" | "ENOPROTOOPT" | "ECONNREFUSED" | "EMSGSIZE" | "ENOTSUP" | "EHOSTDOWN" | "ENONET" | "EACCES" | "EPROTO"
  >;
  readonly isHard: boolean;
}

const soft = (code: IcmpErrno["code"]): IcmpErrno => ({ code, isHard: false });
const hard = (code: IcmpErrno["code"]): IcmpErrno => ({ code, isHard: true });

/** RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1: codes of "destination unreachable" from 0 on. */
const UNREACHABLE4: readonly IcmpErrno[] = [
  soft("ENETUNREACH"),
  soft("EHOSTUNREACH"),
  hard("ENOPROTOOPT"),
  hard("ECONNREFUSED"),
  soft("EMSGSIZE"),
  // Source route failed.
  soft("ENOTSUP"),
  hard("ENETUNREACH"),
  hard("EHOSTDOWN"),
  hard("ENONET"),
  // Network and host administratively prohibited.
  hard("ENETUNREACH"),
  hard("EHOSTUNREACH"),
  // For the type of service.
  soft("ENETUNREACH"),
  soft("EHOSTUNREACH"),
  // Filtered, precedence violated or too low.
  hard("EHOSTUNREACH"),
  hard("EHOSTUNREACH"),
  hard("EHOSTUNREACH"),
];

/** RFC 4443 §3.1: no route, prohibited, beyond scope, address, port, source policy, reject route. */
const UNREACHABLE6: readonly IcmpErrno[] = [
  soft("ENETUNREACH"),
  hard("EACCES"),
  soft("EHOSTUNREACH"),
  soft("EHOSTUNREACH"),
  hard("ECONNREFUSED"),
  hard("EACCES"),
  hard("EACCES"),
];

const TIME_EXCEEDED = soft("EHOSTUNREACH");
const PARAMETER_PROBLEM = hard("EPROTO");
const UNKNOWN4 = soft("EHOSTUNREACH");
const UNKNOWN6 = soft("EPROTO");

export function icmpErrno(family: 4 | 6, type: number, code: number): IcmpErrno {
  if (family === 4) {
    if (type === 3) return UNREACHABLE4[code] ?? UNKNOWN4;
    return type === 11 ? TIME_EXCEEDED : type === 12 ? PARAMETER_PROBLEM : UNKNOWN4;
  }
  if (type === 1) return UNREACHABLE6[code] ?? UNKNOWN6;
  if (type === 2) return UNREACHABLE4[4];
  return type === 3 ? TIME_EXCEEDED : type === 4 ? PARAMETER_PROBLEM : UNKNOWN6;
}
