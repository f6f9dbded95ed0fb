/** The line above a step's cell: what it is, what goes in and out, and how it stands in the run looked at. */
import { Widget } from '@lumino/widgets';

import type { Flow } from '../engine/flow';
import type { GraphNode, StepView } from '../engine/shapes';
import { duration, h, type Child } from './dom';
import { badge, share } from './status';

export class CellStrip extends Widget {
  constructor(private readonly flow: Flow) {
    super();
    this.addClass('flow-CellStrip');
    this.node.addEventListener('click', () => {
      if (this.step) {
        this.flow.select(this.step);
      }
    });
  }

  /** Show a step, or nothing. */
  present(node: GraphNode | null, step: StepView | undefined, running: boolean): void {
    this.step = node?.id ?? '';
    this.setHidden(node === null);
    if (!node) {
      return;
    }
    const state = step?.status ?? (running ? 'not reached' : '');
    const key = JSON.stringify([node, state, step?.attempt, step?.items, step?.progress, step?.queue, step?.started, step?.ended, step?.error?.message]);
    if (key === this.drawn) {
      return;
    }
    this.drawn = key;
    this.node.replaceChildren(
      ...[
        state && node.kind !== 'params' ? badge(state) : null,
        h('span', { class: 'flow-name' }, node.kind === 'params' ? 'parameters' : node.id),
        kind(node),
        names('in', node.reads),
        names('out', node.writes),
        h('span', { class: 'flow-spacer' }),
        step?.status === 'running' && step.progress?.total ? h('progress', { max: step.progress.total, value: step.progress.done, 'aria-label': `progress of ${node.id}` }) : null,
        step ? h('span', { class: 'flow-facts' }, facts(step)) : null
      ].filter((child): child is HTMLElement => child instanceof HTMLElement)
    );
    this.node.title = node.doc || `Show step ${node.id} in the Flow panel`;
    this.node.setAttribute('role', 'note');
    this.node.setAttribute('aria-label', `step ${node.id}${state ? `, ${state}` : ''}`);
  }

  private step = '';
  private drawn = '';
}

function names(label: string, list: string[] | undefined): Child {
  if (!list?.length) {
    return null;
  }
  return h('span', { class: 'flow-io' }, h('span', { class: 'flow-label' }, label), ' ', h('code', null, list.join(', ')));
}

function kind(node: GraphNode): Child {
  const words: Record<string, string> = { map: 'map', loop: 'until', wait: 'wait', undo: 'undo' };
  const word = words[node.kind ?? ''];
  return word ? h('span', { class: 'flow-tag' }, word) : null;
}

function facts(step: StepView): string {
  const said: string[] = [];
  if (step.items) {
    said.push(`${step.items.done} of ${step.items.total}`);
    if (step.items.failed) {
      said.push(`${step.items.failed} failed`);
    }
  }
  if (step.progress && step.status === 'running') {
    said.push(step.items ? step.progress.text : share(step.progress));
  }
  if (step.queue) {
    said.push(`on ${step.queue}`);
  }
  if (step.attempt > 1) {
    said.push(`attempt ${step.attempt}`);
  }
  if (step.started !== null && step.ended !== null) {
    said.push(duration(step.ended - step.started));
  }
  return said.filter(Boolean).join(' · ');
}
