/**
 * The exponential moving average of a curve, kept up to date at the cost of the new points alone.
 *
 * s_i = β^d s_{i-1} + (1 - β^d) x_i, where d is the number of steps since the point before: so curves that are measured
 * seldom lag no more steps behind than others. Divided by the same average of ones, so that the beginning is not pulled
 * towards zero (Kingma & Ba 2015, section 3). On a logarithmic value axis the logarithms are averaged, so that the smoothed line runs through the middle
of what one sees. Values that have no place on the axis leave the average as it is and show as gaps.
 */
import type { Curve } from "./curve";

export class Smoothed {
  private buffer = new Float32Array(0);
  private length = 0;
  private epoch = -1;
  private beta = 0;
  private log = false;
  private sum = 0;
  private norm = 0;
  private last = NaN; // the step of the last value that counted

  constructor(private readonly curve: Curve) {}

  /** The averaged values, one a point of the curve. With β = 0 these are the values themselves. */
  values(beta: number, log = false): Float32Array {
    const { curve } = this;
    if (beta === 0) return curve.values;
    if (beta !== this.beta || log !== this.log || curve.epoch !== this.epoch) {
      this.length = this.sum = this.norm = 0;
      this.last = NaN;
      this.beta = beta;
      this.log = log;
      this.epoch = curve.epoch;
    }
    if (this.buffer.length < curve.length) {
      const grown = new Float32Array(Math.max(curve.length, 2 * this.buffer.length));
      grown.set(this.buffer.subarray(0, this.length));
      this.buffer = grown;
    }
    const { values, steps } = curve;
    for (; this.length < curve.length; this.length++) {
      const value = log ? Math.log(values[this.length]!) : values[this.length]!;
      if (!Number.isFinite(value)) {
        this.buffer[this.length] = NaN;
        continue;
      }
      const step = steps[this.length]!;
      const decay = beta ** (Number.isNaN(this.last) ? 1 : step - this.last);
      this.last = step;
      this.sum = decay * this.sum + (1 - decay) * value;
      this.norm = decay * this.norm + (1 - decay);
      const mean = this.sum / this.norm;
      this.buffer[this.length] = log ? Math.exp(mean) : mean;
    }
    return this.buffer.subarray(0, curve.length);
  }
}
