/**
 * The connection of one widget in one page to its session in the kernel.
 *
 * It meets four requirements: a page that opens late, or again, gets everything (`hello`); a slow page is not flooded
 * (`ack`, see Feed in nbkit/widgets/feed.py); every command gets an answer or is called unanswered; and a page whose
 * kernel is gone says so instead of looking alive.
 */
import type { AnyModel } from "@anywidget/types";
import type { Command, FromKernel, ToKernel } from "./protocol";
import { readSnapshot } from "./snapshot";
import { Store } from "./store";

/** connecting: no answer to `hello` yet; live; silent: the kernel is late with an answer; gone: there is no kernel. */
export type Link = "connecting" | "live" | "silent" | "gone";

export interface WidgetState {
  snapshot: DataView | null;
}

const ACK_EVERY = 4;
const ANSWER_WITHIN = 4000;
const SILENT_AFTER = 5000; // a training session sends at least one frame a second
const HELLO_AGAIN = 1500;
const HELLO_TRIES = 3;

export class Client {
  readonly store = new Store();
  link: Link = "connecting";
  /** Why the last command was refused; null if it was not. */
  refusal: string | null = null;
  private readonly id = Math.random().toString(36).slice(2);
  private readonly listeners = new Set<() => void>();
  private readonly unanswered = new Map<number, number>();
  private heard = Date.now();
  private seq = 0;
  private acked = 0;
  private newest = 0;
  private ackPending = false;
  private helloTimer = 0;
  private hellos = 0;

  constructor(
    private readonly model: AnyModel<WidgetState>,
    private readonly signal: AbortSignal,
  ) {
    this.loadTrait();
    const onMessage = (message: FromKernel, buffers: DataView[]) => this.receive(message, buffers);
    const onTrait = () => {
      if (this.link !== "live") this.loadTrait();
    };
    const onLink = () => this.listeners.size && this.helloAnew();
    model.on("msg:custom", onMessage);
    model.on("change:snapshot", onTrait);
    model.on("comm_live_update", onLink); // ipywidgets says so when the kernel goes away, or comes back
    const watch = setInterval(() => this.watch(), 1000);
    signal.addEventListener("abort", () => {
      clearInterval(watch);
      clearTimeout(this.helloTimer);
      this.listeners.clear();
    });
  }

  /** Call `listener` whenever something changed, until `signal` aborts. Without listeners no frames are asked for. */
  subscribe(listener: () => void, signal: AbortSignal): void {
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.helloAnew();
    signal.addEventListener("abort", () => {
      if (!this.listeners.delete(listener) || this.listeners.size) return;
      clearTimeout(this.helloTimer);
      this.link = "connecting";
      this.send({ kind: "bye", client: this.id });
    });
  }

  get live(): boolean {
    return this.link === "live" || this.link === "silent";
  }

  command(command: Command): void {
    const seq = ++this.seq;
    this.unanswered.set(seq, Date.now());
    this.refusal = null;
    this.send({ kind: "command", client: this.id, seq, command });
    this.changed();
  }

  private receive(message: FromKernel, buffers: DataView[]): void {
    this.heard = Date.now();
    switch (message.kind) {
      case "full": {
        const snapshot = readSnapshot(buffers[0]);
        if (!snapshot) return;
        this.store.load(snapshot);
        this.newest = this.acked = message.frame;
        break;
      }
      case "delta":
        if (!this.live) return; // the answer to `hello` will hold it
        this.newest = message.frame;
        if (!this.store.apply(message, buffers[0])) this.helloAnew();
        this.ackSoon();
        break;
      case "answer":
        if (message.client !== this.id) return;
        this.unanswered.delete(message.seq);
        if (message.error !== null) this.refusal = message.error;
        break;
    }
    if (message.kind === "full" || this.live) this.linked();
    this.changed();
  }

  /** The kernel was heard. */
  private linked(): void {
    clearTimeout(this.helloTimer);
    this.hellos = 0;
    this.link = "live";
  }

  private helloAnew(): void {
    this.hellos = 0;
    this.hello();
  }

  /** Ask for everything; without an answer ask again, then give up until something arrives. */
  private hello(): void {
    clearTimeout(this.helloTimer);
    if (this.signal.aborted) return;
    if (this.hellos >= HELLO_TRIES) {
      this.hellos = 0;
      this.unanswered.clear();
      this.link = "gone";
      this.changed();
      return;
    }
    this.hellos++;
    this.helloTimer = window.setTimeout(() => this.hello(), HELLO_AGAIN);
    this.send({ kind: "hello", client: this.id });
  }

  /** Notice answers and frames that stay away; a kernel that answers no `hello` either is gone. */
  private watch(): void {
    if (this.link !== "live") return;
    const now = Date.now();
    const late = now - Math.min(...this.unanswered.values()) > ANSWER_WITHIN;
    const quiet = this.store.status.state === "running" && now - this.heard > SILENT_AFTER;
    if (late) this.link = "silent";
    if (late || quiet) this.helloAnew(); // no answer to that either: gone
  }

  /** Acknowledge every few frames, once the page has found time to draw; a hidden page draws never, so wait no longer. */
  private ackSoon(): void {
    if (this.ackPending || this.newest - this.acked < ACK_EVERY) return;
    this.ackPending = true;
    const ack = () => {
      if (!this.ackPending || this.signal.aborted) return;
      this.ackPending = false;
      this.acked = this.newest;
      this.send({ kind: "ack", frame: this.newest });
    };
    requestAnimationFrame(ack);
    setTimeout(ack, 250);
  }

  private send(message: ToKernel): void {
    try {
      this.model.send(message);
    } catch {
      this.link = "gone"; // the comm is closed: nobody will answer
      this.unanswered.clear();
      this.changed();
    }
  }

  private loadTrait(): void {
    const snapshot = readSnapshot(this.model.get("snapshot"));
    if (snapshot) this.store.load(snapshot);
    this.changed();
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}
