// Kitware's JavaScript clients 1.x and 2.x in Node, behind one face, and a raw peer of each dialect
// for what the clients never send.

import { createRequire } from 'node:module';
import { WebSocket } from 'ws';

const require = createRequire(import.meta.url);

export const SECRET = 'wslink-secret';

// Far longer than anything takes: it is here so that nothing hangs.
const PATIENCE = 30_000;

// -- what the clients expect of a browser ---------------------------------------------------------

let lastSocket = null;

globalThis.self = globalThis;
globalThis.window = { location: new URL('http://127.0.0.1/') };
globalThis.document = { baseURI: 'http://127.0.0.1/', location: window.location };
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    lastSocket = this;
  }
};

const WSLINK = { 1: require('wslink1'), 2: require('wslink2') };

// The package that the 2.x client brings along.
const msgpack = createRequire(require.resolve('wslink2'))('@msgpack/msgpack');

export const VERSIONS = [1, 2];
export const NAMES = { 1: 'client 1.12.4', 2: 'client 2.5.0' };

// -- what the clients complain about ---------------------------------------------------------------

const complaints = [];
for (const level of ['error', 'warn', 'log']) {
  console[level] = (...words) => complaints.push(words.map(inWords).join(' '));
}
console.assert = (holds, ...words) => {
  if (!holds) complaints.push(words.map(inWords).join(' '));
};

/** What the clients said on the console since the last time. */
export function takeComplaints() {
  return complaints.splice(0);
}

function inWords(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.message;
  return JSON.stringify(value) ?? String(value);
}

// -- promises --------------------------------------------------------------------------------------

/** The promise, or a failure that says what did not come. */
export function within(promise, what, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${patience} ms for ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Things that come one after another, to be awaited one by one. */
export class Inbox {
  #waiting = [];
  #here = [];

  constructor(what) {
    this.what = what;
  }

  put(thing) {
    const taker = this.#waiting.shift();
    if (taker) taker.resolve(thing);
    else this.#here.push(thing);
  }

  /** Nothing comes any more. */
  end(error) {
    for (const taker of this.#waiting.splice(0)) taker.reject(error);
  }

  next() {
    if (this.#here.length) return Promise.resolve(this.#here.shift());
    const coming = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    return within(coming, this.what);
  }

  /** The next one of which `holds` is true; those before it are dropped. */
  async find(holds) {
    for (;;) {
      const thing = await this.next();
      if (holds(thing)) return thing;
    }
  }
}

// -- the stock client ------------------------------------------------------------------------------

/** A stock client of that version, said hello to; throws what the client is told on failure. */
export async function connect(version, url, secret = SECRET) {
  const client = new Client(version, url, secret);
  await client.hello();
  return client;
}

export class Client {
  constructor(version, url, secret = SECRET) {
    this.version = version;
    this.connection = WSLINK[version].WebsocketConnection.newInstance({ urls: url, secret });
  }

  /** Connects and says hello; again after the connection was lost. */
  async hello() {
    const outcome = new Promise((resolve, reject) => {
      this.connection.onConnectionReady(() => resolve());
      this.connection.onConnectionError((_, error) => reject(error?.error ?? error));
    });
    this.closed = new Promise((resolve) => {
      this.connection.onConnectionClose((_, event) => resolve(event));
    });
    this.session = this.connection.connect();
    this.socket = lastSocket;
    await within(outcome, `the hello of ${NAMES[this.version]}`);
  }

  call(method, args = [], kwargs = {}) {
    return within(this.session.call(method, args, kwargs), `the answer of ${method}`);
  }

  /** What stands in args or kwargs for these bytes. */
  attach(bytes) {
    return this.session.addAttachment(bytes);
  }

  /** An inbox of what is published there. */
  async subscribe(topic) {
    const inbox = new Inbox(`a publication of ${topic}`);
    const subscription = this.session.subscribe(topic, ([value]) => inbox.put(value));
    await subscription.promise;
    inbox.stop = () => subscription.unsubscribe();
    return inbox;
  }

  async close() {
    if (this.socket.readyState === WebSocket.OPEN) this.session.close();
    else this.socket.terminate();
    return within(this.closed, 'the end of the connection');
  }
}

/** The bytes of an attachment as the client hands it out. */
export async function bytesOf(attachment) {
  if (attachment instanceof Blob) return new Uint8Array(await attachment.arrayBuffer());
  if (attachment instanceof Uint8Array) return attachment;
  throw new TypeError(`not an attachment: ${inWords(attachment)}`);
}

// -- a peer without manners ------------------------------------------------------------------------

/** A WebSocket that speaks the dialect but sends what it is told to. */
export class Raw {
  static async connect(version, url) {
    const socket = new WebSocket(url);
    socket.binaryType = 'nodebuffer';
    const raw = new Raw(version, socket);
    const open = new Promise((resolve, reject) => {
      socket.on('open', resolve);
      socket.on('error', reject);
    });
    await within(open, 'a connection');
    return raw;
  }

  constructor(version, socket) {
    this.version = version;
    this.socket = socket;
    this.inbox = new Inbox('a message');
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
    });
    socket.on('close', () => this.inbox.end(new Error('the connection ended')));
    // Attachments of publications are of no interest here, nor are messages in several chunks.
    socket.on('message', (data, binary) => {
      if (version === 1 && !binary) this.inbox.put(JSON.parse(data));
      if (version === 2 && data.readUInt32LE(8) === data.length - 12) {
        this.inbox.put(msgpack.decode(data.subarray(12)));
      }
    });
  }

  /** An envelope, encoded in the dialect. */
  send(envelope) {
    if (this.version === 1) this.socket.send(JSON.stringify(envelope));
    else this.sendChunk(msgpack.encode(envelope));
  }

  /** These bytes as a 2.x message of one chunk, or this text as a 1.x message. */
  sendBytes(content) {
    if (this.version === 1) this.socket.send(String(content));
    else this.sendChunk(content);
  }

  sendChunk(content) {
    this.sendPart(Math.floor(Math.random() * 0xffffffff), 0, content.length, content);
  }

  /** A chunk of a 2.x message. */
  sendPart(id, offset, total, content) {
    const chunk = Buffer.alloc(12 + content.length);
    [id, offset, total].forEach((number, nth) => chunk.writeUInt32LE(number, 4 * nth));
    chunk.set(content, 12);
    this.socket.send(chunk);
  }

  /** The answer with that id. */
  answer(id) {
    return this.inbox.find((message) => message?.id === id);
  }

  async hello(secret = SECRET) {
    const id = 'system:c0:0';
    this.send({ wslink: '1.0', id, method: 'wslink.hello', args: [{ secret }], kwargs: {} });
    return this.answer(id);
  }

  async close() {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.close();
    return within(this.closed, 'the end of the connection');
  }
}

export { msgpack };
