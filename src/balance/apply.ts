/**
 * A whole configuration in place of what there is: what is the same stays as it is, with its states, counts and flows; what is gone takes
 * no new flows; mistakes are found before anything is changed.
 */
import { invalid, LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { type BackendOptions, backendName, checkBackend, checkService, type ServiceOptions, serviceName } from "./options.ts";
import type { Service } from "./service.ts";

/** Names of services. */
export interface Changes {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Made anew: something other than backends is different. */
  readonly renewed: readonly string[];
  /** Kept, with other backends or weights. */
  readonly changed: readonly string[];
}

export interface Services {
  readonly services: ReadonlyMap<string, Service>;
  readonly room: { readonly services: number; readonly backends: number };
  add(options: ServiceOptions): Service;
  remove(name: string): void;
}

export function applyServices(balancer: Services, list: readonly ServiceOptions[]): Changes {
  const wanted = named(list);
  const removed = [...balancer.services.keys()].filter((name) => !wanted.has(name));
  const changes = { added: [] as string[], removed, renewed: [] as string[], changed: [] as string[] };
  checkRoom(balancer, wanted);
  const before = new Map([...balancer.services].map(([name, { options }]) => [name, options]));
  try {
    change(balancer, wanted, changes);
  } catch (error) {
    // What was taken out comes back, with new states; what was added goes.
    for (const name of [...balancer.services.keys()]) if (!before.has(name)) balancer.remove(name);
    for (const [name, options] of before) if (!balancer.services.has(name)) balancer.add(options);
    throw error;
  }
  return changes;
}

/** Is the service the same but for its backends? */
const isKept = (service: Service | undefined, options: ServiceOptions): service is Service =>
  service !== undefined && isSame({ ...service.options, backends: 0 }, { ...options, backends: 0 });

/** What is taken out gives no room at once: flows remember its backends for as long as they live. */
function checkRoom(balancer: Services, wanted: ReadonlyMap<string, ServiceOptions>): void {
  let needed = 0;
  for (const [name, options] of wanted) {
    const service = balancer.services.get(name);
    const backends = options.backends ?? [];
    if (!isKept(service, options)) needed += backends.length;
    else needed += backends.filter((each) => !service.backends.has(nameOf(service, each))).length;
  }
  const { room } = balancer;
  if (needed > room.backends) {
    const why = "flows still remember those that are gone; raise backends, or try again later";
    throw new LoomError("ENOMEM", `${needed} backends are new and there is room for ${room.backends}: ${why}`);
  }
  const more = wanted.size - balancer.services.size;
  if (more > room.services)
    throw new LoomError("ENOMEM", `${more} services are new and there is room for ${room.services}; raise services`);
}

const nameOf = (service: Service, each: BackendOptions): string => backendName(IpAddress.parse(each.address), each, service.options);

type Mutable = { readonly [K in keyof Changes]: string[] };

function change(balancer: Services, wanted: ReadonlyMap<string, ServiceOptions>, changes: Mutable): void {
  for (const name of changes.removed) balancer.remove(name);
  for (const [name, options] of wanted) {
    const service = balancer.services.get(name);
    if (isKept(service, options)) {
      if (setBackends(service, options.backends ?? [])) changes.changed.push(name);
      continue;
    }
    if (service) balancer.remove(name);
    balancer.add(options);
    changes[service ? "renewed" : "added"].push(name);
  }
}

/** These and no others, with these weights; who stays keeps its state. True when that changed something. */
function setBackends(service: Service, list: readonly BackendOptions[]): boolean {
  const wanted = new Map(list.map((each) => [nameOf(service, each), each]));
  const gone = [...service.backends.keys()].filter((name) => !wanted.has(name));
  const different = [...wanted].filter(([name, { weight = 1, nextHop = 0 }]) => {
    const backend = service.backends.get(name);
    return backend?.weight !== weight || backend.nextHop !== nextHop;
  });
  service.together(() => {
    for (const name of gone) service.remove(name);
    for (const [name, options] of different) {
      const { weight = 1, nextHop = 0 } = options;
      const backend = service.backends.get(name);
      if (backend) Object.assign(backend, { weight, nextHop });
      else service.add(options);
    }
  });
  return gone.length + different.length > 0;
}

function named(list: readonly ServiceOptions[]): Map<string, ServiceOptions> {
  const wanted = new Map<string, ServiceOptions>();
  for (const options of list) {
    checkService(options);
    const address = IpAddress.parse(options.address);
    const names = new Set<string>();
    for (const backend of options.backends ?? []) {
      const name = backendName(checkBackend(backend, options, address), backend, options);
      if (names.has(name)) throw invalid(`${serviceName(options)} has the backend ${name} twice`);
      names.add(name);
    }
    if (wanted.has(serviceName(options))) throw invalid(`the service ${serviceName(options)} is there twice`);
    wanted.set(serviceName(options), options);
  }
  return wanted;
}

/** Options are values, lists, objects of them and expressions; what is left out is as if it were undefined. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return Object.is(a, b);
  if (a instanceof RegExp || b instanceof RegExp) return String(a) === String(b);
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => isSame((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]));
}
