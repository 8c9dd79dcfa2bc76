/** What the DNS runs over: anybody's datagram sockets and byte streams, as small as they can be. */

export interface ServerAddress {
  readonly address: string;
  /** Default 53. */
  readonly port?: number;
}

/** A datagram socket of one query. */
export interface DnsDatagram {
  /** May throw what an operating system would return. */
  send(bytes: Uint8Array): void;
  close(): void;
}

export interface DatagramEvents {
  /** A datagram from the server, and from nobody else. */
  message(bytes: Uint8Array): void;
  /** The network said that the server cannot be reached. */
  failed(error: Error): void;
}

/** A byte stream to a server, or from a client. */
export interface DnsStream {
  /** Bytes read into `into`, null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<unknown>;
  /** Ends it at once. */
  abort(): void;
}

export interface DnsTransport {
  /** Opens a socket on a port that cannot be guessed (RFC 5452 §9.2), connected to the server. */
  datagram(server: Required<ServerAddress>, events: DatagramEvents): DnsDatagram;
  /** Opens a stream; without it, cut answers are used as they are. */
  stream?(server: Required<ServerAddress>): Promise<DnsStream>;
}
