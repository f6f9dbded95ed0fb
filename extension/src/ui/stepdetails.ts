/** One step in words: its wiring, its attempts, its values and what it printed. */
import type { Flow } from '../engine/flow';
import type { GraphNode, Shown, StepView } from '../engine/shapes';
import { clock, duration, h, type Child } from './dom';
import { badge, share } from './status';

export function stepDetails(node: GraphNode, step: StepView | undefined, flow: Flow, fork: (() => void) | null): Node[] {
  const go = () => void flow.reveal(node.cell ?? '', node.cell_number ?? 0);
  const parts: Child[] = [
    h(
      'div',
      { class: 'flow-Step-title' },
      h('h3', null, node.id),
      step ? badge(step.status) : null,
      h('span', { class: 'flow-spacer' }),
      node.cell_number ? h('button', { class: 'flow-button jp-mod-styled', click: go }, `Cell ${node.cell_number}`) : null,
      fork ? h('button', { class: 'flow-button jp-mod-styled', title: 'A new run that takes what came before, and runs this again', click: fork }, 'Fork from here…') : null
    ),
    node.doc ? h('p', { class: 'flow-doc' }, node.doc) : null,
    wiring(node),
    step?.progress ? h('p', { class: 'flow-muted' }, share(step.progress)) : null,
    step?.heartbeat ? h('p', { class: 'flow-muted' }, `last sign of life ${clock(step.heartbeat.time)}: ${short(step.heartbeat.details)}`) : null,
    step?.queue ? h('p', { class: 'flow-muted' }, `in queue ${step.queue}`) : null,
    step?.reason ? h('p', { class: 'flow-muted' }, step.reason) : null,
    step ? failure(step, flow) : null,
    step ? attempts(step) : null,
    step ? values(step.values) : null,
    step ? output(step) : null
  ];
  return parts.filter((part): part is HTMLElement => part instanceof HTMLElement);
}

function wiring(node: GraphNode): Child {
  const rows: [string, string][] = [
    ['in', (node.reads ?? []).join(', ')],
    ['out', (node.writes ?? []).join(', ')],
    ...Object.entries(node.options ?? {})
      .filter(([key]) => key !== 'step')
      .map(([key, value]): [string, string] => [key, typeof value === 'string' ? value : JSON.stringify(value)])
  ];
  const known = rows.filter(([, text]) => text);
  return known.length
    ? h('dl', { class: 'flow-facts-list' }, known.flatMap(([name, text]) => [h('dt', null, name), h('dd', null, h('code', null, text))]))
    : null;
}

function failure(step: StepView, flow: Flow): Child {
  const error = step.error;
  if (!error) {
    return null;
  }
  const cell = error.cell;
  const place = error.line ? `line ${error.line}` : '';
  const link = cell && place
    ? h('a', { href: '#', click: (e: Event) => (e.preventDefault(), void flow.reveal(cell, 0, error.line ?? 0)) }, place)
    : null;
  return h('div', { class: 'flow-error' }, h('strong', null, error.type), `: ${error.message}`, link && ' · ', link);
}

function attempts(step: StepView): Child {
  const list = step.attempts.filter(a => a.item === null || a.item === undefined);
  if (list.length < 2 && !step.items) {
    return step.started !== null
      ? h('p', { class: 'flow-muted' }, `started ${clock(step.started)}`, step.ended !== null ? `, took ${duration(step.ended - step.started)}` : '')
      : null;
  }
  if (step.items) {
    const { total, done, failed, running } = step.items;
    return h('p', { class: 'flow-muted' }, `${done} of ${total} items done, ${running} running, ${failed} failed`);
  }
  return h(
    'ol',
    { class: 'flow-attempts' },
    list.map(a => h('li', null, `attempt ${a.attempt}: `, a.status, a.ended !== null ? `, ${duration(a.ended - a.started)}` : '', a.run ? `, ${a.run}` : '', a.why ? `, ${a.why}` : ''))
  );
}

function values(found: Record<string, Shown>): Child {
  const names = Object.keys(found ?? {});
  if (!names.length) {
    return null;
  }
  return h(
    'table',
    { class: 'flow-values' },
    h('caption', null, 'Values'),
    h('tbody', null, names.map(name => h('tr', null, h('th', { scope: 'row' }, h('code', null, name)), h('td', { class: 'flow-muted' }, found[name].type), h('td', null, h('code', null, short(found[name]))))))
  );
}

function short(value: Shown): string {
  const text = 'json' in value && value.json !== undefined ? JSON.stringify(value.json) : value.preview;
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function output(step: StepView): Child {
  const text = step.output.map(chunk => chunk.text ?? String(chunk.data?.['text/plain'] ?? '')).join('');
  const image = step.output.map(chunk => chunk.data?.['image/png']).filter((data): data is string => typeof data === 'string').pop();
  if (!text && !image) {
    return null;
  }
  return h(
    'div',
    { class: 'flow-output' },
    text ? h('pre', null, text.slice(-8000)) : null,
    image ? h('img', { src: `data:image/png;base64,${image.replace(/[^A-Za-z0-9+/=]/g, '')}`, alt: 'what the step displayed' }) : null
  );
}
