/**
 * The messages between a session's widget in the kernel and its views in the browser.
 *
 * nbkit/widgets/protocol.py says the same in Python; tests/widgets/test_protocol.py compares the two files, interface
 * by interface. Numbers of curves never travel as JSON: a `delta` and a `full` message carry one binary buffer each.
 */

export const PROTOCOL_VERSION = 1;

export type State = "paused" | "running" | "failed" | "closed" | "finished";

/** What a person may turn while the session trains; null: this session has no such knob (speed: no limit). */
export interface Knobs {
  lr: number;
  weight_decay: number | null;
  speed: number | null;
}

export interface Failure {
  step: number;
  message: string;
  remedy: string;
  traceback: string;
}

/** Something that happened at a step: a knob was turned, training paused. */
export interface EventMark {
  step: number;
  kind: string;
  text: string;
}

export interface Status {
  name: string;
  state: State;
  step: number;
  max_steps: number | null;
  rate: number;
  elapsed: number;
  knobs: Knobs;
  failure: Failure | null;
}

/** Where one curve lies in a snapshot: `received` points were recorded, `n` of them are here, steps then values. */
export interface CurveHeader {
  name: string;
  received: number;
  n: number;
}

/** The JSON at the head of a snapshot (see snapshot.ts for the bytes). */
export interface SnapshotHeader {
  version: number;
  status: Status;
  events: EventMark[];
  curves: CurveHeader[];
}

/**
 * `n` new points of a curve, the first of them its point number `start`. The steps are first, first + stride, …;
 * with stride 0 they are in the buffer, as int32, ahead of the float32 values.
 */
export interface Segment {
  curve: string;
  start: number;
  n: number;
  first: number;
  stride: number;
}

// Browser to kernel.

/** A page opened the widget, or lost track: asks for a `full` message. */
export interface Hello {
  kind: "hello";
  client: string;
}

/** A page shows no view of the widget any more: it needs no frames until it says `hello` again. */
export interface Bye {
  kind: "bye";
  client: string;
}

/** The frames up to this one have been taken in; the kernel stops sending when these stay away. */
export interface Ack {
  kind: "ack";
  frame: number;
}

export interface PlayCommand {
  name: "play";
}

export interface PauseCommand {
  name: "pause";
}

export interface StepCommand {
  name: "step";
  n: number;
}

export interface SetCommand {
  name: "set";
  knob: keyof Knobs;
  value: number | null;
}

export type Command = PlayCommand | PauseCommand | StepCommand | SetCommand;

export interface CommandMessage {
  kind: "command";
  client: string;
  seq: number;
  command: Command;
}

export type ToKernel = Hello | Bye | Ack | CommandMessage;

// Kernel to browser.

/** The whole state; buffer 0 is a snapshot. */
export interface Full {
  kind: "full";
  frame: number;
}

/** What changed since the frame before; buffer 0 holds the segments' numbers, one segment after the other. */
export interface Delta {
  kind: "delta";
  frame: number;
  status: Partial<Status>;
  events: EventMark[];
  segments: Segment[];
}

/** What became of a command: `error` says why it was refused. */
export interface Answer {
  kind: "answer";
  client: string;
  seq: number;
  error: string | null;
}

export type FromKernel = Full | Delta | Answer;
