/** Rings of guests who mean no good: what they submit costs the owner what it is worth, and ends nothing but themselves. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Lab } from "../src/index.ts";
import * as c from "../src/posix/index.ts";
import { type Completion, Process, Ring, type RingSizes, type Submission } from "../src/posix/index.ts";
import { ProvidedBuffers } from "../src/posix/ring/buffers.ts";
import { SEED } from "./support.ts";

async function world(sizes: RingSizes = {}) {
  const lab = await Lab.create({ seed: 1 });
  const process = new Process(await lab.host());
  const ring = new Ring(process, sizes);
  const push = (entry: Submission, count = 1) => {
    for (let i = 0; i < count; i++) assert.ok(ring.queue.push(entry));
  };
  const pop = () => {
    const out: Completion[] = [];
    for (let each = ring.queue.pop(); each; each = ring.queue.pop()) out.push(each);
    return out;
  };
  /** An hour. */
  new DataView(ring.buffer, ring.queue.data.byteOffset).setBigInt64(0, 3600n, true);
  const end = async () => {
    ring.close();
    process.exit();
    await lab.engine.close();
  };
  return { lab, process, ring, push, pop, end };
}

describe("a ring", () => {
  it("ends time limits one after the other, however many end with a completion", async () => {
    const { ring, push, pop, end } = await world();
    for (let n = 0; n < 80; n++) {
      push({ opcode: c.IORING_OP_TIMEOUT, addr: 0, off: 1, userData: 1n }, 250);
      assert.equal(ring.enter(), 250);
    }
    push({ opcode: c.IORING_OP_NOP, userData: 2n });
    assert.equal(ring.enter(), 1);
    const done: Completion[] = [];
    for (let more = pop(); more.length > 0; more = pop()) {
      done.push(...more);
      ring.enter();
    }
    assert.equal(done.length, 20_001);
    assert.deepEqual([done[0].userData, new Set(done.slice(1).map(({ userData, res }) => `${userData} ${res}`))], [2n, new Set(["1 0"])]);
    await end();
  });

  it("counts the completions that a time limit waits for", async () => {
    const { ring, push, pop, end } = await world();
    push({ opcode: c.IORING_OP_TIMEOUT, addr: 0, off: 3, userData: 3n });
    push({ opcode: c.IORING_OP_TIMEOUT, addr: 0, off: 2, userData: 2n });
    push({ opcode: c.IORING_OP_NOP, userData: 9n }, 2);
    ring.enter();
    assert.deepEqual(
      pop().map(({ userData }) => userData),
      [9n, 9n, 2n, 3n],
    );
    await end();
  });

  it("runs a chain as long as its queue, and cancels one", async () => {
    const { ring, push, pop, end } = await world({ submissions: 32_768, completions: 65_536 });
    const link = { flags: c.IOSQE_IO_LINK, userData: 1n };
    push({ opcode: c.IORING_OP_NOP, ...link }, 32_768);
    assert.equal(ring.enter(), 32_768);
    assert.ok(pop().every(({ res }) => res === 0));
    push({ opcode: c.IORING_OP_READ, fd: 99, ...link });
    push({ opcode: c.IORING_OP_NOP, ...link }, 32_767);
    assert.equal(ring.enter(), 32_768);
    const results = pop().map(({ res }) => res);
    assert.deepEqual([results.length, results[0], new Set(results.slice(1))], [32_768, -c.EBADF, new Set([-c.ECANCELED])]);
    await end();
  });

  it("finds what a cancellation means without a look at all that waits", async () => {
    const { process, ring, push, pop, end } = await world();
    const pipe: [number, number] = [0, 0];
    process.pipe2(pipe);
    for (let n = 0; n < 200; n++) {
      for (let i = 0; i < 250; i++) push({ opcode: c.IORING_OP_POLL_ADD, fd: pipe[0], opFlags: c.POLLIN, userData: BigInt(n * 250 + i) });
      ring.enter();
    }
    for (let n = 0; n < 40; n++) {
      push({ opcode: c.IORING_OP_ASYNC_CANCEL, addr: 10_000_000, userData: 1n }, 250);
      ring.enter();
      assert.ok(pop().every(({ res }) => res === -c.ENOENT));
    }
    push({ opcode: c.IORING_OP_ASYNC_CANCEL, addr: 77, userData: 1n });
    ring.enter();
    assert.deepEqual(
      pop().map(({ userData, res }) => [userData, res]),
      [
        [77n, -c.ECANCELED],
        [1n, 0],
      ],
    );
    push({ opcode: c.IORING_OP_ASYNC_CANCEL, fd: pipe[0], opFlags: c.IORING_ASYNC_CANCEL_FD | c.IORING_ASYNC_CANCEL_ALL, userData: 2n });
    ring.enter();
    const done: Completion[] = [];
    for (let more = pop(); more.length > 0; more = pop()) {
      done.push(...more);
      ring.enter();
    }
    assert.deepEqual([done.length, done.at(-1)?.res], [50_000, 49_999]);
    await end();
  });

  it("splices when the full end has room again, and when the empty one has something", async () => {
    const { lab, process, ring, push, pop, end } = await world();
    const [a, b]: [number, number][] = [
      [0, 0],
      [0, 0],
    ];
    process.pipe2(a);
    process.pipe2(b);
    process.write(b[1], new Uint8Array(65_536));
    push({ opcode: c.IORING_OP_SPLICE, spliceFd: a[0], fd: b[1], len: 10, userData: 1n });
    ring.enter();
    process.write(a[1], new Uint8Array(10));
    await lab.run(1);
    assert.deepEqual(pop(), []);
    process.read(b[0], new Uint8Array(65_536));
    await lab.run(1);
    assert.deepEqual(
      pop().map(({ res }) => res),
      [10],
    );
    await end();
  });
});

describe("provided buffers", () => {
  it("cost a submission, not a buffer", async () => {
    const { ring, push, pop, end } = await world();
    const before = process.memoryUsage().heapUsed;
    for (let group = 0; group < 400; group++) {
      push({ opcode: c.IORING_OP_PROVIDE_BUFFERS, fd: 65_536, addr: 0, len: 1, bufferGroup: group, userData: 1n });
      ring.enter();
      assert.equal(pop()[0].res, 0);
    }
    // 26 million buffers.
    assert.ok(process.memoryUsage().heapUsed - before < 100e6);
    await end();
  });

  it("are bounded over all groups", () => {
    const buffers = new ProvidedBuffers();
    for (let n = 0; n < 65_536; n++) assert.equal(buffers.provide(n, 0, 1, 1, 0), 0);
    assert.equal(buffers.provide(7, 0, 1, 1, 0), -c.ENOMEM);
    assert.equal(buffers.withdraw(9, 5), 1);
    assert.equal(buffers.provide(7, 0, 1, 1, 0), 0);
  });

  it("come in order, as a list of each buffer has them", () => {
    const step = fc.oneof(
      fc.record({ what: fc.constant("provide" as const), count: fc.integer({ min: 1, max: 9 }), first: fc.nat(65_535) }),
      fc.record({ what: fc.constantFrom("take" as const, "peek" as const) }),
      fc.record({ what: fc.constant("withdraw" as const), count: fc.nat(12) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const buffers = new ProvidedBuffers();
        const model: { id: number; addr: number; len: number }[] = [];
        for (const each of steps) {
          if (each.what === "provide") {
            assert.equal(buffers.provide(1, each.first, 8, each.count, each.first), 0);
            for (let i = 0; i < each.count; i++) model.push({ id: (each.first + i) & 0xffff, addr: each.first + 8 * i, len: 8 });
          } else if (each.what === "withdraw") {
            const gone = model.splice(0, each.count).length;
            assert.equal(buffers.withdraw(1, each.count), gone === 0 ? -c.ENOENT : gone);
          } else {
            const buffer = buffers.take(1);
            assert.deepEqual(buffer, model[0] ?? -c.ENOBUFS);
            if (each.what === "take") model.shift();
            else if (typeof buffer !== "number") buffers.giveBack(1, buffer);
          }
        }
      }),
      { seed: SEED, numRuns: 500 },
    );
  });
});
