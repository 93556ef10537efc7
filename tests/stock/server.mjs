// The server under test, as a process of its own.

import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { within } from './clients.mjs';

const READY = 'wslink: Starting factory';

/** A port that nobody listens on. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const running = new Set();

/** Ends all servers that were started and not killed. */
export async function killAll() {
  await Promise.all([...running].map((server) => server.kill()));
}

/** Starts the instrument and waits until it says that it listens. */
export async function start(port) {
  const binary = process.env.WSLINK_INSTRUMENT;
  if (!binary) throw new Error('WSLINK_INSTRUMENT has to name the binary, see README.md');
  const server = new Server(binary, port ?? (await freePort()));
  await server.ready();
  return server;
}

class Server {
  constructor(binary, port) {
    this.port = port;
    this.url = `ws://127.0.0.1:${port}/ws`;
    this.output = '';
    const args = ['--test-methods', '--host', '127.0.0.1', '--port', String(port)];
    this.process = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this);
    this.ended = new Promise((resolve) => {
      this.process.on('error', (error) => resolve(`did not start: ${error.message}`));
      this.process.on('exit', (code, signal) => resolve(`ended with ${code ?? signal}`));
    }).finally(() => running.delete(this));
  }

  ready() {
    const ready = new Promise((resolve, reject) => {
      for (const stream of [this.process.stdout, this.process.stderr]) {
        stream.setEncoding('utf8');
        stream.on('data', (text) => {
          this.output += text;
          if (this.output.includes(READY)) resolve();
        });
      }
      this.ended.then((how) => reject(new Error(`the server ${how}\n${this.output}`)));
    });
    return within(ready, `the server's line "${READY}"`);
  }

  /** Ends it at once, as a crash would. */
  async kill() {
    this.process.kill('SIGKILL');
    return within(this.ended, "the server's end");
  }
}
