/** The register machine: rulesets compiled to WebAssembly and put in force in an engine. */
export { Machine, type MachineOptions } from "./machine.ts";
export type { Statement } from "./registry.ts";
export type { ObjectState, RuleState, StateReading, TableName } from "./state.ts";
