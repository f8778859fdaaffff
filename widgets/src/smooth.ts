/**
 * The exponential moving average of a curve, kept up to date at the cost of the new points alone.
 *
 * s_t = β s_{t-1} + (1 - β) x_t, divided by 1 - β^t so that the beginning is not pulled towards zero (Kingma & Ba 2015,
 * section 3). Values that are not finite leave the average as it is and show as gaps.
 */
import type { Curve } from "./curve";

export class Smoothed {
  private buffer = new Float32Array(0);
  private length = 0;
  private epoch = -1;
  private beta = 0;
  private sum = 0;
  private weight = 1;

  constructor(private readonly curve: Curve) {}

  /** The averaged values, one a point of the curve. With β = 0 these are the values themselves. */
  values(beta: number): Float32Array {
    const { curve } = this;
    if (beta === 0) return curve.values;
    if (beta !== this.beta || curve.epoch !== this.epoch) {
      this.length = this.sum = 0;
      this.weight = 1;
      this.beta = beta;
      this.epoch = curve.epoch;
    }
    if (this.buffer.length < curve.length) {
      const grown = new Float32Array(Math.max(curve.length, 2 * this.buffer.length));
      grown.set(this.buffer.subarray(0, this.length));
      this.buffer = grown;
    }
    const values = curve.values;
    for (; this.length < curve.length; this.length++) {
      const value = values[this.length]!;
      if (!Number.isFinite(value)) {
        this.buffer[this.length] = NaN;
        continue;
      }
      this.sum = beta * this.sum + (1 - beta) * value;
      this.weight *= beta;
      this.buffer[this.length] = this.sum / (1 - this.weight);
    }
    return this.buffer.subarray(0, curve.length);
  }
}
