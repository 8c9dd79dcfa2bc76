/** Networks of hosts in one process: links with impairments, virtual time, runs that repeat bit for bit. */
export * from "./lab.ts";
export * from "./link.ts";
