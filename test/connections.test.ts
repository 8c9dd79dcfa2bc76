/** The table of connections: what is in it is found, and nobody chooses a chain. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Connections } from "../src/tcp/connections.ts";
import type { Demultiplexed } from "../src/tcp/tcb.ts";
import { random } from "./support.ts";

const LOCAL = new IpAddress(0x20010db8, 0, 0, 1);

interface Entry extends Demultiplexed {
  hash: number;
}

function entry(table: Connections, remote: IpAddress, localPort: number, remotePort: number): Entry {
  const hash = table.hash(remote.a, remote.b, remote.c, remote.d, LOCAL.d, (localPort << 16) | remotePort);
  return { local: LOCAL, remote, localPort, remotePort, hash, hashNext: undefined, device: undefined };
}

/** Entries in the chain that each entry is in, at most. */
function longest(table: Connections, entries: readonly Entry[]): number {
  let most = 0;
  for (const { hash } of entries) {
    let length = 0;
    for (let each = table.first(hash); each; each = each.hashNext) length++;
    most = Math.max(most, length);
  }
  return most;
}

describe("the table of connections", () => {
  it("holds what a Map would, through additions, removals and replacements", (t) => {
    const chance = random(t);
    const table = new Connections([chance.u32(), chance.u32()]);
    const model = new Set<Entry>();
    for (let step = 0; step < 20_000; step++) {
      const held = [...model].at(chance.below(Math.max(model.size, 1)));
      const remote = new IpAddress(0, 0, 0xffff, chance.below(500));
      if (held && chance.below(5) < 2 + (step > 10_000 ? 1 : 0)) {
        if (chance.below(4) === 0) {
          const by = { ...held, hashNext: undefined };
          table.replace(held, by);
          model.add(by);
        } else table.delete(held);
        model.delete(held);
      } else if (model.size < 2000) {
        const added = entry(table, remote, chance.below(70), chance.below(65_536));
        table.add(added);
        model.add(added);
      }
    }
    assert.deepEqual(new Set(table), model);
    assert.equal(table.size, model.size);
    for (let port = 0; port < 70; port++) {
      assert.equal(table.usesOf(port), [...model].filter((each) => each.localPort === port).length);
    }
    for (const each of model) {
      let found = table.first(each.hash);
      while (found && found !== each) found = found.hashNext;
      assert.equal(found, each);
    }
  });

  it("spreads addresses that somebody has chosen from a prefix, whatever relation their words have", (t) => {
    const chance = random(t);
    const relations: ((i: number) => [number, number])[] = [
      (i) => [i, 0],
      (i) => [0, i],
      (i) => [i, i],
      (i) => [i, i << 7],
      (i) => [i << 16, i],
      (i) => [i, -i | 0],
    ];
    for (const words of relations) {
      const table = new Connections([chance.u32(), chance.u32()]);
      const entries = Array.from({ length: 8192 }, (_, i) => entry(table, new IpAddress(0x20010db8, 1, ...words(i)), 80, 4000));
      for (const each of entries) table.add(each);
      // As many as chance alone would put together, and some.
      assert.ok(longest(table, entries) <= 16, `${longest(table, entries)} in one chain`);
    }
  });
});
