/** Which table answers for which level and kind of socket. What has no mechanism below is -ENOPROTOOPT. */
import { isBytes, isObject } from "./arguments.ts";
import { AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SOL_SOCKET } from "./constants.ts";
import { attempt, EFAULT, EINVAL, ENOPROTOOPT, EOPNOTSUPP } from "./errno.ts";
import { InetSocket } from "./inet-socket.ts";
import type { Slot } from "./names.ts";
import { intBytes, OptionValue, type SocketOption } from "./options.ts";
import { IP_OPTIONS, IPV6_OPTIONS, UDP_OPTIONS } from "./options-ip.ts";
import { RAW_OPTIONS } from "./options-raw.ts";
import { SOCKET_OPTIONS } from "./options-socket.ts";
import { TCP_OPTIONS } from "./options-tcp.ts";
import { RawSocket } from "./raw-socket.ts";
import type { Socket } from "./socket.ts";
import { TcpSocket } from "./tcp-socket.ts";
import { UdpSocket } from "./udp-socket.ts";

function find(socket: Socket, level: number, name: number): SocketOption<never> | number {
  // Else a name like "constructor" would find something.
  if (!Number.isInteger(name) || !Number.isInteger(level)) return -ENOPROTOOPT;
  const ofRaw = socket instanceof RawSocket ? RAW_OPTIONS[socket.domain][level]?.[name] : undefined;
  if (ofRaw) return ofRaw as SocketOption<never>;
  if (level === SOL_SOCKET) return SOCKET_OPTIONS[name] ?? -ENOPROTOOPT;
  if (!(socket instanceof InetSocket)) return -EOPNOTSUPP;
  if (level === IPPROTO_TCP && socket instanceof TcpSocket) return TCP_OPTIONS[name] ?? -ENOPROTOOPT;
  if (level === IPPROTO_UDP && socket instanceof UdpSocket) return UDP_OPTIONS[name] ?? -ENOPROTOOPT;
  if (level === IPPROTO_IP) return IP_OPTIONS[name] ?? -ENOPROTOOPT;
  if (level === IPPROTO_IPV6 && socket.domain === AF_INET6) return IPV6_OPTIONS[name] ?? -ENOPROTOOPT;
  return -ENOPROTOOPT;
}

export function getOption(socket: Socket, level: number, name: number, into: Uint8Array | Slot<number>): number {
  const option = find(socket, level, name) as SocketOption<Socket> | number;
  if (typeof option === "number") return option;
  if (!option.get) return -ENOPROTOOPT;
  if (!isObject(into) || (into instanceof Uint8Array && !isBytes(into))) return -EFAULT;
  const { get } = option;
  return attempt(() => {
    const value = get(socket, into instanceof Uint8Array ? into : undefined);
    const bytes = typeof value === "number" ? intBytes(value) : value;
    if (into instanceof Uint8Array) {
      // A shorter place takes the beginning.
      const n = Math.min(bytes.length, into.length);
      into.set(bytes.subarray(0, n));
      return n;
    }
    if (typeof value !== "number") return -EINVAL;
    into.value = value;
    return 4;
  });
}

export function setOption(socket: Socket, level: number, name: number, value: number | Uint8Array): number {
  const option = find(socket, level, name) as SocketOption<Socket> | number;
  if (typeof option === "number") return option;
  if (!option.set) return -ENOPROTOOPT;
  if (typeof value !== "number" && !isBytes(value)) return -EFAULT;
  const { set } = option;
  // An int of IPPROTO_IP may be a single byte (do_ip_setsockopt).
  const isByte = level === IPPROTO_IP && typeof value !== "number" && value.length > 0 && value.length < 4;
  return attempt(() => set(socket, new OptionValue(isByte ? value[0] : value)));
}
