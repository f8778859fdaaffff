/**
 * One view of a session: the instrument that a person sees. Several views of a widget share its Client.
 *
 * It draws at most once an animation frame, only if something changed and only while it is on the screen; all that it
 * starts ends when `signal` aborts.
 */
import type { Client } from "./client";
import { attribute, h, text } from "./dom";
import { Knob, type KnobOptions } from "./knob";
import { Panel, type Shared } from "./panel";
import type { Command, Knobs } from "./protocol";
import { countLabel } from "./scale";
import { badge, Transport } from "./transport";

const KNOBS: Record<keyof Knobs, Omit<KnobOptions, "turn">> = {
  lr: { label: "Learning rate", low: 1e-5, high: 1, end: "none", hint: "How far a step moves the parameters" },
  weight_decay: { label: "Weight decay", low: 1e-4, high: 10, end: "zero", hint: "How strongly a step pulls the parameters towards zero" },
  speed: { label: "Speed limit", low: 1, high: 1000, end: "max", hint: "At most so many steps a second; max: no limit" },
};

const HELP: [string, string][] = [
  ["Space", "play or pause"],
  ["S", "step (as many steps as chosen beside it)"],
  ["← →", "on a chart: read the curves step by step (with Shift: faster); Esc: back to the newest"],
  ["?", "this help"],
];

export class View {
  private readonly root: HTMLElement;
  private readonly transport: Transport;
  private readonly knobs: [keyof Knobs, Knob][];
  private readonly panels = new Map<string, Panel>();
  private readonly panelRow = h("div", { class: "nbk-panels" });
  private readonly name = h("span", { class: "nbk-name" });
  private readonly failure = h("div", { class: "nbk-failure", role: "alert", hidden: true });
  private readonly notice = h("div", { class: "nbk-notice", role: "alert", hidden: true });
  private readonly announcer = h("div", { class: "nbk-hidden", role: "status", "aria-live": "polite" });
  private readonly reading = h("span", { class: "nbk-reading-step" });
  private readonly helpPanel: HTMLElement;
  private readonly shared: Shared = { events: [], logSteps: false, smoothing: 0, cursor: null, lastStep: 0 };
  private problem: string | null = null;
  private shownFailure = "";
  private frame = 0;
  private onScreen = true;

  constructor(
    private readonly client: Client,
    el: HTMLElement,
    signal: AbortSignal,
  ) {
    const send = (command: Command) => {
      this.problem = null;
      client.command(command);
    };
    this.transport = new Transport(send);
    this.knobs = (Object.keys(KNOBS) as (keyof Knobs)[]).map((knob) => [
      knob,
      new Knob({ ...KNOBS[knob], turn: (value) => send({ name: "set", knob, value }) }, (problem) => {
        this.problem = problem;
        if (problem === null) client.refusal = null;
        this.invalidate();
      }),
    ]);
    this.helpPanel = h("dl", { class: "nbk-help", hidden: true }, ...HELP.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)]));
    this.root = h("div", { class: "nbk", tabindex: 0, role: "region", "aria-label": "Training session", "data-lm-suppress-shortcuts": "true" },
      this.transport.element,
      this.helpPanel,
      h("div", { class: "nbk-knobs" }, ...this.knobs.map(([, knob]) => knob.element)),
      this.notice,
      this.failure,
      this.panelRow,
      this.footer(),
      this.announcer);
    el.replaceChildren(this.root);
    this.listen(signal);
    client.subscribe(() => this.invalidate(), signal);
    this.invalidate();
  }

  private footer(): HTMLElement {
    const steps = h("div", { class: "nbk-choice", role: "group", "aria-label": "Step axis" });
    for (const [word, log] of [["linear", false], ["log", true]] as const) {
      const button = h("button", { type: "button", class: "nbk-toggle", "aria-pressed": String(!log) }, word);
      button.addEventListener("click", () => {
        this.shared.logSteps = log;
        for (const other of steps.children) attribute(other, "aria-pressed", String(other === button));
        this.invalidate();
      });
      steps.append(button);
    }
    const amount = h("span", { class: "nbk-amount" }, "off");
    const smoothing = h("input", { type: "range", class: "nbk-slider", min: 0, max: 100, value: 0, "aria-label": "Smoothing", "aria-valuetext": "off" });
    smoothing.addEventListener("input", () => {
      // β from the slider: 1 - 10^(-3 s), so that equal ways feel like equal amounts.
      this.shared.smoothing = smoothing.valueAsNumber ? Number((1 - 10 ** (-0.03 * smoothing.valueAsNumber)).toFixed(3)) : 0;
      const word = this.shared.smoothing ? this.shared.smoothing.toString() : "off";
      text(amount, word);
      attribute(smoothing, "aria-valuetext", word);
      this.invalidate();
    });
    return h("footer", { class: "nbk-foot" },
      h("span", { class: "nbk-pair" }, h("span", { class: "nbk-label" }, "Step axis"), steps),
      h("label", { class: "nbk-pair", title: "Exponential moving average: β" }, h("span", { class: "nbk-label" }, "Smoothing"), smoothing, amount),
      h("span", { class: "nbk-space" }),
      this.name,
      this.reading);
  }

  private listen(signal: AbortSignal): void {
    const { root, transport } = this;
    root.addEventListener("keydown", (event) => this.key(event));
    transport.help.addEventListener("click", () => this.toggleHelp());
    const themes = new MutationObserver(() => setTimeout(() => this.invalidate(), 50));
    themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
    const preference = matchMedia("(prefers-color-scheme: dark)");
    preference.addEventListener("change", () => this.invalidate(), { signal });
    const size = new ResizeObserver(() => this.invalidate());
    size.observe(root);
    const sight = new IntersectionObserver(([entry]) => {
      this.onScreen = entry?.isIntersecting ?? true;
      if (this.onScreen) this.invalidate();
    });
    sight.observe(root);
    signal.addEventListener("abort", () => {
      themes.disconnect();
      size.disconnect();
      sight.disconnect();
      cancelAnimationFrame(this.frame);
      for (const [, knob] of this.knobs) knob.stop();
    });
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as Element;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
    if (event.key === " " && !target.closest("button, summary")) this.transport.playOrPause();
    else if (event.key.toLowerCase() === "s") this.transport.step();
    else if (event.key === "?") this.toggleHelp();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private toggleHelp(): void {
    const open = this.helpPanel.hidden;
    this.helpPanel.hidden = !open;
    attribute(this.transport.help, "aria-expanded", String(open));
  }

  private panelOf(quantity: string): Panel {
    const known = this.panels.get(quantity);
    if (known) return known;
    const panel = new Panel(quantity, () => this.invalidate());
    this.panels.set(quantity, panel);
    this.panelRow.append(panel.element);
    const { canvas } = panel.chart;
    const point = (step: number | null) => {
      this.shared.cursor = step;
      this.invalidate();
    };
    canvas.addEventListener("pointermove", (event) => {
      point(panel.chart.stepAt(event.offsetX, this.shared.lastStep));
      canvas.title = this.eventsNear(panel, event.offsetX);
    });
    canvas.addEventListener("pointerleave", () => point(null));
    canvas.addEventListener("blur", () => point(null));
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Escape") point(null);
      else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        const way = (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 40 : 4);
        const at = panel.chart.pixelOf(Math.max(1, this.shared.cursor ?? this.shared.lastStep));
        point(panel.chart.stepAt(at + way, this.shared.lastStep));
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return panel;
  }

  private eventsNear(panel: Panel, pixel: number): string {
    return this.shared.events
      .filter(({ step }) => Math.abs(panel.chart.pixelOf(step) - pixel) <= 5)
      .slice(-6)
      .map(({ step, text: what }) => `Step ${countLabel(step)}: ${what}`)
      .join("\n");
  }

  private invalidate(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.frame = 0;
    if (!this.onScreen || !this.root.isConnected) return;
    const { store, link, live } = this.client;
    const { status } = store;
    this.transport.show(status, link, live);
    for (const [name, knob] of this.knobs) {
      attribute(knob.element, "hidden", name === "weight_decay" && status.knobs.weight_decay === null);
      knob.show(status.knobs[name], live && status.state !== "closed");
    }
    this.words();
    this.shared.events = store.events;
    this.shared.lastStep = status.step;
    for (const quantity of ["loss", "accuracy"]) this.panelOf(quantity);
    for (const curve of store.curves.values()) {
      const [part, ...rest] = curve.name.split("/");
      this.panelOf(rest.join("/") || part!).adopt(curve, rest.length ? part! : "value");
      this.shared.lastStep = Math.max(this.shared.lastStep, curve.lastStep);
    }
    const style = getComputedStyle(this.root);
    for (const panel of this.panels.values()) panel.draw(this.shared, style);
  }

  /** Everything that is said in words: state, refusals, failure, the step that is read. */
  private words(): void {
    const { store, link, refusal } = this.client;
    const { status } = store;
    const { word } = badge(status, link);
    attribute(this.root, "data-state", link === "gone" ? "gone" : status.state);
    attribute(this.root, "data-link", link);
    const said = status.state === "running" ? word : `${word} at step ${status.step}`;
    text(this.announcer, said);
    text(this.name, status.name);
    const { cursor } = this.shared;
    text(this.reading, cursor === null ? "" : `at step ${countLabel(cursor)}`);
    const notice =
      this.problem ?? refusal ??
      (link === "gone" ? "No kernel answers: this is the last state that was seen. Run the cell again for a live session."
        : link === "silent" ? "The kernel is busy and has not answered yet." : null);
    attribute(this.notice, "hidden", notice === null);
    text(this.notice, notice ?? "");
    attribute(this.notice, "data-tone", this.problem ?? refusal ? "error" : "plain");
    attribute(this.failure, "hidden", status.failure === null);
    const { failure } = status;
    if (failure && this.shownFailure !== `${failure.step} ${failure.message}`) {
      const { step, message, remedy, traceback } = failure;
      this.shownFailure = `${step} ${message}`;
      this.failure.replaceChildren(
        h("strong", {}, `Training stopped at step ${countLabel(step)}: ${message}`),
        h("p", {}, remedy),
        traceback ? h("details", {}, h("summary", {}, "Traceback"), h("pre", { tabindex: 0 }, traceback)) : "");
    }
  }
}
