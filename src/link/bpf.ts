/**
 * Just enough of eBPF (RFC 9669) to send an interface's packets to a socket: an assembler for the one program that is
 * needed, and the calls of bpf(2) that make its map, load it and attach it. No compiler, no library.
 */
import { LoomError } from "../base/errors.ts";
import { struct, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";

/** Classes, modes and operations of an opcode. */
const LDX_W = 0x61;
const LD_IMM64 = 0x18;
const MOV64_IMM = 0xb7;
const CALL = 0x85;
const EXIT = 0x95;
/** The source register of LD_IMM64 says that its value is the descriptor of a map. */
const PSEUDO_MAP_FD = 1;
const BPF_REDIRECT_MAP = 51;
const XDP_PASS = 2;
/** Offset of rx_queue_index in struct xdp_md. */
const RX_QUEUE_INDEX = 16;

const BPF_MAP_CREATE = 0;
const BPF_MAP_UPDATE_ELEM = 2;
const BPF_PROG_LOAD = 5;
const BPF_LINK_CREATE = 28;
const MAP_TYPE_XSKMAP = 17;
const PROG_TYPE_XDP = 6;
const ATTACH_XDP = 37;
/** The program works on packets of several pieces. */
const F_XDP_HAS_FRAGS = 1 << 5;

/** Where a program is attached: in the driver, or behind it on finished buffers. */
export const XDP_MODES = { native: 4, generic: 2 } as const;

function instruction(opcode: number, destination: number, source: number, offset: number, value: number): Uint8Array {
  return struct(8, [
    [0, 1, opcode],
    [1, 1, destination | (source << 4)],
    [2, 2, offset],
    [4, 4, value],
  ]);
}

/**
 * return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS): to the socket of the packet's queue, or on to the
 * kernel when there is none.
 */
export function redirectProgram(map: number): Uint8Array {
  const code = [
    instruction(LDX_W, 2, 1, RX_QUEUE_INDEX, 0),
    instruction(LD_IMM64, 1, PSEUDO_MAP_FD, 0, map),
    instruction(0, 0, 0, 0, 0),
    instruction(MOV64_IMM, 3, 0, 0, XDP_PASS),
    instruction(CALL, 0, 0, 0, BPF_REDIRECT_MAP),
    instruction(EXIT, 0, 0, 0, 0),
  ];
  const out = new Uint8Array(8 * code.length);
  code.forEach((each, i) => out.set(each, 8 * i));
  return out;
}

/** Numbers of the system call bpf, by machine as uname names it. */
const CALLS: Record<string, number> = { x86_64: 321, aarch64: 280, riscv64: 280, loongarch64: 280, s390x: 351, ppc64le: 361 };

export class Bpf {
  private readonly libc: Libc;
  private readonly call: number;

  constructor(libc: Libc) {
    this.libc = libc;
    // Six strings of 65 bytes; the fifth is the machine.
    const names = new Uint8Array(6 * 65);
    libc.uname(names);
    const machine = new TextDecoder().decode(names.subarray(4 * 65, names.indexOf(0, 4 * 65)));
    const call = CALLS[machine];
    if (call === undefined) throw new LoomError("ENOTSUP", `AF_XDP is not known on machines of type ${machine}`);
    this.call = call;
  }

  private run(command: number, attributes: Uint8Array, what: string, explain?: () => string): number {
    const result = this.libc.syscall(this.call, command, attributes, attributes.length);
    if (result >= 0) return result;
    const error = systemError(what, this.libc.errno(), "CAP_NET_ADMIN and CAP_BPF");
    const more = explain?.();
    throw more ? new LoomError(error.code, `${error.message} (${more})`) : error;
  }

  /** A map from queue numbers to sockets. */
  createSocketMap(queues: number): number {
    const attributes = struct(72, [
      [0, 4, MAP_TYPE_XSKMAP],
      [4, 4, 4],
      [8, 4, 4],
      [12, 4, queues],
    ]);
    return this.run(BPF_MAP_CREATE, attributes, "cannot make a map of sockets");
  }

  /** Loads an XDP program; the verifier's last words are in the error. */
  load(program: Uint8Array): number {
    const license = new TextEncoder().encode("MIT\0");
    const log = new Uint8Array(new ArrayBuffer(16_384));
    const attributes = struct(144, [
      [0, 4, PROG_TYPE_XDP],
      [4, 4, program.length / 8],
      [8, 8, this.libc.address(program.buffer)],
      [16, 8, this.libc.address(license.buffer)],
      [24, 4, 1],
      [28, 4, log.length],
      [32, 8, this.libc.address(log.buffer)],
      [44, 4, F_XDP_HAS_FRAGS],
      [68, 4, ATTACH_XDP],
    ]);
    const explain = () =>
      new TextDecoder()
        .decode(log.subarray(0, log.indexOf(0)))
        .trim()
        .split("\n")
        .at(-1) ?? "";
    return this.run(BPF_PROG_LOAD, attributes, "cannot load the redirect program", explain);
  }

  /** Attaches a program to an interface until the descriptor that this returns is closed. */
  attach(program: number, index: number, mode: number, name: string): number {
    const attributes = struct(64, [
      [0, 4, program],
      [4, 4, index],
      [8, 4, ATTACH_XDP],
      [12, 4, mode],
    ]);
    return this.run(BPF_LINK_CREATE, attributes, `cannot attach an XDP program to ${name}`);
  }

  setSocket(map: number, queue: number, socket: number): void {
    const key = struct(8, [[0, 4, queue]]);
    const value = struct(8, [[0, 4, socket]]);
    const attributes = struct(32, [
      [0, 4, map],
      [8, 8, this.libc.address(key.buffer)],
      [16, 8, this.libc.address(value.buffer)],
    ]);
    this.run(BPF_MAP_UPDATE_ELEM, attributes, `cannot put a socket at queue ${queue}`);
  }
}
