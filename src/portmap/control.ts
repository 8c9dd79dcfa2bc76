/** Port 5351 of the links whose machines may ask: PCP and NAT-PMP by the first byte, and what all are told when mappings were lost. */
import { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import type { AddressListener } from "../ip/addresses.ts";
import type { DatagramSocket } from "../socket/datagram.ts";
import type { PortMapper } from "./mapper.ts";
import { addressAnswer, answerNatPmp } from "./nat-pmp.ts";
import { answerPcp, PCP_CLIENT_PORT, PCP_PORT, pcpAnnouncement } from "./pcp.ts";

export interface ControlCounters {
  pcp: number;
  natPmp: number;
  /** What got no answer: answers themselves, what is no message of either, and what comes from whom another link leads to. */
  ignored: number;
}

export interface PortControl {
  readonly counters: ControlCounters;
  close(): void;
}

const ALL_HOSTS = { 4: "224.0.0.1", 6: "ff02::1" } as const;
/** RFC 6887 §14.1.1: ten times, the first at once, then after a quarter of a second and twice as long each time. */
const ANNOUNCEMENTS = 10;
const FIRST_GAP_MS = 250;

export interface PortControlOptions {
  readonly interfaces: readonly string[];
  /** Default both. */
  readonly pcp?: boolean;
  readonly natPmp?: boolean;
}

/** Answers PCP and NAT-PMP on the named interfaces. */
export function servePortControl(host: Host, mapper: PortMapper, options: PortControlOptions): PortControl {
  const { interfaces } = options;
  const counters: ControlCounters = { pcp: 0, natPmp: 0, ignored: 0 };
  const sockets: { name: string; socket: DatagramSocket }[] = [];
  try {
    for (const name of interfaces) sockets.push({ name, socket: host.datagram({ port: PCP_PORT, interface: name, multicastTtl: 1 }) });
  } catch (error) {
    for (const { socket } of sockets) socket.close();
    throw error;
  }
  for (const { name, socket } of sockets)
    void serve(socket, (from) => from.isLinkLocal || host.ip.pathTo(from).iface?.name === name, mapper, options, counters);
  const stop = new AbortController();
  const announce = () => void announceAll(host, mapper, sockets, stop.signal);
  const listener: AddressListener = (event, { address }, { name }) => {
    if (name !== mapper.options.external || address.isLinkLocal) return;
    if (event === "removed") mapper.lost();
    announce();
  };
  host.ip.addresses.listeners.add(listener);
  announce();
  const close = () => {
    stop.abort();
    host.ip.addresses.listeners.delete(listener);
    for (const { socket } of sockets) socket.close();
  };
  return { counters, close };
}

/** `isFromHere`: answers to that address leave by the link that it asked on; who says to be somebody elsewhere is not heard. */
async function serve(
  socket: DatagramSocket,
  isFromHere: (from: IpAddress) => boolean,
  mapper: PortMapper,
  speaks: PortControlOptions,
  counters: ControlCounters,
): Promise<void> {
  for await (const { data, address, port, destination } of socket) {
    const [to, from] = [destination, address].map((each) => IpAddress.parse(each.split("%")[0]));
    // What is sent to everybody is not a question to a gateway.
    const answer = to.isMulticast || !isFromHere(from) ? undefined : answerTo(data, from, mapper, speaks, counters);
    if (answer) trySend(socket, answer, { address, port }, { source: to });
    else counters.ignored++;
  }
}

/** Who cannot be reached now asks again. */
function trySend(socket: DatagramSocket, ...message: Parameters<DatagramSocket["send"]>): void {
  try {
    socket.send(...message);
  } catch {}
}

/** Who speaks a protocol that is not spoken here is told so in the other's words (RFC 6887 §9, RFC 6886 §3.5). */
function answerTo(
  data: Uint8Array,
  from: IpAddress,
  mapper: PortMapper,
  { pcp = true, natPmp = true }: PortControlOptions,
  counters: ControlCounters,
): Uint8Array | undefined {
  const isOld = !pcp || (natPmp && data[0] === 0);
  const answer = isOld ? answerNatPmp(data, from, mapper) : answerPcp(data, from, mapper);
  if (answer) counters[isOld ? "natPmp" : "pcp"]++;
  return answer;
}

async function announceAll(
  host: Host,
  mapper: PortMapper,
  sockets: readonly { readonly name: string; readonly socket: DatagramSocket }[],
  signal: AbortSignal,
): Promise<void> {
  let gap = FIRST_GAP_MS;
  for (let i = 0; i < ANNOUNCEMENTS && !signal.aborted; i++) {
    for (const { name, socket } of sockets) tell(host, mapper, name, socket);
    await host.engine.clock.sleep(gap, false);
    gap *= 2;
  }
}

function tell(host: Host, mapper: PortMapper, name: string, socket: DatagramSocket): void {
  const addresses = host.ip.interfaces.find((each) => each.name === name)?.addresses ?? [];
  for (const family of [4, 6] as const) {
    const own = addresses.find(({ address }) => address.family === family && (family === 4 || address.isLinkLocal))?.address;
    if (!own) continue;
    const to = { address: family === 6 ? `${ALL_HOSTS[6]}%${name}` : ALL_HOSTS[4], port: PCP_CLIENT_PORT };
    const messages = family === 4 ? [pcpAnnouncement(mapper), addressAnswer(mapper, own)] : [pcpAnnouncement(mapper)];
    for (const message of messages) trySend(socket, message, to, { source: own, iface: host.ip.interface(name) });
  }
}
