/** The real `nft` in a network namespace of its own, where there is one: root, iproute2 and nftables are needed. */
import { spawnSync } from "node:child_process";

export interface Output {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
const run = (command: string, args: readonly string[], input?: string): Output => {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    input,
    maxBuffer: 1 << 28,
    env: { ...process.env, TZ: "UTC" },
  });
  return { status: status ?? 1, stdout: stdout ?? "", stderr: stderr ?? "" };
};

export class NftNamespace {
  private readonly name = `nft-${process.pid}-${Math.floor(performance.now())}`;
  constructor() {
    const made = run("ip", ["netns", "add", this.name]);
    if (made.status !== 0) throw new Error(made.stderr);
  }
  command(...args: readonly string[]): Output {
    return run("ip", ["netns", "exec", this.name, ...args]);
  }
  nft(...args: readonly string[]): Output {
    return this.command("nft", ...args);
  }
  /** Commands from standard input, which nft calls /dev/stdin. */
  feed(text: string, ...args: readonly string[]): Output {
    return run("ip", ["netns", "exec", this.name, "nft", ...args, "-f", "-"], text);
  }
  remove(): void {
    run("ip", ["netns", "del", this.name]);
  }
}
/** Why there is nothing to compare with, or undefined. The texts compared are those of version 1.0.6. */
export function missingNft(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  const version = run("nft", ["--version"]);
  if (version.status !== 0) return "needs nft";
  if (!version.stdout.includes("v1.0.6")) return `needs nft 1.0.6, not ${version.stdout.trim()}`;
  try {
    const namespace = new NftNamespace();
    const { status, stderr } = namespace.nft("add", "table", "inet", "probe");
    namespace.remove();
    return status === 0 ? undefined : `nft does not work here: ${stderr.trim()}`;
  } catch (error) {
    return `needs network namespaces: ${(error as Error).message.trim()}`;
  }
}
