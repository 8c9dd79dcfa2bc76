/** Sockets as JavaScript knows them: streams for TCP, messages for UDP. */
export * from "./datagram.ts";
export * from "./listener.ts";
export * from "./stream.ts";
