/** Types of draw.js, the drawing shared by the notebook widgets and the JupyterLab extension. */

/** `[path, value]` sets, `[path]` removes; as core/patch.py makes them. */
export type Patch = [path: (string | number)[], value?: unknown][];

/** The view with a patch applied; what did not change is shared with the old one. */
export function applyPatch<T = any>(view: T, patch: any): T;

export interface Drawing {
  /** A whole view, a patch to the last one, or null for none. `still`: a view of the past, in which no clock runs. */
  update(view: any, still?: boolean): void;
  dispose(): void;
}

export interface GraphDrawing extends Drawing {
  /** Mark a step as the chosen one; "" for none. Does not call `onSelect`. */
  select(step: string): void;
}

/** Draws a graph (`{nodes, edges, layout}`), or a view, which has one and colours it. */
export function createGraph(
  element: HTMLElement,
  graphOrView: any,
  options?: { onSelect?(step: string): void; onOpen?(step: string): void }
): GraphDrawing;

/** Draws when each step of a view ran. */
export function createTimeline(element: HTMLElement, view: any, options?: { onSelect?(step: string): void }): Drawing;

/** What a view's run owes outside, and that in words ("2 open obligations, 1 failed"). */
export function owing(view: any): any[];
export function owedWords(owed: any[]): string;

export interface RunActions {
  /** Fork from an event the reader looks at, or from a step. */
  fork?(from: { at: number } | { step: string }): void;
  cancel?(): void | Promise<unknown>;
  /** End the run without its code having a say. The drawing asks first, naming what the run owes outside. */
  terminate?(): void | Promise<unknown>;
  /** Send an update with these positional arguments. */
  update?(name: string, values: unknown[]): void | Promise<unknown>;
  /** Finish a step that waits for an answer from outside: with a value, or with a failure in words. */
  complete?(token: string, answer: { value: unknown } | { failure: string }): void | Promise<unknown>;
  /** Say that what is owed outside is settled, with a note of what became of it. */
  settle?(key: string, note: string): void | Promise<unknown>;
  /** Have it tried again to take back what is owed outside. */
  retry?(key: string): void | Promise<unknown>;
  /** Show another run: a child, a parent, the one before or after. */
  open?(run: string): void;
  /** Send a signal. The drawing asks for the value in a line of its own, unless there is `askSignal`. */
  signal?(name: string, value: unknown): void | Promise<unknown>;
  /** Ask the person for a value and send it, for those who have a dialog. Needs `signal` beside it. */
  askSignal?(name: string): void;
  /** Show a cell; without this, places are plain text. */
  reveal?(cell: string, line: number): void;
}

export interface RunSource {
  /** The view as of event `at`, or now. */
  getView(at?: number): Promise<any>;
  /** All events: `{seq, time, event}`. */
  getHistory(): Promise<any[]>;
  /** Frames and values as of an event: `{event, stack, values}`. */
  getAt(at: number): Promise<any>;
  actions?: RunActions;
}

export interface RunDrawing extends Drawing {
  /** Whether updates arrive; a picture that is not live says so. */
  online(yes: boolean): void;
  /** Look at an event, or at the present with null. */
  look(at: number | null): void;
}

/** One run in full: status, graph, timeline and events under one scrubber. Feed it with `update`. */
export function createRunView(element: HTMLElement, source: RunSource, view?: any): RunDrawing;
