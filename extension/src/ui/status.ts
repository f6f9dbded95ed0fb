/** A status is said by shape, word and colour together. */
import { clock, h } from './dom';
import type { GraphNode, Progress as Share, View, Wait } from '../engine/shapes';

type Family = 'idle' | 'running' | 'waiting' | 'done' | 'failed';

const FACES: Record<string, [glyph: string, family: Family]> = {
  'not reached': ['', 'idle'],
  queued: ['◔', 'idle'],
  skipped: ['⊘', 'idle'],
  cancelled: ['■', 'idle'],
  running: ['▶', 'running'],
  retrying: ['↻', 'waiting'],
  waiting: ['◷', 'waiting'],
  paused: ['‖', 'waiting'],
  done: ['✓', 'done'],
  reused: ['✓', 'done'],
  succeeded: ['✓', 'done'],
  failed: ['✕', 'failed'],
  terminated: ['⊗', 'idle'],
  continued: ['→', 'done']
};

export function face(status: string): { glyph: string; family: Family } {
  const [glyph, family] = FACES[status] ?? ['', 'idle'];
  return { glyph, family };
}

/** The glyph on its fill, and the word. */
export function badge(status: string): HTMLElement {
  const { glyph, family } = face(status);
  return h(
    'span',
    { class: `flow-badge flow-${family}`, 'data-status': status },
    h('span', { class: 'flow-glyph', 'aria-hidden': 'true' }, glyph),
    h('span', { class: 'flow-word' }, status)
  );
}

const COUNTED = new Set(['step', 'map', 'loop', 'wait']);
const OVER = new Set(['done', 'reused', 'skipped']);

/** The steps that make up the progress of a run; undos, parameters and what the graph does not know are not counted. */
export function counted(nodes: GraphNode[]): GraphNode[] {
  return nodes.filter(node => COUNTED.has(node.kind ?? 'step') && !node.options?.added);
}

export interface Progress {
  done: number;
  total: number;
  now: string;
}

/** "n of m done", and what goes on now, in words. */
export function progress(view: View): Progress {
  const names = counted(view.graph?.nodes ?? []).map(node => node.id);
  const known = names.length ? names : Object.keys(view.steps);
  const done = known.filter(name => OVER.has(view.steps[name]?.status ?? '')).length;
  return { done, total: known.length, now: happening(view) };
}

const SOON = 60;

/** How far an attempt is: "42% epoch 42". */
export function share({ done, total, text }: Share): string {
  const part = total ? `${Math.floor(100 * Math.min(1, Math.max(0, done / total)))}%` : String(done);
  return `${part} ${text}`.trim();
}

function waiting(wait: Wait): string {
  if (wait.kind === 'signal') {
    return `waits for the signal “${wait.name}”`;
  }
  if (wait.kind === 'outside') {
    return `${wait.name} waits for an answer from outside`;
  }
  if (wait.kind === 'child') {
    return `waits for its child ${wait.name}`;
  }
  const far = wait.due !== null && wait.due - wait.since > SOON;
  return `${wait.step ? `${wait.step} ` : ''}waits${far ? ` until ${clock(wait.due!)}` : ''}`;
}

function happening(view: View): string {
  if (view.status === 'paused' && view.error) {
    return view.error.message;
  }
  const active = Object.entries(view.steps).filter(([, s]) => s.status === 'running' || s.status === 'retrying');
  if (active.length) {
    const [name, step] = active[0];
    const items = step.items ? ` ${step.items.done} of ${step.items.total}` : '';
    const again = step.status === 'retrying' ? `, attempt ${step.attempt + 1} soon` : '';
    const attempt = step.status === 'running' && step.attempt > 1 ? `, attempt ${step.attempt}` : '';
    const far = step.progress && step.status === 'running' ? ` ${step.items ? step.progress.text : share(step.progress)}`.trimEnd() : '';
    const more = active.length > 1 ? ` and ${active.length - 1} more` : '';
    return `${name}${items}${far}${attempt}${again}${more}`;
  }
  const queued = Object.entries(view.steps).find(([, s]) => s.status === 'queued' && s.queue);
  if (queued) {
    return `${queued[0]} waits for its turn in queue ${queued[1].queue}`;
  }
  const wait = view.waits.find(one => one.kind === 'signal') ?? view.waits[0];
  if (wait) {
    return waiting(wait);
  }
  if (view.error) {
    return `${view.error.step ? `${view.error.step}: ` : ''}${view.error.type}: ${view.error.message}`;
  }
  return view.status === 'running' && !Object.keys(view.steps).some(name => view.steps[name].started !== null) ? 'starting' : '';
}
