/** The runs of the project, newest first: find one, open it. */
import { Widget } from '@lumino/widgets';

import type { Listing } from '../engine/connection';
import { OPEN, type Summary } from '../engine/shapes';
import { clock, duration, h } from './dom';
import { flowIcon } from './icons';
import { badge } from './status';

const attributes = (run: Summary): string[] =>
  Object.entries(run.attributes ?? {}).map(([name, value]) => `${name} = ${typeof value === 'string' ? value : JSON.stringify(value)}`);

/** What the filter looks at. */
const text = (run: Summary): string => [run.id, run.workflow, run.name, run.status, ...attributes(run)].join(' ').toLowerCase();

export class RunsBrowser extends Widget {
  constructor(private readonly open: (run: Summary, home: string) => void) {
    super();
    this.id = 'flowbook-runs';
    this.title.icon = flowIcon;
    this.title.caption = 'Runs: the workflows that ran in this project';
    this.addClass('flow-Runs');
    this.node.append(
      h('header', { class: 'flow-Runs-head' }, h('h2', null, 'Runs'), this.filter),
      this.note,
      this.list
    );
    this.filter.addEventListener('input', () => this.draw());
    this.draw();
  }

  setListing(listing: Listing | null): void {
    this.listing = listing;
    this.draw();
  }

  private draw(): void {
    const runs = this.listing?.runs ?? [];
    const wanted = this.filter.value.trim().toLowerCase();
    const found = runs.filter(run => !wanted || text(run).includes(wanted));
    this.note.hidden = found.length > 0;
    this.note.textContent = runs.length ? 'No run matches.' : 'No runs yet. “Run workflow” in a notebook starts one.';
    this.list.replaceChildren(...found.map(run => h('li', null, this.entry(run, runs))));
    this.node.classList.toggle('flow-offline', this.listing?.online === false);
  }

  private entry(run: Summary, all: Summary[]): HTMLElement {
    const isOpen = OPEN.has(run.status);
    const end = run.ended;
    const when = isOpen ? `since ${clock(run.started)}` : `${clock(run.started)}${end !== null ? ` · ${duration(end - run.started)}` : ''}`;
    const origin = run.origin && all.some(other => other.id === run.origin?.run) ? run.origin : null;
    return h(
      'button',
      { class: `flow-run${origin ? ' flow-forked' : ''}`, title: run.source, click: () => this.open(run, this.listing?.home ?? '') },
      h('span', { class: 'flow-run-line' }, badge(run.status), h('span', { class: 'flow-id' }, run.id)),
      h('span', { class: 'flow-run-line flow-muted' }, when, run.name ? ` · ${run.name}` : ''),
      run.parent ? h('span', { class: 'flow-run-line flow-muted' }, `child of ${run.parent}`) : null,
      run.continued ? h('span', { class: 'flow-run-line flow-muted' }, `goes on from ${run.continued}`) : null,
      attributes(run).length ? h('span', { class: 'flow-run-line flow-run-attributes' }, attributes(run).map(words => h('span', { class: 'flow-tag' }, words))) : null,
      run.obligations?.length
        ? h('span', { class: `flow-run-line flow-owed${run.obligations.some(one => one.failed) ? ' flow-owed-failed' : ''}` }, `owes ${run.obligations.map(one => one.name).join(', ')}`)
        : null,
      run.origin ? h('span', { class: 'flow-run-line flow-muted' }, `⑂ from ${run.origin.run} at event ${run.origin.seq}`) : null,
      run.error ? h('span', { class: 'flow-run-line flow-run-error' }, `${run.step ? `${run.step}: ` : ''}${run.error.type}: ${run.error.message}`) : null
    );
  }

  private listing: Listing | null = null;
  private readonly filter = h('input', { class: 'jp-mod-styled', type: 'search', placeholder: 'Filter', 'aria-label': 'filter runs' });
  private readonly note = h('p', { class: 'flow-empty' });
  private readonly list = h('ul', { class: 'flow-Runs-list' });
}
