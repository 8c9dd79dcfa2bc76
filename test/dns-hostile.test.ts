/** What strangers send to a name server: it answers in few bytes or not at all, and goes on. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DnsServer, type DnsStream, decodeMessage, encodeMessage, Hosts, lookup, Zone } from "../src/dns/index.ts";
import { isBelow } from "../src/dns/name.ts";
import { Lab, serveDns } from "../src/index.ts";

const FORMERR = 1;

/** A query of `count` questions, each after the first a pointer to a name of 127 labels. */
function manyQuestions(size: number): Uint8Array {
  const out: number[] = [0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < 126; i++) out.push(1, 97);
  out.push(0, 0, 1, 0, 1);
  let count = 1;
  for (; out.length < size; count++) out.push(0xc0, 12, 0, 1, 0, 1);
  out[4] = count >> 8;
  out[5] = count & 255;
  return Uint8Array.from(out);
}

/** Questions that cannot be written again in 65,535 bytes: each name has another name inside of it. */
function questionsThatGrow(): Uint8Array {
  const name = new Uint8Array(255).fill(97);
  for (const at of [0, 64, 128, 63, 127]) name[at] = 63;
  for (const at of [192, 1]) name[at] = 61;
  name[191] = 61;
  name[254] = name[253] = 0;
  const out: number[] = [0x12, 0x34, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...name, 0, 1, 0, 1];
  let count = 1;
  for (; out.length < 0x4000; count++) out.push(0, 0, 1, 0, 1);
  for (let i = 0; i < 220; i++, count++) out.push(0xc0, 13, 0, 1, 0, 1);
  out[4] = count >> 8;
  out[5] = count & 255;
  return Uint8Array.from(out);
}

describe("a name server and messages of strangers", () => {
  it("answers more than one question with a header, whatever their number and size", async () => {
    const server = new DnsServer({});
    for (const query of [manyQuestions(1200), manyQuestions(65_000), questionsThatGrow(), new Uint8Array(12)]) {
      const answer = await server.answer(query, false);
      assert.equal(answer?.length, 12);
      assert.equal(decodeMessage(answer).rcode, FORMERR);
    }
    assert.deepEqual([server.counters.queries, server.counters.format_errors], [0, 4]);
  });

  it("does not read records that no query has", async () => {
    const server = new DnsServer({});
    const [name, ttl, type] = ["a.test", 1, "A" as const];
    const record = { name, ttl, type, address: "10.0.0.1" };
    for (const extra of [{ answers: [record] }, { authorities: [record, record] }, { additionals: [record, record, record] }]) {
      const answer = await server.answer(encodeMessage({ id: 1, questions: [{ name, type }], ...extra }), true);
      assert.equal(answer && decodeMessage(answer).rcode, FORMERR);
    }
  });

  it("never says more in a datagram than 512 bytes, or what EDNS allows", async () => {
    const name = "a.test";
    const entries = Array.from({ length: 12 }, () => new Uint8Array(250).fill(97));
    const server = new DnsServer({ zones: [new Zone("test", [{ name, type: "TXT", entries }])] });
    const question = { name, type: "TXT" as const };
    for (const [udpSize, most] of [
      [undefined, 512],
      [100, 512],
      [900, 900],
      [65_535, 1232],
    ] as const) {
      const edns = udpSize === undefined ? undefined : { udpSize };
      const answer = await server.answer(encodeMessage({ id: 1, questions: [question], edns }), false);
      assert.ok(answer && answer.length <= most, `${answer?.length} bytes for ${udpSize}`);
      assert.ok(decodeMessage(answer).truncated);
    }
  });

  it("goes on after a datagram whose answer cannot be written", async () => {
    const lab = await Lab.create({ seed: 1 });
    const [client, host] = [
      await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }),
      await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] }),
    ];
    lab.link(client, host, { delay: 1 });
    const { server } = serveDns(host, { zones: [new Zone("test", [{ name: "a.test", type: "A", address: "10.9.9.9" }])] });
    const socket = client.datagram({ port: 5555 });
    socket.send(questionsThatGrow(), { address: "10.0.0.2", port: 53 });
    await lab.run(200);
    assert.equal(server.counters.format_errors, 1);
    socket.send(encodeMessage({ id: 2, questions: [{ name: "a.test", type: "A" }] }), { address: "10.0.0.2", port: 53 });
    await lab.run(200);
    assert.deepEqual(
      [socket.tryReceive(), socket.tryReceive()].map((each) => each && decodeMessage(each.data).rcode),
      [FORMERR, 0],
    );
    await lab.engine.close();
  });

  it("gives an address its share of the streams and no more", async () => {
    const server = new DnsServer({ streams: 10, streamsPerClient: 3, alarms: { now: () => 0, after: () => () => {} } });
    const opened: { aborted: boolean; end: () => void }[] = [];
    const open = (client: string) => {
      const state = { aborted: false, end: () => {} };
      const stream: DnsStream = {
        read: () => new Promise((resolve) => (state.end = () => resolve(null))),
        write: async () => {},
        abort: () => (state.aborted = true),
      };
      opened.push(state);
      void server.serveStream(stream, client);
      return state;
    };
    const greedy = Array.from({ length: 5 }, () => open("10.0.0.9"));
    assert.deepEqual(
      greedy.map(({ aborted }) => aborted),
      [false, false, false, true, true],
    );
    assert.equal(open("10.0.0.8").aborted, false);
    assert.equal(server.counters.over_limit, 2);
    // A stream that ends makes room for another.
    greedy[0].end();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.deepEqual([open("10.0.0.9").aborted, open("10.0.0.9").aborted], [false, true]);
  });
});

describe("dots inside of labels", () => {
  const labels = (...texts: string[]) => [...texts.flatMap((text) => [text.length, ...new TextEncoder().encode(text)]), 0];
  const query = (...texts: string[]) => Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels(...texts), 0, 1, 0, 1]);

  it("end no label: such a name is in no zone and no special one", async () => {
    const server = new DnsServer({ zones: [new Zone("lan.test", [])] });
    const rcode = async (...texts: string[]) => {
      const message = decodeMessage((await server.answer(query(...texts), false)) as Uint8Array);
      return [message.rcode, message.authoritative];
    };
    for (const texts of [["x.lan", "test"], ["evil.localhost"], ["a.onion"], ["b.invalid"]]) {
      assert.deepEqual(await rcode(...texts), [5, false], texts.join("|"));
    }
    assert.deepEqual(await rcode("x", "lan", "test"), [3, true]);
    assert.deepEqual(await rcode("evil", "localhost"), [0, true]);
    assert.deepEqual(await rcode("a\\", "onion"), [3, true]);
  });

  it("and backslashes in front of backslashes are told apart", async () => {
    assert.ok(isBelow("a.onion", "onion") && isBelow("a\\\\.onion", "onion"));
    assert.ok(!isBelow("a\\.onion", "onion") && !isBelow("a\\\\\\.onion", "onion"));
    const hosts = new Hosts();
    await assert.rejects(lookup({ hosts }, "evil\\.localhost"), { code: "EAI_AGAIN" });
    assert.deepEqual(await lookup({ hosts }, "good.localhost", { family: 4 }), [{ address: "127.0.0.1", family: 4 }]);
  });
});
