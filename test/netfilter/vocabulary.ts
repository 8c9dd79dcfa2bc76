/** The few addresses, ports and interfaces that generated rules and conversations have in common. */
export const CLIENTS4 = ["192.168.1.10", "192.168.1.11", "192.168.1.12", "192.168.1.13"];
export const SERVERS4 = ["198.51.100.7", "198.51.100.8", "198.51.100.9"];
export const INNER4 = ["10.9.0.20", "10.9.0.21", "10.9.0.22"];
export const CLIENTS6 = ["2001:db8:1::10", "2001:db8:1::11", "2001:db8:1::12"];
export const SERVERS6 = ["2001:db8:ff::7", "2001:db8:ff::8"];
export const INNER6 = ["2001:db8:9::20", "2001:db8:9::21"];
export const ROUTER4 = ["192.168.1.1", "203.0.113.1", "10.9.0.1"];
export const ROUTER6 = ["2001:db8:1::1", "2001:db8:2::1", "2001:db8:9::1"];
export const SERVICES = [22, 53, 80, 443, 8080];
export const PORT_NAMES = ["lan", "wan", "dmz"];
