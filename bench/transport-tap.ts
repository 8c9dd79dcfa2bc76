/**
 * TCP between a host and the Linux kernel over TAP with offloads, measured by iperf3; and, in the same run, between two
 * kernels whose TAP devices are ports of one engine and one bridge.
 */
import { Host } from "../src/host/host.ts";
import { Engine } from "../src/index.ts";
import { tap } from "../src/link/tap.ts";
import { serveOnce } from "../test/iperf3.ts";
import { missing, Namespace } from "../test/kernel-support.ts";
import { type Context, type Profile, result } from "./harness.ts";

const OURS = "10.90.0.2";
const THEIRS = "10.90.0.1";

/** Gbit/s that iperf3's receiver counted. */
async function iperf3(namespace: Namespace, context: Context, flags: string): Promise<number> {
  const seconds = Math.max(1, Math.round(context.ms / 1000));
  const { code, out } = await namespace.run(`iperf3 -c ${OURS} -t ${seconds} -J ${flags}`);
  if (code !== 0) throw new Error(`iperf3: ${out.slice(0, 300)}`);
  const { end } = JSON.parse(out);
  return end.sum_received.bits_per_second / 1e9;
}

async function rates(context: Context, run: () => Promise<number>): Promise<number[]> {
  const out: number[] = [];
  for (let i = 0; i < context.runs; i++) out.push(await run());
  return out;
}

/** Both directions between the kernel and a host. */
async function withHost(context: Context): Promise<{ up: number[]; down: number[] }> {
  const namespace = new Namespace();
  const host = await Host.create({ interfaces: [{ device: tap({ name: "t0", namespace: namespace.name }), addresses: [`${OURS}/24`] }] });
  namespace.up("t0", `${THEIRS}/24`);
  const measure = (flags: string) =>
    rates(context, async () => {
      const serving = serveOnce(host, 5201);
      const rate = await iperf3(namespace, context, flags);
      const { ours, theirs } = await serving;
      // What one counted as received the other counted as sent.
      const [sent, received] = flags === "-R" ? [ours, theirs] : [theirs, ours];
      if (!(received.bytes > 0 && received.bytes <= sent.bytes)) throw new Error(`${received.bytes} of ${sent.bytes} bytes arrived`);
      return rate;
    });
  try {
    return { up: await measure(""), down: await measure("-R") };
  } finally {
    await host.close();
    await namespace.remove();
  }
}

/** Kernel to kernel, through TAP devices of one engine joined by its bridge. */
async function betweenKernels(context: Context): Promise<number> {
  const [left, right] = [new Namespace(), new Namespace()];
  const engine = await Engine.create({
    ports: 2,
    bridges: 1,
    buffers: 8192,
    bareDescriptors: 16_384,
    ringCapacity: 4096,
    appBytes: 64 << 20,
  });
  for (const [i, { name }] of [left, right].entries()) engine.attach(await tap({ name: "t0", namespace: name })(engine, engine.port(i)));
  engine.createBridge().add(engine.port(0)).add(engine.port(1));
  engine.start();
  left.up("t0", `${THEIRS}/24`);
  right.up("t0", `${OURS}/24`);
  await right.start("iperf3", ["-s", "--forceflush"], /listening/);
  try {
    const all = await rates(context, async () => {
      const rate = await iperf3(left, context, "");
      await right.listens(5201);
      return rate;
    });
    return result("", "", all).value;
  } finally {
    await engine.close();
    await left.remove();
    await right.remove();
  }
}

const overTap: Profile = async (context) => {
  const why = missing("iperf3");
  if (why) {
    console.error(`tcp-tap: left out, it ${why}`);
    return [];
  }
  const { up, down } = await withHost(context);
  const kernels = await betweenKernels(context);
  return [
    ["tcp-tap-receive", up],
    ["tcp-tap-send", down],
  ].map(([profile, all]) =>
    result(profile as string, "Gbit/s", all as number[], {
      vs: { "kernel to kernel": result("", "", all as number[]).value / kernels },
      note: `two kernels over the same engine ${kernels.toFixed(1)} Gbit/s`,
    }),
  );
};

export const tapTransport: Record<string, Profile> = { "tcp-tap": overTap };
