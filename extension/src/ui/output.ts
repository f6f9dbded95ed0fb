/**
 * Outputs below a cell. A stored view is shown at once; where the engine answers, the picture then follows the run.
 * The kernel has no part in it.
 */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import type { Connection, Sight } from '../engine/connection';
import { OPEN, type Graph, type View } from '../engine/shapes';
import { duration, h } from './dom';
import { GraphPicture } from './drawing';
import { badge, progress } from './status';

/** What `application/vnd.flowbook.run+json` carries: the view itself, or the view and where to look. */
interface RunData {
  id?: string;
  run?: string;
  home?: string;
  view?: View;
}

export class RunOutput extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly mime: string,
    private readonly connection: Connection,
    private readonly open: (run: string, home: string) => void
  ) {
    super();
    this.addClass('flow-Output');
    this.node.append(this.head, this.graphNode);
    this.picture = new GraphPicture(this.graphNode, () => undefined);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const data = model.data[this.mime] as unknown as RunData & Partial<View>;
    const stored = data.view ?? (data.steps ? (data as View) : null);
    const run = stored?.id ?? data.run ?? data.id ?? '';
    this.home = data.home ?? '';
    if (stored) {
      this.present(stored, false);
    }
    this.watched?.dispose();
    this.watched = null;
    if (run && this.home && !(stored && !OPEN.has(stored.status))) {
      this.watched = this.connection.watch(run, { home: this.home }, sight => this.follow(sight));
    }
  }

  override dispose(): void {
    this.watched?.dispose();
    this.picture.dispose();
    super.dispose();
  }

  private follow(sight: Sight): void {
    if (sight.view) {
      this.present(sight.view, sight.online);
    }
  }

  private present(view: View, live: boolean): void {
    const { done, total, now } = progress(view);
    const open = h('a', { class: 'flow-id', href: '#', click: (e: Event) => (e.preventDefault(), this.open(view.id, this.home)) }, view.id);
    this.head.replaceChildren(
      badge(view.status),
      open,
      h('span', null, `${done} of ${total} done`),
      h('span', { class: 'flow-now' }, now),
      h('span', { class: 'flow-muted' }, view.ended !== null ? duration(view.ended - view.started) : live ? 'live' : 'as last seen')
    );
    if (view.graph?.layout) {
      this.picture.draw(view.graph);
      this.picture.update(view);
    }
  }

  private home = '';
  private watched: IDisposable | null = null;
  private readonly head = h('div', { class: 'flow-Output-head' });
  private readonly graphNode = h('div', { class: 'flow-Output-graph' });
  private readonly picture: GraphPicture;
}

/** What `application/vnd.flowbook.graph+json` carries: the graph, and the newest run to colour it. */
interface GraphData {
  graph?: Graph;
  view?: View | null;
  run?: string;
  home?: string;
}

export class GraphOutput extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly mime: string,
    private readonly connection: Connection
  ) {
    super();
    this.addClass('flow-Output');
    this.picture = new GraphPicture(this.node, () => undefined);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const data = model.data[this.mime] as unknown as GraphData & Graph;
    this.picture.draw(data.graph ?? data);
    this.picture.update(data.view ?? null);
    this.watched?.dispose();
    this.watched = null;
    const run = data.run ?? data.view?.id ?? '';
    if (run && data.home) {
      this.watched = this.connection.watch(run, { home: data.home }, sight => this.picture.update(sight.view));
    }
  }

  override dispose(): void {
    this.watched?.dispose();
    this.picture.dispose();
    super.dispose();
  }

  private watched: IDisposable | null = null;
  private readonly picture: GraphPicture;
}
