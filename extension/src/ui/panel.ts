/** The panel "Flow": the graph of the notebook in front, its problems, and the step one has picked. */
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { Change, Flow } from '../engine/flow';
import type { View } from '../engine/shapes';
import { count, h } from './dom';
import { GraphPicture } from './drawing';
import { flowIcon } from './icons';
import { problemsList } from './problems';
import { badge, progress } from './status';
import { stepDetails } from './stepdetails';

export interface PanelActions {
  run(): void;
  open(): void;
  fork(step: string): void;
}

export class FlowPanel extends Widget {
  constructor(private readonly actions: PanelActions) {
    super();
    this.id = 'flowbook-panel';
    this.title.icon = flowIcon;
    this.title.caption = 'Flow: the graph and the steps of this notebook';
    this.addClass('flow-Panel');
    this.node.append(this.head, this.graphSection, this.problems, this.details);
    this.picture = new GraphPicture(this.graphNode, step => step && this.flow?.select(step));
    this.setFlow(null);
  }

  /** Show another notebook's flow, or none. */
  setFlow(flow: Flow | null): void {
    if (this.flow === flow && flow !== null) {
      return;
    }
    this.flow?.changed.disconnect(this.onChange, this);
    this.flow = flow && !flow.isDisposed ? flow : null;
    this.flow?.changed.connect(this.onChange, this);
    this.redraw();
  }

  override dispose(): void {
    this.picture.dispose();
    super.dispose();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this.redraw();
  }

  private onChange(_: Flow, change: Change): void {
    if (!this.isVisible) {
      return;
    }
    if (change === 'page') {
      this.redraw();
    } else if (change === 'step') {
      this.picture.select(this.flow?.step ?? '');
      this.drawDetails();
    } else if (this.frame === 0) {
      // Many updates a second are one picture a frame.
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.drawHead();
        this.drawStatuses();
        this.drawDetails();
      });
    }
  }

  private redraw(): void {
    this.drawHead();
    const graph = this.flow?.page?.graph ?? null;
    this.graphSection.hidden = !graph?.nodes?.length;
    if (graph?.nodes?.length) {
      this.picture.draw(graph);
      this.picture.select(this.flow?.step ?? '');
    }
    this.drawStatuses();
    this.drawProblems();
    this.drawDetails();
  }

  private drawHead(): void {
    const flow = this.flow;
    if (!flow) {
      this.head.replaceChildren(empty('Open a notebook to see its flow.'));
      return;
    }
    if (flow.trouble) {
      this.head.replaceChildren(h('p', { class: 'flow-trouble' }, flow.trouble));
      return;
    }
    if (flow.page && !flow.page.graph?.nodes?.length) {
      const errors = flow.page.diagnostics.length > 0;
      this.head.replaceChildren(errors ? h('p', { class: 'flow-empty' }, 'No graph yet: see the problems below.') : howToBegin());
      return;
    }
    const view = flow.view;
    const run = view ? this.runLine(view) : h('span', { class: 'flow-muted' }, 'No run yet.');
    this.head.replaceChildren(
      h('div', { class: 'flow-Panel-title' }, h('h2', null, flow.page?.workflow ?? ''), this.button('Run', () => this.actions.run())),
      h('div', { class: 'flow-Panel-run' }, run)
    );
  }

  private runLine(view: View): HTMLElement {
    const { done, total } = progress(view);
    const open = h('a', { class: 'flow-id', href: '#', click: (e: Event) => (e.preventDefault(), this.actions.open()) }, view.id);
    return h('span', { class: 'flow-Panel-runline' }, badge(view.status), open, h('span', { class: 'flow-muted' }, `${done} of ${total} done`));
  }

  private drawStatuses(): void {
    this.picture.update(this.flow?.view ?? null);
  }

  private drawProblems(): void {
    const found = this.flow?.page?.diagnostics ?? [];
    this.problems.hidden = !this.flow?.page || (found.length === 0 && !this.flow.page.graph?.nodes?.length);
    const title = found.length ? count(found.length, 'problem') : 'No problems';
    this.problems.replaceChildren(
      h('h3', null, title),
      problemsList(found, d => void this.flow?.reveal(d.cell, d.cell_number, d.line), d => this.flow?.fix(d))
    );
  }

  private drawDetails(): void {
    const flow = this.flow;
    const node = flow?.page?.graph?.nodes?.find(n => n.id === flow.step);
    this.details.hidden = !flow || !node;
    if (flow && node) {
      const fork = flow.view && !flow.isOpen ? () => this.actions.fork(node.id) : null;
      this.details.replaceChildren(...stepDetails(node, flow.view?.steps[node.id], flow, fork));
    }
  }

  private button(label: string, act: () => void): HTMLElement {
    return h('button', { class: 'flow-button jp-mod-styled jp-mod-accept', click: act }, label);
  }

  private flow: Flow | null = null;
  private frame = 0;
  private readonly head = h('header', { class: 'flow-Panel-head' });
  private readonly graphNode = h('div', { class: 'flow-Panel-graph' });
  private readonly graphSection = h('section', { 'aria-label': 'Graph' }, this.graphNode);
  private readonly problems = h('section', { class: 'flow-Problems', 'aria-label': 'Problems' });
  private readonly details = h('section', { class: 'flow-Step', 'aria-label': 'Step' });
  private readonly picture: GraphPicture;
}

function empty(text: string): HTMLElement {
  return h('p', { class: 'flow-empty' }, text);
}

function howToBegin(): HTMLElement {
  return h(
    'div',
    { class: 'flow-empty' },
    h('p', null, 'This notebook is no workflow yet.'),
    h('p', null, 'Write ', h('code', null, '#| step: name'), ' as the first line of a code cell. What goes in and out is found from the code.')
  );
}
