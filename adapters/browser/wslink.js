// A wslink 2.x client, see wslink.d.ts. MIT OR Apache-2.0.
const HEADER = 12;
// What is urgent waits for one at most.
const CHUNK = (64 << 10) - HEADER;
// While the socket has so much, only small messages are sent.
const WINDOW = 1 << 20;
// From the name of a message's last key to its end.
const TAIL = 10;
const HELLO = "system:c0:0";
const LAGGED = "wslink.lagged";
const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { ignoreBOM: true });

export class WslinkError extends Error {
	constructor(message, about) {
		super(message);
		Object.assign(this, { name: new.target.name, code: -32099 }, about);
	}
}

export class RpcError extends WslinkError {}
export class ConnectionError extends WslinkError {}
export class TimeoutError extends WslinkError {}

const unsent = (message) => new ConnectionError(message, { mayHaveRun: false });
// Of 8 << log bits, as DataView says it.
const integer = (sign, log) => `${log > 2 ? "Big" : ""}${sign}${8 << log}`;

export function encode(root) {
	let bytes = new Uint8Array(256);
	let view = new DataView(bytes.buffer);
	let at = 0;
	const room = (length) => {
		const from = at;
		at += length;
		if (at > bytes.length) {
			const old = bytes;
			bytes = new Uint8Array(Math.max(at, 2 * old.length));
			bytes.set(old);
			view = new DataView(bytes.buffer);
		}
		return from;
	};
	const put = (tag) => {
		const from = room(1);
		bytes[from] = tag;
	};
	const fixed = (tag, type, log, value) => {
		put(tag);
		const from = room(1 << log);
		view[`set${type}`](from, value);
	};
	const head = (length, fix, most, tag, log = 0) => {
		if (length <= most) return put(fix | length);
		while (length >= 2 ** (8 << log)) log += 1;
		fixed(tag + log, integer("Uint", log), log, length);
	};
	const whole = (value) => {
		if (value >= -0x20 && value < 0x80) return put(Number(value) & 0xff);
		const [sign, tag] = value < 0 ? ["Int", 0xd0] : ["Uint", 0xcc];
		let log = 0;
		while (value < 0 ? value < -(2 ** ((8 << log) - 1)) : value >= 2 ** (8 << log)) log += 1;
		if (log > 3) throw new RangeError("beyond 64 bits");
		fixed(tag + log, integer(sign, log), log, log > 2 ? BigInt(value) : Number(value));
	};
	const binary = (raw) => {
		const from = room(raw.length);
		bytes.set(raw, from);
	};
	const object = (value) => {
		if (value instanceof ArrayBuffer) value = new Uint8Array(value);
		if (ArrayBuffer.isView(value)) {
			head(value.byteLength, 0, -1, 0xc4);
			binary(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
		} else if (Array.isArray(value)) {
			head(value.length, 0x90, 15, 0xdb, 1);
			for (const item of value) any(item);
		} else if (typeof value.toJSON === "function") any(value.toJSON());
		else if ({}.toString.call(value) === "[object Object]") {
			const entries = Object.entries(value).filter(([, item]) => item !== undefined);
			head(entries.length, 0x80, 15, 0xdd, 1);
			entries.flat().forEach(any);
		} else throw new TypeError(`cannot send ${{}.toString.call(value)}`);
	};
	const any = (value) => {
		const type = typeof value;
		if (value == null) put(0xc0);
		else if (type === "boolean") put(value ? 0xc3 : 0xc2);
		else if (type === "bigint" || (Number.isSafeInteger(value) && !Object.is(value, -0))) whole(value);
		else if (type === "number") fixed(0xcb, "Float64", 3, value);
		else if (type === "string") {
			const raw = utf8.encode(value);
			head(raw.length, 0xa0, 31, 0xd9);
			binary(raw);
		} else if (type === "object") object(value);
		else throw new TypeError(`cannot send a ${type}`);
	};
	any(root);
	return bytes.subarray(0, at);
}

export function decode(bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	let at = 0;
	const take = (length) => {
		const from = at;
		at += length;
		if (at > bytes.length) throw new RangeError("too short");
		return from;
	};
	const fixed = (type, log) => view[`get${type}`](take(1 << log));
	const whole = (sign, log) => {
		const value = fixed(integer(sign, log), log);
		return Number.isSafeInteger(Number(value)) ? Number(value) : value;
	};
	const uint = (log) => whole("Uint", log);
	const string = (length) => text.decode(bytes.subarray(take(length), at));
	// Copied, and so aligned.
	const binary = (length) => bytes.slice(take(length), at);
	const extension = (length) => take(1) && binary(length);
	const list = (length, item = any) => {
		const items = [];
		while (length--) items.push(item());
		return items;
	};
	const map = (length) => Object.fromEntries(list(length, () => [any(), any()]));
	const any = () => {
		const tag = uint(0);
		if (tag < 0x80) return tag;
		if (tag < 0x90) return map(tag & 15);
		if (tag < 0xa0) return list(tag & 15);
		if (tag < 0xc0) return string(tag & 31);
		if (tag === 0xc0) return null;
		if (tag === 0xc1) throw new RangeError("not MessagePack");
		if (tag < 0xc4) return tag === 0xc3;
		if (tag < 0xc7) return binary(uint(tag - 0xc4));
		if (tag < 0xca) return extension(uint(tag - 0xc7));
		if (tag < 0xcc) return fixed(tag === 0xca ? "Float32" : "Float64", tag - 0xc8);
		if (tag < 0xd0) return uint(tag - 0xcc);
		if (tag < 0xd4) return whole("Int", tag - 0xd0);
		if (tag < 0xd9) return extension(1 << (tag - 0xd4));
		if (tag < 0xdc) return string(uint(tag - 0xd9));
		if (tag < 0xde) return list(uint(tag - 0xdb));
		if (tag < 0xe0) return map(uint(tag - 0xdd));
		return tag - 0x100;
	};
	const root = any();
	if (at < bytes.length) throw new RangeError("too long");
	return root;
}

function run(callback, ...args) {
	try {
		callback?.(...args);
	} catch (error) {
		queueMicrotask(() => {
			throw error;
		});
	}
}

function tell(call, sent) {
	if (!call.onUpload || sent <= call.told) return;
	call.told = sent;
	run(call.onUpload, sent, call.message.size);
}

const rpcError = (error) => new RpcError(error.message, error);

const covers = (pattern, topic) =>
	pattern === topic || (pattern.endsWith("*") && topic.startsWith(pattern.slice(0, -1)));

export class Client extends EventTarget {
	#options;
	#topics = new Map(); // sets of listeners
	#counter = 0;
	#failures = 0;
	#turn = 0; // what began in another one has to stop
	#timer;
	#ws;
	#hello;
	#extended; // the server knows wslink.describe and its kin
	#chunk;
	#calls = new Map();
	#queue = []; // of messages of several chunks
	#queued = 0;
	#pumping;
	#parts = new Map();
	#held = 0;
	#heart;
	#heard;

	constructor(options = {}) {
		super();
		this.#options = {
			secret: "wslink-secret",
			reconnect: true,
			minDelay: 250,
			maxDelay: 10_000,
			connectTimeout: 10_000,
			heartbeat: 20_000,
			maxCalls: 1024,
			maxBuffered: 1 << 28,
			...options,
		};
		const page = globalThis.document?.baseURI ?? globalThis.location;
		this.url = new URL(options.url ?? "ws", page).href.replace(/^http/, "ws");
		this.#attempt();
	}

	static async connect(options = {}) {
		const client = new Client({ ...options, reconnect: false });
		await client.opened();
		client.#options.reconnect = options.reconnect ?? true;
		return client;
	}

	async opened() {
		while (this.state !== "open") {
			if (this.state === "closed") throw this.error ?? unsent("Closed");
			await new Promise((look) => this.addEventListener("state", look, { once: true }));
		}
		return this;
	}

	retry() {
		if (this.state === "waiting") this.#attempt();
	}

	close() {
		this.#end(undefined, true);
	}

	async call(method, args, kwargs, options) {
		options?.signal?.throwIfAborted();
		if (this.state !== "open") throw unsent("Not connected");
		return this.#call(method, args, kwargs, { timeout: this.#options.timeout, ...options });
	}

	subscribe(pattern, callback, { max_rate } = {}) {
		return this.#listen(pattern, { max_rate, value: callback });
	}

	topic(pattern, { max_rate, queue = 16 } = {}) {
		const values = [];
		const takers = [];
		let stop;
		let end;
		const finish = (error) => {
			end ??= async () => {
				if (error) throw error;
				return { done: true };
			};
			stop?.();
			for (const take of takers.splice(0)) take(end());
		};
		const listener = {
			max_rate,
			value: (value, about) => {
				const item = { value, about, done: false };
				if (takers.length) return takers.shift()(item);
				values.push(item);
				if (values.length > queue) {
					values.shift();
					topic.missed += 1;
				}
			},
			lagged: (missed) => (topic.missed += missed),
			end: finish,
		};
		const topic = {
			missed: 0,
			next: async () => {
				if (!end) stop ??= this.#listen(pattern, listener);
				const item = values.shift() ?? end?.() ?? new Promise((take) => takers.push(take));
				const { value, about, done } = await item;
				Object.assign(topic, about);
				return { value, done };
			},
			return: async (value) => {
				values.length = 0;
				finish();
				return { value, done: true };
			},
			[Symbol.asyncIterator]: () => topic,
		};
		return topic;
	}

	#set(about) {
		Object.assign(this, { error: undefined }, about);
		this.dispatchEvent(Object.assign(new Event("state"), about));
	}

	async #attempt() {
		clearTimeout(this.#timer);
		const turn = ++this.#turn;
		const { secret, hello, connectTimeout } = this.#options;
		this.#timer = setTimeout(() => this.#end(new ConnectionError("No answer")), connectTimeout);
		this.#set({ state: "connecting" });
		let said;
		try {
			said = (await secret.call?.()) ?? secret;
			if (turn !== this.#turn) return;
			this.#ws = new WebSocket(this.url);
		} catch (error) {
			return turn === this.#turn && this.#end(error);
		}
		const ws = this.#ws;
		const args = [{ secret: said, ...hello }];
		const greet = () => this.#send(HELLO, "wslink.hello", args);
		this.#chunk = CHUNK;
		this.#extended = undefined;
		this.#hello = (welcome) => this.#welcome(welcome, turn, greet);
		ws.binaryType = "arraybuffer";
		ws.onopen = greet;
		ws.onerror = () => {};
		ws.onclose = ({ code, reason }) => {
			this.#end(new ConnectionError(`Disconnected: ${code} ${reason}`));
		};
		ws.onmessage = ({ data }) => {
			this.#heard = performance.now();
			try {
				this.#receive(data);
			} catch (error) {
				this.#end(new ConnectionError(`Not wslink 2.x: ${error.message}`));
			}
		};
	}

	async #welcome({ result, error }, turn, greet) {
		this.#hello = undefined;
		if (error) return this.#end(rpcError(error), true);
		this.clientId = result.clientID;
		this.#chunk = Math.max(1, Math.min((result.maxMsgSize || Infinity) - HEADER, CHUNK));
		this.#beat(greet);
		// Nothing but what is listened to.
		this.#ask("wslink.unsubscribe", "*");
		this.#ask("wslink.subscribe", LAGGED);
		for (const pattern of this.#topics.keys()) this.#widen(pattern);
		const { session } = await this.#call("wslink.describe").catch(() => ({}));
		if (turn !== this.#turn) return;
		clearTimeout(this.#timer);
		const sameSession = session && this.session ? session === this.session : undefined;
		this.#extended = session !== undefined;
		this.#failures = 0;
		this.#set({ state: "open", session, sameSession });
	}

	// Every server answers the hello again, if it is there.
	#beat(greet) {
		const { heartbeat } = this.#options;
		if (!(heartbeat > 0)) return;
		let [asked, buffered] = [0, 0];
		this.#heart = setInterval(() => {
			const now = performance.now();
			const { bufferedAmount } = this.#ws;
			if (bufferedAmount !== buffered) this.#heard = now;
			buffered = bufferedAmount;
			if (asked > this.#heard) this.#end(new ConnectionError("The server is silent"));
			else if (now - this.#heard >= heartbeat) {
				asked = now;
				greet();
			}
		}, heartbeat / 2);
	}

	#end(error, final = !this.#options.reconnect) {
		if (this.state === "closed") return;
		this.#turn += 1;
		const ws = this.#ws;
		this.#ws = undefined;
		if (ws) {
			ws.onopen = ws.onmessage = ws.onclose = null;
			ws.close(1000);
		}
		clearTimeout(this.#timer);
		clearTimeout(this.#pumping);
		clearInterval(this.#heart);
		this.#queue = [];
		this.#parts.clear();
		this.#queued = this.#held = 0;
		for (const { message, reject } of this.#calls.values()) {
			reject(new ConnectionError(error?.message ?? "Closed", { mayHaveRun: message.at === message.size }));
		}
		if (final) {
			const listeners = [...this.#topics.values()].flatMap((set) => [...set]);
			this.#topics.clear();
			this.#set({ state: "closed", error });
			for (const listener of listeners) listener.end?.(error);
		} else {
			const { minDelay, maxDelay } = this.#options;
			const delay = Math.min(maxDelay, minDelay * 2 ** this.#failures++) * (1 - Math.random() / 2);
			this.#timer = setTimeout(() => this.#attempt(), delay);
			this.#set({ state: "waiting", error, delay });
		}
	}

	#call(method, args = [], kwargs = {}, options = {}) {
		return new Promise((resolve, reject) => {
			if (this.#calls.size >= this.#options.maxCalls) throw unsent("Too many calls");
			const { timeout, signal, onProgress } = options;
			const number = this.#counter++;
			const token = this.#extended && (signal || onProgress) ? number >>> 0 : undefined;
			const id = `rpc:${this.clientId}:${number}`;
			const message = this.#send(id, method, args, { ...kwargs, wslink_token: token });
			let timer;
			const settle = (how) => (value) => {
				clearTimeout(timer);
				signal?.removeEventListener("abort", abort);
				this.#calls.delete(id);
				how(value);
			};
			const call = { ...options, message, token, told: -1 };
			call.reject = settle(reject);
			call.resolve = settle((result) => {
				tell(call, message.size);
				resolve(result);
			});
			const abort = () => {
				this.#cancel(call);
				call.reject(signal.reason);
			};
			this.#calls.set(id, call);
			signal?.addEventListener("abort", abort);
			if (timeout > 0) {
				timer = setTimeout(() => {
					const mayHaveRun = this.#cancel(call);
					call.reject(new TimeoutError(`No answer in ${timeout} ms`, { mayHaveRun }));
				}, timeout);
			}
		});
	}

	// Gives whether the call may have run.
	#cancel({ message, token }) {
		const { bytes, at, size } = message;
		if (at === 0) {
			this.#queue = this.#queue.filter((other) => other !== message);
			this.#queued -= size;
			return false;
		}
		if (at <= size - TAIL) {
			// Finished, but not run: the last key, "wslink", becomes a second "method", which counts.
			bytes.set(utf8.encode("method"), size - TAIL);
			return false;
		}
		const cancel = () => token !== undefined && this.#ask("wslink.cancel", token);
		if (at < size) message.sent = cancel;
		else cancel();
		return true;
	}

	#listen(pattern, listener) {
		if (this.state === "closed") throw unsent("Closed");
		const listeners = this.#topics.get(pattern) ?? new Set();
		this.#topics.set(pattern, listeners.add(listener));
		if (this.#extended) this.#widen(pattern);
		return () => {
			if (!listeners.delete(listener)) return;
			if (!listeners.size) this.#topics.delete(pattern);
			if (!this.#extended || this.state !== "open") return;
			if (listeners.size) return this.#widen(pattern);
			this.#ask("wslink.unsubscribe", pattern);
			for (const other of this.#topics.keys()) {
				if (covers(pattern, other) || covers(other, pattern)) this.#widen(other);
			}
		};
	}

	#widen(pattern) {
		const rates = [...this.#topics.get(pattern)].map(({ max_rate }) => max_rate);
		this.#ask("wslink.subscribe", pattern, rates.every(Boolean) ? Math.max(...rates) : null);
	}

	// For servers that know it.
	#ask(method, ...args) {
		if (this.#ws) this.#call(method, args).catch(() => {});
	}

	#send(id, method, args, kwargs = {}) {
		const bytes = encode({ id, method, args, kwargs, wslink: "1.0" });
		const size = bytes.length;
		const waiting = this.#queued + this.#ws.bufferedAmount;
		if (waiting + size > this.#options.maxBuffered) throw unsent("Too much to send");
		const message = { id: Math.random() * 2 ** 32, bytes, size, at: 0 };
		if (size <= this.#chunk) this.#put(message);
		else {
			this.#queue.push(message);
			this.#queued += size;
			this.#pump();
		}
		return message;
	}

	#put(message) {
		const { id, bytes, at, size } = message;
		message.at = Math.min(at + this.#chunk, size);
		const frame = new Uint8Array(HEADER + message.at - at);
		// Little-endian, as all browsers.
		frame.set(new Uint8Array(Uint32Array.of(id, at, size).buffer));
		frame.set(bytes.subarray(at, message.at), HEADER);
		this.#ws.send(frame);
		if (message.at === size) message.bytes = undefined;
	}

	#pump() {
		clearTimeout(this.#pumping);
		let room = WINDOW - this.#ws.bufferedAmount;
		while (this.#queue.length && room > 0) {
			const [message] = this.#queue;
			this.#put(message);
			room -= this.#chunk;
			if (message.at < message.size) continue;
			this.#queue.shift();
			this.#queued -= message.size;
			message.sent?.();
		}
		let again = this.#queue.length > 0;
		for (const call of this.#calls.values()) {
			const { at, size } = call.message;
			if (at > 0) tell(call, at - this.#ws.bufferedAmount);
			again ||= call.onUpload && call.told < size;
		}
		if (again) this.#pumping = setTimeout(() => this.#pump(), 10);
	}

	#receive(data) {
		const [id, offset, total] = new Uint32Array(data, 0, 3);
		let bytes = new Uint8Array(data, HEADER);
		if (bytes.length < total) {
			let part = this.#parts.get(id);
			if (!part) {
				this.#held += total;
				if (this.#held > this.#options.maxBuffered) throw new RangeError("too large");
				part = { bytes: new Uint8Array(total), left: total };
				this.#parts.set(id, part);
			}
			part.bytes.set(bytes, offset);
			part.left -= bytes.length;
			if (part.left > 0) return;
			this.#parts.delete(id);
			this.#held -= total;
			bytes = part.bytes;
		}
		const message = decode(bytes);
		const call = this.#calls.get(message.id);
		if (message.id === HELLO) this.#hello?.(message);
		else if (!call) this.#published(message);
		else if (message.error) call.reject(rpcError(message.error));
		else call.resolve(message.result);
	}

	#published({ id, result: value, error }) {
		const [, topic, number] = /^publish:(.+):(\d+)$/.exec(id) ?? [];
		if (!topic || error) return;
		if (topic === "wslink.progress") {
			for (const { token, onProgress } of this.#calls.values()) {
				if (token === value.token) run(onProgress, value.done, value.total);
			}
		}
		const about = { topic, retained: number === "1" };
		for (const [pattern, listeners] of this.#topics) {
			const lagged = topic === LAGGED && covers(pattern, value.topic);
			for (const listener of listeners) {
				if (lagged) listener.lagged?.(value.missed);
				if (covers(pattern, topic)) run(listener.value, value, about);
			}
		}
	}
}

export const { connect } = Client;
