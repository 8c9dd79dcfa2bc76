/**
 * Run by a test as a process of its own, with the name of a case: how long a process lives whose engine does not keep it.
 * Each case prints what it did; that it ends at all, and not before, is what is tested.
 */
import { Zone } from "../../src/dns/index.ts";
import { serveDns } from "../../src/host/index.ts";
import { forHost } from "../../src/node/index.ts";
import { pair } from "./places.ts";

const { engine, client, server } = await pair();
engine.unref();
const [near, far] = [forHost(client), forHost(server)];
const say = (text: string) => console.log(text);

const CASES: Record<string, () => void> = {
  /** Nothing is open: it ends at once. */
  nothing: () => say("nothing"),
  /** A listening server keeps it; the test has to end it. */
  server: () => {
    far.net.createServer().listen(80, () => say("listening"));
  },
  /** Unless it is told not to. */
  unref: () => {
    far.net
      .createServer()
      .unref()
      .listen(80, () => say("listening"));
    far.dgram.createSocket("udp4").unref().bind(81);
    near.net
      .connect(80, "10.0.0.2")
      .unref()
      .on("connect", () => say("never"));
  },
  /** A request and its answer, after which nothing is open. */
  exchange: () => {
    const listening = far.net.createServer((socket) => socket.end("x".repeat(3_000_000)));
    listening.listen(80, () => {
      let n = 0;
      near.net
        .connect(80, "10.0.0.2")
        .on("data", (chunk) => (n += chunk.length))
        .on("end", () => {
          say(`got ${n}`);
          listening.close();
        });
    });
  },
  /** What was written before the end goes out, although the socket is destroyed. */
  last: () => {
    const listening = far.net.createServer((socket) => {
      let n = 0;
      listening.unref();
      socket.unref();
      socket.on("data", (chunk) => (n += chunk.length)).on("end", () => say(`got ${n}`));
    });
    listening.listen(80, () => {
      const socket = near.net.connect(80, "10.0.0.2", () => socket.write(Buffer.alloc(200_000), () => socket.destroy()));
    });
  },
  /** An end of a connection that may still be written, and that nobody writes: the other is gone. */
  idle: () => {
    const listening = far.net.createServer((socket) => {
      socket.end("bye", () => socket.destroy());
      listening.close();
    });
    listening.listen(80, () => {
      near.net.connect({ port: 80, host: "10.0.0.2", allowHalfOpen: true } as never).on("data", (data) => say(String(data)));
    });
  },
  /** One that is open at both ends, and that nobody reads. */
  paused: () => {
    const listening = far.net.createServer({ pauseOnConnect: true }, () => {
      listening.close();
      say("accepted");
    });
    listening.listen(80, () => near.net.connect(80, "10.0.0.2").pause());
  },
  /** A lookup that is under way. */
  lookup: () => {
    const zone = new Zone("loom.test", [{ name: "www.loom.test", type: "A", address: "10.0.0.9" }]);
    serveDns(server, { zones: [zone] });
    client.resolver.servers = ["10.0.0.2"];
    near.dns.lookup("www.loom.test", (_, address) => say(`address ${address}`));
  },
  /** A datagram that is waited for. */
  datagram: () => {
    const inbox = far.dgram.createSocket("udp4", (message) => {
      say(String(message));
      inbox.close();
    });
    inbox.bind(53, () => {
      const sender = near.dgram.createSocket("udp4");
      setTimeout(() => sender.send("datagram", 53, "10.0.0.2", () => sender.close()), 50);
    });
  },
};
CASES[process.argv[2]]();
