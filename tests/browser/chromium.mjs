// Chromium, with a profile that is thrown away.

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function browser(options = {}) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    throw new Error(
      `there is no ${executablePath}: \`apt-get install chromium\`, or name another in CHROMIUM`,
    );
  }
  const folder = mkdtempSync(join(tmpdir(), 'wslink-chromium-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath,
    args: ARGS,
    viewport: { width: 1280, height: 860 },
    ...options,
  });
  return {
    context,
    folder,
    async close() {
      await context.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
