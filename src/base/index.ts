/** Addresses, clock, chance, errors: what every floor above may use. Imports nothing. */
export * from "./address.ts";
export * from "./alarms.ts";
export * from "./clock.ts";
export * from "./errors.ts";
export * from "./ip-address.ts";
export * from "./random.ts";
export * from "./routes.ts";
export * from "./siphash.ts";
export * from "./timers.ts";
