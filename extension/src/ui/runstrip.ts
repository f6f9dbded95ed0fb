/** The line under a notebook's toolbar while a run is looked at: how far it is, what it does, stop, open. */
import { Widget } from '@lumino/widgets';

import type { Flow } from '../engine/flow';
import { clock, duration, h, type Child } from './dom';
import { owedWords, owing } from './shared/draw';
import { badge, face, progress } from './status';

const STOPPING = { cancel: 'is being cancelled', terminate: 'is being terminated', timeout: 'its time is up' };

export interface RunStripActions {
  stop(): void;
  resume(): void;
  open(): void;
  fork(): void;
  signal(name: string): void;
}

export class RunStrip extends Widget {
  constructor(
    private readonly flow: Flow,
    private readonly actions: RunStripActions
  ) {
    super();
    this.addClass('flow-RunStrip');
    this.node.setAttribute('role', 'status');
    this.hide();
    flow.changed.connect(this.draw, this);
    this.draw();
  }

  override dispose(): void {
    window.clearInterval(this.ticking);
    this.flow.changed.disconnect(this.draw, this);
    super.dispose();
  }

  private draw(): void {
    const view = this.flow.view;
    this.setHidden(view === null || this.closed === view.id);
    window.clearInterval(this.ticking);
    if (!view || this.isHidden) {
      return;
    }
    const { done, total, now } = progress(view);
    const open = this.flow.isOpen;
    const edited = !!this.flow.page?.module && this.flow.page.module !== view.module;
    const signals = view.waits.filter(wait => wait.kind === 'signal');
    const owed = owing(view);
    const elapsed = h('span', { class: 'flow-facts' });
    const tick = () => {
      const end = view.ended ?? Date.now() / 1000;
      elapsed.textContent = duration(open ? Math.round(end - view.started) : end - view.started);
      elapsed.title = open ? `since ${clock(view.started)}` : `${clock(view.started)} to ${clock(end)}`;
    };
    tick();
    if (open) {
      this.ticking = window.setInterval(tick, 1000);
    }
    const parts: Child[] = [
      badge(view.status),
      h('a', { class: 'flow-id', href: '#', title: 'Open this run', click: this.handler(() => this.actions.open()) }, view.id),
      bar(done, total, face(view.status).family),
      h('span', { class: 'flow-count' }, `${done} of ${total} done`),
      now ? h('span', { class: 'flow-now', title: now }, now) : null,
      elapsed,
      view.stopping && open ? h('span', { class: 'flow-note' }, STOPPING[view.stopping.how]) : null,
      owed.length ? h('span', { class: `flow-owed${owed.some(one => one.status === 'failed') ? ' flow-owed-failed' : ''}` }, owedWords(owed)) : null,
      view.next ? h('span', { class: 'flow-note' }, `went on as ${view.next}`) : null,
      h('span', { class: 'flow-spacer' }),
      this.flow.kernelGone && open
        ? h('span', { class: 'flow-note flow-kernel' }, 'Kernel gone. The run does not need it.')
        : null,
      this.flow.sight?.online === false && !this.flow.sight.last
        ? h('span', { class: 'flow-note' }, 'Connection lost. The run goes on; catching up soon.')
        : null,
      edited && !open ? h('span', { class: 'flow-note' }, 'edited since this run') : null,
      ...signals.map(wait => this.button(`Signal “${wait.name}”…`, () => this.actions.signal(wait.name), true)),
      edited && !open ? this.button('Fork…', () => this.actions.fork(), view.status === 'failed') : null,
      view.status === 'paused' ? this.button('Resume', () => this.actions.resume(), true) : null,
      open ? this.button('Stop', () => this.actions.stop()) : null,
      this.button('Open', () => this.actions.open()),
      open ? null : this.button('✕', () => this.conceal(view.id), false, 'Hide until the next run')
    ];
    this.node.dataset.status = view.status;
    this.node.replaceChildren(...parts.filter((part): part is HTMLElement => part instanceof HTMLElement));
  }

  private conceal(run: string): void {
    this.closed = run;
    this.hide();
  }

  private button(label: string, act: () => void, primary = false, title = ''): HTMLElement {
    const style = primary ? 'jp-mod-styled jp-mod-accept' : 'jp-mod-styled';
    return h('button', { class: `flow-button ${style}`, title, click: this.handler(act) }, label);
  }

  private handler(act: () => void): (event: Event) => void {
    return event => {
      event.preventDefault();
      act();
    };
  }

  private closed = '';
  private ticking = 0;
}

function bar(done: number, total: number, family: string): HTMLElement {
  const percent = total ? Math.round((100 * done) / total) : 0;
  return h(
    'span',
    { class: 'flow-bar', role: 'progressbar', 'aria-valuenow': percent, 'aria-valuemin': 0, 'aria-valuemax': 100 },
    h('span', { class: `flow-fill flow-${family}`, style: `width: ${percent}%` })
  );
}
