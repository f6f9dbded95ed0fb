/** The shared drawing code with this extension's types. The only file that knows how it is called. */
import type { IDisposable } from '@lumino/disposable';

import type { Connection } from '../engine/connection';
import type { Requests } from '../engine/requests';
import type { Graph, Place, View } from '../engine/shapes';
import { createGraph, createRunView } from './shared/draw';

/** A graph in an element; drawn anew when the graph itself changes, else only repainted. */
export class GraphPicture implements IDisposable {
  constructor(
    private readonly node: HTMLElement,
    private readonly onSelect: (step: string) => void
  ) {}

  draw(graph: Graph): void {
    const key = JSON.stringify(graph);
    if (key === this.key) {
      return;
    }
    this.key = key;
    this.inner?.dispose();
    this.node.replaceChildren();
    this.inner = createGraph(this.node, graph, { onSelect: step => this.onSelect(step) });
  }

  update(view: View | null): void {
    this.inner?.update(view);
  }

  select(step: string): void {
    this.inner?.select(step);
  }

  get isDisposed(): boolean {
    return this.gone;
  }

  dispose(): void {
    this.gone = true;
    this.inner?.dispose();
    this.inner = null;
  }

  private gone = false;
  private key = '';
  private inner: ReturnType<typeof createGraph> | null = null;
}

/** A whole run: graph, timeline and events with one scrubber. */
export class RunPicture implements IDisposable {
  constructor(node: HTMLElement, run: string, place: Place, requests: Requests, connection: Connection) {
    void connection;
    this.inner = createRunView(node, { view: (at?: number) => requests.view(run, place, at) });
  }

  get isDisposed(): boolean {
    return this.gone;
  }

  dispose(): void {
    this.gone = true;
    this.inner.dispose();
  }

  private gone = false;
  private readonly inner: ReturnType<typeof createRunView>;
}
