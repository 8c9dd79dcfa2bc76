/**
 * A host: what Linux calls a network namespace. Its own interfaces, addresses, routes, neighbours and sockets.
 *
 *   const host = await Host.create({ interfaces: [{ name: "eth0", device, addresses: ["192.0.2.2/24"], gateway: "192.0.2.1" }] });
 *   const socket = await host.connect({ hostname: "192.0.2.1", port: 80 });
 */
import { parsePrefix } from "../base/address.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { IpAddress, parseInterfaceAddress } from "../base/ip-address.ts";
import { checkArgument, checkOptions, type Shape, shown, yesNo } from "../base/options.ts";
import { Random, SecretRandom } from "../base/random.ts";
import type { DatagramEndpoint } from "../datagram/endpoint.ts";
import { type LookupAddress, type LookupOptions, literal } from "../dns/lookup.ts";
import type { Resolver } from "../dns/resolver.ts";
import { type Device, Engine, type EngineOptions } from "../engine/engine.ts";
import type { Network } from "../engine/network.ts";
import type { Firewall } from "../filter/firewall.ts";
import type { TraceEntry } from "../filter/trace.ts";
import type { AddressInfo, AddressOptions } from "../ip/addresses.ts";
import type { NetInterface } from "../ip/interface.ts";
import { MAIN_TABLE } from "../ip/policy-routing.ts";
import type { Route } from "../ip/routes.ts";
import { IpStack } from "../ip/stack.ts";
import { EchoLayer } from "../raw/echo.ts";
import { RawLayer } from "../raw/layer.ts";
import { type EchoReply, Pinger } from "../raw/pinger.ts";
import { DatagramSocket } from "../socket/datagram.ts";
import type { DatagramSettings } from "../socket/datagram-options.ts";
import { TcpListenerSocket } from "../socket/listener.ts";
import { type SocketAddress, TcpSocket } from "../socket/stream.ts";
import { UnixListenerSocket, UnixStreamSocket } from "../socket/unix.ts";
import { TcpLayer } from "../tcp/layer.ts";
import type { Conntrack } from "../track/conntrack.ts";
import { UdpLayer } from "../udp/layer.ts";
import { UnixEndpoint, UnixNamespace } from "../unix/index.ts";
import { checkPort, HostBridges, type PortVlan, type PortVlans, type StationInfo } from "./bridges.ts";
import { type DhcpLeases, type DhcpOptions, HostDhcp } from "./dhcp.ts";
import { connectAny, RESOLUTION_DELAY_MS } from "./happy-eyeballs.ts";
import { HostRules, type LogEntry, RULES_MEMORY } from "./host-rules.ts";
import { warnUnlessRun } from "./idle-warning.ts";
import { HostNames } from "./names.ts";
import { ADDRESS, CONNECT, DATAGRAM, DHCP, HOST, INTERFACE, LISTEN, LOOKUP, PING, PORT, RAW, ROUTE, RULE, UNIX } from "./option-shapes.ts";
import type {
  BothEnds,
  ConnectOptions,
  DatagramOptions,
  HostOptions,
  InterfaceOptions,
  LinkInfo,
  ListenOptions,
  PingOptions,
  RouteOptions,
  UnixPath,
} from "./options.ts";
import type { QueueCounters, QueueHandler, QueueOptions } from "./packet-queues.ts";
import { HostPorts, type PreparedInterface } from "./prepared-interface.ts";
import { openRaw, type RawOptions } from "./raw-options.ts";
import { type RuleOptions, ruleOf } from "./rule-options.ts";

export type { PortVlan, PortVlans, StationInfo } from "./bridges.ts";
export type * from "./options.ts";
export type { PreparedInterface } from "./prepared-interface.ts";

const NOBODY = { pid: 0, uid: 0, gid: 0 };
const UNIX_BACKLOG = 511;
const CONNECT_REQUIRED = ["hostname", "port"];

/** Room for a hundred connections in full flight; raise `memory` for more. */
const MEMORY: EngineOptions = {
  ports: 8,
  tables: 2,
  buffers: 8192,
  ringCapacity: 4096,
  puntCapacity: 8192,
  bareDescriptors: 16_384,
  nextHops: 2048,
  routes4: 10_000,
  routes6: 10_000,
  appBytes: 64 << 20,
};

/** One connection's worth: a piece to be sent and one that was received, each way. */
const LEAST_SLABS = 4;

export class Host {
  readonly engine: Engine;
  readonly ip: IpStack;
  readonly tcp: TcpLayer;
  readonly udp: UdpLayer;
  /** What `raw` opens, and who asks for echoes. */
  readonly rawSockets: RawLayer;
  readonly echo: EchoLayer;
  /** Names of Unix domain sockets. */
  readonly unix = new UnixNamespace<UnixEndpoint>();
  private readonly rules: HostRules | undefined;
  /** Hosts file, resolver and the servers it asks. */
  readonly names: HostNames;
  private readonly ownsEngine: boolean;
  private readonly pinger: Pinger;
  private readonly dhcpClients: HostDhcp;
  private readonly devices = new Map<NetInterface, Device>();
  private readonly bridges: HostBridges;
  private readonly clockwork: Device;
  /** Why the host does nothing any more. */
  private over: LoomError | undefined;
  private shutting: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private readonly forget: () => void;
  private readonly ports: HostPorts;

  private constructor(engine: Engine, options: HostOptions) {
    this.engine = engine;
    this.ownsEngine = !options.engine;
    // What others must not guess (ports, identifiers, addresses) comes from it: without a seed it is the runtime's secrets.
    const random = options.seed === undefined ? new SecretRandom() : new Random(options.seed);
    this.ip = new IpStack(engine, { random, forwarding: options.forwarding, neighbours: options.neighbours });
    // A seed fixes the secrets too, so that a run can be repeated bit for bit.
    const key = options.seed === undefined ? undefined : random.fill(new Uint8Array(16));
    this.ports = new HostPorts(engine, random);
    this.tcp = new TcpLayer(this.ip, { defaults: options.tcp, secret: key, handshakes: options.handshakes });
    this.udp = new UdpLayer(this.ip);
    this.names = new HostNames(this.ip, this.udp, this.tcp, options);
    this.rawSockets = new RawLayer(this.ip);
    this.echo = new EchoLayer(this.ip);
    this.pinger = new Pinger(this.echo);
    this.dhcpClients = new HostDhcp(this);
    this.bridges = new HostBridges(this.ip, this.devices, (name) => this.dhcpClients.stop(name, false));
    this.rules = HostRules.of(engine, this.ip, random);
    this.clockwork = { name: "timers", poll: () => this.tick() };
    engine.attach(this.clockwork);
    this.forget = engine.beforeClose(() => this.shut());
  }

  /** Makes a host with its interfaces up. It runs by itself unless it shares an engine, which its owner runs. */
  static async create(options: HostOptions = {}): Promise<Host> {
    checkOptions("host", HOST satisfies Shape<HostOptions>, options);
    const room = options.ruleset === undefined ? {} : RULES_MEMORY;
    const masters = new Set((options.interfaces ?? []).flatMap(({ master }) => master ?? []));
    const engine = options.engine ?? (await Engine.create({ ...MEMORY, bridges: masters.size, ...room, ...options.memory }));
    checkMemory(engine);
    const host = new Host(engine, options);
    try {
      // Bridges before their ports.
      const interfaces = [...(options.interfaces ?? [])].sort((a, b) => Number(a.master !== undefined) - Number(b.master !== undefined));
      for (const each of interfaces) await host.addInterface(each);
      // Rules name interfaces, and are in force before anything runs.
      if (options.ruleset !== undefined) host.firewall.apply(options.ruleset);
    } catch (error) {
      await host.close();
      throw error;
    }
    if (host.ownsEngine) engine.start();
    else warnUnlessRun(engine);
    return host;
  }

  /** Rules (nftables). Needs room for them: `ruleset`, or `memory: { filterBytes, flows }`. */
  get firewall(): Firewall {
    return this.needRules().firewall;
  }

  private needRules(): HostRules & { firewall: Firewall } {
    const { rules } = this;
    if (rules?.hasFirewall()) return rules;
    throw new LoomError("ENOTSUP", "this host has no room for rules; create it with a `ruleset`, or with memory: { filterBytes, flows }");
  }

  /** Connections that are tracked. Needs room for them: `ruleset`, or `memory: { flows }`. */
  get conntrack(): Conntrack {
    if (!this.rules?.conntrack)
      throw new LoomError("ENOTSUP", "this host tracks no connections; create it with a `ruleset`, or with memory: { flows }");
    return this.rules.conntrack;
  }

  /** The network whose rules this host's packets meet; undefined without room for any. */
  get network(): Network | undefined {
    return this.rules?.network;
  }

  /**
   * Says what becomes of packets that rules send to a queue (`queue to 5`): one listener a queue. Returns what takes the listener away again;
   * packets that wait are dropped then. Throws EBUSY when somebody listens already.
   */
  onQueue(queue: number, handler: QueueHandler, options?: QueueOptions): () => void {
    this.check();
    return this.needRules().queues.listen(queue, handler, options);
  }

  /** What queues with a listener have counted. */
  get queues(): ReadonlyMap<number, QueueCounters> {
    return this.needRules().queues.counters();
  }

  /**
   * Where a connection was going before rules redirected it to this host (SO_ORIGINAL_DST): of one that was accepted here, or of any
   * socket that knows both its ends, as those of `packetloom/node` do. Undefined when it is not tracked.
   */
  originalDestination(socket: BothEnds): SocketAddress | undefined {
    this.check();
    if (typeof socket !== "object" || socket === null)
      throw invalid(`${shown(socket)} is no socket; expected one that knows both its ends`);
    const [local, remote] = [endOf(socket.localAddress, socket.localPort), endOf(socket.remoteAddress, socket.remotePort)];
    if (!local || !remote) return undefined;
    const end = ({ address, port }: SocketAddress) => ({ address: this.ip.parse(address).address, port });
    const found = this.rules?.conntrack?.find("tcp", end(local), end(remote))?.original;
    return found && { address: String(found.dst), port: found.dport as number };
  }

  /** Hears of packets that rules log. Returns what takes the listener away again. */
  onLog(listener: (entry: LogEntry) => void): () => void {
    this.check();
    return this.needRules().onLog(listener);
  }

  /** Hears what rules do with packets that a rule follows (`meta nftrace set 1`). Returns what takes the listener away again. */
  onTrace(listener: (entry: TraceEntry) => void): () => void {
    this.check();
    return this.needRules().onTrace(listener);
  }

  // ── Interfaces, routes ────────────────────────────────────────────────────────────────────────

  /** Adds an interface, on a running host too. */
  async addInterface(options: InterfaceOptions): Promise<NetInterface> {
    this.check();
    this.checkName(options?.name);
    const prepared = await this.prepareInterface(options);
    try {
      return this.addPrepared(prepared);
    } finally {
      prepared.close();
    }
  }

  /**
   * The part of `addInterface` that may fail for reasons outside: opens the device, on a port of its own, without telling the rest of the host.
   * `addPrepared` does the rest, at once; or `close` what is not wanted after all.
   */
  async prepareInterface(options: InterfaceOptions): Promise<PreparedInterface> {
    this.check();
    checkOptions("interface", INTERFACE satisfies Shape<InterfaceOptions>, options);
    checkPort(options);
    return this.ports.prepare(options);
  }

  /** Makes an interface of what was prepared. */
  addPrepared(prepared: PreparedInterface): NetInterface {
    this.check();
    const { ip, engine } = this;
    const { options, port, device } = prepared;
    this.checkName(options.name);
    prepared.taken();
    const name = options.name ?? this.freeName();
    const probes = options.probes ?? (options.autoconf ? 1 : 0);
    const iface = ip.addInterface(name, port, probes, options.master !== undefined);
    iface.proxy = options.proxy ?? false;
    if (device) {
      this.devices.set(iface, device);
      engine.attach(device);
    }
    try {
      if (options.mac !== undefined || options.mtu !== undefined) device?.changed?.();
      this.bridges.begin(iface, options.mtu !== undefined);
      if (options.master !== undefined) this.bridges.enslave(iface, options.master, options);
      this.configureInterface(iface, options, probes);
    } catch (error) {
      this.removeInterface(name);
      throw error;
    }
    return iface;
  }

  private checkName(name: string | undefined): void {
    if (this.ip.interfaces.some((iface) => iface.name === name)) throw new LoomError("EEXIST", `there is an interface ${name} already`);
  }

  private configureInterface(iface: NetInterface, options: InterfaceOptions, probes: number): void {
    const { ip } = this;
    for (const text of options.addresses ?? []) this.addAddress(iface.name, text, { probes });
    if (options.autoconf) ip.discovery.start(iface, options.autoconf === true ? {} : options.autoconf);
    if (options.advertise) ip.advertiser.start(iface, options.advertise === true ? {} : options.advertise);
    for (const via of [options.gateway ?? []].flat()) {
      this.addRoute({ to: via.includes(":") ? "::/0" : "0.0.0.0/0", via, interface: iface.name });
    }
    const { dhcp } = options;
    if (dhcp) this.dhcpClients.start(iface.name, { family: dhcp === "v4" ? 4 : dhcp === "v6" ? 6 : undefined });
  }

  /**
   * Takes an interface off a running host: its device is closed, its addresses, routes and neighbours go. Connections
   * over it stay, as in Linux, and go on when their address is there again; otherwise they time out.
   */
  removeInterface(name: string): void {
    const iface = this.ip.interface(name);
    const device = this.devices.get(iface);
    this.ip.touch();
    this.bridges.remove(iface);
    this.devices.delete(iface);
    this.dhcpClients.stop(name, false);
    this.ip.removeInterface(iface);
    if (device) this.engine.detach(device);
    this.ports.give(iface.port);
  }

  /**
   * `ip link set NAME master BRIDGE`, or without one `nomaster`: an interface becomes a port of a bridge (an interface whose device is `bridge()`), or is one for itself
   * again. What it had of addresses, routes and neighbours goes either way. For a port of that bridge already, `pvid` and `vlans` are what is changed.
   */
  setMaster(name: string, master: string | undefined, vlans: PortVlans = {}): void {
    this.check();
    checkOptions("port", PORT satisfies Shape<PortVlans>, vlans);
    const iface = this.ip.interface(name);
    this.ip.touch();
    if (master === undefined) this.bridges.free(iface);
    else this.bridges.enslave(iface, master, vlans);
    this.ip.flush();
  }

  /** What a bridge knows of who is where: `bridge fdb show`. */
  stations(bridge: string): StationInfo[] {
    this.check();
    return this.bridges.stations(this.ip.interface(bridge));
  }

  /** VLANs of a bridge's port: `bridge vlan show`. */
  vlans(name: string): PortVlan[] {
    this.check();
    return this.bridges.vlans(this.ip.interface(name));
  }

  private freeName(): string {
    for (let i = this.ip.interfaces.length; ; i++) {
      const name = `eth${i}`;
      if (!this.ip.interfaces.some((iface) => iface.name === name)) return name;
    }
  }

  /** `ip link set NAME up` or `down`. What leads out by an interface that is down waits until it is up again. */
  setUp(name: string, up: boolean): void {
    checkArgument("setUp", "up", up, yesNo);
    const isNew = up && !this.ip.interface(name).up;
    this.change(name, (iface) => this.ip.changes.setUp(iface, up));
    if (isNew) this.dhcpClients.linkUp(name);
  }

  /** `ip link set NAME mtu`. */
  setMtu(name: string, mtu: number): void {
    this.change(name, (iface) => {
      this.ip.changes.setMtu(iface, mtu);
      this.bridges.keepMtu(iface);
    });
  }

  /** `ip link set NAME address`; neighbours are told. */
  setMac(name: string, mac: string): void {
    this.change(name, (iface) => this.ip.changes.setMac(iface, mac));
  }

  private change(name: string, how: (iface: NetInterface) => void): void {
    this.alter(name, how);
    this.bridges.changed(this.ip.interface(name));
  }

  private alter(name: string, how: (iface: NetInterface) => void): void {
    const iface = this.ip.interface(name);
    const { changes } = this.ip;
    const { mtu, port } = iface;
    const before = { mac: port.mac, up: iface.up };
    this.ip.touch();
    try {
      how(iface);
      this.devices.get(iface)?.changed?.();
    } catch (error) {
      // What the device's other side refuses is not so on this side either.
      if (iface.mtu !== mtu) changes.setMtu(iface, mtu);
      if (port.mac !== before.mac) changes.setMac(iface, before.mac);
      changes.setUp(iface, before.up);
      throw error;
    } finally {
      this.ip.flush();
    }
  }

  /** Every interface with its state and what passed it: `ip -s link`. */
  links(): LinkInfo[] {
    return this.ip.interfaces.map((iface) => ({
      name: iface.name,
      device: this.devices.get(iface)?.name,
      master: iface.master?.name,
      mac: iface.port.mac,
      mtu: iface.mtu,
      up: iface.up,
      carrier: iface.carrier,
      offload: iface.port.offload,
      stats: iface.port.linkStats(),
    }));
  }

  /** Timers that are due, links whose other side came or went, and what others changed of them. */
  private tick(): number {
    for (const [iface, device] of this.devices) {
      const carrier = device.carrier ?? true;
      if (carrier !== iface.carrier) {
        this.ip.changes.setCarrier(iface, carrier);
        this.bridges.changed(iface);
        if (carrier) this.dhcpClients.linkUp(iface.name);
      }
      if (device.mtu === undefined || device.mtu === iface.mtu) continue;
      this.ip.changes.setMtu(iface, device.mtu);
      this.bridges.changed(iface);
    }
    return this.ip.tick();
  }

  /** "192.0.2.2/24"; without a length, as `ip addr add` has it, the address alone (/32, /128). With lifetimes it is deprecated, then removed; with probes it is used when nobody answers for it. */
  addAddress(name: string, address: string, options: AddressOptions = {}): void {
    checkOptions("address", ADDRESS, options);
    this.ip.touch();
    this.ip.addAddress(this.ip.interface(name), parseInterfaceAddress(address), options);
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const named = this.ip.interfaces.map(({ name, addresses }) => [name, addresses.map(({ address, length }) => `${address}/${length}`)]);
    const { forwarding } = this.ip;
    return facts("Host", { interfaces: Object.fromEntries(named), forwarding, closed: this.over !== undefined }, depth, options, inspect);
  }

  /** `ip addr`. */
  addresses(): AddressInfo[] {
    this.ip.touch();
    return this.ip.addresses.list();
  }

  /** "192.0.2.2"; a length behind it is not looked at. */
  removeAddress(name: string, address: string): void {
    this.ip.removeAddress(this.ip.interface(name), IpAddress.parse(address.split("/")[0]));
  }

  /** `ip route add`. */
  addRoute(route: RouteOptions): void {
    this.ip.rules.table(route.table ?? MAIN_TABLE).add(this.routeOf(route));
  }

  /** `ip route replace`: in place of the one to the same prefix with the same metric, if there is one. What cannot be leaves that as it is. */
  replaceRoute(route: RouteOptions): void {
    this.ip.rules.table(route.table ?? MAIN_TABLE).replace(this.routeOf(route));
  }

  private routeOf(route: RouteOptions): Route {
    checkOptions("route", ROUTE satisfies Shape<RouteOptions>, route, ["to"]);
    const hops = route.nextHops ?? (route.via || route.interface ? [{ via: route.via, interface: route.interface }] : []);
    const nextHops = hops.map((hop) => {
      const { address: via, iface: zone } = hop.via === undefined ? { address: undefined, iface: undefined } : this.ip.parse(hop.via);
      const iface = hop.interface === undefined ? (zone ?? this.interfaceTo(via)) : this.ip.interface(hop.interface);
      return { via, iface, weight: "weight" in hop ? (hop.weight as number | undefined) : undefined };
    });
    return { prefix: parsePrefix(route.to), kind: route.kind ?? "unicast", nextHops, metric: route.metric ?? 0, protocol: "static" };
  }

  /** `ip rule add`: a rule for what the host sends and what it forwards. */
  addRule(rule: RuleOptions): void {
    checkOptions("rule", RULE satisfies Shape<RuleOptions>, rule, ["priority"]);
    this.ip.rules.add(ruleOf(rule, (name) => this.ip.interface(name)));
  }

  removeRule(priority: number): void {
    this.ip.rules.delete(priority);
  }

  private interfaceTo(via: IpAddress | undefined): NetInterface {
    const path = via && this.ip.pathTo(via);
    // A gateway is a neighbour: what lies behind another one is none.
    const iface = via && path?.neighbour && !path.neighbour.address.equals(via) ? undefined : path?.iface;
    if (!iface) throw new LoomError("ENETUNREACH", `no interface leads to gateway ${via}; name one`);
    return iface;
  }

  removeRoute(to: string, metric?: number, table = MAIN_TABLE): void {
    this.ip.rules.table(table).delete(parsePrefix(to), metric);
  }

  /**
   * Configures an interface by DHCP, and keeps it so. Resolves when there is a lease, of the family asked for or of any;
   * without `signal` it waits for ever.
   */
  dhcp(name: string, options: DhcpOptions = {}): Promise<DhcpLeases> {
    const lease = this.leaseOf(name, options);
    // Who only wants it configured need not wait, nor hear that it ended.
    lease.catch(() => {});
    return lease;
  }

  private async leaseOf(name: string, options: DhcpOptions): Promise<DhcpLeases> {
    this.check();
    checkOptions("dhcp", DHCP satisfies Shape<DhcpOptions>, options);
    this.dhcpClients.start(name, options);
    return this.dhcpClients.wait(name, options.family, options.signal);
  }

  /** Gives leases back and takes away what they brought. */
  dhcpRelease(name: string): void {
    this.dhcpClients.stop(name, true);
  }

  // ── Sockets ───────────────────────────────────────────────────────────────────────────────────

  /**
   * A signal that is aborted in `ms` milliseconds on this host's clock (in a lab: of virtual time), with ETIMEDOUT: a deadline for whatever takes a signal. Connections
   * have `socket.setDeadline`.
   */
  timeout(ms: number): AbortSignal {
    this.check();
    if (!(typeof ms === "number" && ms >= 0)) throw invalid(`timeout: ${shown(ms)}; expected milliseconds`);
    const controller = new AbortController();
    this.names.alarms.after(ms, () => controller.abort(new LoomError("ETIMEDOUT", `${ms} ms are over`)));
    return controller.signal;
  }

  /**
   * Opens a TCP connection. Resolves when it is established; rejects with ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH …, and for
   * a name with ENOTFOUND or EAI_AGAIN. When several addresses were tried, `cause.errors` has what each said.
   */
  connect(options: UnixPath): Promise<UnixStreamSocket>;
  connect(options: ConnectOptions): Promise<TcpSocket>;
  connect(options: ConnectOptions | UnixPath): Promise<TcpSocket | UnixStreamSocket> {
    // To an address with one promise on the way: who opens many connections waits for nothing else.
    try {
      this.check();
      if (isPath(options)) return Promise.resolve(this.connectPath(options.path));
      checkOptions("connect", CONNECT satisfies Shape<ConnectOptions>, options, CONNECT_REQUIRED);
      const { hostname, signal } = options;
      signal?.throwIfAborted();
      const device = options.interface === undefined ? undefined : this.ip.interface(options.interface);
      const address = literal(hostname);
      if (!address) return this.connectByName(options, device);
      return this.connectTo(address, options, device ?? this.zoneOf(hostname), signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private async connectByName(options: ConnectOptions, device: NetInterface | undefined): Promise<TcpSocket> {
    const { hostname, signal } = options;
    const family = options.localAddress === undefined ? 0 : this.ip.parse(options.localAddress).address.family;
    const addresses = (await this.lookup(hostname, { family, signal, patience: RESOLUTION_DELAY_MS })).map((each) =>
      IpAddress.parse(each.address),
    );
    const where = `${hostname} port ${options.port}`;
    return connectAny(addresses, where, this.names.alarms, async (each, stop) => this.connectTo(each, options, device, stop), signal);
  }

  private connectPath(path: string): UnixStreamSocket {
    const endpoint = new UnixEndpoint(this.unix, "stream", NOBODY);
    endpoint.connect(path);
    return new UnixStreamSocket(endpoint);
  }

  /** The interface that a literal names behind a "%", also in the brackets of a URL. */
  private zoneOf(hostname: string): NetInterface | undefined {
    return hostname.includes("%") ? this.ip.parse(hostname.replace(/^\[(.*)\]$/, "$1")).iface : undefined;
  }

  private connectTo(address: IpAddress, options: ConnectOptions, zone: NetInterface | undefined, signal?: AbortSignal): Promise<TcpSocket> {
    const { port, localAddress, localPort } = options;
    this.ip.touch();
    const own = localAddress === undefined ? undefined : this.ip.parse(localAddress);
    if (own && !own.address.isUnspecified && !this.ip.isSource(own.address))
      throw new LoomError("EADDRNOTAVAIL", `localAddress: ${localAddress} is not an address of this host`);
    const device = zone ?? own?.iface;
    if (own?.address.family === 6 && own.address.isLinkLocal && !(own.iface ?? device)?.find(own.address))
      throw new LoomError("EADDRNOTAVAIL", `localAddress: ${localAddress} is not an address of that interface`);
    if (own?.iface && device !== own.iface) throw new LoomError("EINVAL", `localAddress: ${localAddress} is on another interface`);
    const local = { address: own?.address, port: localPort, device };
    const socket = new TcpSocket(this.tcp.connect(address, port, local, options));
    return signal ? whenConnected(socket, signal) : socket.whenConnected();
  }

  /**
   * Addresses of a name, the best first: literals, `localhost`, the hosts file, then the name servers. Rejects with
   * ENOTFOUND, or with EAI_AGAIN when no server could tell.
   */
  async lookup(name: string, options: LookupOptions = {}): Promise<LookupAddress[]> {
    this.check();
    checkName(name);
    checkOptions("lookup", LOOKUP, options);
    return this.names.lookup(name, options);
  }

  /** Asks the name servers for more than addresses, and tells and takes which they are. */
  get resolver(): Resolver {
    return this.names.resolver;
  }

  /** Listens for TCP connections. */
  listen(options: UnixPath): UnixListenerSocket;
  listen(options: ListenOptions): TcpListenerSocket;
  listen(options: ListenOptions | UnixPath): TcpListenerSocket | UnixListenerSocket {
    this.check();
    if (isPath(options)) {
      const endpoint = new UnixEndpoint(this.unix, "stream", NOBODY);
      endpoint.bind(options.path);
      endpoint.listen(UNIX_BACKLOG);
      return new UnixListenerSocket(endpoint);
    }
    checkOptions("listen", LISTEN satisfies Shape<ListenOptions>, options, ["port"]);
    const { hostname, port, backlog, interface: name, ...tcp } = options;
    const local = hostname === undefined ? undefined : this.ip.parse(hostname);
    const device = name === undefined ? local?.iface : this.ip.interface(name);
    return new TcpListenerSocket(this.tcp.listen(local?.address, port, backlog, tcp, { device }));
  }

  /** A UDP socket on a port (default: a free one) of one address or of all. */
  datagram(options: DatagramOptions = {}): DatagramSocket {
    this.check();
    checkOptions("datagram", DATAGRAM satisfies Shape<DatagramOptions>, options);
    const { hostname, port = 0, reusePort, reuseAddress, v6Only, interface: name, ...settings } = options;
    const local = hostname === undefined ? undefined : this.ip.parse(hostname);
    const device = name === undefined ? local?.iface : this.ip.interface(name);
    return this.configured(this.udp.bind(local?.address, port, { reusePort, reuseAddress, v6Only }, device), settings);
  }

  /**
   * A raw socket (raw(7)): packets of one IP protocol, beside whoever else takes them. `data` of what it gets is of IPv4 the whole
   * packet, of IPv6 what is behind the headers; what it sends is a payload, unless `header` says otherwise.
   */
  raw(options: RawOptions): DatagramSocket {
    this.check();
    checkOptions("raw", RAW, options, ["protocol"]);
    const { protocol, family, hostname, interface: name, header, types, checksumAt, ...settings } = options;
    const local = hostname === undefined ? undefined : this.ip.parse(hostname);
    const device = name === undefined ? local?.iface : this.ip.interface(name);
    const endpoint = openRaw(this.rawSockets, { protocol, family, header, types, checksumAt }, local?.address);
    endpoint.device = device;
    return this.configured(endpoint, settings);
  }

  /** A socket for an endpoint, which is closed again when its settings cannot be. */
  private configured(endpoint: DatagramEndpoint, settings: DatagramSettings): DatagramSocket {
    try {
      return new DatagramSocket(endpoint, this.ip).configure(settings);
    } catch (error) {
      endpoint.close();
      throw error;
    }
  }

  /** One echo request, to an address or to the best address of a name. Rejects with ETIMEDOUT, EHOSTUNREACH …, ENOTFOUND. */
  async ping(hostname: string, options: PingOptions = {}): Promise<EchoReply> {
    this.check();
    checkName(hostname);
    checkOptions("ping", PING satisfies Shape<PingOptions>, options);
    const { size = 56, timeout = 1000, hopLimit, signal } = options;
    // What has a colon is no name: an address, or what is wrong with it.
    const found = hostname.includes(":") || literal(hostname) ? hostname : (await this.lookup(hostname, { signal }))[0].address;
    const { address, iface } = this.ip.parse(found);
    return this.pinger.ping(address, size, timeout, hopLimit, iface, signal);
  }

  /**
   * Ends the host: what is open is told ENETDOWN and peers are sent resets, interfaces, addresses and tables are given
   * back; its own engine is closed, its part of a shared one is free for others. A second close does nothing.
   */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    await this.shut();
    if (this.ownsEngine) await this.engine.close();
  }

  /** The host's own part of closing: also done when the engine is closed. */
  private shut(): Promise<void> {
    this.over ??= new LoomError("ENETDOWN", "the host is closed; Host.create makes another");
    this.shutting ??= this.giveBack(this.over);
    return this.shutting;
  }

  private async giveBack(why: LoomError): Promise<void> {
    // Not in the middle of a segment, whoever calls.
    await Promise.resolve();
    const { engine, ip } = this;
    ip.touch();
    this.dhcpClients.close(why);
    this.tcp.close(why);
    this.udp.close(why);
    this.unix.close(why);
    this.rawSockets.close(why);
    this.echo.close(why);
    this.resolver.close();
    for (const iface of ip.interfaces) ip.advertiser.stop(iface);
    ip.flush();
    // Resets, and what was said to routers, leave by the devices.
    engine.drainDevices();
    this.rules?.queues.close();
    ip.close();
    this.rules?.close();
    for (const device of [...this.devices.values(), this.clockwork]) engine.detach(device);
    this.devices.clear();
    this.forget();
  }

  private check(): void {
    if (this.over) throw this.over;
  }
}

function endOf(address: string | SocketAddress | undefined, port: number | undefined): SocketAddress | undefined {
  if (typeof address === "object") return address;
  return address === undefined || port === undefined ? undefined : { address, port };
}

/** A Unix domain socket's options; those of the network have no path. */
function isPath(options: object): options is UnixPath {
  if (typeof options !== "object" || options === null || !("path" in options)) return false;
  checkOptions("Unix socket", UNIX satisfies Shape<UnixPath>, options, ["path"]);
  return true;
}

/** For those that take a host as their first argument. */
export function checkHost(host: unknown): asserts host is Host {
  if (!(host instanceof Host)) throw invalid(`${shown(host)} is no host; expected what \`await Host.create()\` gives`);
}

function checkName(name: unknown): void {
  if (typeof name !== "string" || name === "") throw invalid(`${shown(name)} is no host; expected an address or a name`);
}

/** Sockets keep what they send and receive in the engine's application memory. */
function checkMemory(engine: Engine): void {
  const { total } = engine.slabs;
  if (total >= LEAST_SLABS) return;
  const { appBytes } = engine.memory.layout.sizes;
  throw new LoomError(
    "ENOMEM",
    `a host needs appBytes of ${LEAST_SLABS * 16 + 1} KiB at least for what its sockets send and receive; raise appBytes (it is ${appBytes})`,
  );
}

/** Waits for the handshake, until `signal` says otherwise. */
async function whenConnected(socket: TcpSocket, signal: AbortSignal): Promise<TcpSocket> {
  const stop = () => socket.abort();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await socket.whenConnected();
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
