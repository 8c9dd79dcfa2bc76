/** What rules ask of a packet's socket (`socket`): here, and in the kernel with the same rules, sockets and packets. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Lab } from "../src/lab/index.ts";
import { missing, Namespace, until } from "./kernel-support.ts";

const PORTS = [80, 81, 82] as const;
/** A rule for each question; SYNs alone, and datagrams. */
const QUESTIONS = ["wildcard 1", "wildcard 0", "mark 7", "mark 0", "transparent 0", "transparent 1"];
const RULES = `table inet t {
  chain i {
    type filter hook input priority filter
    ${PORTS.flatMap((port) =>
      QUESTIONS.flatMap((question) => [
        `tcp dport ${port} tcp flags & (syn | ack) == syn socket ${question} counter`,
        `udp dport ${port} socket ${question} counter`,
      ]),
    ).join("\n    ")}
    tcp sport 80 tcp flags & (syn | ack) == (syn | ack) socket wildcard 0 counter
    tcp sport 80 tcp flags & (syn | ack) == (syn | ack) socket mark 9 counter
  }
  chain o {
    type filter hook output priority filter
    udp sport 81 socket mark 7 counter
    udp sport 81 meta mark 7 counter
    tcp dport 80 tcp flags & (syn | ack) == syn meta mark 9 counter
    meta mark 7 udp sport 80 counter
    udp sport 80 socket wildcard 1 counter
    tcp dport 80 tcp flags & (syn | ack) == syn socket mark 9 counter
  }
  chain f {
    type filter hook prerouting priority raw
    icmp type destination-unreachable socket wildcard 1 counter
  }
}`;

/** Of every rule, in order. */
const counted = (listing: string) => [...listing.matchAll(/counter packets (\d+)/g)].map(([, packets]) => Number(packets));

/** A listener and an inbox on all addresses of port 80, and on one with a mark of port 81; nobody on port 82. */
async function here(): Promise<number[]> {
  const lab = await Lab.create({ seed: 1, interfaces: 4, hosts: 2, memory: { flows: 64, filterBytes: 4 << 20 } });
  const host = await lab.host({ interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24"] }] });
  const peer = await lab.host({ interfaces: [{ name: "eth0", addresses: ["10.0.0.2/24"] }] });
  lab.link(host, peer, { delay: 1 }, ["eth0", "eth0"]);
  peer.listen({ port: 80 });
  host.firewall.apply(RULES);
  host.listen({ port: 80 });
  host.listen({ port: 81, hostname: "10.0.0.1", mark: 7 });
  const anywhere = host.datagram({ port: 80 });
  const marked = host.datagram({ port: 81, hostname: "10.0.0.1", mark: 7 });
  await lab.run(100);
  for (const port of PORTS) {
    peer.connect({ hostname: "10.0.0.1", port }).catch(() => undefined);
    peer.datagram({}).send(new Uint8Array(1), { address: "10.0.0.1", port });
    await lab.run(100);
  }
  anywhere.send(new Uint8Array(1), { address: "10.0.0.2", port: 9 });
  marked.send(new Uint8Array(1), { address: "10.0.0.2", port: 9 });
  host.connect({ hostname: "10.0.0.2", port: 80, mark: 9 }).catch(() => undefined);
  await lab.run(100);
  return counted(host.firewall.list());
}

const PROGRAM = `
import signal, socket
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
def bound(kind, address, port, mark):
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    s.bind((address, port))
    if kind == socket.SOCK_STREAM: s.listen(5)
    return s
kept = [bound(kind, *end) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) for end in (("0.0.0.0", 80, 0), ("10.0.0.1", 81, 7))]
print("ready", flush=True)
signal.sigwait({signal.SIGUSR1})
for s in kept[2:]: s.sendto(b"x", ("10.0.0.2", 9))
c = socket.socket()
c.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 9)
c.connect(("10.0.0.2", 80))
print("done", flush=True)
signal.pause()
`;
const PEER = `
import signal, socket
kept = [socket.create_server(("10.0.0.2", 80))]
for port in (${PORTS.join(", ")}):
    s = socket.socket()
    try: s.connect(("10.0.0.1", port))
    except OSError: pass
    kept.append(s)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("10.0.0.1", port))
print("asked", flush=True)
signal.pause()
`;

async function inKernel(): Promise<number[]> {
  const [host, peer] = [new Namespace(), new Namespace()];
  try {
    host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer.name);
    host.up("eth0", "10.0.0.1/24");
    peer.up("eth0", "10.0.0.2/24");
    const { code, out } = await host.run("nft -f -", new TextEncoder().encode(RULES));
    assert.equal(code, 0, out);
    const program = await host.start("python3", ["-c", PROGRAM], /ready/);
    await peer.start("python3", ["-c", PEER], /asked/);
    program.signal("SIGUSR1");
    await program.says(/done/);
    await until(async () => counted((await host.run("nft list ruleset")).out).at(-1) === 1);
    return counted((await host.run("nft list ruleset")).out);
  } finally {
    await host.remove();
    await peer.remove();
  }
}

const skip = missing("nft", "python3");
describe("rules about sockets", () => {
  it("ask the socket that a packet is for, or of, or that an ICMP error is about", async () => {
    const counters = await here();
    assert.equal(counters.length, 3 * 2 * QUESTIONS.length + 9);
    const expected = [
      // Port 80, on all addresses, without a mark: TCP and UDP of each question.
      ...[1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0],
      // Port 81, on one, with a mark.
      ...[0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0],
      // Port 82: nobody.
      ...new Array(12).fill(0),
      // The answer to a SYN; what leaves, with the marks of its sockets; the ICMP error about the datagram from port 80.
      ...[1, 1, 1, 1, 1, 0, 1, 1, 1],
    ];
    assert.deepEqual(counters, expected);
  });

  it("match the same packets in the kernel", { skip }, async () => {
    assert.deepEqual(await here(), await inKernel());
  });
});
