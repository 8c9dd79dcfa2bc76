/** The gateway on a host: found by SSDP, described and controlled by HTTP, on the links whose machines may ask. IPv4 alone. */
import { invalid } from "../../base/errors.ts";
import { IpAddress } from "../../base/ip-address.ts";
import type { Host } from "../../host/host.ts";
import type { LinkInfo } from "../../host/options.ts";
import type { DatagramSocket } from "../../socket/datagram.ts";
import type { TcpListenerSocket } from "../../socket/listener.ts";
import type { TcpSocket } from "../../socket/stream.ts";
import type { PortMapper } from "../mapper.ts";
import { CONTROL, documentAt, ROOT_PATH } from "./description.ts";
import { type Answer, answerHttp, type Request } from "./http.ts";
import { namesOf } from "./names.ts";
import { control } from "./soap.ts";
import { type Announced, answersTo, MAX_AGE, notifications, readSearch, SSDP_GROUP, SSDP_PORT } from "./ssdp.ts";

export interface GatewayOptions {
  /** Links on which it is there. */
  readonly interfaces: readonly string[];
  /** Name that people read. Default "packetloom". */
  readonly name?: string;
}

interface Link {
  readonly name: string;
  readonly own: IpAddress;
  readonly search: DatagramSocket;
  readonly listener: TcpListenerSocket;
  readonly announced: Announced;
}

export interface GatewayCounters {
  searches: number;
  requests: number;
  /** Requests of pages: by a name that is not an address of this host (DNS rebinding), or with an Origin. */
  misnamed: number;
  /** Connections and searches beyond those that may be under way at once; searches from elsewhere. */
  refused: number;
}

const SERVER = "packetloom/1 UPnP/1.1 packetloom/1";
const MOST_CONNECTIONS = 32;
/** Of one address: the others are for others. */
const MOST_OF_CLIENT = 8;
/** Searches that wait for their answers, each for a second at least a third of the time: some fifty a second. */
const MOST_ANSWERING = 64;
const PATIENCE_MS = 10_000;
/** Half of what was told holds, as UDA 1.1 §1.2.2 recommends. */
const REPEAT_MS = (MAX_AGE / 2) * 1000;

export class Gateway {
  readonly counters: GatewayCounters = { searches: 0, requests: 0, misnamed: 0, refused: 0 };
  private readonly host: Host;
  private readonly mapper: PortMapper;
  private readonly name: string;
  private readonly links: Link[] = [];
  private readonly startedAt: number;
  private open = 0;
  private readonly clients = new Map<string, number>();
  private answering = 0;
  private isOver = false;

  constructor(host: Host, mapper: PortMapper, { interfaces, name = "packetloom" }: GatewayOptions) {
    this.host = host;
    this.mapper = mapper;
    this.name = name;
    this.startedAt = host.engine.clock.now();
    try {
      for (const each of interfaces) this.links.push(this.link(each));
    } catch (error) {
      this.release();
      throw error;
    }
    for (const link of this.links) {
      void this.search(link);
      void this.accept(link);
    }
    void this.repeat();
  }

  private link(name: string): Link {
    const iface = this.host.ip.interface(name);
    const { mac } = this.host.links().find((each) => each.name === name) as LinkInfo;
    const own = iface.addresses.find(({ address }) => address.family === 4)?.address;
    if (!own) throw invalid(`${name} has no IPv4 address for UPnP's clients to ask`);
    const listener = this.host.listen({ port: 0, hostname: String(own), interface: name });
    const search = this.host.datagram({ port: SSDP_PORT, interface: name, reuseAddress: true, multicastTtl: 2, multicastInterface: name });
    search.join(SSDP_GROUP, { interface: name });
    const location = `http://${own}:${listener.address.port}${ROOT_PATH}`;
    const bootId = Math.floor(this.startedAt / 1000) + 1;
    return { name, own, search, listener, announced: { names: namesOf(mac), location, server: SERVER, bootId } };
  }

  private async repeat(): Promise<void> {
    while (!this.isOver) {
      for (const link of this.links) this.notify(link, "alive");
      await this.host.engine.clock.sleep(REPEAT_MS, false);
    }
  }

  private notify(link: Link, kind: "alive" | "byebye"): void {
    for (const each of notifications(link.announced, kind)) this.send(link, each, { address: SSDP_GROUP, port: SSDP_PORT });
  }

  private send({ search, own }: Link, data: Uint8Array, to: { address: string; port: number }): void {
    try {
      search.send(data, to, { source: own });
    } catch {
      // A link that is down: it is told again when it is time.
    }
  }

  private async search(link: Link): Promise<void> {
    for await (const { data, address, port } of link.search) {
      const search = readSearch(data);
      if (!search) continue;
      // Answers are more than questions: only the link's own machines get them, and not without end.
      if (this.answering >= MOST_ANSWERING || this.host.ip.pathTo(IpAddress.parse(address)).iface?.name !== link.name) {
        this.counters.refused++;
        continue;
      }
      this.counters.searches++;
      this.answering++;
      const wait = this.host.ip.random.below(Math.max(1, Math.floor(search.within * 1000)));
      void this.host.engine.clock.sleep(wait, false).then(() => {
        this.answering--;
        if (!this.isOver) for (const each of answersTo(search, link.announced)) this.send(link, each, { address, port });
      });
    }
  }

  private async accept(link: Link): Promise<void> {
    for await (const socket of link.listener) {
      const client = socket.remoteAddress.address;
      const own = this.clients.get(client) ?? 0;
      if (this.open >= MOST_CONNECTIONS || own >= MOST_OF_CLIENT) {
        this.counters.refused++;
        socket.abort();
        continue;
      }
      this.open++;
      this.clients.set(client, own + 1);
      void this.serve(link, socket);
    }
  }

  private left(client: string): void {
    this.open--;
    const others = (this.clients.get(client) ?? 1) - 1;
    if (others > 0) this.clients.set(client, others);
    else this.clients.delete(client);
  }

  private async serve(link: Link, socket: TcpSocket): Promise<void> {
    const { clock } = this.host.engine;
    const over = clock.sleep(PATIENCE_MS, false).then(() => socket.abort());
    const client = IpAddress.parse(socket.remoteAddress.address);
    const served = answerHttp(socket, SERVER, (request) => this.answer(link, client, request)).catch(() => socket.abort());
    await Promise.race([served, over]);
    // How long its end takes is TCP's affair.
    this.left(socket.remoteAddress.address);
    await socket.close().catch(() => {});
  }

  private answer({ own, listener, announced }: Link, client: IpAddress, { method, path, fields, body }: Request): Answer {
    this.counters.requests++;
    const host = fields.get("host");
    const isNamed = host === undefined || host === `${own}:${listener.address.port}` || host === String(own);
    if (!isNamed || fields.has("origin")) {
      this.counters.misnamed++;
      return {
        status: 400,
        body: `expected ${isNamed ? "no Origin: pages have nothing to ask here" : "the address of this gateway as Host"}\n`,
      };
    }
    if (Object.hasOwn(CONTROL, path)) {
      if (method !== "POST") return { status: 405, fields: { Allow: "POST" } };
      // A page of elsewhere can post, but not with a field of that name unless it is let.
      if (!fields.has("soapaction")) return { status: 400, body: "expected SOAPACTION\n" };
      return { type: "text/xml", ...control(CONTROL[path], body, this.context(client, announced)), fields: { EXT: "" } };
    }
    const document = documentAt(path, announced.names, this.name);
    if (document === undefined) return { status: path.startsWith("/event/") ? 501 : 404 };
    if (method !== "GET" && method !== "HEAD") return { status: 405, fields: { Allow: "GET, HEAD" } };
    return { status: 200, type: "text/xml", body: document };
  }

  private context(client: IpAddress, announced: Announced) {
    const outer = this.host.links().find(({ name }) => name === this.mapper.options.external);
    return {
      mapper: this.mapper,
      client,
      connectionName: announced.names.connection,
      uptime: Math.floor((this.host.engine.clock.now() - this.startedAt) / 1000),
      isUp: (outer?.up && outer.carrier) ?? false,
      traffic: {
        bytesSent: outer?.stats.tx.bytes ?? 0,
        bytesReceived: outer?.stats.rx.bytes ?? 0,
        packetsSent: outer?.stats.tx.packets ?? 0,
        packetsReceived: outer?.stats.rx.packets ?? 0,
      },
    };
  }

  close(): void {
    this.isOver = true;
    for (const link of this.links) this.notify(link, "byebye");
    this.release();
  }

  private release(): void {
    for (const { search, listener } of this.links) {
      search.close();
      listener.close();
    }
  }
}
