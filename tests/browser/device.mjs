// The instrument's page in Chromium, as the firmware serves it: WSLINK_DEVICE is its address,
// http://127.0.0.1:18080 unless told. What the page can do at all is the matter of page.test.mjs.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { browser } from './chromium.mjs';
import { until } from './servers.mjs';

const DEVICE = process.env.WSLINK_DEVICE ?? 'http://127.0.0.1:18080';
/** An emulated chip beside a browser on a busy machine. */
const PATIENCE = 60_000;

let chromium;
const complaints = [];

before(async () => {
  chromium = await browser();
});

after(() => chromium?.close());

afterEach(async () => {
  await Promise.all(chromium.context.pages().map((page) => page.close()));
  assert.deepEqual(complaints.splice(0), []);
});

async function connected() {
  const page = await chromium.context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on('pageerror', (error) => complaints.push(error.stack));
  page.on('console', (message) => {
    if (!/Canvas2D: Multiple readback|\[DOM\]/.test(message.text())) complaints.push(message.text());
  });
  await page.goto(`${DEVICE}/`);
  await says(page.locator('#state'), 'Connected');
  return page;
}

const says = (locator, wanted) =>
  until(
    `"${wanted}"`,
    async () => {
      const text = await locator.textContent();
      return wanted instanceof RegExp ? wanted.test(text) : text === wanted;
    },
    PATIENCE,
  ).catch(async (error) => {
    throw new Error(`${error.message}, but "${await locator.textContent()}"`);
  });

async function type(page, name, text) {
  await page.getByLabel(name, { exact: true }).fill(text);
  await page.keyboard.press('Enter');
}

const part = (page, id) =>
  page.locator(`#${id}`).locator('xpath=ancestor::*[self::fieldset or self::section][1]');

const shot = (page) => page.locator('#screen').evaluate((canvas) => canvas.toDataURL());

test('the live trace is drawn and measured', async () => {
  const page = await connected();
  await says(page.locator('#measured'), '1.00 kHz');
  await says(page.locator('#triggered'), 'Triggered');
  const first = await shot(page);
  await until('another picture', async () => (await shot(page)) !== first, PATIENCE);
});

test('settings are kept in step between two tabs, and errors stand beside', async () => {
  const [one, other] = [await connected(), await connected()];
  await type(one, 'Frequency', '2.5 kHz');
  for (const page of [one, other]) await says(page.locator('#measured'), '2.50 kHz');
  await other.getByRole('radio', { name: 'square' }).check({ force: true });
  const square = one.getByRole('radio', { name: 'square' });
  await until('the square', () => square.isChecked(), PATIENCE);
  await type(one, 'Frequency', '2M');
  await says(one.locator('#frequency-error'), '2 MHz was not set: not in 0.1 to 1000000 Hz');
  // As others expect them.
  await type(one, 'Frequency', '1k');
  await one.getByRole('radio', { name: 'sine' }).check({ force: true });
  await says(other.locator('#measured'), '1.00 kHz');
  await until('the sine', () => other.getByRole('radio', { name: 'sine' }).isChecked(), PATIENCE);
});

test('a capture is shown', async () => {
  const page = await connected();
  const here = part(page, 'capture');
  await type(page, 'Samples', '20k');
  await says(here.getByRole('status'), '20,000 samples in 200 ms');
  await type(page, 'Samples', '3M');
  await says(here.getByRole('alert'), /not in 1 to 2000000/);
});

test('a calibration shows its progress, and can be cancelled', async () => {
  const page = await connected();
  const here = part(page, 'calibrate');
  const bar = here.getByRole('progressbar');
  await type(page, 'Seconds', '3');
  await until('half', () => bar.evaluate((it) => it.value > 0.1 && it.value < 0.9), PATIENCE);
  await says(here.getByRole('status'), /^Offset -?\d+(\.\d+)? .?V, gain 1\.\d{3}$/);
  await type(page, 'Seconds', '60');
  await here.getByRole('button', { name: 'Cancel' }).click();
  await says(here.getByRole('status'), 'Cancelled');
});
