/** Unix domain sockets: sockets of one host that skip its stack. */
export * from "./endpoint.ts";
export * from "./namespace.ts";
export type { Credentials, Parcel, Passenger } from "./parcel.ts";
