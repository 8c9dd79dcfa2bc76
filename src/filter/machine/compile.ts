/**
 * Rules become a WebAssembly module: a function for each chain (long ones in pieces), and one for each segment that walks the burst.
 *
 * A chain is (worker, position) -> verdict. Pieces are small enough for the runtime's optimizing compiler to be quick and large enough
 * that fields read at their head serve many rules. Chains call each other; maps reach them through the module's own table, by number.
 */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { ChainSpec, Expression, Family, TableSpec } from "../expressions.ts";
import { Code, I32, I64, type ValueType } from "./code.ts";
import { wordAt } from "./compare.ts";
import { emit } from "./dispatch.ts";
import { Emitter, type Program } from "./emitter.ts";
import { MATCHED, NEXT, PLANE, type Places, type PlaneFunction, RETURN, type TableLink, TOLD } from "./link.ts";
import { WRITES, writers } from "./order.ts";
import { type Item, Piece } from "./pieces.ts";
import { type MemoryLimits, WasmModule } from "./wasm.ts";

/** Rules of one function. */
const PIECE = 64;

export interface LinkedTable {
  readonly spec: TableSpec;
  readonly link: TableLink;
}

/** A base chain in its place: what runs in a segment, in order. */
export interface Placed {
  readonly table: LinkedTable;
  readonly chain: ChainSpec;
}

export interface Compiled {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Functions of the data plane that it imports. */
  readonly imports: readonly PlaneFunction[];
}

/** Collects imports by name while functions are written, and the module when all are known. */
class Compiler {
  private readonly module: WasmModule;
  private readonly places: Places;
  private readonly imports = new Map<PlaneFunction, number>();
  private readonly functions = new Map<string, number>();
  private readonly chainType: number;
  private readonly randomFunction: number;

  /** `traces`: packets may be followed. */
  constructor(
    memory: MemoryLimits,
    places: Places,
    private readonly traces: boolean,
  ) {
    this.module = new WasmModule(memory);
    this.places = places;
    // All of them stand in front, so that numbers are known; an import costs nothing.
    for (const [name, [parameters, results]] of Object.entries(PLANE) as [
      PlaneFunction,
      readonly [readonly ValueType[], readonly ValueType[]],
    ][])
      this.imports.set(name, this.module.import("plane", name, this.module.type(parameters, results)));
    this.chainType = this.module.type([I32, I32], [I32]);
    this.randomFunction = this.module.declare(this.module.type([], [I32]));
    this.module.define(this.randomFunction, xorshift(places.random), [I64]);
  }

  private readonly used = new Set<PlaneFunction>();

  private program(table: LinkedTable, writing: ReadonlySet<string>): Program {
    return {
      places: this.places,
      table: table.link,
      chainType: this.chainType,
      plane: (name) => this.plane(name),
      random: () => this.randomFunction,
      chainFunction: (name) => {
        const index = this.functions.get(chainKey(table.spec, name));
        if (index === undefined) throw invalid(`table ${table.spec.name} has no chain ${name}`);
        return index;
      },
      writes: (chain) => (chain === undefined ? writing.size > 0 : writing.has(chain)),
    };
  }

  private plane(name: PlaneFunction): number {
    this.used.add(name);
    return this.imports.get(name) as number;
  }

  table(table: LinkedTable): void {
    const { spec, link } = table;
    for (const chain of spec.chains) {
      const index = this.module.declare(this.chainType);
      this.functions.set(chainKey(spec, chain.name), index);
      if (!chain.base) this.module.element(link.chain(chain.name), index);
    }
    const program = this.program(table, writers(spec));
    for (const chain of spec.chains) this.chain(program, spec, chain);
  }

  private chain(program: Program, spec: TableSpec, chain: ChainSpec): void {
    const whole = this.functions.get(chainKey(spec, chain.name)) as number;
    if (this.traces) {
      this.module.define(whole, this.tracedChain(program, spec.family, chain), [I32]);
      return;
    }
    if (chain.rules.length <= PIECE) {
      this.piece(program, spec.family, chain, 0, whole);
      return;
    }
    const c = new Code();
    for (let first = 0; first < chain.rules.length; first += PIECE) {
      const index = this.module.declare(this.chainType);
      this.piece(program, spec.family, chain, first, index);
      c.get(0).get(1).call(index).tee(2).i32(NEXT).ne().if().get(2).ret().end();
    }
    this.module.define(whole, c.i32(NEXT), [I32]);
  }

  /** Where packets may be followed each rule has a function to itself, and what comes of it is told; a rule that leads to a chain tells so itself. */
  private tracedChain(program: Program, family: Family, chain: ChainSpec): Code {
    const c = new Code();
    for (const [i, { handle }] of chain.rules.entries()) {
      const index = this.module.declare(this.chainType);
      const number = program.table.traced(chain.name, handle);
      this.piece(program, family, chain, i, index, number);
      c.get(0).get(1).call(index).tee(2).i32(NEXT).ne().if();
      c.get(2).i32(TOLD).and().if().get(2).i32(255).and().ret().end();
      c.get(0).get(1).i32(number).get(2).i32(0).call(program.plane("tracePacket"));
      c.get(2).i32(MATCHED).ne().if().get(2).ret().end().end();
    }
    return c.i32(NEXT);
  }

  private piece(program: Program, family: Family, chain: ChainSpec, first: number, index: number, traced?: number): void {
    const e = new Emitter(program, family, traced);
    const items = chain.rules
      .slice(first, first + (traced === undefined ? PIECE : 1))
      .map(({ expressions }, i): Item => ({ expressions, index: first + i }));
    const writes = ({ expressions }: Item) => expressions.some((expression) => mayWrite(program, expression));
    const piece = new Piece(e, family, writes, (expression, item, place) =>
      emit(e, expression, () => ({ offset: program.table.state(chain, item.index, place) })),
    );
    piece.hoist(items);
    piece.rules(items, 0);
    this.module.define(index, e.finish(NEXT), e.locals);
  }

  /** (worker, list, n): what is accepted goes on to the next chain; what comes off a base chain's end gets its policy. */
  segment(segment: number, chains: readonly Placed[]): void {
    const c = new Code();
    const [worker, list, n, position, verdict, end, flags, port, passed] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    const waits = chains.some(({ table }) => mayQueue(table.spec));
    // Chains that a packet has passed which has waited for a verdict: it is alone then.
    if (waits) {
      c.get(worker).load(4, abi.WORKER_RESUME).tee(passed).i32(255).and().i32(0);
      c.get(passed)
        .i32(8)
        .shrU()
        .i32(segment + 1)
        .eq()
        .select()
        .set(passed);
    }
    c.get(list).get(n).i32(1).shl().add().set(end);
    c.block();
    const outside = c.depth;
    c.loop();
    const next = c.depth;
    c.get(list).get(end).eq().brIf(outside);
    c.get(list).load(2).set(position).i32(abi.VERDICT_ACCEPT).set(verdict);
    c.get(position).i32(2).shl().get(worker).add().load(4, abi.VEC_IDS).i32(abi.DESC_SHIFT).shl();
    c.load(1, this.places.descriptors + abi.DESC_FLAGS).set(flags);
    c.block();
    const done = c.depth;
    for (const [i, placed] of chains.entries())
      this.baseChain(c, placed, { worker, position, verdict, flags, port, done, ...(waits && { passed, index: i }) });
    c.end();
    c.get(worker).get(position).add().get(verdict).i32(7).and().store(1, abi.VEC_VERDICT);
    c.get(list).i32(2).add().set(list).br(next).end().end();
    const index = this.module.declare(this.module.type([I32, I32, I32], []));
    this.module.define(index, c, [I32, I32, I32, I32, I32, I32]);
    this.module.export(`s${segment}`, index);
  }

  private baseChain(
    c: Code,
    { table, chain }: Placed,
    at: Record<"worker" | "position" | "verdict" | "flags" | "port" | "done", number> & {
      readonly passed?: number;
      readonly index?: number;
    },
  ): void {
    const { family } = table.spec;
    const { passed, index = 0 } = at;
    const { policy, devices, hook } = chain.base as NonNullable<ChainSpec["base"]>;
    c.block();
    const skip = c.depth;
    if (passed !== undefined) c.get(passed).i32(index).gtU().brIf(skip);
    if (family === "ip") c.get(at.flags).i32(abi.FLAG_IP4).and().eqz().brIf(skip);
    if (family === "ip6") c.get(at.flags).i32(abi.FLAG_IP6).and().eqz().brIf(skip);
    // Of what devices bring in, chains of inet meet IP alone.
    const isDevice = hook === "ingress" || hook === "egress";
    if (family === "inet" && isDevice)
      c.get(at.flags)
        .i32(abi.FLAG_IP4 | abi.FLAG_IP6)
        .and()
        .eqz()
        .brIf(skip);
    if (devices) this.onDevices(c, chain, devices, at, skip);
    c.get(at.worker)
      .get(at.position)
      .call(this.functions.get(chainKey(table.spec, chain.name)) as number)
      .tee(at.verdict);
    const decided = policy === "drop" ? abi.VERDICT_DROP : abi.VERDICT_ACCEPT;
    c.i32(RETURN).geU().if().i32(decided).set(at.verdict);
    if (this.traces) {
      c.get(at.worker).get(at.position).i32(table.link.traced(chain.name));
      c.i32(decided).i32(0).call(this.plane("tracePacket"));
    }
    c.end();
    if (passed !== undefined) {
      c.get(at.verdict).i32(abi.VERDICT_QUEUE).eq().if();
      c.get(at.worker)
        .get(at.position)
        .i32(2)
        .shl()
        .add()
        .i32(index + 1)
        .store(1, abi.VEC_ARGUMENT + 3)
        .end();
    }
    c.get(at.verdict).i32(abi.VERDICT_ACCEPT).ne().brIf(at.done).end();
  }

  /** Packets of other devices do not meet the chain. */
  private onDevices(
    c: Code,
    chain: ChainSpec,
    devices: readonly string[],
    at: Record<"worker" | "position" | "port", number>,
    skip: number,
  ): void {
    const output = chain.base?.hook === "egress";
    c.get(at.worker)
      .get(at.position)
      .i32(output ? 1 : 2)
      .shl()
      .add();
    if (output) c.load(2, abi.VEC_OIF);
    else
      c.load(4, abi.VEC_IDS)
        .i32(abi.DESC_SHIFT)
        .shl()
        .load(2, this.places.descriptors + abi.DESC_INGRESS);
    c.tee(at.port).i32(abi.IFACE_SIZE).mul().i32(this.places.interfaces).add();
    c.i32(this.places.nothing).get(at.port).i32(this.places.ports).ltU().select().set(at.port);
    c.block();
    const known = c.depth;
    for (const device of devices) {
      const name = new Uint8Array(abi.IFACE_NAME_SIZE);
      name.set(new TextEncoder().encode(device).subarray(0, abi.IFACE_NAME_SIZE));
      for (let i = 0; i < 4; i++) {
        c.get(at.port)
          .load(4, abi.IFACE_NAME + 4 * i)
          .i32(wordAt(name, i))
          .xor();
        if (i > 0) c.or();
      }
      c.eqz().brIf(known);
    }
    c.br(skip).end();
  }

  done(): Compiled {
    return { bytes: this.module.encode(), imports: [...this.used] };
  }
}

/** May a packet be sent to wait for a verdict by a rule or an element of a table? */
function mayQueue({ chains, sets }: TableSpec): boolean {
  return (
    chains.some(({ rules }) => rules.some(({ expressions }) => expressions.some(({ op }) => op === "queue"))) ||
    sets.some(({ map }) => map?.kind === "verdict")
  );
}

/** May rules of a table follow packets? */
export function mayTrace({ spec: { chains } }: LinkedTable): boolean {
  const follows = (each: Expression) => each.op === "meta-set" && each.key === "nftrace";
  return chains.some(({ rules }) => rules.some(({ expressions }) => expressions.some(follows)));
}

const chainKey = (table: TableSpec, chain: string): string => `${table.family} ${table.name} ${chain}`;

/** Marsaglia's xorshift over 64 bits; the upper half is what is given out. */
function xorshift(address: number): Code {
  const c = new Code();
  c.i32(address).load64().set(0);
  for (const [left, bits] of [
    [true, 13n],
    [false, 7n],
    [true, 17n],
  ] as const) {
    c.get(0).get(0).i64(bits);
    if (left) c.shl64();
    else c.shrU64();
    c.xor64().set(0);
  }
  return c.i32(address).get(0).store64().get(0).i64(32n).shrU64().wrap();
}

/** Does an expression, or a chain that it goes to, change the packet? */
function mayWrite(program: Program, expression: Expression): boolean {
  if (WRITES.has(expression.op)) return true;
  if (expression.op === "verdict") return expression.verdict.code === "jump" && program.writes(expression.verdict.chain);
  return expression.op === "lookup" && program.writes();
}

export interface CompileOptions {
  readonly memory: MemoryLimits;
  readonly places: Places;
  readonly tables: readonly LinkedTable[];
  /** Base chains by segment, in their order. */
  readonly segments: ReadonlyMap<number, readonly Placed[]>;
  /** Somebody hears of packets that are followed. */
  readonly traced: boolean;
}

/** The module; its exports are `s` and the number of a segment. */
export function compile({ memory, places, tables, segments, traced }: CompileOptions): Compiled {
  const compiler = new Compiler(memory, places, traced && tables.some(mayTrace));
  for (const table of tables) compiler.table(table);
  for (const [segment, chains] of segments) compiler.segment(segment, chains);
  return compiler.done();
}
