/** packetloom: a network you can import. */
export * from "./base/index.ts";
export * from "./engine/index.ts";
export * from "./host/index.ts";
export * from "./lab/index.ts";
export * from "./link/index.ts";
export * from "./rib/index.ts";
export * from "./socket/index.ts";
