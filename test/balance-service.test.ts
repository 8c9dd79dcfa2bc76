/** Services and the life of their backends, in virtual time: states, health, slow start, draining, affinity, statistics. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Affinity } from "../src/balance/affinity.ts";
import { type BackendEvent, type BackendState, isOpen, nextState } from "../src/balance/backend-state.ts";
import { Balancer, type Connect, listServices, type Service, type ServiceEvent, type ServiceOptions } from "../src/balance/index.ts";
import { IpAddress, Random, VirtualClock } from "../src/base/index.ts";

const CLIENT = IpAddress.parse("198.51.100.7");
const client = (i: number) => IpAddress.v4(0xc6336400 + i);

/** Backends that can be connected to, by address; what happens to whoever connects. */
class Farm {
  readonly clock = new VirtualClock();
  readonly dead = new Set<string>();
  readonly silent = new Set<string>();
  readonly connections: { hostname: string; port: number; at: number }[] = [];
  aborted = 0;
  answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  readonly events: ServiceEvent[] = [];

  readonly connect: Connect = async ({ hostname, port, signal }) => {
    this.connections.push({ hostname, port, at: this.clock.now() });
    if (this.silent.has(hostname))
      return new Promise((_, reject) =>
        signal.addEventListener("abort", () => {
          this.aborted++;
          reject(signal.reason);
        }),
      );
    if (this.dead.has(hostname)) throw new Error("connection refused");
    const text = new TextEncoder().encode(this.answer);
    return {
      readable: new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(text);
          controller.close();
        },
      }),
      writable: new WritableStream<Uint8Array>(),
    };
  };

  service(options: Partial<ServiceOptions> = {}, backends = 3): { balancer: Balancer; service: Service } {
    const balancer = new Balancer({ clock: this.clock, random: new Random(1), connect: this.connect });
    const list = Array.from({ length: backends }, (_, i) => ({ address: `10.0.0.${i + 1}` }));
    const service = balancer.add({ address: "192.0.2.80", port: 80, backends: list, ...options });
    service.listen((event) => this.events.push(event));
    return { balancer, service };
  }

  /** Moves on, letting everything that answers at once answer. */
  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      await this.clock.advance(Math.min(100, left));
      for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    }
  }

  get said(): string[] {
    return this.events.map(({ backend, from, to, because }) => `${backend.name} ${from} → ${to} (${because})`);
  }
}

const TCP = { kind: "tcp" } as const;
const HTTP = { kind: "http", path: "/health" } as const;
/** Names that new flows go to. */
const takers = (service: Service, flows = 400) =>
  new Set(Array.from({ length: flows }, (_, i) => service.choose(client(i), 1024 + i)?.name));

describe("states of a backend", () => {
  const states: BackendState[] = ["up", "down", "slow-start", "draining", "disabled"];
  const events: BackendEvent[] = ["failed", "passed", "ramped", "drained", "drain", "disable", "enable"];

  it("are what the picture shows", () => {
    const changes = states.flatMap((state) =>
      events.map((event) => [state, event, nextState(state, event, { isChecked: true, hasSlowStart: true })]),
    );
    assert.deepEqual(
      changes.filter(([from, , to]) => from !== to).map(([from, event, to]) => `${from} ${event} ${to}`),
      [
        "up failed down",
        "up drain draining",
        "up disable disabled",
        "down passed slow-start",
        "down drain draining",
        "down disable disabled",
        "slow-start failed down",
        "slow-start ramped up",
        "slow-start drain draining",
        "slow-start disable disabled",
        "draining drained disabled",
        "draining disable disabled",
        "draining enable down",
        "disabled enable down",
      ],
    );
  });

  it("never take flows after drain or disable until somebody enables, whatever the checks say", () => {
    const life = fc.record({ isChecked: fc.boolean(), hasSlowStart: fc.boolean() });
    fc.assert(
      fc.property(life, fc.array(fc.constantFrom(...events), { maxLength: 40 }), (options, list) => {
        let state: BackendState = "up";
        let isOut = false;
        for (const event of list) {
          state = nextState(state, event, options);
          if (event === "drain" || event === "disable") isOut = true;
          if (event === "enable") isOut = false;
          assert.ok(!(isOut && isOpen(state)), `${event} led to ${state}`);
          assert.ok(options.hasSlowStart || state !== "slow-start");
        }
      }),
    );
  });
});

describe("health checks", () => {
  it("call a backend down after three failures and up after two successes, five seconds apart", async () => {
    const farm = new Farm();
    const { service } = farm.service({ health: TCP });
    await farm.advance(20_000);
    assert.deepEqual(farm.said, []);
    const times = farm.connections.filter(({ hostname }) => hostname === "10.0.0.1").map(({ at }) => at);
    assert.ok(times[0] <= 5000 && times.length >= 4);
    for (let i = 1; i < times.length; i++) assert.ok(times[i] - times[i - 1] >= 4500 && times[i] - times[i - 1] <= 5500, `${times}`);

    farm.dead.add("10.0.0.2");
    const before = farm.connections.length;
    await farm.advance(9_000);
    assert.deepEqual(farm.said, []);
    await farm.advance(8_000);
    assert.deepEqual(farm.said, ["10.0.0.2:80 up → down (failed)"]);
    assert.equal(farm.events[0].check?.why, "connection refused");
    assert.ok(farm.connections.length - before >= 9);
    assert.deepEqual([...takers(service)].sort(), ["10.0.0.1:80", "10.0.0.3:80"]);

    farm.dead.clear();
    await farm.advance(11_000);
    assert.deepEqual(farm.said.slice(1), ["10.0.0.2:80 down → up (passed)"]);
    assert.equal(takers(service).size, 3);
  });

  it("forget failures that are not in a row", async () => {
    const farm = new Farm();
    farm.service({ health: { ...TCP, jitter: 0, intervalMs: 1000, timeoutMs: 500 } }, 1);
    for (let i = 0; i < 10; i++) {
      farm.dead.add("10.0.0.1");
      await farm.advance(2000);
      farm.dead.clear();
      await farm.advance(1000);
    }
    assert.deepEqual(farm.said, []);
  });

  it("give up on what does not answer, and say so", async () => {
    const farm = new Farm();
    const { service } = farm.service({ health: { ...TCP, intervalMs: 1000, timeoutMs: 400, failures: 2 } }, 1);
    farm.silent.add("10.0.0.1");
    await farm.advance(3600);
    assert.deepEqual(farm.said, ["10.0.0.1:80 up → down (failed)"]);
    assert.equal(service.backend("10.0.0.1:80").health?.why, "no answer within 400 ms");
    assert.ok(farm.aborted >= 2);
    assert.equal(service.choose(CLIENT, 1), undefined);
  });

  it("ask for a page and look at its status and body", async () => {
    for (const [answer, health, why] of [
      ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", HTTP, "good"],
      ["HTTP/1.1 503 Service Unavailable\r\n\r\n", HTTP, "HTTP 503; expected 200 to 399"],
      ["HTTP/1.1 204 No Content\r\n\r\n", { ...HTTP, status: 200 }, "HTTP 204; expected 200"],
      ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", { ...HTTP, body: "fine" }, 'HTTP 200 without "fine" in its body'],
      ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", { ...HTTP, body: /^fi/g }, "good"],
      ["SSH-2.0-OpenSSH_9\r\n", HTTP, 'no HTTP answer: it begins with "SSH-2.0-OpenSSH_9"'],
    ] as const) {
      const farm = new Farm();
      farm.answer = answer;
      const { service } = farm.service({ health: { ...health, port: 8081 } }, 1);
      await farm.advance(5100);
      assert.equal(service.backend("10.0.0.1:80").health?.why, why);
      assert.equal(farm.connections[0].port, 8081);
    }
  });

  it("end with the backend, or while it is disabled", async () => {
    const farm = new Farm();
    const { service, balancer } = farm.service({ health: TCP }, 2);
    service.backend("10.0.0.1:80").disable();
    await farm.advance(12_000);
    assert.ok(farm.connections.every(({ hostname }) => hostname === "10.0.0.2"));
    service.backend("10.0.0.1:80").enable();
    assert.equal(service.backend("10.0.0.1:80").state, "down");
    await farm.advance(12_000);
    assert.equal(service.backend("10.0.0.1:80").state, "up");
    balancer.close();
    const count = farm.connections.length;
    await farm.advance(12_000);
    assert.equal(farm.connections.length, count);
  });
});

describe("slow start", () => {
  it("gives a backend that comes up its share in tenths", async () => {
    const farm = new Farm();
    const { service } = farm.service({ scheduler: "weighted-round-robin", slowStartMs: 10_000 }, 2);
    const second = service.backend("10.0.0.2:80");
    second.disable();
    second.enable();
    const share = () => Array.from({ length: 1100 }, () => service.choose(CLIENT, 0)).filter((backend) => backend === second).length;
    assert.equal(second.state, "slow-start");
    assert.equal(share(), 100);
    await farm.advance(4100);
    assert.equal(second.fraction, 0.5);
    assert.ok(Math.abs(share() - 366) <= 1);
    await farm.advance(6000);
    assert.equal(second.state, "up");
    assert.equal(share(), 550);
    assert.deepEqual(farm.said.at(-1), "10.0.0.2:80 slow-start → up (ramped)");
  });
});

describe("draining", () => {
  it("keeps old flows, takes no new ones, and ends with the last", async () => {
    const farm = new Farm();
    const { service } = farm.service({ affinityMs: 600_000 }, 2);
    const first = service.choose(CLIENT, 1);
    assert.ok(first);
    const end = service.opened(first);
    let isDrained = false;
    const drained = first.drain().then(() => (isDrained = true));
    assert.notEqual(service.choose(CLIENT, 1), first);
    await farm.advance(5000);
    assert.equal(isDrained, false);
    assert.equal(first.stats().activeConns, 1);
    end();
    end();
    await farm.advance(1100);
    await drained;
    assert.equal(first.state, "disabled");
    first.enable();
    assert.equal(first.state, "up");
  });

  it("lets a backend that is removed keep its number until its flows have ended", async () => {
    const farm = new Farm();
    const { service } = farm.service({}, 2);
    const gone = service.backend("10.0.0.1:80");
    const end = service.opened(gone);
    service.count(gone, "in", 3, 180);
    service.remove("10.0.0.1:80");
    assert.equal(service.stats().activeConns, 1);
    const others = Array.from({ length: 5 }, (_, i) => service.add({ address: `10.0.1.${i + 1}` }).number);
    assert.ok(!others.includes(gone.number));
    service.count(gone, "in", 1, 60);
    end();
    await farm.advance(2100);
    const { conns, inPkts, inBytes, activeConns } = service.stats();
    assert.deepEqual({ conns, inPkts, inBytes, activeConns }, { conns: 1, inPkts: 4, inBytes: 240, activeConns: 0 });
  });
});

describe("affinity", () => {
  it("keeps a client with its backend until its time is over", () => {
    const farm = new Farm();
    const { service } = farm.service({ scheduler: "round-robin", affinityMs: 60_000 });
    const first = service.choose(CLIENT, 0);
    for (let i = 0; i < 4; i++) {
      farm.clock.skip(50_000);
      assert.equal(service.choose(CLIENT, i), first);
      assert.notEqual(service.choose(client(100 + i), i)?.name, undefined);
    }
    farm.clock.skip(60_001);
    const names = new Set([service.choose(CLIENT, 0)?.name, first?.name]);
    assert.equal(names.size, 2);
  });

  it("is bounded, and forgets the oldest first", () => {
    const affinity = new Affinity(1000, 10);
    for (let i = 0; i < 100; i++) affinity.keep(client(i), i, i);
    assert.equal(affinity.size, 10);
    assert.equal(affinity.find(client(99), 100), 99);
    assert.equal(affinity.find(client(89), 100), undefined);
    affinity.keep(client(200), 1, 5000);
    assert.equal(affinity.size, 1);
  });
});

describe("a service", () => {
  it("counts in ipvsadm's words and estimates rates as IPVS does", async () => {
    const farm = new Farm();
    const { service } = farm.service({ scheduler: "round-robin" }, 2);
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 10; i++) {
        const backend = service.choose(CLIENT, i);
        assert.ok(backend);
        const end = service.opened(backend);
        service.count(backend, "in", 5, 500);
        service.count(backend, "out", 4, 4000);
        end();
      }
      await farm.clock.advance(1000);
    }
    const { conns, inPkts, outPkts, inBytes, outBytes, activeConns, cps, inBps, backends, name, scheduler, mode } = service.stats();
    assert.deepEqual([conns, inPkts, outPkts, inBytes, outBytes, activeConns], [600, 3000, 2400, 300_000, 2_400_000, 0]);
    assert.ok(Math.abs(cps - 10) < 0.1 && Math.abs(inBps - 5000) < 50, `${cps} ${inBps}`);
    assert.deepEqual([name, scheduler, mode], ["tcp 192.0.2.80:80", "round-robin", "nat"]);
    assert.deepEqual(
      backends.map((each) => [each.name, each.state, each.weight, each.conns]),
      [
        ["10.0.0.1:80", "up", 1, 300],
        ["10.0.0.2:80", "up", 1, 300],
      ],
    );
    assert.ok(Math.abs(backends[0].cps - 5) < 0.1);
  });

  it("moves no client of others when one of a hundred is out, and brings its own back", () => {
    const farm = new Farm();
    const { service } = farm.service({ scheduler: "ketama", mostLoad: Number.POSITIVE_INFINITY }, 100);
    const ports = Array.from({ length: 5000 }, (_, i) => i);
    const before = ports.map((port) => service.choose(CLIENT, port));
    service.backend("10.0.0.42:80").disable();
    for (const [i, port] of ports.entries()) if (before[i]?.name !== "10.0.0.42:80") assert.equal(service.choose(CLIENT, port), before[i]);
    service.backend("10.0.0.42:80").enable();
    for (const [i, port] of ports.entries()) assert.equal(service.choose(CLIENT, port), before[i]);
  });

  it("is kept by a new configuration that says the same of it: states, counts, flows", async () => {
    const farm = new Farm();
    const { balancer, service } = farm.service({ health: HTTP, scheduler: "round-robin" }, 3);
    const [one, two] = [service.backend("10.0.0.1:80"), service.backend("10.0.0.2:80")];
    const end = service.opened(two);
    service.opened(one);
    one.drain();
    const web = { address: "192.0.2.80", port: 80, health: { ...HTTP }, scheduler: "round-robin" } as const;
    const dns = { address: "192.0.2.53", port: 53, protocol: "udp", backends: [{ address: "10.0.0.53" }] } as const;
    const backends = [{ address: "10.0.0.1" }, { address: "10.0.0.3", weight: 5 }, { address: "10.0.0.4" }];
    assert.deepEqual(balancer.apply([{ ...web, backends }, dns]), {
      added: ["udp 192.0.2.53:53"],
      removed: [],
      renewed: [],
      changed: ["tcp 192.0.2.80:80"],
    });
    assert.equal(balancer.service("tcp 192.0.2.80:80"), service);
    assert.deepEqual([...service.backends.keys()], ["10.0.0.1:80", "10.0.0.3:80", "10.0.0.4:80"]);
    assert.equal(one.state, "draining");
    assert.equal(service.backend("10.0.0.3:80").weight, 5);
    assert.equal(service.stats().activeConns, 2);
    end();
    const nothing = { added: [], removed: [], renewed: [], changed: [] };
    assert.deepEqual(balancer.apply([{ ...web, backends }, dns]), nothing);
    // A mistake anywhere changes nothing.
    assert.throws(
      () => balancer.apply([dns, { ...web, backends: [{ address: "10.0.0.9" }, { address: "10.0.0.9" }] }]),
      /has the backend 10.0.0.9:80 twice/,
    );
    assert.throws(() => balancer.apply([dns, dns]), /the service udp 192.0.2.53:53 is there twice/);
    assert.deepEqual(balancer.apply([{ ...web, backends }, dns]), nothing);
    assert.deepEqual(balancer.apply([{ ...web, mode: "dsr", backends }]), {
      added: [],
      removed: ["udp 192.0.2.53:53"],
      renewed: ["tcp 192.0.2.80:80"],
      changed: [],
    });
    assert.notEqual(balancer.service("tcp 192.0.2.80:80"), service);
    await farm.advance(100);
  });

  it("says in one sentence what is wrong", () => {
    const { service, balancer } = new Farm().service();
    const add = (options: object) => () => balancer.add({ address: "192.0.2.81", port: 80, ...options } as ServiceOptions);
    assert.throws(add({ scheduler: "magleff" }), /scheduler is "magleff"; expected one of "round-robin"/);
    assert.throws(add({ sheduler: "maglev" }), /did you mean "scheduler"\?/);
    assert.throws(add({ mode: "ipip" }), /mode "ipip" needs tunnelFrom/);
    assert.throws(add({ tunnelFrom: "192.0.2.1" }), /tunnelFrom is for modes/);
    assert.throws(add({ mode: "dsr", backends: [{ address: "10.0.0.1", port: 8080 }] }), /mode "dsr" leaves packets as they are/);
    assert.throws(add({ backends: [{ address: "2001:db8::1" }] }), /2001:db8::1 is IPv6; expected IPv4 as the service/);
    assert.throws(add({ health: { kind: "http", path: "health" } }), /path is "health"; expected a path that begins with "\/"/);
    assert.throws(add({ health: { kind: "tcp", timeoutMs: 9000 } }), /timeoutMs is 9000; expected at most intervalMs, 5000/);
    assert.throws(add({ address: "192.0.2.80" }), /there is a service of 192.0.2.80, port 80, protocol 6 already/);
    assert.throws(() => service.add({ address: "10.0.0.1" }), /has a backend 10.0.0.1:80 already/);
    assert.throws(() => service.backend("10.9.9.9:80"), /has no backend 10.9.9.9:80; it has 10.0.0.1:80, /);
    assert.throws(
      () => new Balancer({ clock: new VirtualClock() }).add({ address: "::1", port: 1, health: TCP }),
      /give the balancer connect/,
    );
    assert.equal(balancer.services.size, 1);
  });
});

describe("listings", () => {
  it("show services as ipvsadm does, with states, counts and rates", async () => {
    const farm = new Farm();
    const { balancer, service } = farm.service({ scheduler: "round-robin", slowStartMs: 10_000 }, 2);
    balancer.add({ address: "2001:db8::80", port: 53, protocol: "udp", mode: "dsr", backends: [{ address: "2001:db8::1", weight: 20 }] });
    service.backend("10.0.0.2:80").disable();
    service.backend("10.0.0.2:80").enable();
    service.opened(service.backend("10.0.0.1:80"));
    service.count(service.backend("10.0.0.1:80"), "in", 12, 1200);
    const stats = [...balancer.services.values()].map((each) => each.stats());
    assert.equal(
      listServices(stats),
      [
        "Prot LocalAddress:Port  Scheduler    Forward  Weight  ActiveConn  State",
        "TCP  192.0.2.80:80      round-robin  nat                       1",
        "  -> 10.0.0.1:80                     nat           1           1  up",
        "  -> 10.0.0.2:80                     nat           1           0  slow-start 10 %",
        "UDP  [2001:db8::80]:53  maglev       dsr                       0",
        "  -> [2001:db8::1]:53                dsr          20           0  up",
        "",
      ].join("\n"),
    );
    assert.match(listServices(stats, "stats"), /^ {2}-> 10\.0\.0\.1:80 +1 +12 +0 +1200 +0$/m);
    assert.match(listServices(stats, "rate"), /^Prot LocalAddress:Port +CPS +InPPS +OutPPS +InBPS +OutBPS$/m);
  });
});
