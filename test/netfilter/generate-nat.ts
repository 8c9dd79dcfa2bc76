/** Translations by chance, of the kind whose result is one: no choice of a port among free ones. */
import type { Dice } from "./dice.ts";
import { CLIENTS4, CLIENTS6, INNER4, INNER6, ROUTER4, ROUTER6, SERVERS4, SERVERS6, SERVICES } from "./vocabulary.ts";

function natRules(dice: Dice, six: boolean): { pre: string; post: string } {
  const inner = six ? INNER6 : INNER4;
  const clients = six ? CLIENTS6 : CLIENTS4;
  const at = (address: string, port: number | string) => (six ? `[${address}]:${port}` : `${address}:${port}`);
  const outside = six ? "2001:db8:2::9" : "203.0.113.9";
  const l3 = six ? "ip6" : "ip";
  const pre: string[] = [];
  const post: string[] = [];
  for (let n = dice.between(0, 3); n > 0; n--) {
    const from = dice.pick([`iifname "wan" `, `iifname "wan" `, `iifname "lan" `, `${l3} daddr ${six ? ROUTER6[1] : ROUTER4[1]} `]);
    const match = `${from}${dice.pick(["tcp", "udp"])} dport ${dice.pick(SERVICES)} counter`;
    pre.push(
      dice.weighted([
        [4, `${match} dnat to ${at(dice.pick(inner), dice.pick(SERVICES))}`],
        [2, `${from}meta l4proto { tcp, udp } counter dnat to ${at(dice.pick(inner), "8000-8009")}`],
        [2, `${match} dnat to ${dice.pick(inner)}`],
        [2, `${match} redirect to :${dice.pick(SERVICES)}`],
        [1, `${from}counter dnat to tcp dport map { 80 : ${inner[0]}, 443 : ${inner[1]} }`],
        [
          1,
          `${from}tcp dport { 80, 443 } counter dnat ${l3} to ${l3} saddr map { ${six ? SERVERS6[0] : SERVERS4[0]} : ${inner[0]}, ${clients[0]} : ${inner[1]} }`,
        ],
      ]),
    );
  }
  for (let n = dice.between(1, 3); n > 0; n--) {
    const to = dice.pick([
      `oifname "wan" `,
      `oifname "wan" `,
      `oifname "dmz" `,
      `oifname != "lan" `,
      `oifname "lan" ${l3} saddr ${six ? "2001:db8:1::/64" : "192.168.1.0/24"} `,
    ]);
    post.push(
      dice.weighted([
        [5, `${to}counter masquerade`],
        [3, `${to}counter snat to ${outside}`],
        [1, `${to}udp dport 53 counter snat to ${at(outside, 5300)}`],
        [1, `${to}${l3} saddr ${clients[0]} counter accept`],
        [1, six ? `${to}counter masquerade` : `${to}counter snat ip prefix to ip saddr map { 192.168.1.0/24 : 203.0.113.0/24 }`],
      ]),
    );
  }
  return { pre: pre.map((rule) => `    ${rule}\n`).join(""), post: post.map((rule) => `    ${rule}\n`).join("") };
}

/** A table of NAT of one family. */
export function generateNat(dice: Dice, six: boolean): string {
  const { pre, post } = natRules(dice, six);
  const chain = (name: string, hook: string, priority: string, rules: string) =>
    `  chain ${name} {\n    type nat hook ${hook} priority ${priority}; policy accept;\n${rules}  }\n`;
  return `table ${six ? "ip6" : "ip"} n {\n${chain("pre", "prerouting", "dstnat", pre)}${chain("post", "postrouting", "srcnat", post)}}\n`;
}
