// `wslink proxy` as a process.

import { spawn } from 'node:child_process';
import { within } from './clients.mjs';

/** Upstream's Python servers that speak the dialect of each client. */
export const PYTHON = { 1: '1.12.4', 2: '2.6.0' };

const running = new Set();

/** Ends all that were started and not stopped. */
export async function killProxies() {
  await Promise.all([...running].map((proxy) => proxy.kill()));
}

export class Proxy {
  /** One that listens already, on a free port. */
  static async start(...args) {
    const binary = process.env.WSLINK_COMMAND;
    if (!binary) throw new Error('WSLINK_COMMAND has to name the binary, see README.md');
    const proxy = new Proxy(binary, ['proxy', '0', ...args]);
    await within(proxy.listening, 'the proxy');
    return proxy;
  }

  constructor(binary, args) {
    this.shown = '';
    this.said = '';
    this.process = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this);
    this.ended = new Promise((resolve) => this.process.on('close', resolve));
    this.ended.finally(() => running.delete(this));
    this.process.stdout.setEncoding('utf8').on('data', (text) => (this.shown += text));
    this.listening = new Promise((resolve, reject) => {
      this.process.stderr.setEncoding('utf8').on('data', (text) => {
        this.said += text;
        const url = /ws:\/\/127\.0\.0\.1:\d+\/\S*/.exec(this.said);
        if (url) resolve((this.url = url[0]));
      });
      this.ended.then(() => reject(new Error(this.said)));
    });
  }

  /** Ctrl-C; gives the exit code. */
  stop() {
    this.process.kill('SIGINT');
    return within(this.ended, "the proxy's end");
  }

  kill() {
    this.process.kill('SIGKILL');
    return this.ended;
  }
}
