/**
 * Rules: nftables' language (language/), the register machine it stands for, compiled to WebAssembly (machine/), and the two together
 * on a network (firewall.ts). Prose: docs/filter.md.
 */
export * from "./expressions.ts";
export { Firewall, type FirewallApplyOptions, type FirewallOptions, type IptablesOptions, type SocketFacts } from "./firewall.ts";
export * from "./language/index.ts";
export { Machine, type MachineOptions } from "./machine/machine.ts";
export { checkSupported } from "./supported.ts";
export { type TraceEntry, TraceText } from "./trace.ts";
