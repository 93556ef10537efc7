// The instrument's page in Chromium, as a person would use it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { browser } from './chromium.mjs';
import { instrument, until } from './servers.mjs';
import { PAGE, serve } from './web.mjs';

let chromium;
let server;
let folder;
const complaints = [];
const expected = /net::ERR_CONNECTION_REFUSED|WebSocket connection to|Canvas2D: Multiple readback|\[DOM\]/;

before(async () => {
  [server, chromium] = await Promise.all([instrument(), browser()]);
  folder = mkdtempSync(join(tmpdir(), 'wslink-page-'));
});

after(async () => {
  await chromium?.close();
  await server?.kill();
  if (folder) rmSync(folder, { recursive: true });
});

afterEach(async () => {
  await Promise.all(chromium.context.pages().map((page) => page.close()));
  assert.deepEqual(complaints.splice(0), []);
});

async function tab(url = `http://127.0.0.1:${server.port}/`) {
  const page = await chromium.context.newPage();
  page.setDefaultTimeout(15_000);
  page.on('pageerror', (error) => complaints.push(error.stack));
  page.on('console', (message) => {
    if (!expected.test(message.text())) complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

async function connected(...args) {
  const page = await tab(...args);
  await says(page.locator('#state'), 'Connected');
  return page;
}

/** Waits until an element says something. */
const says = (locator, wanted) =>
  until(`"${wanted}"`, async () => {
    const text = await locator.textContent();
    return wanted instanceof RegExp ? wanted.test(text) : text === wanted;
  }).catch(async (error) => {
    throw new Error(`${error.message}, but "${await locator.textContent()}"`);
  });

const value = (locator, wanted) =>
  until(`the value ${wanted}`, async () => (await locator.inputValue()) === wanted);

/** Sets a field as a person does. */
async function type(page, name, text) {
  await page.getByLabel(name, { exact: true }).fill(text);
  await page.keyboard.press('Enter');
}

const panel = (page, id) => page.locator(`#${id}`).locator('xpath=ancestor::*[self::fieldset or self::section][1]');

/** How many pixels of a canvas have about the trace's colour. */
const drawn = (page, id) =>
  page.locator(`#${id}`).evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const style = getComputedStyle(canvas).getPropertyValue('--trace').trim();
    const wanted = [1, 3, 5].map((at) => parseInt(style.slice(at, at + 2), 16));
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (wanted.every((part, at) => Math.abs(data[i + at] - part) < 24)) count += 1;
    }
    return count;
  });

async function reset(page) {
  await page.evaluate(async () => {
    const { connect } = await import('./wslink.js');
    const client = await connect();
    const all = { timebase: 5e-4, amplitude: 1, frequency: 1000, offset: 0, waveform: 'sine', noise: 0.02 };
    await client.call('scope.settings.set', [], all);
    client.close();
  });
}

describe('the files', () => {
  test('are few and small, and nothing comes from elsewhere', async () => {
    const page = await chromium.context.newPage();
    const requests = [];
    page.on('request', (request) => requests.push(request.url()));
    const root = `http://127.0.0.1:${server.port}/`;
    await page.goto(root);
    await says(page.locator('#state'), 'Connected');
    assert.ok(requests.every((url) => url.startsWith(root) || url.startsWith('data:')), `${requests}`);
    let size = 0;
    for (const [name, file] of Object.entries(PAGE)) {
      const bytes = readFileSync(file);
      const response = await fetch(root + name);
      assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes, `${name} is another one`);
      size += bytes.length;
    }
    assert.ok(size < 40 * 1024, `${size} bytes`);
    assert.ok(requests.filter((url) => url.startsWith('http')).length <= 6, `${requests}`);
  });

  test('work below a path of a proxy', async () => {
    const web = await serve(PAGE, { port: server.port, prefix: '/lab/scope/' });
    try {
      const page = await connected(`${web.url}?x=1#y`);
      await says(page.locator('#measured'), '1.00 kHz');
    } finally {
      await web.close();
    }
  });
});

describe('the live trace', () => {
  test('is drawn, measured, stopped and run', async () => {
    const page = await connected();
    await says(page.locator('#measured'), '1.00 kHz');
    await says(page.locator('#triggered'), 'Triggered');
    assert.match(await page.locator('#peak').textContent(), /^2\.0\d V$/);
    assert.ok((await drawn(page, 'screen')) > 500);
    await page.getByRole('button', { name: 'Stop' }).click();
    const shot = () => page.locator('#screen').evaluate((canvas) => canvas.toDataURL());
    await page.waitForTimeout(300);
    const still = await shot();
    await page.waitForTimeout(400);
    assert.equal(await shot(), still);
    await page.getByRole('button', { name: 'Run' }).click();
    await until('another picture', async () => (await shot()) !== still);
    await says(page.locator('#missed'), '0');
  });

  test('has a time base, a scale, and fits both to the signal', async () => {
    const page = await connected();
    await page.getByLabel('Time / division').selectOption('0.002');
    await page.getByLabel('Volts / division').selectOption('5');
    await until('the time base', async () => (await settings(page)).timebase === 0.002);
    await type(page, 'Frequency', '20k');
    await type(page, 'Offset', '3');
    await until('both', async () => {
      const { frequency, offset } = await settings(page);
      return frequency === 20_000 && offset === 3;
    });
    await page.getByRole('button', { name: 'Fit' }).click();
    await value(page.getByLabel('Time / division'), '0.00001');
    await value(page.getByLabel('Volts / division'), '2');
    await value(page.getByLabel('Level', { exact: true }), '3 V');
    await says(page.locator('#measured'), '20.0 kHz');
    await reset(page);
  });

  test('has a trigger: by keyboard, by pointer, and with modes', async () => {
    const page = await connected();
    await says(page.locator('#triggered'), 'Triggered');
    await page.getByLabel('Mode').selectOption('Normal');
    await type(page, 'Level', '5');
    await says(page.locator('#triggered'), 'Waiting');
    await page.getByLabel('Mode').selectOption('Auto');
    await says(page.locator('#triggered'), 'Auto');
    await page.getByLabel('Mode').selectOption('Off');
    await says(page.locator('#triggered'), 'Off');
    await page.getByLabel('Mode').selectOption('Auto');
    const slider = page.getByLabel('Level, slider');
    await slider.focus();
    await page.keyboard.press('Home');
    await value(page.getByLabel('Level', { exact: true }), '-10 V');
    const { x, y, width, height } = await page.locator('#screen').boundingBox();
    await page.mouse.move(x + width / 2, y + height / 2 + 60);
    await page.mouse.down();
    await page.mouse.move(x + width / 2, y + 10 + (height - 36) / 4);
    await page.mouse.up();
    const level = parseFloat(await page.getByLabel('Level', { exact: true }).inputValue());
    assert.ok(Math.abs(level - 1) < 0.02, `${level}`);
    await type(page, 'Level', 'high');
    await says(page.locator('#level-error'), 'Not a number');
  });
});

async function settings(page) {
  return page.evaluate(async () => {
    const { connect } = await import('./wslink.js');
    const client = await connect();
    const result = await client.call('scope.settings.get');
    client.close();
    return result;
  });
}

describe('the generator', () => {
  test('is set by typing, dragging and choosing, and errors stand beside', async () => {
    const page = await connected();
    await type(page, 'Frequency', '2.5 kHz');
    await says(page.locator('#measured'), '2.50 kHz');
    await type(page, 'Amplitude', '500m');
    await says(page.locator('#peak'), /^1\.0\d V$/);
    await page.getByRole('radio', { name: 'square' }).focus();
    await page.keyboard.press('ArrowRight');
    await until('the triangle', async () => (await settings(page)).waveform === 'triangle');
    await page.getByLabel('Offset, slider').focus();
    await page.keyboard.press('End');
    await until('the offset', async () => (await settings(page)).offset === 10);
    await value(page.getByLabel('Offset', { exact: true }), '10 V');

    await type(page, 'Frequency', '2M');
    await says(page.locator('#frequency-error'), '2 MHz was not set: not in 0.1 to 1000000 Hz');
    await value(page.getByLabel('Frequency', { exact: true }), '2.5 kHz');
    await type(page, 'Frequency', '1k');
    await says(page.locator('#frequency-error'), '');
    await reset(page);
  });

  test('stays in step between two tabs', async () => {
    const [one, other] = [await connected(), await connected()];
    await type(one, 'Frequency', '440');
    await value(other.getByLabel('Frequency', { exact: true }), '440 Hz');
    await other.getByRole('radio', { name: 'square' }).check({ force: true });
    await until('the square', () => one.getByRole('radio', { name: 'square' }).isChecked());
    await other.getByLabel('Time / division').selectOption('0.02');
    await value(one.getByLabel('Time / division'), '0.02');
    // What is being typed stays.
    await one.getByLabel('Amplitude', { exact: true }).fill('7');
    await type(other, 'Noise', '0.1');
    await value(one.getByLabel('Noise', { exact: true }), '100 mV');
    assert.equal(await one.getByLabel('Amplitude', { exact: true }).inputValue(), '7');
    // Somebody who comes later sees the same.
    const late = await connected();
    await value(late.getByLabel('Frequency', { exact: true }), '440 Hz');
    await reset(one);
    await value(late.getByLabel('Frequency', { exact: true }), '1 kHz');
  });
});

describe('long calls', () => {
  test('a capture is shown, looked into, and downloaded', async () => {
    const page = await connected();
    const here = panel(page, 'capture');
    await type(page, 'Samples', '20k');
    await says(here.getByRole('status'), '20,000 samples in 200 ms');
    await until('the drawing', async () => (await drawn(page, 'captured')) > 500);
    const all = await drawn(page, 'captured');
    for (let i = 0; i < 6; i += 1) await page.getByRole('button', { name: 'Zoom in' }).click();
    await page.getByRole('button', { name: 'Later' }).click();
    await until('less', async () => (await drawn(page, 'captured')) < all / 2);
    await page.getByRole('button', { name: 'All' }).click();
    await until('all of it', async () => (await drawn(page, 'captured')) > all / 2);

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ]);
    assert.equal(download.suggestedFilename(), 'capture.csv');
    const rows = readFileSync(await download.path(), 'utf8').trim().split('\n');
    assert.equal(rows.length, 20_001);
    assert.equal(rows[0], 'seconds,volts');
    const [first, trigger, last] = [rows[1], rows[2001], rows.at(-1)].map((row) => row.split(',').map(Number));
    assert.deepEqual([first[0], trigger[0], last[0]], [-0.02, 0, 0.17999]);
    assert.ok(Math.abs(trigger[1]) < 0.1);

    await type(page, 'Samples', '3M');
    await says(here.getByRole('alert'), /not in 1 to 2000000/);
    await type(page, 'Samples', 'many');
    await says(here.getByRole('alert'), 'Not a number');
    await type(page, 'Level', '9');
    await type(page, 'Samples', '1000');
    await says(here.getByRole('alert'), /does not rise/);
    await page.getByLabel('at the trigger').uncheck();
    await type(page, 'Samples', '2M');
    await says(here.getByRole('status'), '2,000,000 samples in 20 s');
  });

  test('an upload shows its progress and can be cancelled', async () => {
    const page = await connected();
    const here = panel(page, 'upload');
    const image = Buffer.alloc(30_000_000, 'firmware');
    const file = join(folder, 'image.bin');
    writeFileSync(file, image);
    await page.getByLabel('Image').setInputFiles(file);
    await page.evaluate(() => {
      window.seen = [];
      const bar = document.querySelector('#upload progress');
      new MutationObserver(() => window.seen.push(bar.hidden ? -1 : bar.value)).observe(bar, { attributes: true });
    });
    await page.getByRole('button', { name: 'Upload' }).click();
    const digest = createHash('sha256').update(image).digest('hex');
    await says(here.getByRole('status'), `30,000,000 bytes arrived, SHA-256 ${digest}`);
    const seen = await page.evaluate(() => window.seen);
    assert.ok(seen.filter((part) => part > 0 && part < 1).length > 3, `${seen}`);
    assert.ok(await here.getByRole('progressbar').isHidden());

    await page.getByRole('button', { name: 'Upload' }).click();
    await here.getByRole('button', { name: 'Cancel' }).click();
    await says(here.getByRole('status'), 'Cancelled');
    await says(page.locator('#state'), 'Connected');

    writeFileSync(file, Buffer.alloc(66 << 20));
    await page.getByLabel('Image').setInputFiles(file);
    await page.getByRole('button', { name: 'Upload' }).click();
    await says(here.getByRole('alert'), /\S/);
    await says(page.locator('#state'), 'Connected');
  });

  test('a calibration shows its progress and can be cancelled by keyboard', async () => {
    const page = await connected();
    const here = panel(page, 'calibrate');
    const bar = here.getByRole('progressbar');
    await type(page, 'Seconds', '1');
    await until('half', () => bar.evaluate((it) => it.value > 0.3 && it.value < 0.9));
    await says(here.getByRole('status'), /^Offset -?\d+(\.\d+)? .?V, gain 1\.\d{3}$/);
    await page.getByLabel('Seconds').fill('60');
    await page.getByRole('button', { name: 'Calibrate' }).focus();
    await page.keyboard.press('Enter');
    await until('the focus', () => here.getByRole('button', { name: 'Cancel' }).evaluate((it) => it === document.activeElement));
    await page.keyboard.press('Enter');
    await says(here.getByRole('status'), 'Cancelled');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Calibrate');
    await type(page, 'Seconds', '61');
    await says(here.getByRole('alert'), /not in 0 to 60 s/);
  });
});

describe('the connection', () => {
  test('the server is killed and restarted under the page', async () => {
    const mine = await instrument();
    const page = await connected(`http://127.0.0.1:${mine.port}/`);
    await says(page.locator('#measured'), '1.00 kHz');
    await type(page, 'Frequency', '3k');
    await says(page.locator('#measured'), '3.00 kHz');
    await type(page, 'Seconds', '60');
    await mine.kill();
    await says(page.locator('#state'), 'Connection lost, trying again…');
    await says(panel(page, 'calibrate').getByRole('alert'), /Disconnected/);
    await type(page, 'Amplitude', '2');
    await says(page.locator('#amplitude-error'), '2 V was not set: Not connected');
    const again = await instrument({ port: mine.port });
    try {
      await says(page.locator('#state'), 'Connected');
      await says(page.locator('#notice'), 'The server was restarted, with settings of its own.');
      await says(page.locator('#measured'), '1.00 kHz');
      await value(page.getByLabel('Frequency', { exact: true }), '1 kHz');
      await type(page, 'Amplitude', '2');
      await says(page.locator('#amplitude-error'), '');
    } finally {
      await again.kill();
    }
  });

  test('another secret is asked for', async () => {
    const mine = await instrument({ secret: 'another' });
    try {
      const page = await tab(`http://127.0.0.1:${mine.port}/`);
      await says(page.locator('#state'), 'Refused: Authentication failed');
      await page.getByLabel('Secret').fill('another');
      await page.keyboard.press('Enter');
      await says(page.locator('#state'), 'Connected');
      await says(page.locator('#measured'), '1.00 kHz');
      assert.ok(await page.getByLabel('Secret').isHidden());
    } finally {
      await mine.kill();
    }
  });
});

describe('everybody', () => {
  test('finds a name at each control, and sees where the focus is', async () => {
    const page = await connected();
    await page.getByRole('button', { name: 'Capture' }).click();
    await says(panel(page, 'capture').getByRole('status'), /samples/);
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send('Accessibility.getFullAXTree');
    const roles = /^(button|radio|slider|textbox|combobox|checkbox|spinbutton|progressbar|image|img|radiogroup|group|region)$/;
    const controls = nodes.filter(({ ignored, role }) => !ignored && roles.test(role?.value));
    assert.ok(controls.length > 25, `${controls.length}`);
    const nameless = controls.filter(({ name }) => !name?.value).map(({ role }) => role.value);
    assert.deepEqual(nameless, []);

    // Once around by keyboard.
    await page.locator('body').focus();
    const reached = new Set();
    for (let i = 0; i < 40; i += 1) {
      await page.keyboard.press('Tab');
      const { id, outline } = await page.evaluate(() => {
        const it = document.activeElement;
        if (it === document.body) return {};
        const seen = it.type === 'radio' ? it.parentElement : it;
        return { id: it.id || it.ariaLabel || it.name || it.textContent.trim(), outline: getComputedStyle(seen).outlineStyle };
      });
      if (!id) continue;
      assert.equal(outline, 'solid', id);
      reached.add(id);
    }
    for (const id of ['run', 'fit', 'timebase', 'volts', 'frequency', 'level', 'mode', 'seconds', 'image', 'samples', 'edge', 'download', 'waveform', 'Zoom in']) {
      assert.ok(reached.has(id), `${id} was not reached, but ${[...reached]}`);
    }
  });

  for (const [name, options] of Object.entries({
    light: { colorScheme: 'light' },
    dark: { colorScheme: 'dark' },
    narrow: { colorScheme: 'light', width: 360 },
  })) {
    test(`sees it ${name}, with contrast and without scrolling sideways`, async () => {
      const page = await connected();
      await page.emulateMedia({ colorScheme: options.colorScheme });
      await page.setViewportSize({ width: options.width ?? 1280, height: 860 });
      await page.getByRole('button', { name: 'Capture' }).click();
      await says(panel(page, 'capture').getByRole('status'), /samples/);
      await says(page.locator('#measured'), '1.00 kHz');
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
      const poor = await page.evaluate(contrasts);
      assert.deepEqual(poor, []);
      const shots = process.env.WSLINK_SCREENSHOTS;
      if (!shots) return;
      if (!existsSync(shots)) mkdirSync(shots, { recursive: true });
      await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
    });
  }
});

/** Texts with less than 4.5 to 1 against what is behind them (in the page). */
function contrasts() {
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parse(colour)
      .slice(0, 3)
      .map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if ((!own && !element.matches('[inputmode], select')) || !element.checkVisibility()) continue;
    let back = element;
    while (back && /^rgba\(.*, 0\)$/.test(getComputedStyle(back).backgroundColor)) back = back.parentElement;
    const [a, b] = [getComputedStyle(element).color, getComputedStyle(back ?? document.body).backgroundColor].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.id} ${element.textContent.slice(0, 20)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}
