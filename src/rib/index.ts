/** Route files: read from text, `ip route`, MRT and the compact form; and a slow, obvious longest-prefix match. */
export * from "./compact.ts";
export * from "./load.ts";
export { parseMrt } from "./mrt.ts";
export * from "./prefix-map.ts";
export { type Progress, parseText } from "./text.ts";
