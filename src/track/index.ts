/**
 * Connection tracking from the host's side. The flows themselves live and change in the data plane (assembly/table/flow.ts);
 * here they are listed, ended and watched.
 */
export { TIMEOUT_NAMES } from "../engine/flows.ts";
export { HELPER_NAMES, type HelperName } from "../engine/helper-names.ts";
export {
  Conntrack,
  type ExpectedFlow,
  type FlowChange,
  type FlowEvent,
  type FlowFilter,
  type FlowStats,
  type TrackOptions,
} from "./conntrack.ts";
export type { End, Flow, Side, Tuple } from "./flow.ts";
export { Helpers } from "./helpers/helpers.ts";
export { type Filtering, type Mapping, type MappingOptions, Mappings } from "./mappings.ts";
export { expectationText, flowText, mappingText, zoneText } from "./text.ts";
