/** Numbers to pixels and to text: linear and log scales, their ticks, and how values are written. */

export interface Scale {
  readonly log: boolean;
  /** The pixel of a value; NaN where the scale has none (zero and below on a log scale). */
  toPixel(value: number): number;
  toValue(pixel: number): number;
  ticks(count: number): number[];
}

/** A scale that takes `low` to pixel `from` and `high` to pixel `to`; log needs 0 < low. */
export function scale(log: boolean, low: number, high: number, from: number, to: number): Scale {
  const forward = log ? Math.log10 : (x: number) => x;
  const back = log ? (x: number) => 10 ** x : (x: number) => x;
  const start = forward(low);
  const slope = (to - from) / (forward(high) - start || 1);
  return {
    log,
    toPixel: (value) => (log && value <= 0 ? NaN : from + (forward(value) - start) * slope),
    toValue: (pixel) => back(start + (pixel - from) / slope),
    ticks: (count) => (log ? logTicks(low, high, count) : linearTicks(low, high, count)),
  };
}

/** Round numbers (1, 2 or 5 times a power of ten) between low and high, about `count` of them. */
export function linearTicks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((multiple) => multiple * power >= rough * 0.999)! * power;
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step || 0);
  return ticks;
}

/** Powers of ten between low and high, thinned to about `count`; with fewer than two decades, 1, 2 and 5 times them. */
export function logTicks(low: number, high: number, count: number): number[] {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const decades = last - first + 1;
  if (decades >= 2) {
    const stride = Math.max(1, Math.ceil(decades / Math.max(1, count)));
    const start = Math.ceil(first / stride) * stride;
    return range(start, last, stride).map((exponent) => 10 ** exponent);
  }
  const fine = range(Math.floor(Math.log10(low)), last, 1)
    .flatMap((exponent) => [1, 2, 5].map((multiple) => multiple * 10 ** exponent))
    .filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  return fine.length >= 2 ? fine : linearTicks(low, high, Math.min(count, 3)).filter((tick) => tick > 0);
}

/** 2, 3, …, 9 times the powers of ten, from 1 to `high`: what makes a log axis look like one. */
export function minorTicks(high: number): number[] {
  const ticks: number[] = [];
  for (let power = 1; power <= high; power *= 10)
    for (let multiple = 2; multiple < 10 && multiple * power <= high; multiple++) ticks.push(multiple * power);
  return ticks;
}

function range(first: number, last: number, stride: number): number[] {
  const out: number[] = [];
  for (let i = first; i <= last; i += stride) out.push(i);
  return out;
}

/** A number on an axis: as short as it can be. */
export function tickLabel(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return `${short(value / 1e6)}M`;
  if (size >= 1e4) return `${short(value / 1e3)}k`;
  if (size < 1e-3) return exponential(value, 0);
  return short(value);
}

/** A measured value: four significant digits, or a power of ten where that is clearer. */
export function valueLabel(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return exponential(value, 2);
  return value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4).replace("-", "−");
}

export function percentLabel(value: number): string {
  return Number.isFinite(value) ? `${(100 * value).toFixed(value < 1 && value > 0.9995 ? 2 : 1)} %` : valueLabel(value);
}

/** What a person would type: 0.001, 3e-5, 1. Reads back to the same number, to three digits. */
export function knobLabel(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e4)) return Number(value.toPrecision(3)).toExponential().replace("+", "");
  return short(value);
}

/** 1234567 as 1,234,567. */
export function countLabel(value: number): string {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

export function rateLabel(value: number): string {
  return value >= 100 ? countLabel(value) : value >= 10 ? value.toFixed(0) : value.toFixed(1);
}

/** Seconds as 0:07, 12:34 or 1:02:03. */
export function timeLabel(seconds: number): string {
  const whole = Math.floor(seconds);
  const pad = (x: number) => x.toString().padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${pad(whole % 60)}`;
  return hours ? `${hours}:${pad(Math.floor(whole / 60) % 60)}:${rest}` : `${Math.floor(whole / 60)}:${rest}`;
}

/** Three significant digits, without zeros at the end; for sizes that need no power of ten. */
function short(value: number): string {
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

function exponential(value: number, digits: number): string {
  return value.toExponential(digits).replace("e+", "e").replace(/-/g, "−");
}
