/**
 * A client for wslink 2.x servers: calls and publications over one WebSocket.
 *
 * ```js
 * import { connect } from "./wslink.js";
 *
 * const client = await connect({ secret: "wslink-secret" });
 * const settings = await client.call("scope.settings.get");
 * for await (const trace of client.topic("scope.trace", { max_rate: 25 })) draw(trace);
 * ```
 *
 * Integers beyond 2^53 are `bigint`, binary data is `Uint8Array`, both ways. Messages are delivered
 * in the order in which they came.
 */

/** Anything that can be sent. `undefined` in a map is left out, elsewhere it is `null`. */
export type Sendable =
  | null
  | undefined
  | boolean
  | number
  | bigint
  | string
  | ArrayBuffer
  | ArrayBufferView
  | readonly Sendable[]
  | { readonly [key: string]: Sendable }
  | { toJSON(): Sendable };

export interface Options {
  /**
   * Where the server is: `ws:`, `wss:`, `http:` or `https:`, or relative to the page. The default,
   * `ws`, is beside the page, so that it also works below a path of a proxy.
   */
  url?: string | URL;
  /** Or what gives it, asked before each attempt to connect. Default: `wslink-secret`. */
  secret?: string | (() => string | Promise<string>);
  /** Further fields of the hello, such as a token. */
  hello?: { [key: string]: Sendable };
  /** Whether to connect again when the connection ends. Default: true. */
  reconnect?: boolean;
  /** Milliseconds until the second attempt, at most; doubles with each. Default: 250. */
  minDelay?: number;
  /** Milliseconds between attempts, at most. Default: 10,000. */
  maxDelay?: number;
  /** Milliseconds in which an attempt has to succeed. Default: 10,000. */
  connectTimeout?: number;
  /**
   * Milliseconds of silence after which the server is asked whether it is there; without an answer
   * the connection is given up within as many more. 0 never asks. Default: 20,000.
   */
  heartbeat?: number;
  /** Milliseconds that a call may take which does not say so itself. Default: no limit. */
  timeout?: number;
  /** Calls in flight, at most; one more fails at once. Default: 1024. */
  maxCalls?: number;
  /** Bytes waiting to be sent, and bytes of unfinished messages. Default: 256 MiB each. */
  maxBuffered?: number;
}

export interface CallOptions {
  /** Milliseconds until the call fails with a {@link TimeoutError}. */
  timeout?: number;
  /**
   * Aborts the call, which fails with the signal's reason. The server is asked to cancel it; what
   * was not sent completely does not run.
   */
  signal?: AbortSignal;
  /** What the method says of its progress; `total` is null where nobody knows. */
  onProgress?: (done: number, total: number | null) => void;
  /** How many bytes of the request have left, as far as the browser knows. */
  onUpload?: (sent: number, total: number) => void;
}

export interface TopicOptions {
  /** Values a second, at most; the server leaves out older ones. */
  max_rate?: number;
}

/** What is known of a published value. */
export interface About {
  topic: string;
  /** It was published before the subscription, and kept by the server. */
  retained: boolean;
}

/**
 * Values of a topic. It subscribes when it is first asked for a value, goes on over reconnections,
 * and ends with the loop or with {@link Client.close}. If the client gives up, it throws why.
 */
export interface Topic<T> extends AsyncIterableIterator<T>, Partial<About> {
  /** Values that were lost since the start, here or (if it says so) in the server. */
  readonly missed: number;
}

/**
 * - `connecting`: an attempt is made
 * - `open`: calls can be made
 * - `waiting`: the connection ended, the next attempt comes
 * - `closed`: for good, because it was wanted or because the server refused the secret
 */
export type State = "connecting" | "open" | "waiting" | "closed";

export interface StateEvent extends Event {
  readonly type: "state";
  readonly state: State;
  /** Why it is `waiting` or `closed`; none after {@link Client.close}. */
  readonly error?: Error;
  /** `waiting`: milliseconds until the next attempt. */
  readonly delay?: number;
  /** `open`: the server's session, if it has such a thing. */
  readonly session?: string;
  /** `open`, not the first: whether the server still is the one of before; undefined if unknown. */
  readonly sameSession?: boolean;
}

export class Client extends EventTarget {
  /** Begins to connect, and goes on until it is open, refused or closed. */
  constructor(options?: Options);
  readonly url: string;
  readonly state: State;
  /** New at each start of the server; undefined for servers without `wslink.describe`. */
  readonly session?: string;
  readonly clientId?: string;
  /** Why it is `waiting` or `closed`. */
  readonly error?: Error;
  /** Is resolved as soon as the state is `open`, rejected when it is `closed`. */
  opened(): Promise<this>;
  /** Makes the next attempt now, if it waits for one. */
  retry(): void;
  /** Ends it: calls in flight fail, iterators end. */
  close(): void;
  /**
   * Calls a method. Fails with an {@link RpcError}, {@link ConnectionError}, {@link TimeoutError}
   * or the signal's reason. Small calls pass large ones that are still being sent.
   */
  call<T = any>(
    method: string,
    args?: readonly Sendable[],
    kwargs?: { readonly [key: string]: Sendable },
    options?: CallOptions,
  ): Promise<T>;
  /**
   * Calls back with each value of a topic, or of all topics that begin with a prefix (`scope.*`,
   * `*`), over reconnections too, until the function that it gives is called.
   */
  subscribe<T = any>(
    pattern: string,
    callback: (value: T, about: About) => void,
    options?: TopicOptions,
  ): () => void;
  /** The same as an iterator, which keeps the newest `queue` values (default: 16). */
  topic<T = any>(pattern: string, options?: TopicOptions & { queue?: number }): Topic<T>;
  addEventListener(
    type: "state",
    listener: (event: StateEvent) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(...any: Parameters<EventTarget["addEventListener"]>): void;
  removeEventListener(type: "state", listener: (event: StateEvent) => void): void;
  removeEventListener(...any: Parameters<EventTarget["removeEventListener"]>): void;
}

/** Makes a client whose first attempt has to succeed; the others are as {@link Options} say. */
export function connect(options?: Options): Promise<Client>;

/** What a call fails with, unless its signal was aborted. */
export class WslinkError extends Error {
  /** The server's, or -32099. */
  readonly code: number;
  readonly data?: any;
}

/** The server's answer is an error. */
export class RpcError extends WslinkError {}

/** There is no connection, or it ended before the answer. */
export class ConnectionError extends WslinkError {
  /** False if the server cannot have got the whole call. */
  readonly mayHaveRun?: boolean;
}

/** There was no answer in time. */
export class TimeoutError extends WslinkError {
  readonly mayHaveRun: boolean;
}

/** One value as MessagePack. Throws for what has no form in it. */
export function encode(value: Sendable): Uint8Array;

/** The one value that is in `bytes`; of extension types their data. */
export function decode(bytes: Uint8Array): any;
