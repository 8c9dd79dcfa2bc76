/** What waiting costs: forwarding as in ip4-64, with a queue of each kind in front of the sink that never holds anything back. */

import { Rig } from "../src/measure/index.ts";
import { attachQueue, type QdiscOptions } from "../src/queue/index.ts";
import { type Profile, type Result, repeat, result } from "./harness.ts";

const FAST = 100e9;
const KINDS: Record<string, QdiscOptions> = {
  pfifo: { kind: "pfifo" },
  htb: { kind: "htb", default: 10, classes: [{ id: 10, rateBps: FAST, burstBytes: 1e6, cburstBytes: 1e6 }] },
  fq: { kind: "fq", flows: 4096, flowLimitPackets: 1000 },
  fq_codel: { kind: "fq_codel" },
  cake: { kind: "cake" },
};

const kinds: Profile = async (context) => {
  const results: Result[] = [];
  for (const [name, options] of Object.entries(KINDS)) {
    const rig = await Rig.create(await context.routes(), { queueBytes: 4 << 20 });
    const queue = attachQueue(rig.engine, rig.engine.port(1), options);
    rig.offer({ family: 4, frameSize: 64, flows: 1024, everyPacket: false, distribution: "inside" });
    rig.burst(100);
    const rates = repeat(context, () => {
      const { packets, seconds } = rig.burst(context.ms);
      return packets / seconds / 1e6;
    });
    const check = rig.verify();
    const { sentPackets, dropped, backlogPackets } = queue.stats();
    const verified = check.problem === undefined && check.samples > 0 && sentPackets > 0 && dropped === 0 && backlogPackets === 0;
    results.push(result(`queue-${name}`, "Mpps", rates, { verified, note: check.problem }));
    await rig.engine.close();
  }
  return results;
};

export const queueing: Record<string, Profile> = { queues: kinds };
