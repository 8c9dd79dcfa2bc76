/**
 * A WebAssembly module put together from its parts (WebAssembly Core Specification 2.0, §5.5): types, imports, functions, one
 * table of functions, exports. Imports come before the module's own functions in the numbering, so all of them are named first.
 */
import { ByteWriter, type Code, type ValueType } from "./code.ts";

export interface MemoryLimits {
  readonly pages: number;
  readonly shared: boolean;
}

interface Body {
  readonly type: number;
  readonly code: Code | undefined;
  readonly locals: readonly ValueType[];
}

const TYPE = 1;
const IMPORT = 2;
const FUNCTION = 3;
const TABLE = 4;
const EXPORT = 7;
const ELEMENT = 9;
const CODE = 10;
const FUNCREF = 0x70;

function name(out: ByteWriter, text: string): void {
  const bytes = new TextEncoder().encode(text);
  out.unsigned(bytes.length);
  out.raw(bytes);
}

export class WasmModule {
  private readonly types = new Map<string, { index: number; bytes: Uint8Array }>();
  private readonly imports: { module: string; name: string; type: number }[] = [];
  private readonly bodies: Body[] = [];
  private readonly exports: { name: string; index: number }[] = [];
  private readonly elements: { at: number; index: number }[] = [];
  private readonly memory: MemoryLimits;

  constructor(memory: MemoryLimits) {
    this.memory = memory;
  }

  type(parameters: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${parameters}>${results}`;
    const known = this.types.get(key);
    if (known) return known.index;
    const bytes = Uint8Array.of(0x60, parameters.length, ...parameters, results.length, ...results);
    const index = this.types.size;
    this.types.set(key, { index, bytes });
    return index;
  }

  /** A function of another module; its index. All imports are made before the first function. */
  import(module: string, name: string, type: number): number {
    this.imports.push({ module, name, type });
    return this.imports.length - 1;
  }

  /** A function whose body comes later, so that others may call it; its index. */
  declare(type: number): number {
    this.bodies.push({ type, code: undefined, locals: [] });
    return this.imports.length + this.bodies.length - 1;
  }

  define(index: number, code: Code, locals: readonly ValueType[]): void {
    const at = index - this.imports.length;
    this.bodies[at] = { type: this.bodies[at].type, code, locals };
  }

  export(name: string, index: number): void {
    this.exports.push({ name, index });
  }

  /** Puts a function into the module's own table. */
  element(at: number, index: number): void {
    this.elements.push({ at, index });
  }

  encode(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter(1 << 16);
    out.raw(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const section = (id: number, write: (out: ByteWriter) => void) => {
      const body = new ByteWriter(1 << 10);
      write(body);
      out.byte(id);
      out.unsigned(body.length);
      out.raw(body.done());
    };
    section(TYPE, (o) => {
      o.unsigned(this.types.size);
      for (const { bytes } of this.types.values()) o.raw(bytes);
    });
    section(IMPORT, (o) => this.writeImports(o));
    section(FUNCTION, (o) => {
      o.unsigned(this.bodies.length);
      for (const body of this.bodies) o.unsigned(body.type);
    });
    const entries = this.elements.reduce((most, { at }) => Math.max(most, at + 1), 0);
    section(TABLE, (o) => {
      o.raw(Uint8Array.of(1, FUNCREF, 0));
      o.unsigned(entries);
    });
    section(EXPORT, (o) => {
      o.unsigned(this.exports.length);
      for (const { name: text, index } of this.exports) {
        name(o, text);
        o.byte(0);
        o.unsigned(index);
      }
    });
    section(ELEMENT, (o) => {
      o.unsigned(this.elements.length);
      for (const { at, index } of this.elements) {
        o.byte(0);
        o.byte(0x41);
        o.signed(at);
        o.byte(0x0b);
        o.unsigned(1);
        o.unsigned(index);
      }
    });
    section(CODE, (o) => {
      o.unsigned(this.bodies.length);
      for (const body of this.bodies) writeBody(o, body);
    });
    return new Uint8Array(out.done());
  }

  private writeImports(o: ByteWriter): void {
    o.unsigned(this.imports.length + 1);
    for (const { module, name: text, type } of this.imports) {
      name(o, module);
      name(o, text);
      o.byte(0);
      o.unsigned(type);
    }
    name(o, "env");
    name(o, "memory");
    o.byte(2);
    o.byte(this.memory.shared ? 3 : 1);
    o.unsigned(this.memory.pages);
    o.unsigned(this.memory.pages);
  }
}

function writeBody(out: ByteWriter, { code, locals }: Body): void {
  if (!code) throw new Error("a declared function has no body");
  const head = new ByteWriter(16);
  const runs: { type: ValueType; count: number }[] = [];
  for (const type of locals) {
    const last = runs.at(-1);
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  head.unsigned(runs.length);
  for (const { type, count } of runs) {
    head.unsigned(count);
    head.byte(type);
  }
  const body = code.done();
  out.unsigned(head.length + body.length + 1);
  out.raw(head.done());
  out.raw(body);
  out.byte(0x0b);
}
