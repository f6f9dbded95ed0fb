/** What all plugins share: the requests, the one connection, and a Flow for each open notebook. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { Token } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';

import { Connection } from '../engine/connection';
import { Flow } from '../engine/flow';
import { Requests } from '../engine/requests';

export class Flows {
  constructor(
    private readonly tracker: INotebookTracker,
    readonly requests: Requests,
    readonly connection: Connection
  ) {
    tracker.widgetAdded.connect((_, panel) => this.add(panel));
    tracker.forEach(panel => this.add(panel));
    tracker.currentChanged.connect(() => this.currentChanged.emit(this.current));
  }

  readonly added = new Signal<this, Flow>(this);
  readonly currentChanged = new Signal<this, Flow | null>(this);

  get current(): Flow | null {
    const panel = this.tracker.currentWidget;
    return panel ? (this.of(panel) ?? null) : null;
  }

  of(panel: NotebookPanel): Flow | undefined {
    return this.flows.get(panel);
  }

  forEach(each: (flow: Flow) => void): void {
    for (const flow of this.flows.values()) {
      each(flow);
    }
  }

  private add(panel: NotebookPanel): void {
    if (this.flows.has(panel)) {
      return;
    }
    const flow = new Flow(panel, this.requests, this.connection);
    this.flows.set(panel, flow);
    panel.disposed.connect(() => this.flows.delete(panel));
    this.added.emit(flow);
    if (this.tracker.currentWidget === panel) {
      this.currentChanged.emit(flow);
    }
  }

  private readonly flows = new Map<NotebookPanel, Flow>();
}

export const IFlows = new Token<Flows>('flowbook:IFlows', 'Open notebooks as workflows, and the engine behind them.');

export const engine: JupyterFrontEndPlugin<Flows> = {
  id: 'flowbook:engine',
  description: 'Talks to the Flowbook engine through the Jupyter server.',
  autoStart: true,
  requires: [INotebookTracker],
  provides: IFlows,
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker): Flows => {
    const requests = new Requests(app.serviceManager.serverSettings);
    return new Flows(tracker, requests, new Connection(requests));
  }
};
