/** Run views in the main area: one for each run, found again after a reload. */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';

import { flowIcon } from '../ui/icons';
import { RunView } from '../ui/runview';
import { Flows, IFlows } from './engine';
import { CommandIds } from './ids';
import { runActions } from './runactions';

export const runviews: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:runviews',
  description: 'One run in full: graph, timeline, history, and every moment of it.',
  autoStart: true,
  requires: [IFlows],
  optional: [ILayoutRestorer],
  activate: (app: JupyterFrontEnd, flows: Flows, restorer: ILayoutRestorer | null): void => {
    const tracker = new WidgetTracker<MainAreaWidget<RunView>>({ namespace: 'flowbook-runs' });
    app.commands.addCommand(CommandIds.openRun, {
      label: args => `Open run ${String(args.run ?? '')}`,
      execute: args => {
        const run = String(args.run ?? '');
        const home = String(args.home ?? '');
        if (!run) {
          return;
        }
        let widget = tracker.find(open => open.content.run === run && open.content.home === home);
        if (!widget) {
          const content = new RunView(run, home, flows.requests, flows.connection, runActions(app, flows, run, home));
          widget = new MainAreaWidget({ content });
          widget.id = `flowbook-run-${home}-${run}`.replace(/[^\w-]+/g, '-');
          widget.title.label = run;
          widget.title.icon = flowIcon;
          widget.title.closable = true;
          widget.toolbar.hide();
          void tracker.add(widget);
        }
        if (!widget.isAttached) {
          app.shell.add(widget, 'main', { mode: 'tab-after' });
        }
        app.shell.activateById(widget.id);
      }
    });
    void restorer?.restore(tracker, {
      command: CommandIds.openRun,
      args: widget => ({ run: widget.content.run, home: widget.content.home }),
      name: widget => `${widget.content.home}:${widget.content.run}`
    });
  }
};
