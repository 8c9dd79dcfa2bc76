/** Sockets as JavaScript knows them: streams for TCP, messages for UDP. */
export type { DatagramBatch, EndpointOptions, SendOptions, SocketError } from "../datagram/endpoint.ts";
export * from "./datagram.ts";
export type { InPlace } from "./in-place.ts";
export * from "./listener.ts";
export * from "./stream.ts";
export * from "./unix.ts";
