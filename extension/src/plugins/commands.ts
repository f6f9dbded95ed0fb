/** Commands, their palette entries, and (through the schema of the same name) toolbar buttons and shortcuts. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { UUID } from '@lumino/coreutils';

import type { Flow } from '../engine/flow';
import { askParameters, askSignal, askUpdate, confirmEnd, confirmFork, report } from '../ui/dialogs';
import { owing } from '../ui/shared/draw';
import { runIcon } from '../ui/icons';
import { Flows, IFlows } from './engine';
import { CATEGORY, CommandIds } from './ids';

export const commands: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:commands',
  description: 'Run, stop, signal, fork and export the workflow of a notebook.',
  autoStart: true,
  requires: [IFlows],
  optional: [ICommandPalette, ISettingRegistry],
  activate: (app: JupyterFrontEnd, flows: Flows, palette: ICommandPalette | null, settings: ISettingRegistry | null): void => {
    const isEnabled = () => flows.current !== null;
    const isOpen = () => flows.current?.isOpen ?? false;
    const withFlow = (act: (flow: Flow, args: any) => Promise<void>) => async (args: any) => {
      const flow = flows.current;
      if (flow) {
        await act(flow, args);
      }
    };
    const add = (id: string, label: string, caption: string, enabled: () => boolean, execute: (args: any) => Promise<void>, icon?: any) => {
      app.commands.addCommand(id, { label, caption, icon, isEnabled: enabled, execute });
      palette?.addItem({ command: id, category: CATEGORY });
    };
    add(CommandIds.run, 'Run workflow', 'Run this notebook as a durable workflow (Alt G R)', isEnabled, withFlow(run), runIcon);
    add(CommandIds.stop, 'Stop run', 'Stop the run of this notebook (Alt G S)', isOpen, withFlow(stop));
    add(CommandIds.terminate, 'Terminate run…', 'End the run without its code having a say; what it owes is taken back', isOpen, withFlow(terminate));
    add(CommandIds.update, 'Send update…', 'Call an update handler of the run', isOpen, withFlow(update));
    const isPaused = () => flows.current?.view?.status === 'paused';
    add(CommandIds.resume, 'Resume run', 'Let the paused run of this notebook go on', isPaused, withFlow(resume));
    add(CommandIds.signal, 'Send signal…', 'Send the signal that the run waits for', isOpen, withFlow(signal));
    add(CommandIds.fork, 'Fork run…', 'A new run that takes over what still holds (Alt G F)', () => !!flows.current?.view, withFlow(fork));
    add(CommandIds.export, 'Export as Python…', 'Write the workflow as a Python module beside the notebook (Alt G E)', isEnabled, withFlow(async flow => {
      await exportModule(app, flow);
    }));
    add(CommandIds.problem, 'Next failed step', 'Go to the next failed step (Alt G N)', () => !!flows.current?.view, withFlow(nextFailed));
    add(CommandIds.open, 'Open run view', 'Graph, timeline and history of the run (Alt G H)', () => !!flows.current?.view, withFlow(async flow => {
      await app.commands.execute(CommandIds.openRun, { run: flow.view!.id, home: flow.page?.home ?? '' });
    }));
    flows.added.connect((_, flow) => announce(app, flow));
    flows.currentChanged.connect(() => app.commands.notifyCommandChanged());
    void settings?.load(commands.id).catch(() => undefined);
  }
};

async function run(flow: Flow): Promise<void> {
  await flow.compile();
  const parameters = flow.page?.parameters ?? [];
  const failed = flow.page?.diagnostics.some(d => d.severity === 'error');
  const texts = parameters.length && !failed ? await askParameters(flow.page?.workflow ?? '', parameters) : {};
  if (texts === null) {
    return;
  }
  try {
    await flow.start(texts);
  } catch (error) {
    await report('The workflow did not start', error, d => void flow.reveal(d.cell, d.cell_number, d.line));
  }
}

async function stop(flow: Flow): Promise<void> {
  const view = flow.view;
  if (!view || (owing(view).length && !(await confirmEnd('Stop', view)))) {
    return;
  }
  try {
    await flow.requests.cancel(view.id, flow.place);
  } catch (error) {
    await report('The run was not stopped', error);
  }
}

async function terminate(flow: Flow): Promise<void> {
  const view = flow.view;
  if (!view || !(await confirmEnd('Terminate', view))) {
    return;
  }
  try {
    await flow.requests.terminate(view.id, flow.place);
  } catch (error) {
    await report('The run was not terminated', error);
  }
}

async function update(flow: Flow): Promise<void> {
  const view = flow.view;
  const sent = view ? await askUpdate(view.id, view.updates?.at(-1)?.name ?? '') : null;
  if (!view || !sent) {
    return;
  }
  try {
    await flow.requests.update(view.id, flow.place, sent.name, sent.values, UUID.uuid4());
  } catch (error) {
    await report('The update was not sent', error);
  }
}

async function resume(flow: Flow): Promise<void> {
  const view = flow.view;
  if (!view) {
    return;
  }
  try {
    await flow.requests.resume(view.id, flow.place);
  } catch (error) {
    await report('The run does not go on', error);
  }
}

async function signal(flow: Flow, args: { name?: string }): Promise<void> {
  const view = flow.view;
  const name = args.name ?? view?.waits.find(wait => wait.kind === 'signal')?.name;
  if (!view || !name) {
    await report('No signal', new Error('The run waits for no signal now.'));
    return;
  }
  const sent = await askSignal(view.id, name);
  if (!sent) {
    return;
  }
  try {
    await flow.requests.signal(view.id, flow.place, name, sent.value, UUID.uuid4());
  } catch (error) {
    await report('The signal was not sent', error);
  }
}

async function fork(flow: Flow, args: { step?: string; at?: number }): Promise<void> {
  const view = flow.view;
  if (!view) {
    return;
  }
  const from = { step: args.step, at: args.at };
  try {
    const plan = await flow.plan(view.id, from);
    if (await confirmFork(view.id, plan)) {
      await flow.fork(view.id, from);
    }
  } catch (error) {
    await report('The run was not forked', error, d => void flow.reveal(d.cell, d.cell_number, d.line));
  }
}

async function exportModule(app: JupyterFrontEnd, flow: Flow): Promise<void> {
  try {
    const made = await flow.requests.export(flow.path, flow.content);
    const folder = flow.path.includes('/') ? flow.path.slice(0, flow.path.lastIndexOf('/') + 1) : '';
    const path = folder + made.name;
    await app.serviceManager.contents.save(path, { type: 'file', format: 'text', content: made.source });
    await app.commands.execute('docmanager:open', { path });
  } catch (error) {
    await report('The workflow was not exported', error, d => void flow.reveal(d.cell, d.cell_number, d.line));
  }
}

async function nextFailed(flow: Flow): Promise<void> {
  const failed = (flow.page?.graph?.nodes ?? []).map(n => n.id).filter(id => flow.view?.steps[id]?.status === 'failed');
  if (failed.length) {
    flow.select(failed[(failed.indexOf(flow.step) + 1) % failed.length]);
  }
}

/** Say how a run ended to somebody who looks elsewhere. */
function announce(app: JupyterFrontEnd, flow: Flow): void {
  let before = '';
  flow.changed.connect(() => {
    app.commands.notifyCommandChanged(CommandIds.stop);
    const view = flow.view;
    const now = view ? `${view.id} ${view.status}` : '';
    const wasOpen = view && [`${view.id} queued`, `${view.id} running`, `${view.id} waiting`].includes(before);
    if (view && wasOpen && now !== before && !flow.panel.isVisible) {
      const open = { label: 'Open', callback: () => void app.commands.execute(CommandIds.openRun, { run: view.id, home: flow.page?.home }) };
      if (view.status === 'succeeded') {
        Notification.success(`${view.id} succeeded`, { actions: [open], autoClose: 6000 });
      } else if (view.status === 'failed') {
        Notification.error(`${view.id} failed: ${view.error?.message ?? ''}`, { actions: [open] });
      }
    }
    before = now;
  });
}
