/** The shared drawing code with this extension's types. The only file that knows how it is called. */
import type { IDisposable } from '@lumino/disposable';

import type { Connection, Sight } from '../engine/connection';
import type { Requests } from '../engine/requests';
import type { Graph, Place, View } from '../engine/shapes';
import { createGraph, createRunView, type GraphDrawing, type RunActions, type RunDrawing } from './shared/draw';

export type { RunActions };

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
    this.graph = graph;
    this.inner?.dispose();
    this.node.replaceChildren();
    this.inner = createGraph(this.node, graph, { onSelect: this.onSelect, onOpen: this.onSelect });
  }

  /** Colour the graph by a run. The run's own graph may be an older one; what is drawn stays. */
  update(view: View | null): void {
    if (this.graph) {
      this.inner?.update(view && { ...view, graph: this.graph });
    }
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
  private graph: Graph | null = null;
  private inner: GraphDrawing | null = null;
}

/** A whole run: graph, timeline and events under one scrubber. */
export class RunPicture implements IDisposable {
  constructor(node: HTMLElement, run: string, place: Place, requests: Requests, connection: Connection, actions: RunActions) {
    const source = {
      getView: (at?: number) => requests.view(run, place, at),
      getHistory: () => requests.history(run, place),
      getAt: (at: number) => requests.moment(run, place, at),
      actions
    };
    this.inner = createRunView(node, source);
    this.watched = connection.watch(run, place, sight => this.follow(sight));
  }

  get isDisposed(): boolean {
    return this.gone;
  }

  dispose(): void {
    this.gone = true;
    this.watched.dispose();
    this.inner.dispose();
  }

  private follow(sight: Sight): void {
    if (sight.view && sight.view !== this.drawn) {
      this.drawn = sight.view;
      this.inner.update(sight.view);
    }
    this.inner.online(sight.online || sight.last);
  }

  private gone = false;
  private drawn: View | null = null;
  private readonly inner: RunDrawing;
  private readonly watched: IDisposable;
}
