/** Loads, a router under them, a plain-JavaScript rival, and a check of what comes out. */
export * from "./destinations.ts";
export * from "./plain-forwarder.ts";
export * from "./rig.ts";
