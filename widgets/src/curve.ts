/** One recorded curve: steps and values that only grow at the end, in bounded memory. */

const CAPACITY = 1 << 16;

export class Curve {
  /** How many points the kernel has recorded and sent; more than `length` once old points were thinned out. */
  received = 0;
  length = 0;
  /** Counts the times that points before the end changed, so that whoever caches something derived can tell. */
  epoch = 0;
  private stepsBuffer: Int32Array;
  private valuesBuffer: Float32Array;

  constructor(
    readonly name: string,
    private readonly capacity = CAPACITY,
  ) {
    const room = Math.min(1024, capacity);
    this.stepsBuffer = new Int32Array(room);
    this.valuesBuffer = new Float32Array(room);
  }

  get steps(): Int32Array {
    return this.stepsBuffer.subarray(0, this.length);
  }

  get values(): Float32Array {
    return this.valuesBuffer.subarray(0, this.length);
  }

  get lastStep(): number {
    return this.length ? this.stepsBuffer[this.length - 1]! : 0;
  }

  get lastValue(): number {
    return this.length ? this.valuesBuffer[this.length - 1]! : NaN;
  }

  /** Forget everything and take these points, which stand for `received` recorded ones. */
  reset(steps: Int32Array, values: Float32Array, received: number): void {
    this.length = 0;
    this.epoch++;
    this.push(steps, values);
    this.received = received;
  }

  /**
   * Take points whose first is number `start` of the recording. Points that are here already are skipped.
   * False, and nothing taken, if points between the last one here and `start` are missing.
   */
  append(start: number, steps: Int32Array, values: Float32Array): boolean {
    if (start > this.received) return false;
    const known = this.received - start;
    if (known >= steps.length) return true;
    this.push(steps.subarray(known), values.subarray(known));
    this.received = start + steps.length;
    return true;
  }

  /** The index of the point whose step is nearest to `step`; -1 if there is none. */
  nearest(step: number): number {
    if (!this.length) return -1;
    let low = 0;
    let high = this.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.stepsBuffer[middle]! < step) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && step - this.stepsBuffer[low - 1]! < this.stepsBuffer[low]! - step) return low - 1;
    return low;
  }

  private push(steps: Int32Array, values: Float32Array): void {
    for (let from = 0; from < steps.length; ) {
      if (this.length === this.capacity) this.thin();
      const count = Math.min(steps.length - from, this.capacity - this.length);
      this.grow(this.length + count);
      this.stepsBuffer.set(steps.subarray(from, from + count), this.length);
      this.valuesBuffer.set(values.subarray(from, from + count), this.length);
      this.length += count;
      from += count;
    }
  }

  private grow(length: number): void {
    if (length <= this.stepsBuffer.length) return;
    const room = Math.min(this.capacity, Math.max(length, 2 * this.stepsBuffer.length));
    const steps = new Int32Array(room);
    const values = new Float32Array(room);
    steps.set(this.steps);
    values.set(this.values);
    this.stepsBuffer = steps;
    this.valuesBuffer = values;
  }

  /** Halve the number of points: of every four, keep the least and the greatest, so that no peak is lost. */
  private thin(): void {
    const { stepsBuffer: steps, valuesBuffer: values } = this;
    let kept = 0;
    for (let from = 0; from < this.length; from += 4) {
      const [first, second] = extremes(values, from, Math.min(from + 4, this.length));
      for (const index of first === second ? [first] : [first, second]) {
        steps[kept] = steps[index]!;
        values[kept++] = values[index]!;
      }
    }
    this.length = kept;
    this.epoch++;
  }
}

/** The indices of the least and the greatest of values[from..to), in the order in which they come. NaN counts as least. */
function extremes(values: Float32Array, from: number, to: number): [number, number] {
  let least = from;
  let greatest = from;
  for (let i = from + 1; i < to; i++) {
    const value = values[i]!;
    if (value < values[least]! || Number.isNaN(value)) least = i;
    if (value > values[greatest]!) greatest = i;
  }
  return least < greatest ? [least, greatest] : [greatest, least];
}
