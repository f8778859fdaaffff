/** What a page knows about a session: its status, its curves, its events. One store a widget, shared by all views. */
import { Curve } from "./curve";
import type { Delta, EventMark, Status } from "./protocol";
import type { Snapshot } from "./snapshot";

const MAX_EVENTS = 500;

export const UNKNOWN: Status = {
  name: "",
  state: "paused",
  step: 0,
  max_steps: null,
  rate: 0,
  elapsed: 0,
  knobs: { lr: 0, weight_decay: null, speed: null },
  failure: null,
};

export class Store {
  status: Status = UNKNOWN;
  events: EventMark[] = [];
  readonly curves = new Map<string, Curve>();

  /** Take a whole state, in place of what was here. */
  load(snapshot: Snapshot): void {
    this.status = snapshot.header.status;
    this.events = snapshot.header.events.slice(-MAX_EVENTS);
    const names = new Set(snapshot.curves.map((points) => points.name));
    for (const name of this.curves.keys()) if (!names.has(name)) this.curves.delete(name);
    for (const { name, steps, values, received } of snapshot.curves) this.curve(name).reset(steps, values, received);
  }

  /** Take what changed. False if something before it is missing: then ask for the whole state again. */
  apply(delta: Delta, buffer: DataView | undefined): boolean {
    this.status = { ...this.status, ...delta.status };
    if (delta.events.length) this.events = [...this.events, ...delta.events].slice(-MAX_EVENTS);
    let at = 0;
    let complete = true;
    const take = (n: number): ArrayBuffer => {
      const bytes = new Uint8Array(n);
      if (buffer) bytes.set(new Uint8Array(buffer.buffer, buffer.byteOffset + at, n));
      at += n;
      return bytes.buffer;
    };
    for (const { curve, start, n, first, stride } of delta.segments) {
      const steps = stride ? Int32Array.from({ length: n }, (_, i) => first + i * stride) : new Int32Array(take(4 * n));
      if (!this.curve(curve).append(start, steps, new Float32Array(take(4 * n)))) complete = false;
    }
    return complete;
  }

  private curve(name: string): Curve {
    let curve = this.curves.get(name);
    if (!curve) this.curves.set(name, (curve = new Curve(name)));
    return curve;
  }
}
