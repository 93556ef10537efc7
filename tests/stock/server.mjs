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
    this.process = spawn(binary, ['--host', '127.0.0.1', '--port', String(port)], {
      // A 1.x client sends an attachment as one WebSocket message: the largest here has 5 MB.
      env: { ...process.env, WSLINK_MAX_MSG_SIZE: String(8 * 1024 * 1024) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.ended = new Promise((resolve) => {
      this.process.on('error', (error) => resolve(`did not start: ${error.message}`));
      this.process.on('exit', (code, signal) => resolve(`ended with ${code ?? signal}`));
    });
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
