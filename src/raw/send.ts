/** A whole packet on its way: what the path takes of it, and who hears it here (raw(7), RFC 1112 §6.1). */
import { LoomError } from "../base/errors.ts";
import type { Envelope } from "../datagram/endpoint.ts";
import type { IpStack } from "../ip/stack.ts";

/** Throws EMSGSIZE for what may not be cut, ENOBUFS. */
export function sendWhole(stack: IpStack, { to, path, hopLimit, loop, mark }: Envelope, packet: Uint8Array, mayFragment: boolean): void {
  if (packet.length > path.mtu && !path.isLocal && !mayFragment)
    throw new LoomError("EMSGSIZE", `a packet of ${packet.length} bytes; the path takes ${path.mtu}`);
  if (loop && path.iface) {
    const copy = stack.chainOf(packet);
    if (copy !== undefined) stack.loopBack(copy, path.iface);
  }
  // Of groups, a hop limit of 0 stays in this host.
  if (to.isMulticast && hopLimit === 0) return;
  if (!stack.sendPacket(packet, path, { mark })) throw new LoomError("ENOBUFS", "no buffers for a packet");
}
