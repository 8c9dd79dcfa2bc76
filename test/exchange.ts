/** Two ends of a connection in a lab that send each other the same bytes, and compare what arrived. */
import assert from "node:assert/strict";
import type { Lab } from "../src/index.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { body, sha } from "./kernel-support.ts";

/** Both send `bytes` and close in order. */
export async function exchange(lab: Lab, ends: readonly Tcb[], bytes: number): Promise<void> {
  const data = body(bytes);
  const got = new Map<Tcb, Buffer[]>();
  for (const tcb of ends) {
    let sent = 0;
    const parts: Buffer[] = [];
    got.set(tcb, parts);
    const pump = () => {
      if (sent < bytes) sent += user.write(tcb, data.subarray(sent));
    };
    const out = new Uint8Array(65_536);
    const readable = () => {
      for (let n = user.read(tcb, out); n > 0; n = user.read(tcb, out)) parts.push(Buffer.from(out.slice(0, n)));
    };
    tcb.events = { writable: pump, readable };
    pump();
  }
  const whole = (tcb: Tcb) => (got.get(tcb) ?? []).reduce((n, part) => n + part.length, 0) === bytes;
  await lab.run(300_000, () => ends.every(whole));
  for (const tcb of ends) assert.equal(sha(Buffer.concat(got.get(tcb) ?? [])), sha(data));
  for (const tcb of ends) user.close(tcb);
  await lab.run(200_000);
}
