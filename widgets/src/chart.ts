/**
 * One panel of curves on a canvas: axes, raw and smoothed lines, event marks and a cursor.
 *
 * A canvas of our own instead of a chart library: every widget instance carries its code (anywidget sends it each
 * time), and what a library would add is either not needed (zoom, bars) or missing (raw behind smoothed, event marks).
 */
import type { Curve } from "./curve";
import { decimate } from "./decimate";
import type { EventMark } from "./protocol";
import { minorTicks, percentLabel, scale, tickLabel, type Scale } from "./scale";
import { Smoothed } from "./smooth";

export interface Line {
  curve: Curve;
  smoothed: Smoothed;
  /** The CSS variable that holds its colour, and its dashes: colour is never the only difference. */
  color: string;
  dash: number[];
  visible: boolean;
}

export interface ChartState {
  lines: Line[];
  events: EventMark[];
  logSteps: boolean;
  logValues: boolean;
  /** Values are shares between 0 and 1: the axis is fixed, in percent. */
  share: boolean;
  smoothing: number;
  /** The step that a person points at in any panel. */
  cursor: number | null;
  lastStep: number;
}

const HEIGHT = 208;
const EDGE = { left: 46, right: 12, top: 10, bottom: 24 };

export class Chart {
  readonly canvas = document.createElement("canvas");
  private readonly context = this.canvas.getContext("2d")!;
  private width = 0;
  private steps: Scale = scale(false, 0, 1, 0, 1);

  constructor() {
    this.canvas.className = "nbk-canvas";
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.style.height = `${HEIGHT}px`;
  }

  /** The step under a pixel of the canvas, no further than the curves go. */
  stepAt(pixel: number, lastStep: number): number {
    return Math.max(0, Math.min(lastStep, this.steps.toValue(pixel)));
  }

  /** The pixel of a step. */
  pixelOf(step: number): number {
    return this.steps.toPixel(step);
  }

  draw(state: ChartState, style: CSSStyleDeclaration): void {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    if (this.width < 60) return;
    const [across, down] = [Math.round(this.width * ratio), Math.round(HEIGHT * ratio)];
    if (this.canvas.width !== across) this.canvas.width = across;
    if (this.canvas.height !== down) this.canvas.height = down;
    const g = this.context;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, this.width, HEIGHT);
    const color = (name: string) => style.getPropertyValue(name).trim();
    g.font = `11px ${style.fontFamily}`;

    const right = this.width - EDGE.right;
    const bottom = HEIGHT - EDGE.bottom;
    const first = state.logSteps ? 1 : 0;
    this.steps = scale(state.logSteps, first, Math.max(first * 10, state.lastStep, 1), EDGE.left, right);
    const [low, high] = this.range(state);
    const values = scale(state.logValues, low, high, bottom, EDGE.top);
    if (!state.lines.some((line) => line.curve.length)) {
      return this.note("No points yet: press Play, or Step.", color("--nbk-faint"));
    }
    this.axes(state, values, color("--nbk-grid"), color("--nbk-faint"), right, bottom);

    g.save();
    g.beginPath();
    g.rect(EDGE.left - 4, 0, right - EDGE.left + 8, bottom + 1);
    g.clip();
    this.marks(state.events, color("--nbk-mark"), bottom);
    for (const line of state.lines) if (line.visible) this.line(line, state, values, color(line.color));
    g.restore();
    if (state.cursor !== null) this.cursor(state, values, color, bottom);
  }

  /** The values between which the axis runs: what the curves span, and a little more. */
  private range(state: ChartState): [number, number] {
    if (state.share) return [-0.02, 1.02];
    let low = Infinity;
    let high = -Infinity;
    for (const { curve, visible } of state.lines) {
      if (!visible) continue;
      for (const value of curve.values) {
        if (!Number.isFinite(value) || (state.logValues && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) return state.logValues ? [0.1, 1] : [0, 1];
    if (state.logValues) {
      const pad = Math.max(1.05, (high / low) ** 0.04);
      return [low / pad, high * pad];
    }
    const pad = (high - low) * 0.05 || Math.abs(high) * 0.05 || 0.5;
    return [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
  }

  private axes(state: ChartState, values: Scale, grid: string, label: string, right: number, bottom: number): void {
    const g = this.context;
    g.lineWidth = 1;
    g.strokeStyle = grid;
    g.fillStyle = label;
    g.textBaseline = "middle";
    g.textAlign = "right";
    for (const tick of values.ticks(state.share ? 4 : 5)) {
      const y = Math.round(values.toPixel(tick)) + 0.5;
      if (!(y >= EDGE.top - 6 && y <= bottom + 1)) continue;
      this.stroke(EDGE.left, y, right, y);
      g.fillText(state.share ? percentLabel(tick).replace(".0", "") : tickLabel(tick), EDGE.left - 7, y);
    }
    g.textBaseline = "top";
    g.textAlign = "center";
    for (const tick of this.steps.ticks(Math.max(2, Math.floor((right - EDGE.left) / 80)))) {
      if (tick !== Math.round(tick)) continue;
      const x = Math.round(this.steps.toPixel(tick)) + 0.5;
      if (!(x <= right + 1)) continue;
      this.stroke(x, bottom, x, bottom + 4);
      g.fillText(tickLabel(tick), Math.min(x, this.width - 14), bottom + 8);
    }
    if (state.logSteps) {
      for (const tick of minorTicks(state.lastStep)) {
        const x = Math.round(this.steps.toPixel(tick)) + 0.5;
        this.stroke(x, bottom, x, bottom + 2);
      }
    }
    this.stroke(EDGE.left, bottom + 0.5, right, bottom + 0.5);
  }

  private marks(events: EventMark[], color: string, bottom: number): void {
    const g = this.context;
    g.strokeStyle = color;
    g.fillStyle = color;
    g.lineWidth = 1;
    let drawn = -9;
    for (const { step } of events) {
      const x = Math.round(this.steps.toPixel(step)) + 0.5;
      if (!(x - drawn >= 2)) continue;
      drawn = x;
      g.setLineDash([1, 3]);
      this.stroke(x, EDGE.top, x, bottom);
      g.setLineDash([]);
      g.beginPath();
      g.moveTo(x - 3.5, EDGE.top - 6);
      g.lineTo(x + 3.5, EDGE.top - 6);
      g.lineTo(x, EDGE.top);
      g.fill();
    }
  }

  private line(line: Line, state: ChartState, values: Scale, color: string): void {
    const { curve, smoothed, dash } = line;
    const x = (step: number) => this.steps.toPixel(step);
    const y = (value: number) => values.toPixel(value);
    const g = this.context;
    g.strokeStyle = color;
    g.lineJoin = g.lineCap = "round"; // a point alone is a dot
    if (state.smoothing > 0) {
      g.globalAlpha = 0.28;
      g.lineWidth = 1;
      g.setLineDash([]);
      this.path(decimate(curve.steps, curve.values, x, y));
    }
    g.globalAlpha = 1;
    g.lineWidth = 1.75;
    g.setLineDash(dash);
    this.path(decimate(curve.steps, smoothed.values(state.smoothing, state.logValues), x, y));
    g.setLineDash([]);
    g.lineCap = "butt";
  }

  private path(points: Float32Array): void {
    const g = this.context;
    g.beginPath();
    let pen = false;
    for (let i = 0; i < points.length; i += 2) {
      const x = points[i]!;
      const y = points[i + 1]!;
      if (Number.isNaN(x)) pen = false;
      else if (pen) g.lineTo(x, y);
      else {
        g.moveTo(x, y);
        g.lineTo(x, y);
        pen = true;
      }
    }
    g.stroke();
  }

  private cursor(state: ChartState, values: Scale, color: (name: string) => string, bottom: number): void {
    const g = this.context;
    const x = Math.round(this.steps.toPixel(Math.max(state.cursor!, state.logSteps ? 1 : 0))) + 0.5;
    g.strokeStyle = color("--nbk-faint");
    g.lineWidth = 1;
    this.stroke(x, EDGE.top, x, bottom);
    for (const { curve, smoothed, visible, color: name } of state.lines) {
      const index = curve.nearest(state.cursor!);
      if (!visible || index < 0) continue;
      const y = values.toPixel(smoothed.values(state.smoothing, state.logValues)[index]!);
      const at = this.steps.toPixel(curve.steps[index]!);
      if (!Number.isFinite(y) || !Number.isFinite(at)) continue;
      g.beginPath();
      g.arc(at, y, 3.5, 0, 2 * Math.PI);
      g.fillStyle = color(name);
      g.fill();
      g.strokeStyle = color("--nbk-bg");
      g.lineWidth = 1.5;
      g.stroke();
    }
  }

  private note(words: string, color: string): void {
    const g = this.context;
    g.fillStyle = color;
    g.textAlign = "center";
    g.textBaseline = "middle";
    g.fillText(words, EDGE.left + (this.width - EDGE.left - EDGE.right) / 2, EDGE.top + (HEIGHT - EDGE.top - EDGE.bottom) / 2);
  }

  private stroke(x1: number, y1: number, x2: number, y2: number): void {
    this.context.beginPath();
    this.context.moveTo(x1, y1);
    this.context.lineTo(x2, y2);
    this.context.stroke();
  }
}
