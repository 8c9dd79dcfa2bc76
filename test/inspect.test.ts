/** What a person sees who prints one of the objects: what it is about, and not its insides. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { Lab } from "../src/lab/lab.ts";
import { SEED } from "./support.ts";

describe("console.log", () => {
  it("shows of each object what a person wants to know", async () => {
    const lab = await Lab.create({ seed: SEED });
    const host = (i: number) =>
      lab.host({ interfaces: [{ addresses: [`10.0.0.${i}/24`, `2001:db8::${i}/64`], mac: `02:00:00:00:00:0${i}` }] });
    const [a, b] = [await host(1), await host(2)];
    lab.link(a, b);
    const listener = b.listen({ port: 80 });
    const both = Promise.all([a.connect({ hostname: "2001:db8::2", port: 80 }), listener.accept()]);
    await lab.run(200);
    const [near] = await both;
    const udp = a.datagram({ port: 53 });
    udp.connect({ address: "10.0.0.2", port: 9 });
    const shown: [object, RegExp][] = [
      [near, /^TcpSocket \{ state: 'ESTABLISHED', local: '\[2001:db8::1\]:\d+', remote: '\[2001:db8::2\]:80' \}$/],
      [listener, /^TcpListenerSocket \{ local: '\[::\]:80', closed: false \}$/],
      [udp, /^DatagramSocket \{ local: '\[::\]:53', remote: '10\.0\.0\.2:9', drops: 0, closed: false \}$/],
      [a.raw({ protocol: 89 }), /^DatagramSocket \{ local: '0\.0\.0\.0', drops: 0, closed: false \}$/],
      [
        a,
        /^Host \{ interfaces: \{ eth0: \[ 'fe80::\S+\/64', '10\.0\.0\.1\/24', '2001:db8::1\/64' \] \}, forwarding: false, closed: false \}$/,
      ],
      [a.ip.interfaces[0], /^NetInterface \{ name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500, up: true, addresses: \[ .* \] \}$/],
      [a.ip.interfaces[0].port, /^Port \{ index: 0, mac: '02:00:00:00:00:01', mtu: 1500, up: true \}$/],
      [lab.engine, /^Engine \{ build: 'plain', threads: 0, ports: 8, /],
      [lab, /^Lab \{ now: 200, hosts: \[ Host \{ .* \}, Host \{ .* \} \], links: 1 \}$/],
    ];
    for (const [object, pattern] of shown) assert.match(inspect(object, { breakLength: Number.POSITIVE_INFINITY }), pattern);
    assert.match(inspect({ a: { b: { c: near } } }), /\[Object\]|\[TcpSocket\]/);
    await a.close();
    assert.match(inspect(a), /closed: true/);
    assert.match(inspect(near), /state: 'CLOSED'/);
  });
});
