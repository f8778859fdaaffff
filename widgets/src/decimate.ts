/** Fewer points for the same picture: at most four a pixel column, so that a long curve costs no more than a short one. */

/**
 * Thin a curve for drawing: of the points in each pixel column keep the first, the least, the greatest and the last,
 * in their order. `x` must not fall along the curve. Returns pixel pairs; NaN marks a gap in the line.
 */
export function decimate(
  steps: Int32Array,
  values: Float32Array,
  x: (step: number) => number,
  y: (value: number) => number,
): Float32Array {
  const out: number[] = [];
  const column = { at: NaN, first: -1, least: -1, greatest: -1, last: -1 };
  const emit = () => {
    if (column.first < 0) return;
    const order = [column.first, column.least, column.greatest, column.last].sort((a, b) => a - b);
    for (let i = 0; i < 4; i++) {
      if (i && order[i] === order[i - 1]) continue;
      out.push(x(steps[order[i]!]!), y(values[order[i]!]!));
    }
    column.first = -1;
  };
  for (let i = 0; i < steps.length; i++) {
    const px = x(steps[i]!);
    const value = values[i]!;
    if (Number.isNaN(px)) continue;
    if (!Number.isFinite(y(value))) {
      emit();
      if (out.length && !Number.isNaN(out[out.length - 1]!)) out.push(NaN, NaN);
      continue;
    }
    const at = Math.floor(px);
    if (column.first < 0 || at !== column.at) {
      emit();
      column.at = at;
      column.first = column.least = column.greatest = column.last = i;
      continue;
    }
    if (value < values[column.least]!) column.least = i;
    if (value > values[column.greatest]!) column.greatest = i;
    column.last = i;
  }
  emit();
  return Float32Array.from(out);
}
