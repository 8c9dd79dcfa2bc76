/** What a host's own rules reject of what it sends: its sockets hear of it at once, as a kernel's do. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Lab } from "../src/lab/index.ts";
import { missing, Namespace } from "./kernel-support.ts";
import { BUILDS, SEED } from "./support.ts";

const WAYS = [
  "reject with tcp reset",
  "reject",
  "reject with icmpx admin-prohibited",
  "reject with icmpx host-unreachable",
  "reject with icmpx no-route",
] as const;
const RULES = `table inet t {
  chain o {
    type filter hook output priority filter
    ${WAYS.map((way, i) => `tcp dport ${80 + i} counter ${way}`).join("\n    ")}
    udp dport 90 counter reject
  }
}`;
const PEERS = ["10.0.0.2", "2001:db8::2"];

/** What connecting to each port says, both families; then what a connected UDP socket hears. */
async function here(build?: "shared" | "plain"): Promise<string[]> {
  const lab = await Lab.create({ seed: SEED, interfaces: 2, hosts: 2, memory: { flows: 64, filterBytes: 4 << 20, build } });
  const host = await lab.host({ interfaces: [{ name: "e0", addresses: ["10.0.0.1/24", "2001:db8::1/64"] }] });
  const peer = await lab.host({ interfaces: [{ name: "e0", addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] });
  lab.link(host, peer, { delay: 1 }, ["e0", "e0"]);
  host.firewall.apply(RULES);
  await lab.run(3000);
  const said: string[] = [];
  for (const hostname of PEERS)
    for (const i of WAYS.keys()) {
      let code = "nothing";
      host.connect({ hostname, port: 80 + i }).catch((error) => {
        code = error.code;
      });
      // At once: no SYN is sent again before.
      await lab.run(100);
      said.push(code);
    }
  for (const address of PEERS) {
    const socket = host.datagram({});
    socket.connect({ address, port: 90 });
    socket.send(new Uint8Array(1));
    await lab.run(100);
    try {
      socket.tryReceive();
      said.push("nothing");
    } catch (error) {
      said.push((error as { code: string }).code);
    }
  }
  assert.equal(lab.engine.pool().inFlight, 0);
  return said;
}

/** Of IPv6 a kernel tells with the second SYN: the first one's error comes while connect() has the socket locked. */
const PROGRAM = `
import errno, json, socket, time
said = []
for family, peer in ((socket.AF_INET, "10.0.0.2"), (socket.AF_INET6, "2001:db8::2")):
    for port in range(80, 80 + ${WAYS.length}):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.settimeout(3)
        try: s.connect((peer, port)); said.append("open")
        except socket.timeout: said.append("nothing")
        except OSError as e: said.append(errno.errorcode[e.errno])
for family, peer in ((socket.AF_INET, "10.0.0.2"), (socket.AF_INET6, "2001:db8::2")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.connect((peer, 90))
    try: s.send(b"x")
    except OSError: pass
    time.sleep(0.1)
    e = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    said.append(errno.errorcode[e] if e else "nothing")
print(json.dumps(said))
`;

async function inKernel(): Promise<string[]> {
  const namespace = new Namespace();
  try {
    namespace.ip("link", "add", "e0", "type", "veth", "peer", "name", "e1");
    namespace.up("e1");
    namespace.up("e0", "10.0.0.1/24", "2001:db8::1/64");
    const loaded = await namespace.run("nft -f -", new TextEncoder().encode(RULES));
    assert.equal(loaded.code, 0, loaded.out);
    await namespace.run("sleep 1.5");
    const { out } = await namespace.run(`python3 -c '${PROGRAM.replaceAll("'", '"')}'`);
    return JSON.parse(out);
  } finally {
    await namespace.remove();
  }
}

describe("what a host's own rules reject", () => {
  for (const build of BUILDS)
    it(`its sockets are told at once (${build})`, async () => {
      const said = await here(build);
      assert.ok(!said.includes("nothing"), `${said}`);
      assert.deepEqual(said.slice(0, 2), ["ECONNREFUSED", "ECONNREFUSED"]);
    });

  it("in the kernel's words", { skip: missing("nft", "python3") }, async () => assert.deepEqual(await here(), await inKernel()));
});
