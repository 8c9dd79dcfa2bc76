/** The appliance: a router by one configuration (docs/router.md). */
export { type Output, type Request, run as runCommand, TOOLS } from "./commands/index.ts";
export { checkConfig, parseConfig } from "./config.ts";
export { type Allowed, type EgressOptions, type EgressPolicy, egressPolicy, type Opening, parseAllow } from "./egress.ts";
export type { DeviceMaker } from "./interfaces.ts";
export { METRICS_TYPE, metricsText } from "./metrics.ts";
export { Router, type RouterOptions } from "./router.ts";
export type { DeviceConfig, InterfaceConfig, RouterConfig } from "./schema.ts";
export type { RouterStatus } from "./status.ts";
