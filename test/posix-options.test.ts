/** Socket options of src/posix by what they do on the wire; what the calls return is compared with a kernel in posix-kernel.test.ts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { u16, u32 } from "../src/base/bytes.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import * as c from "../src/posix/index.ts";
import { Process, type SocketName } from "../src/posix/index.ts";
import { intBytes } from "../src/posix/options.ts";
import { SEED } from "./support.ts";

const HERE = "10.0.0.1";
const THERE = "10.0.0.2";
const name = (address: string, port: number): SocketName => ({ family: address.includes(":") ? c.AF_INET6 : c.AF_INET, address, port });

async function pair(links = 1): Promise<{ lab: Lab; a: Host; b: Host; client: Process; server: Process }> {
  const lab = await Lab.create({ seed: SEED });
  const host = (n: number) =>
    lab.host({
      interfaces: Array.from({ length: links }, (_, i) => ({
        name: `eth${i}`,
        addresses: [`10.0.${i}.${n}/24`, `2001:db8:${i}::${n}/64`],
      })),
    });
  const [a, b] = [await host(1), await host(2)];
  for (let i = 0; i < links; i++) lab.link(a, b, { delay: 1 }, [`eth${i}`, `eth${i}`]);
  return { lab, a, b, client: new Process(a), server: new Process(b) };
}

describe("options of sockets, on the wire", () => {
  /** By way: is DF set; what becomes of 1400 bytes on a path of 1000, and of 2000 on a link of 1500. */
  const WAYS = {
    DONT: [false, "cut", "cut"],
    WANT: [true, "cut", "cut"],
    DO: [true, "refused", "refused"],
    PROBE: [true, "whole", "refused"],
    INTERFACE: [false, "whole", "refused"],
    OMIT: [false, "whole", "cut"],
  } as const;

  for (const [way, [isWhole, onPath, onLink]] of Object.entries(WAYS)) {
    it(`IP_MTU_DISCOVER: IP_PMTUDISC_${way}`, async () => {
      const { lab, a, b, client } = await pair();
      const heard = b.raw({ protocol: 17, family: 4 });
      b.datagram({ port: 7 });
      const u = client.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK);
      assert.equal(client.setsockopt(u, c.IPPROTO_IP, c.IP_MTU_DISCOVER, c[`IP_PMTUDISC_${way as keyof typeof WAYS}`]), 0);
      const fate = async (bytes: number) => {
        const before = b.ip.reassembly.counters.reasm_oks;
        const sent = client.sendto(u, new Uint8Array(bytes), 0, name(THERE, 7));
        if (sent === -c.EMSGSIZE) return "refused";
        assert.equal(sent, bytes);
        await lab.run(50);
        const got = heard.tryReceive();
        assert.ok(got, `${bytes} bytes did not arrive`);
        if (b.ip.reassembly.counters.reasm_oks > before) return "cut";
        assert.equal((u16(got.data, 6) & 0x4000) !== 0, isWhole, "DF");
        return "whole";
      };
      assert.equal(await fate(100), "whole");
      a.ip.mtus.learn(IpAddress.parse(THERE), 1000, 1500, a.ip.now);
      a.ip.routes.generation++;
      assert.deepEqual([await fate(1400), await fate(2000)], [onPath, onLink]);
      client.exit();
    });
  }

  it("IPV6_DONTFRAG: too large is an error", async () => {
    const { client } = await pair();
    const u = client.socket(c.AF_INET6, c.SOCK_DGRAM | c.SOCK_NONBLOCK);
    const to = name("2001:db8:0::2", 7);
    assert.equal(client.sendto(u, new Uint8Array(2000), 0, to), 2000);
    client.setsockopt(u, c.IPPROTO_IPV6, c.IPV6_DONTFRAG, 1);
    assert.equal(client.sendto(u, new Uint8Array(2000), 0, to), -c.EMSGSIZE);
    assert.equal(client.sendto(u, new Uint8Array(1452), 0, to), 1452);
    client.setsockopt(u, c.IPPROTO_IPV6, c.IPV6_DONTFRAG, 0);
    assert.equal(client.sendto(u, new Uint8Array(2000), 0, to), 2000);
    client.exit();
  });

  it("IP_UNICAST_IF: what is sent goes by it, what comes may come by others", async () => {
    const { lab, a, b, client } = await pair(2);
    // Both links lead there, the first of them better.
    for (const i of [0, 1]) a.addRoute({ to: "192.0.2.0/24", via: `10.0.${i}.2`, metric: 10 + i });
    b.addAddress("eth0", "192.0.2.2/32");
    const heard = b.raw({ protocol: 17, family: 4 });
    b.datagram({ port: 7 });
    const u = client.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK);
    const by = async () => {
      client.sendto(u, new Uint8Array(10), 0, name("192.0.2.2", 7));
      await lab.run(50);
      return heard.tryReceive()?.interface;
    };
    assert.equal(await by(), "eth0");
    client.setsockopt(u, c.IPPROTO_IP, c.IP_UNICAST_IF, intBytes(a.ip.interface("eth1").index << 24));
    assert.equal(await by(), "eth1");
    client.setsockopt(u, c.IPPROTO_IP, c.IP_UNICAST_IF, 0);
    assert.equal(await by(), "eth0");
    client.exit();
  });

  it("TCP_SAVE_SYN: with the link's header; TCP_CC_INFO: BBR's bandwidth and gains", async () => {
    const { lab, client, server } = await pair();
    const s = server.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK);
    server.setsockopt(s, c.IPPROTO_TCP, c.TCP_SAVE_SYN, 2);
    server.bind(s, name("0.0.0.0", 80));
    server.listen(s, 5);
    const near = client.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK);
    client.setsockopt(near, c.IPPROTO_TCP, c.TCP_CONGESTION, new TextEncoder().encode("bbr"));
    client.connect(near, name(THERE, 80));
    await lab.run(50);
    const far = server.accept4(s, c.SOCK_NONBLOCK);
    const syn = new Uint8Array(128);
    const length = server.getsockopt(far, c.IPPROTO_TCP, c.TCP_SAVED_SYN, syn);
    // Ethernet, IPv4, TCP with its options; SYN alone.
    assert.equal(length, 14 + 20 + (syn[14 + 20 + 12] >>> 4) * 4);
    assert.deepEqual(
      [u16(syn, 12), syn[14], u32(syn, 14 + 12), u16(syn, 34 + 2), syn[34 + 13]],
      [0x0800, 0x45, IpAddress.parse(HERE).v4, 80, 2],
    );

    const data = new Uint8Array(200_000);
    for (let sent = 0; sent < data.length; ) {
      sent += Math.max(client.send(near, data.subarray(sent)), 0);
      await lab.run(5);
      while (server.recv(far, new Uint8Array(65_536), 0) > 0);
    }
    await lab.run(100);
    const info = new Uint8Array(20);
    assert.equal(client.getsockopt(near, c.IPPROTO_TCP, c.TCP_CC_INFO, info), 20);
    const [low, high, minRtt, pacing, cwnd] = new Uint32Array(info.buffer);
    assert.ok(low > 1_000_000 && high === 0, `${low} bytes a second`);
    assert.ok(minRtt >= 2000 && minRtt < 5000, `${minRtt} µs`);
    assert.ok(pacing >= 128 && pacing <= 768 && cwnd >= 128 && cwnd <= 768, `${pacing} ${cwnd}`);
    client.exit();
    server.exit();
  });
});
