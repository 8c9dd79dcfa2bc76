/** Devices: where packets come from and go to. A device knows ports; ports do not know devices. */
export * from "./generator.ts";
export * from "./pair.ts";
export * from "./pcap.ts";
export * from "./replay.ts";
