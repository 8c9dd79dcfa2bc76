/** Descriptors, errno and the system calls of Linux over a host: for software that was written for them. */
export { BlockingCalls } from "./blocking/client.ts";
export { callMemory } from "./blocking/protocol.ts";
export { type Bell, serveCalls } from "./blocking/server.ts";
export * from "./constants.ts";
export type { EpollEvent } from "./epoll.ts";
export * from "./errno.ts";
export type { ControlMessage, Message } from "./message.ts";
export { decodeName, encodeName, type InetName, type Slot, type SocketName, type UnixName } from "./names.ts";
export type { PollEntry } from "./poll.ts";
export { Process, type ProcessOptions } from "./process.ts";
export { type RingSizes, ringMemory } from "./ring/layout.ts";
export * from "./ring/opcodes.ts";
export { type Completion, RingQueue, type Submission } from "./ring/queue.ts";
export { type Doorbell, Ring } from "./ring/ring.ts";
export type { TcpInfo, TcpInfoField } from "./tcp-info.ts";
