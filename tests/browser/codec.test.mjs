// The module's MessagePack: round trips, limits, and agreement with the stock client's codec.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as stock from '@msgpack/msgpack';
import { decode, encode } from '../../adapters/browser/wslink.js';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const from = (text) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536, 70_000];

describe('values', () => {
  const same = [
    null, true, false, 0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32,
    Number.MAX_SAFE_INTEGER, -1, -32, -33, -128, -129, -32_768, -32_769, -(2 ** 31),
    -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER, 0.5, -0, 1e300, 5e-324, Infinity, -Infinity, NaN,
    2 ** 53, 2 ** 70, '', 'a', 'ü€😀', '\ufeffa', '\0', [], [[]], {}, { a: { b: [1, 'x'] } },
    { '': 0, __proto__x: 1, 'ключ': null },
  ];
  for (const value of same) {
    test(`${typeof value} ${Object.is(value, -0) ? '-0' : JSON.stringify(value) ?? value}`, () => {
      assert.deepEqual(decode(encode(value)), value);
      if (!Object.is(value, -0)) assert.deepEqual(stock.decode(encode(value)), value);
      assert.deepEqual(decode(stock.encode(value)), Object.is(value, -0) ? 0 : value);
    });
  }

  test('integers of 64 bits', () => {
    for (const value of [2n ** 53n, 2n ** 64n - 1n, -(2n ** 53n), -(2n ** 63n), 2n ** 63n]) {
      assert.equal(decode(encode(value)), value);
    }
    // What a number holds comes back as one.
    for (const value of [0n, -1n, 200n, 2n ** 53n - 1n, -(2n ** 53n) + 1n, -(2n ** 40n)]) {
      assert.equal(decode(encode(value)), Number(value));
      assert.equal(hex(encode(value)), hex(encode(Number(value))));
    }
    for (const value of [2n ** 64n, -(2n ** 63n) - 1n, 2n ** 3000n, -(2n ** 3000n)]) {
      assert.throws(() => encode(value), RangeError);
    }
  });

  test('the shortest form of each integer', () => {
    const all = [];
    for (let bits = 0; bits < 53; bits += 1) {
      for (const near of [-1, 0, 1]) all.push(2 ** bits + near, -(2 ** bits) + near);
    }
    for (const value of all) assert.equal(hex(encode(value)), hex(stock.encode(value)), `${value}`);
  });

  test('every length of header', () => {
    for (const length of lengths) {
      const values = [
        'x'.repeat(length),
        new Uint8Array(length).fill(7),
        new Array(length).fill(1),
        Object.fromEntries(Array.from({ length }, (_, i) => [`k${i}`, i])),
      ];
      for (const value of values) {
        assert.equal(hex(encode(value)), hex(stock.encode(value)));
        assert.deepEqual(decode(encode(value)), value);
      }
    }
  });

  test('binary of every kind, back as bytes of their own', () => {
    const buffer = Uint8Array.from([0, 1, 2, 3, 4, 5, 6, 7]).buffer;
    assert.deepEqual(decode(encode(buffer)), new Uint8Array(buffer));
    assert.deepEqual(decode(encode(new Float32Array(buffer, 4))), new Uint8Array(buffer, 4));
    assert.deepEqual(decode(encode(new DataView(buffer, 1, 2))), Uint8Array.of(1, 2));
    const [, bytes] = decode(encode(['x', new Uint8Array(buffer)]));
    assert.equal(bytes.buffer.byteLength, 8);
    assert.equal(new Float32Array(bytes.buffer).length, 2);
  });

  test('floats of 32 bits, and extensions', () => {
    assert.equal(decode(from('ca 3f000000')), 0.5);
    for (const text of ['d4 01 aa', 'c7 01 05 aa', 'c8 0001 05 aa', 'c9 00000001 05 aa']) {
      assert.deepEqual(decode(from(text)), Uint8Array.of(0xaa));
    }
    assert.equal(decode(from('d8 ff' + '00'.repeat(16))).length, 16);
  });

  test('what JSON leaves out is left out, what it turns is turned', () => {
    assert.deepEqual(decode(encode({ a: undefined, b: [undefined] })), { b: [null] });
    assert.equal(decode(encode(new Date(0))), '1970-01-01T00:00:00.000Z');
    assert.deepEqual(decode(encode([, 1])), [null, 1]); // eslint-disable-line no-sparse-arrays
    assert.deepEqual(decode(encode(Object.create(null, { a: { value: 1, enumerable: true } }))), { a: 1 });
    assert.deepEqual(decode(encode({ toString: 1 })), { toString: 1 });
  });

  test('what has no form is refused', () => {
    const loop = [];
    loop.push(loop);
    for (const value of [() => 0, Symbol('x'), new Map(), new Set(), new Blob([]), Promise.resolve(), loop]) {
      assert.throws(() => encode({ value }));
    }
  });

  test('a key can be called __proto__ and changes nothing', () => {
    const value = decode(from('81 a9 5f5f70726f746f5f5f 81 a1 78 01'));
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
    assert.equal(value.x, undefined);
    assert.deepEqual(Object.keys(value), ['__proto__']);
  });
});

describe('bytes that are no value', () => {
  for (const text of [
    '', 'c1', 'c4', 'c4 02 00', 'a2 61', 'd9 05 61', '92 01', '81 a1 61', 'cb 0000', 'cf 00', 'dd ffffffff',
    'df ffffffff', 'db ffffffff', 'c6 ffffffff', 'c9 ffffffff 00', '01 02',
  ]) {
    test(text || 'nothing', () => assert.throws(() => decode(from(text))));
  }

  test('any bytes either give a value or throw', () => {
    let x = 1;
    for (let round = 0; round < 20_000; round += 1) {
      const bytes = new Uint8Array(round % 40);
      for (let i = 0; i < bytes.length; i += 1) {
        x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
        bytes[i] = x >>> 24;
      }
      let value;
      try {
        value = decode(bytes);
      } catch (error) {
        assert.ok(error instanceof RangeError, `${hex(bytes)}: ${error}`);
        continue;
      }
      assert.deepEqual(decode(encode(value)), value, hex(bytes));
    }
  });
});
