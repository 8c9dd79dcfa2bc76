/** What `server.listen` is asked for, in all the ways in which Node lets it be said. */
import { checkPath, checkPort, checkSignal, isPipeName, wrongValue } from "./checks.ts";

export interface ListenOptions {
  /** A Unix domain socket of the host, instead of a port. */
  path?: string;
  /** 0 or left out: a free one. */
  port: number;
  host?: string;
  /** Connections that may wait to be accepted. Default 511. */
  backlog?: number;
  /** Of no meaning here: a host's ports are not shared between processes. */
  exclusive?: boolean;
  /** On "::", leave IPv4 alone. */
  ipv6Only?: boolean;
  /** Closes the server. */
  signal?: AbortSignal;
  /** Refused (EINVAL): a descriptor is the process's, not the host's. */
  fd?: number;
}

type Callback = () => void;
type Given = Partial<Omit<ListenOptions, "port">> & { port?: number | string | null };

export type ListenArguments =
  | [callback?: Callback]
  | [options: Given, callback?: Callback]
  | [port: number | string | null | undefined, callback?: Callback]
  | [port: number | string | null | undefined, backlog: number, callback?: Callback]
  | [port: number | string | null | undefined, host: string | undefined, callback?: Callback]
  | [port: number | string | null | undefined, host: string | undefined, backlog: number | undefined, callback?: Callback];

export function listenArguments(args: readonly unknown[]): [ListenOptions, Callback | undefined] {
  const last = args.at(-1);
  const callback = typeof last === "function" ? (last as Callback) : undefined;
  const rest = callback ? args.slice(0, -1) : args;
  const [first] = rest;
  if (typeof first === "object" && first !== null) return [fromOptions(first as Given), callback];
  const host = rest.find((each, i): each is string => i > 0 && typeof each === "string");
  const backlog = rest.find((each, i): each is number => i > 0 && typeof each === "number");
  if (isPipeName(first)) return [{ path: checkPath(first), port: 0, backlog }, callback];
  return [
    fromOptions({ port: first as Given["port"], ...(host !== undefined && { host }), ...(backlog !== undefined && { backlog }) }),
    callback,
  ];
}

function fromOptions(given: Given): ListenOptions {
  const { port, host, backlog, exclusive, ipv6Only, signal, path, fd } = given;
  if (signal !== undefined) checkSignal(signal, "options.signal");
  // A host has none of the process's descriptors.
  if (typeof fd === "number" && fd >= 0) return { port: 0, fd };
  // A port counts more than a path, as with Node.
  if (typeof path === "string" && path !== "" && (port === undefined || port === null)) {
    return { path: checkPath(path), port: 0, backlog, exclusive, signal };
  }
  if ("path" in given && !("port" in given)) throw wrongValue("options", given);
  if (!("port" in given || "path" in given)) throw wrongValue("options", given, 'must have the property "port" or "path"');
  if (port !== undefined && port !== null && typeof port !== "number" && typeof port !== "string") throw wrongValue("options", given);
  return { port: checkPort(port ?? 0, "options.port"), host, backlog, exclusive, ipv6Only, signal };
}
