/** A router with rules between a client and a server, in virtual time. */
import { Lab } from "../src/lab/index.ts";
import { SEED } from "./support.ts";

/** 10.0.0.2 and fd00::2 behind a router whose other side is 192.0.2.1 and 2001:db8::1; beyond it a server that knows no route back. */
export async function lanAndServer(ruleset: string, mtu = 1500) {
  const lab = await Lab.create({ seed: SEED, interfaces: 8, hosts: 4, memory: { flows: 4000, flowEvents: 256, filterBytes: 8 << 20 } });
  const client = await lab.host({
    interfaces: [{ name: "eth0", addresses: ["10.0.0.2/24", "fd00::2/64"], gateway: ["10.0.0.1", "fd00::1"] }],
  });
  const router = await lab.host({
    forwarding: true,
    interfaces: [
      { name: "lan", addresses: ["10.0.0.1/24", "fd00::1/64"] },
      { name: "wan", addresses: ["192.0.2.1/24", "2001:db8::1/64"], mtu },
    ],
  });
  const server = await lab.host({ interfaces: [{ name: "eth0", addresses: ["192.0.2.2/24", "2001:db8::2/64"], mtu }] });
  lab.link(client, router, {}, ["eth0", "lan"]);
  const wan = lab.link(router, server, {}, ["wan", "eth0"]);
  router.firewall.apply(ruleset);
  return { lab, client, router, server, wan };
}

/** Runs the lab until a promise is settled. */
export async function until<T>(lab: Lab, promise: Promise<T>): Promise<T> {
  let settled = false;
  const watched = promise.finally(() => {
    settled = true;
  });
  watched.catch(() => undefined);
  await lab.run(60_000, () => settled);
  if (!settled) throw new Error(`nothing came of it: ${JSON.stringify(lab.engine.counters())}`);
  return watched;
}

/** A router that gives connections to a port a helper, lets the LAN out under its own address, and lets in what is related. */
export const helperRules = (type: string, protocol: string, port: number): string => `
  table ip t {
    ct helper h {
      type "${type}" protocol ${protocol}
    }
    chain pre {
      type filter hook prerouting priority filter
      ${protocol} dport ${port} ct helper set "h"
    }
    chain through {
      type filter hook forward priority filter; policy drop
      ct state established,related accept
      iifname "lan" accept
    }
    chain out {
      type nat hook postrouting priority srcnat
      oifname "wan" masquerade
    }
  }`;
