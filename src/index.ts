/** packetloom: a network you can import. */
export * from "./base/index.ts";
export * from "./engine/index.ts";
export * from "./link/index.ts";
export * from "./rib/index.ts";
