/** What can be done from a run view: each leads to the same requests as the notebook's own commands. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { UUID } from '@lumino/coreutils';

import type { Flow } from '../engine/flow';
import type { Fork } from '../engine/requests';
import type { Place } from '../engine/shapes';
import { askSignal, confirmFork, report } from '../ui/dialogs';
import type { RunActions } from '../ui/drawing';
import type { Flows } from './engine';
import { CommandIds } from './ids';

export function runActions(app: JupyterFrontEnd, flows: Flows, run: string, home: string): RunActions {
  const place: Place = home ? { home } : {};
  const requests = flows.requests;
  return {
    fork: from => void fork(app, flows, run, home, from),
    cancel: () => requests.cancel(run, place).catch(error => report('The run was not stopped', error)),
    terminate: () => requests.terminate(run, place).catch(error => report('The run was not terminated', error)),
    update: (name, values) => requests.update(run, place, name, values, UUID.uuid4()).catch(error => report('The update was not sent', error)),
    complete: (token, answer) => requests.complete(run, place, token, answer).catch(error => report('The step was not completed', error)),
    settle: (key, note) => requests.settle(run, place, key, note).catch(error => report('It is owed as before', error)),
    retry: key => requests.retry(run, place, key).catch(error => report('It is not tried again', error)),
    open: other => void app.commands.execute(CommandIds.openRun, { run: other, home }),
    signal: async (name, value) => {
      const sent = value === undefined ? await askSignal(run, name) : { value };
      if (sent) {
        await requests.signal(run, place, name, sent.value, UUID.uuid4()).catch(error => report('The signal was not sent', error));
      }
    },
    reveal: (cell, line) => void reveal(app, flows, run, place, cell, line)
  };
}

async function fork(app: JupyterFrontEnd, flows: Flows, run: string, home: string, from: Fork): Promise<void> {
  const place: Place = home ? { home } : {};
  try {
    const { source } = await flows.requests.run(run, place);
    // An open notebook may hold changes that are not saved; they are what one wants to fork with.
    const flow = openFlow(flows, source);
    const plan = flow ? await flow.plan(run, from) : await flows.requests.plan(run, place, from);
    if (await confirmFork(run, plan)) {
      const made = flow ? await flow.fork(run, from) : await flows.requests.fork(run, place, from);
      await app.commands.execute(CommandIds.openRun, { run: made.id, home });
    }
  } catch (error) {
    await report('The run was not forked', error);
  }
}

async function reveal(app: JupyterFrontEnd, flows: Flows, run: string, place: Place, cell: string, line: number): Promise<void> {
  try {
    const { source } = await flows.requests.run(run, place);
    let flow = openFlow(flows, source);
    if (!flow) {
      const root = decodeURIComponent(PageConfig.getOption('rootUri').replace(/^file:\/\//, ''));
      if (!root || !source.startsWith(root)) {
        return;
      }
      const path = source.slice(root.length).replace(/^\//, '');
      const panel: NotebookPanel = await app.commands.execute('docmanager:open', { path });
      await panel.revealed;
      flow = flows.of(panel);
    }
    if (flow) {
      app.shell.activateById(flow.panel.id);
      await flow.reveal(cell, 0, line);
    }
  } catch (error) {
    await report('The cell was not found', error);
  }
}

function openFlow(flows: Flows, source: string): Flow | undefined {
  let found: Flow | undefined;
  flows.forEach(flow => {
    if (source && flow.page?.file === source) {
      found = flow;
    }
  });
  return found;
}
