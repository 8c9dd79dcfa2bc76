/** Devices: where packets come from and go to. A device knows ports; ports do not know devices. */
export { BridgeDevice, type BridgeDeviceOptions, bridge } from "./bridge.ts";
export * from "./channel.ts";
export { FrameReader } from "./frames.ts";
export * from "./generator.ts";
export * from "./pair.ts";
export * from "./pcap.ts";
export * from "./replay.ts";
export { type ByteChannel, type ByteDuplex, StreamLink, type StreamLinkOptions, streamLink } from "./stream.ts";
export * from "./websocket.ts";
