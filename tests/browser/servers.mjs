// The servers that are talked to, each a process of its own.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const READY = 'wslink: Starting factory';
const NEWEST = '2.6.0';
const here = fileURLToPath(new URL('.', import.meta.url));

/** Fails if a promise takes too long. */
export async function within(promise, what, ms = 15_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come in ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until something is true, and gives it. */
export async function until(what, condition, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what} did not come in ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

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

/** The instrument, with the methods for tests. */
export function instrument(options) {
  const binary = process.env.WSLINK_INSTRUMENT;
  if (!binary) throw new Error('WSLINK_INSTRUMENT has to name the binary, see README.md');
  return start(binary, ['--test-methods'], options);
}

/** Upstream's server, of this version, with the handlers of server.py. */
export function upstream({ version = NEWEST, ...options } = {}) {
  return start(python(version), [join(here, 'server.py'), '--timeout', '0'], options);
}

async function start(binary, args, { port, secret = 'wslink-secret', env = {} } = {}) {
  const server = new Server(binary, args, port ?? (await freePort()), secret, env);
  await server.ready();
  return server;
}

class Server {
  constructor(binary, args, port, secret, env) {
    this.port = port;
    this.url = `ws://127.0.0.1:${port}/ws`;
    this.output = '';
    const all = [...args, '--host', '127.0.0.1', '--port', String(port), '--authKey', secret];
    this.process = spawn(binary, all, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.pid = this.process.pid;
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
          // Its beginning, and whatever came last.
          this.output = this.output.slice(0, 10_000) + text;
          if (this.output.includes(READY)) resolve();
        });
      }
      this.ended.then((how) => reject(new Error(`the server ${how}\n${this.output}`)));
    });
    return within(ready, `the server's line "${READY}"`, 30_000);
  }

  /** Ends it at once, as a crash would. */
  async kill() {
    this.process.kill('SIGKILL');
    return within(this.ended, "the server's end");
  }
}

/** The interpreter of a virtual environment that has upstream's server, made when it is missing. */
function python(version) {
  const target = process.env.CARGO_TARGET_DIR ?? join(here, '../../target');
  const folder = join(target, `wslink-python-${version}`);
  const interpreter = join(folder, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  const stamp = join(folder, 'complete');
  if (existsSync(stamp)) return interpreter;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  const options = { stdio: ['ignore', 'ignore', 'inherit'] };
  try {
    execFileSync(process.env.PYTHON ?? 'python3', ['-m', 'venv', folder], options);
    const packages = [`wslink==${version}`];
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
    execFileSync(interpreter, [...pip, ...packages], options);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(
      `${error.message}\nupstream's server needs Python 3.10 or newer with the modules venv and pip, ` +
        'and comes from PyPI (Debian: apt-get install python3-venv)',
    );
  }
  mkdirSync(stamp);
  return interpreter;
}
