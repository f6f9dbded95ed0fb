/** Renderers for what `run` and `flow.graph()` put below a cell; live by themselves, with or without a kernel. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';

import { GraphOutput, RunOutput } from '../ui/output';
import { Flows, IFlows } from './engine';
import { CommandIds } from './ids';

const RUN = 'application/vnd.flowbook.run+json';
const RANK = -20;
const GRAPH = 'application/vnd.flowbook.graph+json';

export const outputs: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:outputs',
  description: 'Runs and graphs in cell outputs.',
  autoStart: true,
  requires: [IFlows, IRenderMimeRegistry],
  activate: (app: JupyterFrontEnd, flows: Flows, registry: IRenderMimeRegistry): void => {
    const open = (run: string, home: string) => void app.commands.execute(CommandIds.openRun, { run, home });
    // The same outputs carry HTML, and a widget (rank -10), for places without this extension. Both need more: this
    // one needs no kernel.
    registry.addFactory({ safe: true, mimeTypes: [RUN], createRenderer: () => new RunOutput(RUN, flows.connection, open) }, RANK);
    registry.addFactory({ safe: true, mimeTypes: [GRAPH], createRenderer: () => new GraphOutput(GRAPH, flows.connection) }, RANK);
  }
};
