/** The transport bar: play or pause, step, the state, and how far training has come. */
import { attribute, h, icon, PAUSE, PLAY, STEP, text } from "./dom";
import type { Link } from "./client";
import type { Command, State, Status } from "./protocol";
import { countLabel, rateLabel, timeLabel } from "./scale";

const WORDS: Record<State, string> = {
  paused: "Paused",
  running: "Running",
  failed: "Failed",
  closed: "Closed",
  finished: "Finished",
};

/** The word for how things stand, and the class that colours it. */
export function badge(status: Status, link: Link): { word: string; mood: string } {
  if (link === "gone") return { word: "Not live", mood: "gone" };
  if (link === "connecting") return { word: "Connecting", mood: "gone" };
  if (status.state === "paused" && status.step === 0) return { word: "Ready", mood: "paused" };
  return { word: WORDS[status.state], mood: status.state };
}

/** Which commands make sense now. */
export function allowed(status: Status, live: boolean): { play: boolean; pause: boolean; step: boolean; turn: boolean } {
  const { state } = status;
  const still = state === "paused" || state === "failed"; // after a failure: the same step again
  return {
    play: live && still,
    pause: live && state === "running",
    step: live && still,
    turn: live && state !== "closed",
  };
}

export class Transport {
  readonly element: HTMLElement;
  readonly help = h("button", { type: "button", class: "nbk-button nbk-quiet", "aria-expanded": "false", title: "Keys and meanings (?)", "aria-label": "Help" }, "?");
  private readonly toggle = h("button", { type: "button", class: "nbk-button nbk-main" });
  private readonly toggleWord = h("span");
  private readonly stepButton: HTMLButtonElement;
  private readonly stepSize: HTMLSelectElement;
  private readonly badge = h("span", { class: "nbk-badge" });
  private readonly count = h("span", { class: "nbk-count" });
  private readonly of = h("span", { class: "nbk-of" });
  private readonly rate = h("span", { class: "nbk-number" });
  private readonly elapsed = h("span", { class: "nbk-number" });
  private readonly fill = h("div", { class: "nbk-fill" });
  private readonly progress = h("div", { class: "nbk-progress", role: "progressbar", "aria-label": "Training progress", "aria-valuemin": 0 }, this.fill);
  private running: boolean | null = null;
  private can = allowed({ state: "closed" } as Status, false);

  constructor(private readonly send: (command: Command) => void) {
    this.stepButton = h("button", { type: "button", class: "nbk-button nbk-step", title: "Step (s)" }, icon(STEP), "Step");
    this.stepSize = h("select", { class: "nbk-select", "aria-label": "Steps at a time", title: "Steps at a time" },
      ...[1, 10, 100].map((n) => h("option", { value: n }, `×${n}`)));
    this.toggle.addEventListener("click", () => this.playOrPause());
    this.stepButton.addEventListener("click", () => this.step());
    const line = h("div", { class: "nbk-bar", role: "toolbar", "aria-label": "Training" },
      this.toggle,
      h("span", { class: "nbk-joined" }, this.stepButton, this.stepSize),
      this.badge,
      h("span", { class: "nbk-readings" },
        h("span", { class: "nbk-reading", title: "Steps done" }, h("span", { class: "nbk-unit nbk-step-word" }, "step"), this.count, this.of),
        h("span", { class: "nbk-reading", title: "Training speed" }, this.rate, h("span", { class: "nbk-unit" }, "steps/s")),
        h("span", { class: "nbk-reading", title: "Time spent training" }, this.elapsed)),
      this.help);
    this.element = h("div", {}, line, this.progress);
  }

  playOrPause(): void {
    if (this.can.pause) this.send({ name: "pause" });
    else if (this.can.play) this.send({ name: "play" });
  }

  step(): void {
    if (this.can.step) this.send({ name: "step", n: Number(this.stepSize.value) });
  }

  show(status: Status, link: Link, live: boolean): void {
    this.can = allowed(status, live);
    const running = live && status.state === "running";
    if (running !== this.running) {
      this.running = running;
      text(this.toggleWord, running ? "Pause" : "Play");
      this.toggle.replaceChildren(icon(running ? PAUSE : PLAY), this.toggleWord);
      this.toggle.title = `${running ? "Pause" : "Play"} (space)`;
    }
    attribute(this.toggle, "disabled", !(this.can.play || this.can.pause));
    attribute(this.stepButton, "disabled", !this.can.step);
    const { word, mood } = badge(status, link);
    text(this.badge, word);
    attribute(this.badge, "data-mood", mood);
    text(this.count, countLabel(status.step));
    text(this.of, status.max_steps === null ? "" : `/ ${countLabel(status.max_steps)}`);
    text(this.rate, status.rate ? rateLabel(status.rate) : "–");
    text(this.elapsed, timeLabel(status.elapsed));
    attribute(this.progress, "hidden", status.max_steps === null);
    if (status.max_steps !== null) {
      attribute(this.progress, "aria-valuemax", status.max_steps);
      attribute(this.progress, "aria-valuenow", status.step);
      this.fill.style.width = `${(100 * status.step) / Math.max(1, status.max_steps)}%`;
    }
  }
}
