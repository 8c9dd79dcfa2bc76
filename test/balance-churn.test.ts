/** Everything at once, by chance: services and backends come, go, drain, change and carry flows; a plain model says what has to hold. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Balancer, SCHEDULERS, type Service } from "../src/balance/index.ts";
import { IpAddress, type Random, VirtualClock } from "../src/base/index.ts";
import { engineOf, random } from "./support.ts";

const SERVICES = 3;
const BACKENDS = 12;
const STEPS = 1500;

interface Flow {
  readonly service: Service;
  readonly backend: string;
  readonly end: () => void;
}

/** One run; `room`: how many backends there may be, those that only flows remember included. */
async function churn(chance: Random, balancer: Balancer, clock: VirtualClock, room: number): Promise<void> {
  const flows: Flow[] = [];
  const opened = new Map<Service, number>();
  const any = <T>(list: readonly T[]): T => list[chance.below(list.length)];
  const address = () => `10.0.0.${1 + chance.below(20)}`;
  const some = () => any([...balancer.services.values()]);
  const steps: (() => void)[] = [
    () => {
      if (balancer.services.size === SERVICES) return;
      const port = 1 + chance.below(1000);
      if (balancer.services.has(`tcp 192.0.2.1:${port}`)) return;
      const options = { address: "192.0.2.1", port, scheduler: any(SCHEDULERS), affinityMs: any([0, 5000]), slowStartMs: any([0, 3000]) };
      opened.set(balancer.add(options), 0);
    },
    () => chance.below(20) === 0 && balancer.services.size > 0 && balancer.remove(some().name),
    () => {
      const service = some();
      if (service && service.backends.size < BACKENDS) tolerate(() => service.add({ address: address(), weight: chance.below(4) }));
    },
    () => {
      const service = some();
      if (service && service.backends.size > 0 && chance.below(3) === 0) service.remove(any([...service.backends.keys()]));
    },
    () => {
      const backend = any([...(some()?.backends.values() ?? [])]);
      if (!backend) return;
      const change = any(["drain", "disable", "enable", "enable", "weight"] as const);
      if (change === "weight") backend.weight = chance.below(5);
      else backend[change]();
    },
  ];
  const flow = () => {
    const service = some();
    if (!service) return;
    const open = [...service.backends.values()].filter(({ fraction, weight }) => fraction * weight > 0);
    const chosen = service.choose(IpAddress.v4(0xc6336400 + chance.below(50)), chance.below(65_536));
    assert.equal(chosen === undefined, open.length === 0, service.name);
    if (!chosen) return;
    assert.ok(open.includes(chosen), `${chosen.name} is ${chosen.state}`);
    flows.push({ service, backend: chosen.name, end: service.opened(chosen) });
    opened.set(service, (opened.get(service) ?? 0) + 1);
  };
  for (let step = 0; step < STEPS; step++) {
    any(steps)();
    for (let i = 0; i < 3; i++) flow();
    while (flows.length > 20 || (flows.length > 0 && chance.below(3) === 0)) flows.splice(chance.below(flows.length), 1)[0].end();
    if (chance.below(4) === 0) await clock.advance(chance.below(1500));
    for (const service of balancer.services.values()) {
      const { activeConns, conns, backends } = service.stats();
      assert.equal(activeConns, flows.filter((each) => each.service === service).length);
      assert.equal(conns, opened.get(service));
      for (const { name, activeConns } of backends) {
        // Others of its name may have left before it.
        assert.ok(activeConns <= flows.filter((each) => each.service === service && each.backend === name).length);
      }
    }
  }
  for (const { end } of flows) end();
  for (const name of [...balancer.services.keys()]) balancer.remove(name);
  await clock.advance(5000);
  // Nothing has leaked: all of it can be had again.
  for (let i = 0; i < SERVICES; i++) {
    const service = balancer.add({ address: "192.0.2.2", port: 1 + i });
    for (let k = 0; k < room / SERVICES; k++) service.add({ address: `10.1.0.${k + 1}` });
    assert.ok(service.choose(IpAddress.v4(1), 1));
  }
}

/** All numbers may be in use by what only flows remember. */
function tolerate(change: () => void): void {
  try {
    change();
  } catch (error) {
    assert.match((error as Error).message, /has a backend .* already|all \d+ backends are in use/);
  }
}

describe("load balancing under churn", () => {
  for (const build of ["shared", "plain"] as const)
    it(`keeps its promises and its room in an engine (${build})`, async (t) => {
      const clock = new VirtualClock();
      const room = SERVICES * BACKENDS;
      const engine = await engineOf(build, { services: SERVICES, backends: room, clients: 64, clock });
      await churn(random(t), new Balancer({ engine }), clock, room);
      await engine.close();
    });

  it("keeps them without an engine", async (t) => {
    const clock = new VirtualClock();
    await churn(random(t), new Balancer({ clock }), clock, SERVICES * BACKENDS);
  });
});
