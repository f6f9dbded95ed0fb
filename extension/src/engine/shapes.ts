/** What the server sends, as types. Shapes only; the Python side is core/view.py and wire/calls.py. */

export type RunStatus = 'queued' | 'running' | 'waiting' | 'paused' | 'succeeded' | 'failed' | 'cancelled' | 'terminated' | 'continued';

export interface Problem {
  type: string;
  message: string;
  step?: string | null;
  cell?: string | null;
  line?: number | null;
}

export interface StepView {
  status: string;
  attempt: number;
  attempts: { attempt: number; item: number | null; status: string; started: number; ended: number | null; run?: string; why?: string }[];
  started: number | null;
  ended: number | null;
  retry_at: number | null;
  reason: string | null;
  items: { total: number; done: number; failed: number; running: number } | null;
  grid: string;
  error: Problem | null;
  output: { stream: string; text?: string; data?: Record<string, unknown> }[];
  values: Record<string, Shown>;
  where?: string;
  queue?: string;
  run?: string;
  progress?: Progress | null;
  heartbeat?: { time: number; details: Shown } | null;
}

/** How far an attempt is; `total` 0 where that is not known. */
export interface Progress {
  done: number;
  total: number;
  text: string;
}

/** What a run owes outside: open until `ended` is set. `trying` is the run that takes it back while `status` is `retrying`. */
export interface Obligation {
  key: string;
  name: string;
  what: string;
  undo: string;
  status: string;
  trying?: string;
  since: number;
  ended: number | null;
  error: string;
}

export interface Shown {
  type: string;
  preview: string;
  size: number;
  json?: unknown;
}

export interface Wait {
  key: string;
  kind: string;
  name: string;
  due: number | null;
  since: number;
  step?: string;
  token?: string;
}

export interface GraphNode {
  id: string;
  kind?: string;
  cell?: string;
  cell_number?: number;
  line?: number;
  reads?: string[];
  writes?: string[];
  options?: Record<string, unknown>;
  doc?: string;
}

export interface Graph {
  nodes?: GraphNode[];
  edges?: { source: string; target: string; names?: string[]; kind?: string }[];
  layout?: unknown;
}

export interface View {
  id: string;
  workflow: string;
  name: string;
  status: RunStatus;
  module: string;
  source: string;
  started: number;
  ended: number | null;
  seq: number;
  time: number;
  origin: { run: string; seq: number } | null;
  result: Shown | null;
  error: Problem | null;
  steps: Record<string, StepView>;
  waits: Wait[];
  graph: Graph;
  stopping?: { how: 'cancel' | 'terminate' | 'timeout'; reason: string; since: number } | null;
  next?: string;
  queue?: string;
  obligations?: Obligation[];
  updates?: { name: string }[];
}

export interface Summary {
  id: string;
  workflow: string;
  name: string;
  status: RunStatus;
  error: Problem | null;
  step: string;
  reason: string;
  started: number;
  ended: number | null;
  seq: number;
  source: string;
  origin: { run: string; seq: number } | null;
  waits: Wait[];
  attributes?: Record<string, unknown>;
  obligations?: { name: string; failed: boolean }[];
  parent?: string;
  continued?: string;
  home?: string;
}

export interface Diagnostic {
  code: string;
  severity: 'error' | 'warning' | 'info';
  cell: string;
  cell_number: number;
  step: string;
  line: number;
  column: number;
  end_column: number;
  message: string;
  fix: string;
  edits: Edit[];
}

/** Replace columns `column` to `end_column` of a cell's line by `text`. */
export interface Edit {
  cell: string;
  line: number;
  column: number;
  end_column: number;
  text: string;
}

export interface Parameter {
  name: string;
  annotation?: string | null;
  default?: string | null;
  secret?: boolean;
}

export interface Page {
  workflow: string;
  graph: Graph | null;
  diagnostics: Diagnostic[];
  parameters: Parameter[];
  steps: Record<string, string>;
  source: string;
  module: string;
  file: string;
  home: string;
}

export interface ForkRow {
  step: string;
  action: 'reuse' | 'run' | 'rerun' | 'new' | 'gone';
  reason: string;
  cell?: string;
  cell_number?: number;
  items_reused?: number;
  items_rerun?: number;
}

export interface ForkPlan {
  rows: ForkRow[];
  rerun: string[];
  seq: number;
}

/** Where a run's project is: a notebook below the server's folder, or a state folder. */
export interface Place {
  path?: string;
  home?: string;
}

export const OPEN: ReadonlySet<string> = new Set(['queued', 'running', 'waiting', 'paused']);
