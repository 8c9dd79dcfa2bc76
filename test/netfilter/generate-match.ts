/** Conditions of generated rules: those on connections, and which go together. */
import type { Dice } from "./dice.ts";

/** Conditions on what the tracker knows. */
export function ofConnections(dice: Dice, l3: string, hosts: readonly string[]): (readonly [weight: number, make: () => string])[] {
  return [
    [
      5,
      () =>
        `ct state ${dice.pick(["established,related", "new", "invalid", "established", "related", "untracked", "{ new, established }", "!= new"])}`,
    ],
    [2, () => `ct mark ${dice.pick(["0", "1", "2", "!= 0", "& 0x1 == 0x1"])}`],
    [1, () => `ct direction ${dice.pick(["original", "reply"])}`],
    [1, () => `ct status ${dice.pick(["assured", "seen-reply", "snat", "dnat", "confirmed"])}`],
    [1, () => `ct original ${l3} ${dice.pick(["saddr", "daddr"])} ${dice.pick(hosts)}`],
    [1, () => `ct original packets ${dice.pick(["> 1", "< 3", "2"])}`],
    [1, () => `ct protocol ${dice.pick(["tcp", "udp"])}`],
  ];
}

/** nft refuses a rule that asks for two protocols of one layer at once. */
export function isPossible(rule: string): boolean {
  const l4 = [...rule.matchAll(/(?:^|[ \n])(?:meta l4proto )?(tcp|udp|icmpv6|icmp|ipv6-icmp|132)(?= )/g)].map(([, name]) =>
    name.replace("ipv6-icmp", "icmpv6"),
  );
  const l3 = [...rule.matchAll(/(?:^|[ \n])(ip6?|icmpv6|icmp|exthdr|ipv6-icmp)(?= )/g)].map(([, name]) => /6|ext/.test(name));
  return new Set(l4).size < 2 && new Set(l3).size < 2;
}
