/** A knob: a label, a logarithmic slider and a field for the exact number, which always show the same value. */
import { attribute, h, uniqueId } from "./dom";
import { knobLabel } from "./scale";

export interface KnobOptions {
  label: string;
  low: number;
  high: number;
  /** A value off the logarithmic scale at one end of the slider: 0 at the left, or null ("max") at the right. */
  end: "none" | "zero" | "max";
  hint: string;
  turn: (value: number | null) => void;
}

const TRACK = 240; // slider positions; arrow keys move by one, page keys by ten times as much
const MARGIN = 12; // positions given to the end that is off the scale

/** The slider position of a value. */
export function toPosition(value: number | null, { low, high, end }: KnobOptions): number {
  if (value === null) return TRACK;
  if (value <= 0) return 0;
  const from = end === "zero" ? MARGIN : 0;
  const to = end === "max" ? TRACK - MARGIN : TRACK;
  const share = Math.log(value / low) / Math.log(high / low);
  return Math.round(from + Math.min(1, Math.max(0, share)) * (to - from));
}

/** The value at a slider position, rounded to two digits so that it reads well. */
export function fromPosition(position: number, { low, high, end }: KnobOptions): number | null {
  const from = end === "zero" ? MARGIN : 0;
  const to = end === "max" ? TRACK - MARGIN : TRACK;
  if (end === "zero" && position < from / 2) return 0;
  if (end === "max" && position > (to + TRACK) / 2) return null;
  const share = Math.min(1, Math.max(0, (position - from) / (to - from)));
  return Number((low * (high / low) ** share).toPrecision(2));
}

/** What was typed, as a value; a string if it is none: then it says what is wanted. */
export function parseKnob(typed: string, { label, end }: KnobOptions): number | null | string {
  const text = typed.trim().replace("−", "-").toLowerCase();
  if (end === "max" && (text === "max" || text === "")) return null;
  const value = Number(text);
  const wanted = end === "zero" ? "a number ≥ 0" : end === "max" ? "a number > 0, or max" : "a number > 0";
  const fine = text !== "" && Number.isFinite(value) && (value > 0 || (end === "zero" && value === 0));
  return fine ? value : `${label} must be ${wanted}, such as ${end === "max" ? "50" : "0.003 or 3e-3"}; got “${typed.trim()}”.`;
}

export class Knob {
  readonly element: HTMLElement;
  private readonly slider: HTMLInputElement;
  private readonly field: HTMLInputElement;
  private value: number | null = 0;
  private timer = 0;

  constructor(
    private readonly options: KnobOptions,
    private readonly complain: (problem: string | null) => void,
  ) {
    const id = uniqueId("knob");
    this.slider = h("input", { type: "range", min: 0, max: TRACK, step: 1, class: "nbk-slider", "aria-labelledby": id });
    this.field = h("input", {
      type: "text",
      inputmode: "decimal",
      spellcheck: "false",
      autocomplete: "off",
      class: "nbk-field",
      "aria-labelledby": id,
    });
    this.element = h("div", { class: "nbk-knob", title: options.hint },
      h("span", { class: "nbk-label", id }, options.label), this.slider, this.field);
    this.slider.addEventListener("input", () => this.preview(fromPosition(this.slider.valueAsNumber, options)));
    this.slider.addEventListener("change", () => this.turnSoon());
    this.field.addEventListener("change", () => this.commit());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.commit();
      if (event.key === "Escape") {
        this.reset();
        this.complain(null);
      }
      if (event.key === "Enter" || event.key === "Escape") event.stopPropagation();
    });
    this.field.addEventListener("input", () => attribute(this.field, "aria-invalid", typeof parseKnob(this.field.value, options) === "string"));
  }

  /** Show the session's value, unless a person is at work on the knob right now. */
  show(value: number | null, enabled: boolean): void {
    attribute(this.slider, "disabled", !enabled);
    attribute(this.field, "disabled", !enabled);
    if (value === this.value && this.field.value !== "") return;
    const typing = this.field.matches(":focus") && this.field.value !== this.written(this.value);
    this.value = value;
    if (!typing && !this.timer && !this.slider.matches(":active")) this.reset();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private written(value: number | null): string {
    return value === null ? "max" : knobLabel(value);
  }

  private reset(): void {
    this.preview(this.value);
    this.slider.value = String(toPosition(this.value, this.options));
    attribute(this.field, "aria-invalid", false);
  }

  private preview(value: number | null): void {
    this.field.value = this.written(value);
    attribute(this.slider, "aria-valuetext", this.written(value));
    attribute(this.field, "aria-invalid", false);
  }

  /** Turn once a slider rests: arrow keys held down are one turn, not fifty. */
  private turnSoon(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.complain(null);
      this.options.turn(fromPosition(this.slider.valueAsNumber, this.options));
    }, 200);
  }

  private commit(): void {
    const value = parseKnob(this.field.value, this.options);
    attribute(this.field, "aria-invalid", typeof value === "string");
    if (typeof value === "string") return this.complain(value);
    this.complain(null);
    this.slider.value = String(toPosition(value, this.options));
    if (value !== this.value) this.options.turn(value);
    else this.reset();
  }
}
