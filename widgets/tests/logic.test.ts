import assert from "node:assert/strict";
import { test } from "node:test";
import { Curve } from "../src/curve";
import { decimate } from "../src/decimate";
import { fromPosition, parseKnob, toPosition, type KnobOptions } from "../src/knob";
import { knobLabel, linearTicks, logTicks, scale, tickLabel, timeLabel, valueLabel } from "../src/scale";
import { Smoothed } from "../src/smooth";

const curveOf = (values: number[], capacity?: number): Curve => {
  const curve = new Curve("train/loss", capacity);
  curve.append(0, Int32Array.from(values, (_, i) => i + 1), Float32Array.from(values));
  return curve;
};

test("a curve takes points once, in order, and says when some are missing", () => {
  const curve = curveOf([1, 2, 3]);
  assert.equal(curve.append(5, Int32Array.of(6), Float32Array.of(9)), false);
  assert.equal(curve.length, 3);
  assert.equal(curve.append(1, Int32Array.of(2, 3, 4), Float32Array.of(7, 7, 4)), true);
  assert.deepEqual([...curve.values], [1, 2, 3, 4]);
  assert.deepEqual([...curve.steps], [1, 2, 3, 4]);
  assert.equal(curve.received, 4);
  assert.equal(curve.append(0, Int32Array.of(1), Float32Array.of(8)), true);
  assert.deepEqual([...curve.values], [1, 2, 3, 4]);
});

test("a curve that is reset stands for more points than it holds", () => {
  const curve = new Curve("x");
  curve.reset(Int32Array.of(1, 50, 100), Float32Array.of(3, 2, 1), 100);
  assert.equal(curve.append(100, Int32Array.of(101), Float32Array.of(0.5)), true);
  assert.equal(curve.append(102, Int32Array.of(103), Float32Array.of(0.5)), false);
  assert.deepEqual([...curve.steps], [1, 50, 100, 101]);
  assert.equal(curve.lastStep, 101);
  assert.equal(curve.lastValue, 0.5);
});

test("a full curve thins old points but keeps every peak and its order", () => {
  const curve = new Curve("x", 64);
  const values = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i));
  values[17] = 50;
  values[23] = -50;
  for (let i = 0; i < 1000; i++) curve.append(i, Int32Array.of(i), values.subarray(i, i + 1));
  assert.ok(curve.length <= 64 && curve.length >= 32);
  assert.ok(curve.values.includes(50) && curve.values.includes(-50));
  assert.equal(curve.steps[curve.values.indexOf(50)], 17);
  assert.equal(curve.lastStep, 999);
  for (let i = 1; i < curve.length; i++) assert.ok(curve.steps[i]! > curve.steps[i - 1]!);
  assert.ok(curve.epoch > 0);
});

test("one append may be longer than the capacity", () => {
  const curve = curveOf(Array.from({ length: 5000 }, (_, i) => i), 128);
  assert.equal(curve.lastValue, 4999);
  assert.equal(curve.received, 5000);
  assert.equal(curve.values[0], 0);
});

test("nearest finds the closest step", () => {
  const curve = new Curve("x");
  assert.equal(curve.nearest(3), -1);
  curve.append(0, Int32Array.of(0, 10, 20, 100), Float32Array.of(0, 1, 2, 3));
  assert.deepEqual([-5, 0, 4, 6, 14, 16, 59, 61, 1e6].map((step) => curve.nearest(step)), [0, 0, 0, 1, 1, 2, 2, 3, 3]);
});

test("smoothing is the bias-corrected average, incremental and unchanged by how points arrive", () => {
  const values = [4, 0, 2, NaN, 1, 5];
  const beta = 0.9;
  const expected = values.map((value, i) => {
    if (Number.isNaN(value)) return NaN;
    // Written out: a value counts (1 - β^d) times β for each step since, d being the steps since the value before.
    const counted = values.slice(0, i + 1).flatMap((x, j) => (Number.isNaN(x) ? [] : [{ x, j }]));
    const weights = counted.map(({ j }, k) => (1 - beta ** (k ? j - counted[k - 1]!.j : 1)) * beta ** (i - j));
    const total = weights.reduce((sum, w) => sum + w);
    return counted.reduce((sum, { x }, k) => sum + (weights[k]! / total) * x, 0);
  });
  const whole = curveOf(values);
  const bit = new Curve("x");
  const [a, b] = [new Smoothed(whole), new Smoothed(bit)];
  values.forEach((value, i) => {
    bit.append(i, Int32Array.of(i), Float32Array.of(value));
    b.values(beta);
  });
  for (const got of [a.values(beta), b.values(beta)]) {
    got.forEach((value, i) => assert.ok(Object.is(value, expected[i]) || Math.abs(value - expected[i]!) < 1e-6));
  }
  assert.deepEqual([...a.values(0)], values);
  assert.equal(a.values(0.5)[1], Math.fround(4 / 3));
});

test("on a log axis the logarithms are averaged, and what has none is a gap", () => {
  const smoothed = new Smoothed(curveOf([100, 1, 0, 1]));
  const got = [...smoothed.values(0.5, true)];
  assert.ok(Math.abs(got[1]! - 100 ** (1 / 3)) < 1e-5);
  assert.ok(Number.isNaN(got[2]) && Number.isFinite(got[3]));
  assert.equal(smoothed.values(0.5)[1], Math.fround(34));
});

test("a curve that is measured seldom lags as many steps behind as another", () => {
  const often = new Curve("often");
  const seldom = new Curve("seldom");
  const ramp = Int32Array.from({ length: 2001 }, (_, i) => i);
  const tens = ramp.filter((i) => i % 10 === 0);
  often.append(0, ramp, Float32Array.from(ramp));
  seldom.append(0, tens, Float32Array.from(tens));
  const lag = (curve: Curve) => 2000 - new Smoothed(curve).values(0.99).at(-1)!;
  assert.ok(Math.abs(lag(often) - 99) < 1);
  assert.ok(Math.abs(lag(seldom) - 99) < 8);
});

test("smoothing starts again when old points were thinned", () => {
  const curve = curveOf([1, 1, 1, 1], 4);
  const smoothed = new Smoothed(curve);
  smoothed.values(0.9);
  curve.append(4, Int32Array.of(5, 6), Float32Array.of(1, 1));
  assert.equal(smoothed.values(0.9).length, curve.length);
  assert.ok([...smoothed.values(0.9)].every((value) => Math.abs(value - 1) < 1e-6));
});

test("decimation keeps extremes, ends and order within each pixel", () => {
  const n = 100_000;
  const steps = Int32Array.from({ length: n }, (_, i) => i);
  const values = Float32Array.from({ length: n }, (_, i) => Math.sin(i * 0.7));
  values[54_321] = 9;
  values[12_345] = -9;
  const out = decimate(steps, values, (s) => (s / n) * 500, (v) => v);
  assert.ok(out.length / 2 <= 4 * 500);
  const ys = [...out].filter((_, i) => i % 2);
  const xs = [...out].filter((_, i) => i % 2 === 0);
  assert.ok(ys.includes(9) && ys.includes(-9));
  for (let i = 1; i < xs.length; i++) assert.ok(xs[i]! >= xs[i - 1]!);
  assert.equal(xs[0], 0);
  assert.equal(ys.at(-1), values[n - 1]);
});

test("decimation breaks the line at values that cannot be drawn, once", () => {
  const out = decimate(Int32Array.of(0, 1, 2, 3, 4), Float32Array.of(1, NaN, Infinity, 2, NaN), (s) => 10 * s, (v) => v);
  assert.deepEqual([...out], [0, 1, NaN, NaN, 30, 2, NaN, NaN]);
  assert.equal(decimate(Int32Array.of(1), Float32Array.of(-1), (s) => s, (v) => Math.log10(v)).length, 0);
});

test("scales go there and back; a log scale has no place for zero", () => {
  for (const log of [false, true]) {
    const s = scale(log, 1, 1000, 20, 320);
    assert.equal(s.toPixel(1), 20);
    assert.ok(Math.abs(s.toPixel(1000) - 320) < 1e-9);
    for (const value of [1, 3.3, 50, 999]) assert.ok(Math.abs(s.toValue(s.toPixel(value)) - value) < 1e-9 * value);
  }
  assert.ok(Number.isNaN(scale(true, 1, 10, 0, 1).toPixel(0)));
  assert.equal(scale(true, 1, 1000, 0, 300).toPixel(10), 100);
});

test("ticks are round numbers within the axis", () => {
  assert.deepEqual(linearTicks(0, 1000, 5), [0, 200, 400, 600, 800, 1000]);
  assert.deepEqual(linearTicks(0, 1, 4).map((x) => x.toFixed(2)), ["0.00", "0.50", "1.00"]);
  assert.deepEqual(linearTicks(3, 3, 4), [3]);
  assert.deepEqual(logTicks(1, 10_000, 8), [1, 10, 100, 1000, 10_000]);
  assert.deepEqual(logTicks(1.5, 9, 8), [2, 5]);
  assert.ok(logTicks(1e-9, 1, 4).length <= 5);
  assert.ok(logTicks(2.1, 2.9, 5).every((x) => x >= 2.1 && x <= 2.9));
});

test("numbers are written the short, readable way", () => {
  assert.deepEqual([0, 0.5, 20, 5000, 20_000, 1.5e6, 1e-4, -2].map(tickLabel), ["0", "0.5", "20", "5000", "20k", "1.5M", "1e−4", "−2"]);
  assert.deepEqual([NaN, Infinity, 0, 0.12345, 12.345, 1e-5, 123.456, -1.5].map(valueLabel), ["NaN", "∞", "0.0000", "0.1235", "12.35", "1.00e−5", "123.5", "−1.500"]);
  assert.deepEqual([0.001, 3e-5, 1, 0.0123, 10].map(knobLabel), ["0.001", "3e-5", "1", "0.0123", "10"]);
  assert.deepEqual([7, 754, 3723].map(timeLabel), ["0:07", "12:34", "1:02:03"]);
});

const knob = (end: KnobOptions["end"]): KnobOptions => ({ label: "Rate", low: 1e-4, high: 1, end, hint: "", turn: () => undefined });

test("a knob's slider and field agree", () => {
  for (const end of ["none", "zero", "max"] as const) {
    let before = -1;
    for (let position = 0; position <= 240; position++) {
      const value = fromPosition(position, knob(end));
      if (value === null) continue;
      assert.ok(value >= before, `${end} ${position}`);
      before = value;
      assert.equal(fromPosition(toPosition(value, knob(end)), knob(end)), value);
    }
  }
  assert.equal(fromPosition(0, knob("zero")), 0);
  assert.equal(fromPosition(240, knob("max")), null);
  assert.equal(fromPosition(240, knob("none")), 1);
  assert.equal(toPosition(50, knob("none")), 240); // beyond the track
});

test("what is typed into a knob is a number that makes sense, or a sentence that says what would", () => {
  assert.equal(parseKnob(" 3e-3 ", knob("none")), 0.003);
  assert.equal(parseKnob("0", knob("zero")), 0);
  assert.equal(parseKnob("Max", knob("max")), null);
  assert.equal(parseKnob("fast", knob("none")), "Rate must be a number > 0, such as 0.003 or 3e-3; got “fast”.");
  assert.equal(parseKnob("-1", knob("zero")), "Rate must be a number ≥ 0, such as 0.003 or 3e-3; got “-1”.");
  assert.equal(parseKnob("0", knob("max")), "Rate must be a number > 0, or max, such as 50; got “0”.");
  for (const bad of ["", "NaN", "Infinity", "1,5", "0"]) assert.equal(typeof parseKnob(bad, knob("none")), "string");
});
