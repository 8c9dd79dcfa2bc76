/**
 * Where keys belong by other implementations of Ketama: facts from the tests that spymemcached publishes (KetamaNodeLocatorTest,
 * "testLibKetamaCompat" and "…Two" were made with libketama itself).
 */
export interface KeysOfServers {
  readonly servers: readonly string[];
  readonly keys: Readonly<Record<string, string>>;
}

const LOCAL = Array.from({ length: 5 }, (_, i) => `127.0.0.1:${10_000 + i}`);
const EIGHT = Array.from({ length: 8 }, (_, i) => `10.0.1.${i + 1}:11211`);

/** Last octets of the servers of keys that are so far apart. */
function octets(first: number, step: number, list: string): [string, string][] {
  return [...list].map((octet, i) => [`${first + i * step}`, `10.0.1.${octet}:11211`]);
}

export const KETAMA_KEYS: readonly KeysOfServers[] = [
  { servers: LOCAL, keys: { "36": LOCAL[2], "10037": LOCAL[3], "22051": LOCAL[1], "49044": LOCAL[4], "some other key": LOCAL[4] } },
  { servers: LOCAL.slice(0, 4), keys: { dustin: LOCAL[0], noelani: LOCAL[2], "some other key": LOCAL[0], V5XS8C8N: LOCAL[3] } },
  {
    servers: EIGHT,
    keys: Object.fromEntries([
      ...octets(0, 233, "173162165373612384434742232755154255122163251552538227538636682371413355414762"),
      ...octets(28_892, 233, "7475773834612281327453367136857257888"),
    ]),
  },
];

/** The highest point of the first four local servers. */
export const KETAMA_LAST_POINT = 4_294_887_009;
