/** A panel: its title, a legend that is the read-out too, and the chart below. */
import { Chart, type Line } from "./chart";
import type { Curve } from "./curve";
import { attribute, h, text } from "./dom";
import type { EventMark } from "./protocol";
import { percentLabel, valueLabel } from "./scale";
import { Smoothed } from "./smooth";

/** What all panels of a view share. */
export interface Shared {
  events: EventMark[];
  logSteps: boolean;
  smoothing: number;
  cursor: number | null;
  lastStep: number;
}

const STYLES: Record<string, { color: string; dash: number[] }> = {
  train: { color: "--nbk-train", dash: [] },
  test: { color: "--nbk-test", dash: [6, 4] },
};
const OTHERS = [
  { color: "--nbk-third", dash: [2, 2] },
  { color: "--nbk-fourth", dash: [8, 3, 2, 3] },
];

interface Entry extends Line {
  button: HTMLButtonElement;
  output: HTMLElement;
}

export class Panel {
  readonly element: HTMLElement;
  readonly chart = new Chart();
  private readonly legend = h("div", { class: "nbk-legend", role: "group" });
  private readonly entries: Entry[] = [];
  private readonly logButton: HTMLButtonElement;
  private readonly share: boolean;
  private logValues: boolean;

  constructor(
    readonly quantity: string,
    private readonly changed: () => void,
  ) {
    this.share = /accuracy|^acc$/.test(quantity);
    this.logValues = false;
    const title = quantity.charAt(0).toUpperCase() + quantity.slice(1).replace(/[_-]/g, " ");
    this.logButton = h("button", { type: "button", class: "nbk-toggle", "aria-pressed": "false", title: "Logarithmic value axis" }, "log");
    this.logButton.addEventListener("click", () => {
      this.logValues = !this.logValues;
      attribute(this.logButton, "aria-pressed", String(this.logValues));
      changed();
    });
    this.legend.setAttribute("aria-label", `${title}: lines`);
    this.element = h("section", { class: "nbk-panel", "aria-label": title },
      h("header", { class: "nbk-panel-head" }, h("span", { class: "nbk-title" }, title), this.legend, this.share ? null : this.logButton),
      this.chart.canvas);
  }

  /** Give every curve of this quantity a line, in the legend and in the chart. */
  adopt(curve: Curve, name: string): void {
    const known = this.entries.find((entry) => entry.curve.name === curve.name);
    if (known?.curve === curve) return;
    if (known) {
      known.curve = curve;
      known.smoothed = new Smoothed(curve);
      return;
    }
    const style = STYLES[name] ?? OTHERS[this.entries.length % OTHERS.length]!;
    const output = h("span", { class: "nbk-value" });
    const button = h("button", { type: "button", class: "nbk-key", "aria-pressed": "true", title: `Show or hide ${name}` },
      sample(style), h("span", { class: "nbk-key-name" }, name), output);
    const entry: Entry = { curve, smoothed: new Smoothed(curve), ...style, visible: true, button, output };
    button.addEventListener("click", () => {
      entry.visible = !entry.visible;
      attribute(button, "aria-pressed", String(entry.visible));
      this.changed();
    });
    const first = name === "train" ? 0 : this.entries.length;
    this.entries.splice(first, 0, entry);
    this.legend.insertBefore(button, this.legend.children[first] ?? null);
  }

  draw(shared: Shared, style: CSSStyleDeclaration): void {
    const format = this.share ? percentLabel : valueLabel;
    for (const { curve, output } of this.entries) {
      const index = shared.cursor === null ? curve.length - 1 : curve.nearest(shared.cursor);
      text(output, index < 0 ? "–" : format(curve.values[index]!));
    }
    const read = this.entries.map(({ curve, output }) => `${curve.name} ${output.textContent}`).join(", ");
    const at = Math.round(shared.cursor ?? shared.lastStep);
    attribute(this.chart.canvas, "aria-label", `Curves of ${this.quantity} against steps; at step ${at}: ${read}. Arrow keys move along the curves.`);
    this.chart.draw({ ...shared, lines: this.entries, logValues: this.logValues, share: this.share }, style);
  }
}

/** A short stretch of a line, as it looks in the chart. */
function sample({ color, dash }: { color: string; dash: number[] }): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 4");
  svg.setAttribute("class", "nbk-sample");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", "M0 2H20");
  line.style.stroke = `var(${color})`;
  line.setAttribute("stroke-dasharray", dash.join(" "));
  svg.append(line);
  return svg;
}
