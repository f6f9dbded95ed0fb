/** The runs browser on the left, and the line in the status bar; both show the project of the notebook in front. */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IStatusBar } from '@jupyterlab/statusbar';
import type { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import type { Listing } from '../engine/connection';
import type { Place } from '../engine/shapes';
import { h } from '../ui/dom';
import { RunsBrowser } from '../ui/runs';
import { Flows, IFlows } from './engine';
import { CATEGORY, CommandIds } from './ids';

export const runs: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:runs',
  description: 'The runs of a project: a list on the left, a count in the status bar.',
  autoStart: true,
  requires: [IFlows],
  optional: [ICommandPalette, ILayoutRestorer, IStatusBar],
  activate: (app: JupyterFrontEnd, flows: Flows, palette: ICommandPalette | null, restorer: ILayoutRestorer | null, bar: IStatusBar | null): void => {
    const browser = new RunsBrowser((run, home) => void app.commands.execute(CommandIds.openRun, { run: run.id, home }));
    const item = new StatusItem(() => app.shell.activateById(browser.id));
    app.shell.add(browser, 'left', { rank: 550, type: 'Flowbook runs' });
    restorer?.add(browser, browser.id);
    bar?.registerStatusItem(runs.id, { item, align: 'left', rank: 50, isActive: () => true });
    app.commands.addCommand(CommandIds.runs, {
      label: 'Runs',
      caption: 'The runs of this project (Alt G L)',
      execute: () => app.shell.activateById(browser.id)
    });
    palette?.addItem({ command: CommandIds.runs, category: CATEGORY });

    let watched: IDisposable | null = null;
    const follow = (place: Place) => {
      const next = flows.connection.watchAll(place, listing => {
        browser.setListing(listing);
        item.setListing(listing);
      });
      watched?.dispose();
      watched = next;
    };
    const followCurrent = () => follow(flows.current ? { path: flows.current.path } : {});
    flows.currentChanged.connect(followCurrent);
    void app.restored.then(followCurrent);
  }
};

class StatusItem extends Widget {
  constructor(show: () => void) {
    super({ node: h('button', { class: 'flow-StatusItem', title: 'Flowbook: show the runs', click: show }) });
    this.setListing(null);
  }

  setListing(listing: Listing | null): void {
    const all = listing?.runs ?? [];
    const running = all.filter(run => run.status === 'running').length;
    const waiting = all.filter(run => ['waiting', 'paused', 'queued'].includes(run.status)).length;
    const newest = all[0];
    const words = [running ? `${running} running` : '', waiting ? `${waiting} waiting` : ''].filter(Boolean);
    if (!words.length) {
      words.push(newest ? `last run ${newest.status}` : 'no runs');
    }
    this.node.textContent = `Flowbook: ${listing?.online === false ? 'reconnecting' : words.join(', ')}`;
    this.node.dataset.family = running ? 'running' : waiting ? 'waiting' : newest?.status === 'failed' ? 'failed' : 'idle';
  }
}
