/** What `server.listen` is asked for, in all the ways in which Node lets it be said. */
import { checkPath, checkPort, nodeError } from "./errors.ts";

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
  const isPath = typeof first === "string" && !/^\s*\d+\s*$/.test(first);
  const host = rest.find((each, i): each is string => i > 0 && typeof each === "string");
  const backlog = rest.find((each, i): each is number => i > 0 && typeof each === "number");
  if (isPath) return [{ path: checkPath(first), port: 0, backlog }, callback];
  return [{ port: checkPort(first ?? 0, "options.port"), host, backlog }, callback];
}

function fromOptions(given: Given): ListenOptions {
  const { port, host, backlog, exclusive, ipv6Only, signal, path } = given;
  // A port counts more than a path, as with Node.
  if (typeof path === "string" && path !== "" && (port === undefined || port === null)) {
    return { path: checkPath(path), port: 0, backlog, exclusive, signal };
  }
  if (!("port" in given)) {
    throw nodeError("ERR_INVALID_ARG_VALUE", 'The argument \'options\' must have the property "port" or "path".', TypeError);
  }
  return { port: checkPort(port ?? 0, "options.port"), host, backlog, exclusive, ipv6Only, signal };
}
