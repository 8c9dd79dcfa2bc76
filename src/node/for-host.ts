/**
 * Node's modules over a host:
 *
 *   const { net, http } = forHost(host);
 *   http.createServer(app).listen(80);
 *   http.get("http://192.0.2.1/", (response) => response.pipe(process.stdout));
 */
import * as nodeNet from "node:net";
import { checkHost, type Host } from "../host/host.ts";
import { adopt } from "./adopt.ts";
import { callable } from "./callable.ts";
import type { Context } from "./context.ts";
import { type MessageListener, Socket as UdpSocket, type SocketOptions as UdpSocketOptions } from "./dgram.ts";
import { dnsOf, type HostDns, type Lookup } from "./dns.ts";
import { EventQueue } from "./events.ts";
import { type HostHttp, type HostHttps, httpOf, httpsOf } from "./http.ts";
import { type HostHttp2, http2Of } from "./http2.ts";
import { type HostNet, netOf, socketsOf } from "./net.ts";
import { type HostTls, tlsOf } from "./tls.ts";

/** `node:dgram` of a host. */
export interface HostDgram {
  readonly Socket: new (options: UdpSocketOptions | UdpSocketOptions["type"], listener?: MessageListener) => UdpSocket;
  createSocket(options: UdpSocketOptions | UdpSocketOptions["type"], listener?: MessageListener): UdpSocket;
}

export interface HostModules {
  readonly net: HostNet;
  readonly dgram: HostDgram;
  readonly dns: HostDns;
  readonly tls: HostTls;
  readonly http: HostHttp;
  readonly https: HostHttps;
  readonly http2: HostHttp2;
}

interface Made extends HostModules {
  readonly context: Context;
}

const made = new WeakMap<Host, Made>();

function modulesOf(host: Host): Made {
  checkHost(host);
  const known = made.get(host);
  if (known) return known;
  const dns = dnsOf(host);
  const context: Context = {
    host,
    events: new EventQueue(),
    // Looked up with every call: programs put their own in its place.
    lookup: (...args) => (dns.lookup as Lookup)(...args),
    attempts: {
      autoSelectFamily: nodeNet.getDefaultAutoSelectFamily?.() ?? true,
      timeoutMs: nodeNet.getDefaultAutoSelectFamilyAttemptTimeout?.() ?? 250,
    },
    adopted: new WeakSet(),
    socketClass: undefined,
  };
  const HostSocket = socketsOf(context);
  context.socketClass = HostSocket;
  const net = netOf(context, HostSocket);
  const tls = tlsOf(context, net);
  const http = httpOf(context, net);
  const https = httpsOf(context, net);
  const modules = { context, net, dgram: dgramOf(context), dns, tls, http, https, http2: http2Of(context, net, tls) };
  made.set(host, modules);
  return modules;
}

/** `net`, `dgram`, `dns`, `tls`, `http`, `https` and `http2` whose sockets are this host's. The same object every time. */
export function forHost(host: Host): HostModules {
  return modulesOf(host);
}

/**
 * Makes a server that was made by Node's own `http`, `https`, `http2` or `tls`, or by a framework, listen on a host; before
 * its `listen` is called: `onHost(host, server).listen(80)`.
 */
export function onHost<S extends nodeNet.Server>(host: Host, server: S): S {
  return adopt(modulesOf(host).context, server);
}

function dgramOf(context: Context): HostDgram {
  const HostSocket = class extends UdpSocket {
    constructor(options: UdpSocketOptions | UdpSocketOptions["type"], listener?: MessageListener) {
      super(context, options, listener);
    }
  };
  Object.defineProperty(HostSocket, "name", { value: "Socket" });
  return { Socket: callable(HostSocket), createSocket: (options, listener) => new HostSocket(options, listener) };
}
