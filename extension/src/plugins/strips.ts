/** Puts a strip into every step's cell, and the run strip under the notebook's toolbar. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { Cell } from '@jupyterlab/cells';
import type { PanelLayout } from '@lumino/widgets';

import type { Change, Flow } from '../engine/flow';
import { CellStrip } from '../ui/cellstrip';
import { RunStrip } from '../ui/runstrip';
import { Flows, IFlows } from './engine';
import { CommandIds } from './ids';

export const strips: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:strips',
  description: 'The state of each step above its cell, and of the run above all cells.',
  autoStart: true,
  requires: [IFlows],
  activate: (app: JupyterFrontEnd, flows: Flows): void => {
    const attach = (flow: Flow) => {
      new CellStrips(flow);
      const execute = (id: string, args: any = {}) => void app.commands.execute(id, args);
      flow.panel.contentHeader.addWidget(
        new RunStrip(flow, {
          stop: () => execute(CommandIds.stop),
          resume: () => execute(CommandIds.resume),
          open: () => execute(CommandIds.open),
          fork: () => execute(CommandIds.fork),
          signal: name => execute(CommandIds.signal, { name })
        })
      );
    };
    flows.forEach(attach);
    flows.added.connect((_, flow) => attach(flow));
  }
};

/** The strips of one notebook. A cell's widget may be made late, moved or replaced; its strip follows. */
class CellStrips {
  constructor(private readonly flow: Flow) {
    const notebook = flow.panel.content;
    const later = () => this.soon();
    notebook.modelContentChanged.connect(later);
    notebook.modelChanged.connect(later);
    notebook.cellInViewportChanged.connect(later);
    flow.changed.connect((_: Flow, change: Change) => (change === 'kernel' || change === 'step' ? undefined : this.soon()));
    void flow.panel.revealed.then(later);
    this.soon();
  }

  private soon(): void {
    if (this.frame === 0) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        if (!this.flow.isDisposed) {
          this.draw();
        }
      });
    }
  }

  private draw(): void {
    const view = this.flow.view;
    this.flow.panel.content.widgets.forEach((cell, index) => {
      const node = cell.model?.type === 'code' ? this.flow.nodeOf(cell.model.id, index) : null;
      const strip = this.strips.get(cell);
      if (strip && !strip.isDisposed) {
        strip.present(node, node ? view?.steps[node.id] : undefined, view !== null);
      } else if (node) {
        this.insert(cell);
      }
    });
  }

  private insert(cell: Cell): void {
    if (this.waiting.has(cell)) {
      return;
    }
    this.waiting.add(cell);
    // Cells out of sight have no inner widgets yet; the strip goes between the header and the input.
    void cell.ready.then(() => {
      this.waiting.delete(cell);
      const layout = cell.layout as PanelLayout | null;
      if (cell.isDisposed || !layout || this.flow.isDisposed) {
        return;
      }
      const strip = new CellStrip(this.flow);
      layout.insertWidget(Math.min(1, layout.widgets.length), strip);
      this.strips.set(cell, strip);
      this.soon();
    });
  }

  private frame = 0;
  private readonly strips = new WeakMap<Cell, CellStrip>();
  private readonly waiting = new WeakSet<Cell>();
}
