/**
 * A LAN in one process: a router that hands out addresses and names, a server, and a client that configures itself and
 * connects by name. Everything on virtual time: it is over at once.
 *
 *   npx esbuild examples/names.ts --format=esm --outfile=names.mjs && node names.mjs
 */
import { type Host, Lab, serveDhcp, serveDns } from "packetloom";
import { Zone } from "packetloom/dns";

const lab = await Lab.create({ seed: 1 });
const router = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
serveDhcp(router, { pools: [{ subnet: "10.0.0.0/24", range: ["10.0.0.100", "10.0.0.200"], dns: ["10.0.0.1"] }] });
serveDns(router, { zones: [new Zone("test", [{ name: "example.test", type: "A", address: "10.0.0.1" }])] });
void echo(router);

const client = await lab.host({ interfaces: [{ dhcp: "v4" }] });
lab.link(client, router, { delay: 2 });

const talk = (async () => {
  const { v4 } = await client.dhcp("eth0", { family: 4 });
  console.log(`leased ${v4?.address} for ${v4?.leaseSeconds} s`);
  console.log(await client.lookup("example.test"));
  const socket = await client.connect({ hostname: "example.test", port: 7 });
  await socket.write(new TextEncoder().encode("hello by name"));
  const answer = new Uint8Array(100);
  console.log(new TextDecoder().decode(answer.subarray(0, (await socket.read(answer)) ?? 0)));
})();
let done = false;
void talk.finally(() => {
  done = true;
});
await lab.run(60_000, () => done);
await talk;
await lab.engine.close();

async function echo(host: Host): Promise<void> {
  for await (const socket of host.listen({ port: 7 })) {
    // A connection that breaks concerns its own two ends alone.
    socket.readable.pipeTo(socket.writable).catch(() => {});
  }
}
