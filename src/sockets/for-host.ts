/**
 * The WinterTC Sockets API over a host, a binding object as its specification has it:
 *
 *   const { connect } = forHost(host);
 *   const socket = connect("example.com:443", { secureTransport: "on" });
 */
import { checkOptions, listOf, type Shape, text } from "../base/options.ts";
import { checkHost, type Host } from "../host/host.ts";
import { type AnySocketAddress, addressOf } from "./address.ts";
import { SocketError } from "./error.ts";
import { checkedOptions, type SocketOptions } from "./options.ts";
import { type Origin, Socket } from "./socket.ts";
import { type BindingOptions, dial, secured } from "./transport.ts";

const BINDING: Shape<BindingOptions> = { caCerts: listOf(text), cert: text, key: text };

export interface HostSockets {
  /** A socket, before it is connected. Throws a SocketError for an address or options that are none. */
  connect(address: AnySocketAddress, options?: SocketOptions): Socket;
  readonly SocketError: typeof SocketError;
}

/** `connect` whose sockets are this host's. `binding`: what TLS believes and shows. */
export function forHost(host: Host, binding: BindingOptions = {}): HostSockets {
  checkHost(host);
  checkOptions("sockets", BINDING, binding);
  const connect = (address: AnySocketAddress, options?: SocketOptions): Socket => {
    const [to, checked] = [addressOf(address), checkedOptions(options)];
    const secure: Origin["secure"] = (plain, signal) => secured(plain, to, checked, binding, signal);
    const open: Origin["open"] = async (signal) => {
      const plain = await dial(host, to, signal);
      return checked.secureTransport === "on" ? secure(plain, signal) : plain;
    };
    return new Socket({ open, secure }, checked);
  };
  return { connect, SocketError };
}
