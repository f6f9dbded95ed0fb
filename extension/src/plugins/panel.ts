/** The panel "Flow" on the right. */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';

import { flowIcon } from '../ui/icons';
import { FlowPanel } from '../ui/panel';
import { Flows, IFlows } from './engine';
import { CATEGORY, CommandIds } from './ids';

export const panel: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:panel',
  description: 'The graph, the problems and the steps of the notebook in front.',
  autoStart: true,
  requires: [IFlows],
  optional: [ICommandPalette, ILayoutRestorer],
  activate: (app: JupyterFrontEnd, flows: Flows, palette: ICommandPalette | null, restorer: ILayoutRestorer | null): void => {
    const widget = new FlowPanel({
      run: () => void app.commands.execute(CommandIds.run),
      open: () => void app.commands.execute(CommandIds.open),
      fork: step => void app.commands.execute(CommandIds.fork, { step })
    });
    app.shell.add(widget, 'right', { rank: 550, type: 'Flow' });
    restorer?.add(widget, widget.id);
    flows.currentChanged.connect((_, flow) => widget.setFlow(flow));
    widget.setFlow(flows.current);
    app.commands.addCommand(CommandIds.panel, {
      label: 'Flow panel',
      caption: 'The graph and the steps of this notebook (Alt G G)',
      icon: flowIcon,
      execute: () => app.shell.activateById(widget.id)
    });
    palette?.addItem({ command: CommandIds.panel, category: CATEGORY });
  }
};
