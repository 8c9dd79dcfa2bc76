/** An sshd for a test: keys of its own, and the command line of a client that may enter. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import type { Namespace } from "./kernel-support.ts";

/** Starts sshd in the namespace; returns the client's command, to be followed by the address and what to run there. */
export async function sshServer(namespace: Namespace, folder: string, port: number): Promise<(options: string) => string> {
  for (const name of ["host", "user"]) execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `${folder}/${name}`]);
  mkdirSync("/run/sshd", { recursive: true });
  writeFileSync(
    `${folder}/sshd.conf`,
    `Port ${port}
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/user.pub
PidFile ${folder}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
`,
  );
  await namespace.start("/usr/sbin/sshd", ["-D", "-e", "-f", `${folder}/sshd.conf`], /listening on :: port/);
  const known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes";
  return (options) => `ssh -F none -i ${folder}/user ${known} -o ConnectTimeout=5 ${options}`;
}
