// The import rule between floors (docs/architecture.md): imports point down, across the two halves only through abi.ts.
const floors = [
  ["base", ["base"]],
  ["wire", ["base", "wire"]],
  ["rib", ["base", "rib"]],
  ["engine", ["base", "engine"]],
  ["link", ["base", "wire", "engine", "link"]],
  ["filter", ["base", "wire", "engine", "filter"]],
  ["balance", ["base", "wire", "engine", "balance"]],
  ["queue", ["base", "engine", "queue"]],
  ["track", ["base", "wire", "engine", "track"]],
  ["ip", ["base", "wire", "engine", "ip"]],
  ["datagram", ["base", "engine", "ip", "datagram"]],
  ["udp", ["base", "wire", "engine", "ip", "datagram", "udp"]],
  ["raw", ["base", "wire", "engine", "ip", "datagram", "raw"]],
  ["tcp", ["base", "engine", "ip", "tcp"]],
  ["socket", ["base", "engine", "ip", "datagram", "tcp", "unix", "socket"]],
  ["unix", ["base", "unix"]],
  ["dns", ["base", "dns"]],
  ["dhcp", ["base", "dhcp"]],
  [
    "host",
    ["base", "wire", "engine", "link", "track", "filter", "ip", "datagram", "udp", "raw", "tcp", "unix", "socket", "dns", "dhcp", "host"],
  ],
  ["portmap", ["base", "track", "ip", "socket", "host", "portmap"]],
  ["posix", ["base", "engine", "ip", "datagram", "udp", "raw", "tcp", "unix", "socket", "host", "posix"]],
  ["node", ["base", "engine", "ip", "datagram", "udp", "tcp", "unix", "socket", "dns", "host", "node"]],
  ["deno", ["base", "engine", "ip", "udp", "tcp", "unix", "socket", "dns", "host", "deno"]],
  ["sockets", ["base", "engine", "socket", "host", "deno", "sockets"]],
  ["lab", ["base", "wire", "engine", "link", "host", "lab"]],
  [
    "router",
    ["base", "wire", "engine", "link", "filter", "track", "balance", "queue", "ip", "socket", "dns", "dhcp", "host", "portmap", "router"],
  ],
  ["measure", ["base", "wire", "rib", "engine", "link", "measure"]],
  ["cli", ["base", "wire", "rib", "engine", "link", "track", "measure", "host", "router", "cli"]],
  ["playground", ["base", "wire", "rib", "engine", "link", "track", "measure", "socket", "host", "lab", "playground"]],
];
const ownFloors = floors.map(([floor, allowed]) => ({
  name: `floor-${floor}`,
  comment: `src/${floor} may import ${allowed.map((name) => `src/${name}`).join(", ")} and assembly/abi.ts`,
  severity: "error",
  from: { path: `^src/${floor}/` },
  to: { path: "^(src|assembly|test|bench)/", pathNot: `^(src/(${allowed.join("|")})/|assembly/abi\\.ts$)` },
}));
const plane = [
  ["core", ["core"]],
  ["wire", ["core", "wire"]],
  ["table", ["core", "wire", "table"]],
  ["flow", ["core", "wire", "table", "flow"]],
  ["queue", ["core", "wire", "queue"]],
  ["device", ["core", "wire", "table", "queue", "device"]],
  ["node", ["core", "wire", "table", "flow", "device"]],
].map(([floor, allowed]) => ({
  name: `plane-${floor}`,
  comment: `assembly/${floor} may import ${allowed.map((name) => `assembly/${name}`).join(", ")} and abi.ts; nodes never import nodes`,
  severity: "error",
  from: { path: `^assembly/${floor}/` },
  to: { path: "^(src|assembly)/", pathNot: `^assembly/((${allowed.join("|")})/|abi\\.ts$)` },
}));

module.exports = {
  forbidden: [
    ...ownFloors,
    ...plane,
    { name: "no-circular", severity: "error", from: {}, to: { circular: true } },
    {
      name: "no-runtime-in-core",
      comment: "the core knows no runtime: node: imports live in adapters and in the command line",
      severity: "error",
      from: {
        path: "^src/",
        pathNot:
          "^src/(cli/|node/|router/[a-z0-9-]+-node\\.ts$|engine/threads-node\\.ts$|link/[a-z0-9-]+-node\\.ts$|deno/[a-z0-9-]+-node\\.ts$)",
      },
      to: { dependencyTypes: ["core"] },
    },
    { name: "unresolvable", severity: "error", from: {}, to: { couldNotResolve: true, pathNot: "^(#threads|uplot)" } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "__tests__" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js"], exportsFields: ["exports"], conditionNames: ["node", "import", "default"] },
  },
};
