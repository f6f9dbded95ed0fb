/** Shows the compiler's findings where they are: below the code of the cell, as it is typed. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { Cell } from '@jupyterlab/cells';

import type { Change, Flow } from '../engine/flow';
import { mark } from '../notebook/marks';
import { Flows, IFlows } from './engine';

export const marks: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:marks',
  description: 'Underlines what the compiler finds, in the cells.',
  autoStart: true,
  requires: [IFlows],
  activate: (_: JupyterFrontEnd, flows: Flows): void => {
    flows.forEach(flow => new NotebookMarks(flow));
    flows.added.connect((_, flow) => new NotebookMarks(flow));
  }
};

/** The marks of one notebook. */
class NotebookMarks {
  constructor(private readonly flow: Flow) {
    flow.changed.connect((_: Flow, change: Change) => change === 'page' && this.draw());
    flow.panel.content.cellInViewportChanged.connect((_, cell) => this.drawCell(cell));
    this.draw();
  }

  private draw(): void {
    this.flow.panel.content.widgets.forEach(cell => this.drawCell(cell));
  }

  private drawCell(cell: Cell): void {
    if (cell.model?.type !== 'code' || this.flow.isDisposed) {
      return;
    }
    const index = this.flow.panel.content.widgets.indexOf(cell);
    const found = this.flow.findingsOf(cell.model.id, index);
    const key = JSON.stringify(found);
    if (cell.editor && (this.drawn.get(cell) ?? '[]') !== key) {
      this.drawn.set(cell, key);
      mark(cell.editor, found);
    }
  }

  private readonly drawn = new WeakMap<Cell, string>();
}

