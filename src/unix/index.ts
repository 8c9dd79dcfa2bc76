/** Unix domain sockets: sockets of one host that skip its stack. */
export * from "./endpoint.ts";
export * from "./namespace.ts";
