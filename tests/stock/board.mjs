// The firmware under test, wherever it runs: WSLINK_DEVICE is its address, http://127.0.0.1:18080
// unless told. `cargo xtask device` starts it in QEMU, and tells where QEMU's monitor is.

import { once } from 'node:events';
import { get } from 'node:http';
import { connect, createServer } from 'node:net';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client, Raw } from './clients.mjs';

export const DEVICE = process.env.WSLINK_DEVICE ?? 'http://127.0.0.1:18080';
export const URL_WS = `${DEVICE.replace('http', 'ws')}/ws`;
/** WebSockets at once, and calls of one of them. */
export const PEERS = 3;
export const CALLS = 2;

const PATIENCE = 20_000;

export const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** The one spare socket answers one after the other; in between nobody listens. */
const NOBODY = /ECONNRESET|ECONNREFUSED|EPIPE|hang up/;
/** A place that was left a moment ago is free when the device has seen the end of it. */
const FULL = /503/;

/** Again while it fails like that. */
export async function patiently(attempt, ...reasons) {
  const end = performance.now() + PATIENCE;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const said = `${error.code} ${error.message}`;
      const again = [NOBODY, ...reasons].some((reason) => reason.test(said));
      if (!again || performance.now() > end) throw error;
      await sleep(20);
    }
  }
}

/** A stock client that has said hello, for which a place has to be free already. */
export function guest(version) {
  return patiently(async () => {
    const peer = new Client(version, URL_WS);
    await peer.hello();
    return peer;
  });
}

/** A stock client that has said hello. */
export function client(version) {
  return patiently(() => guest(version), FULL);
}

/** A peer without manners, that has not said anything. */
export function raw(version) {
  return patiently(() => Raw.connect(version, URL_WS), FULL);
}

/** A TCP connection; what comes is thrown away. */
export function tcp() {
  const { port, hostname } = new URL(DEVICE);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  socket.resume();
  return socket;
}

export function page(path, headers = {}) {
  return patiently(
    () =>
      new Promise((resolve, reject) => {
        get(`${DEVICE}${path}`, { headers, agent: false }, (response) => {
          const parts = [];
          response.on('data', (part) => parts.push(part));
          response.on('error', reject);
          response.on('end', () => resolve({ response, body: Buffer.concat(parts) }));
        }).on('error', reject);
      }),
  );
}

// -- the emulator ----------------------------------------------------------------------------------

const PORT = Number(process.env.WSLINK_QMP ?? 0);

/** Why a test that needs the emulator is not run on a real board; false in the emulator. */
export const NO_EMULATOR = PORT ? false : 'WSLINK_QMP does not name the port of a monitor';

/** QEMU's monitor. */
class Monitor {
  static async open() {
    const socket = connect(PORT, '127.0.0.1');
    await once(socket, 'connect');
    const monitor = new Monitor(socket);
    await monitor.lines.next();
    await monitor.run('qmp_capabilities');
    return monitor;
  }

  constructor(socket) {
    this.socket = socket;
    this.lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  async run(command, args = {}) {
    this.socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const answer = JSON.parse((await this.lines.next()).value);
      if (answer.error) throw new Error(`${command}: ${answer.error.desc}`);
      if ('return' in answer) return answer.return;
    }
  }

  close() {
    this.socket.destroy();
  }
}

/** The bytes of static memory, and those that the stack has taken at its deepest. */
export async function memory() {
  const [start, bottom, top] = process.env.WSLINK_MEMORY.split(',').map(Number);
  const file = join(tmpdir(), `wslink-stack-${process.pid}`);
  const monitor = await Monitor.open();
  try {
    await monitor.run('pmemsave', { val: bottom, size: top - bottom, filename: file });
    const words = new Uint32Array(new Uint8Array(readFileSync(file)).buffer);
    // What cortex-m-rt paints it with.
    const used = words.findIndex((word) => word !== 0xcccccccc);
    return { statics: bottom - start, stack: top - bottom - used * 4 };
  } finally {
    monitor.close();
    rmSync(file, { force: true });
  }
}

/** The cable of the board: frames of some peers can be lost on their way in. */
export class Cable {
  #lost = new Set();
  #sockets = [];

  /** Leads what comes to the board through here. */
  static async open() {
    const cable = new Cable();
    cable.monitor = await Monitor.open();
    const [out, back] = [await cable.#device('cable-out'), await cable.#device('cable-back')];
    let rest = Buffer.alloc(0);
    out.on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
        const frame = rest.subarray(0, 4 + rest.readUInt32BE(0));
        rest = rest.subarray(frame.length);
        if (!cable.#isLost(frame.subarray(4))) back.write(frame);
      }
    });
    await cable.monitor.run('object-add', {
      'qom-type': 'filter-redirector',
      id: 'cable',
      netdev: 'net0',
      queue: 'tx',
      outdev: 'cable-out',
      indev: 'cable-back',
    });
    return cable;
  }

  #isLost(frame) {
    const header = 14 + (frame[14] & 15) * 4;
    const isTcp = frame.readUInt16BE(12) === 0x0800 && frame[23] === 6;
    // QEMU's network keeps the port of who connects to its host.
    return isTcp && this.#lost.has(frame.readUInt16BE(header));
  }

  async #device(id) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const port = String(server.address().port);
    const addr = { type: 'inet', data: { host: '127.0.0.1', port } };
    const backend = { type: 'socket', data: { addr, server: false } };
    const connected = once(server, 'connection');
    await this.monitor.run('chardev-add', { id, backend });
    const [socket] = await connected;
    socket.setNoDelay();
    // QEMU lets go of it first.
    socket.on('error', () => {});
    this.#sockets.push(socket);
    server.close();
    return socket;
  }

  /** Nothing of this peer arrives any more: it has vanished, and does not say so. */
  lose(socket) {
    const port = socket.localPort;
    this.#lost.add(port);
    // The port may become somebody else's.
    socket.once('close', () => this.#lost.delete(port));
  }

  async close() {
    await this.monitor.run('object-del', { id: 'cable' });
    for (const id of ['cable-out', 'cable-back']) await this.monitor.run('chardev-remove', { id });
    this.monitor.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
