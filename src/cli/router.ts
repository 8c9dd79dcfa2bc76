/** `packetloom router`: a router by its configuration, until it is told to end. SIGHUP reads the file again. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { md5 } from "../base/md5.ts";
import type { LogEntry } from "../host/host-rules.ts";
import { parseConfig } from "../router/config.ts";
import { claimControl, serveControl } from "../router/control-node.ts";
import { deviceOf } from "../router/devices-node.ts";
import { formatLog } from "../router/log.ts";
import { LogFile } from "../router/logging-node.ts";
import { serveMetrics } from "../router/metrics-node.ts";
import { Router } from "../router/router.ts";
import { checkRules } from "../router/ruleset.ts";
import type { RouterConfig } from "../router/schema.ts";
import { parseEndpoint } from "../router/schema-parts.ts";
import { talk } from "../router/top.ts";
import { readRules, readText } from "./rules-file.ts";
import { top as showTop } from "./top.ts";

export const DEFAULT_SOCKET = "/run/packetloom/control.sock";

export interface RouterCommand {
  config: string;
  /** Only look at the configuration. */
  check?: boolean;
  top?: boolean;
}

/** The configuration of a file, with the ruleset that it names. */
export function loadConfig(path: string): RouterConfig {
  const config = parseConfig(readText(path, "configuration"), path);
  const { rulesetFile, iptablesFile, ip6tablesFile } = config;
  const beside = (file: string) => resolve(dirname(path), file);
  return {
    ...config,
    ...(rulesetFile !== undefined && { ruleset: readRules(beside(rulesetFile)) }),
    ...(iptablesFile !== undefined && { iptables: readText(beside(iptablesFile), "rules of iptables") }),
    ...(ip6tablesFile !== undefined && { ip6tables: readText(beside(ip6tablesFile), "rules of ip6tables") }),
  };
}

/** Of this machine, the configuration's place and the interface's name: links, and what neighbours know of them, outlive a restart. */
export function stableMac(path: string, name: string): string {
  let machine = hostname();
  try {
    machine = readFileSync("/etc/machine-id", "utf8").trim();
  } catch {
    // Its name will do.
  }
  const digest = md5(new TextEncoder().encode(`packetloom ${machine} ${path} ${name}`));
  return [0x02, ...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

const say = (text: string) => void process.stderr.write(`packetloom: ${text}\n`);

export async function routerCommand({ config: path, check, top }: RouterCommand): Promise<void> {
  const config = loadConfig(path);
  if (check) {
    checkRules(config);
    console.log(`${path}: right`);
    return;
  }
  const closers: (() => void)[] = [];
  let router: Router | undefined;
  try {
    // Before any device is touched: a second router that finds the first one leaves no trace on the links.
    const socket = config.control ?? DEFAULT_SOCKET;
    await claimControl(socket);
    const metrics = config.metrics === undefined ? undefined : parseEndpoint(config.metrics);
    if (metrics) {
      const server = await serveMetrics(() => router, metrics.host, metrics.port);
      closers.push(() => server.close().closeAllConnections());
    }
    router = await Router.create(config, { device: deviceOf, macOf: (name) => stableMac(resolve(path), name) });
    const control = await serveControl(router, socket);
    closers.push(() => control.close());
    const log = new LogFile(config.log?.to);
    closers.push(() => log.close());
    await serve(router, path, log, closers, top);
  } finally {
    for (const close of closers) close();
    await router?.close();
  }
}

async function serve(router: Router, path: string, log: LogFile, closers: (() => void)[], top: boolean | undefined): Promise<void> {
  if (router.rules.engine) closers.push(router.host.onLog((entry) => log.write(lineOf(entry, router.config))));
  process.on("SIGHUP", () => {
    log.reopen();
    void reload(router, path);
  });
  const stop = new AbortController();
  const told = ended().then(() => stop.abort());
  say(`routing between ${router.config.interfaces.map(({ name }) => name).join(", ")}`);
  if (top) await showTop(() => ({ status: router.status(), flows: talk(router.rules.conntrack?.list() ?? []) }), stop.signal);
  else await told;
}

function lineOf({ statement, in: from, out, packet, link, mark }: LogEntry, { log, name = hostname() }: RouterConfig): string {
  const frame = new Uint8Array(link.length + packet.length);
  frame.set(link);
  frame.set(packet, link.length);
  const logged = { prefix: statement.prefix ?? "", in: from, out, frame, hasEthernet: link.length >= 14, mark };
  return formatLog(logged, log?.format ?? "kernel", name, Date.now());
}

async function reload(router: Router, path: string): Promise<void> {
  try {
    const left = await router.reload(loadConfig(path));
    say(`${path} is read again${left.length ? `; changed with the next start only: ${left.join(", ")}` : ""}`);
  } catch (error) {
    say(`${path} is left aside, everything is as before:\n${(error as Error).message}`);
  }
}

const ended = () =>
  new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
