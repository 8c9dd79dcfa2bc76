/** `Deno.listenDatagram` over a host. */
import type { Host } from "../host/host.ts";
import type { DatagramSocket } from "../socket/datagram.ts";
import { errors, rejecting, throwing } from "./errors.ts";
import { Resource } from "./resource.ts";
import { addressOf, checkTransport, type NetAddr } from "./tcp.ts";

export interface UdpListenOptions {
  port: number;
  /** Default "127.0.0.1", which is Deno's. */
  hostname?: string;
  transport: "udp";
  reuseAddress?: boolean;
  /** Whether members on this host hear what is sent to groups. Default false, which is Deno's. */
  loopback?: boolean;
}

export interface MulticastMembership {
  leave(): Promise<void>;
  setLoopback(on: boolean): Promise<void>;
  setTTL(ttl: number): Promise<void>;
}

/** Bytes of the buffer that `receive` makes when it is given none, as Deno's. */
const SPACE = 65_536;

export class DatagramConn extends Resource implements AsyncIterable<[Uint8Array, NetAddr]> {
  readonly addr: NetAddr;
  private readonly host: Host;
  private readonly socket: DatagramSocket;

  constructor(host: Host, socket: DatagramSocket) {
    super(host);
    this.host = host;
    this.socket = socket;
    const { address, port } = socket.address;
    this.addr = { transport: "udp", hostname: address, port };
    socket.onClose = () => this.hold.end();
  }

  /** The next datagram, cut to the buffer's size, and where it came from. */
  async receive(into = new Uint8Array(SPACE)): Promise<[Uint8Array, NetAddr]> {
    this.check();
    const { data, address, port } = await rejecting(this.closing.race(this.socket.receive()));
    const n = Math.min(data.length, into.length);
    into.set(data.subarray(0, n));
    return [into.subarray(0, n), { transport: "udp", hostname: address, port }];
  }

  async send(bytes: Uint8Array, to: NetAddr): Promise<number> {
    this.check();
    checkTransport(to.transport, "udp");
    throwing(() => this.socket.send(bytes, { address: addressOf(to.hostname), port: to.port }));
    return bytes.length;
  }

  /** By the interface that has the address; "0.0.0.0" is any. An interface's name is taken, too. */
  async joinMulticastV4(group: string, interfaceAddress = "0.0.0.0"): Promise<MulticastMembership> {
    return this.join(group, interfaceAddress === "0.0.0.0" ? undefined : interfaceAddress);
  }

  /** By the interface of that index; 0 is any. An interface's name is taken, too. */
  async joinMulticastV6(group: string, interfaceIndex: string | number = 0): Promise<MulticastMembership> {
    return this.join(group, interfaceIndex === 0 ? undefined : interfaceIndex);
  }

  private join(group: string, which: string | number | undefined): MulticastMembership {
    this.check();
    const { socket } = this;
    const options = { interface: which === undefined ? undefined : interfaceOf(this.host, which) };
    throwing(() => socket.join(group, options));
    return {
      leave: async () => throwing(() => socket.leave(group, options)),
      setLoopback: async (on) => throwing(() => void socket.configure({ multicastLoop: on })),
      setTTL: async (ttl) => throwing(() => void socket.configure({ multicastTtl: ttl })),
    };
  }

  close(): void {
    this.check();
    this.closing.close(new errors.BadResource("Bad resource ID"));
    this.socket.close();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<[Uint8Array, NetAddr]> {
    while (!this.closing.isClosed) {
      try {
        yield await this.receive();
      } catch (error) {
        // Closed, here or with the host.
        if (error instanceof errors.BadResource || (error as { code?: string }).code === "ENETDOWN") return;
        throw error;
      }
    }
  }
}

export function listenDatagram(host: Host, options: UdpListenOptions): DatagramConn {
  const { port, hostname = "127.0.0.1", transport, reuseAddress = false, loopback = false } = options;
  checkTransport(transport, "udp");
  return throwing(() => {
    const socket = host.datagram({ hostname: addressOf(hostname), port, reuseAddress, broadcast: true });
    return new DatagramConn(host, socket.configure({ multicastLoop: loopback }));
  });
}

/** The name of an interface by an address of its own, its index or its name. */
function interfaceOf({ ip }: Host, which: string | number): string {
  const found = ip.interfaces.find(({ name, index, addresses }) =>
    typeof which === "number" ? index === which : name === which || addresses.some(({ address }) => String(address) === which),
  );
  if (!found) throw new errors.NotFound(`there is no interface ${which}; expected an address of one, its index or its name`);
  return found.name;
}
