/** The launcher card "Workflow notebook": a small notebook that works as it is. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import type { Contents } from '@jupyterlab/services';

import { startingNotebook } from '../engine/startingnotebook';
import { report } from '../ui/dialogs';
import { cardPicture, flowIcon } from '../ui/icons';
import { CATEGORY, CommandIds } from './ids';

export const launcher: JupyterFrontEndPlugin<void> = {
  id: 'flowbook:launcher',
  description: 'A new workflow notebook from the launcher.',
  autoStart: true,
  optional: [ILauncher, ICommandPalette, IDefaultFileBrowser],
  activate: (app: JupyterFrontEnd, cards: ILauncher | null, palette: ICommandPalette | null, browser: IDefaultFileBrowser | null): void => {
    app.commands.addCommand(CommandIds.create, {
      label: args => (args.isPalette ? 'New workflow notebook' : 'Workflow notebook'),
      caption: 'A notebook whose cells are durable steps',
      icon: args => (args.isPalette ? undefined : flowIcon),
      execute: async args => {
        const folder = (args.cwd as string) || browser?.model.path || '';
        try {
          const path = await create(app, folder);
          await app.commands.execute('docmanager:open', { path, factory: 'Notebook' });
        } catch (error) {
          await report('The notebook was not made', error);
        }
      }
    });
    // Cards of this category show a picture by address; an icon's own drawing would become a letter.
    const kernelIconUrl = `data:image/svg+xml,${encodeURIComponent(cardPicture)}`;
    cards?.add({ command: CommandIds.create, category: 'Notebook', rank: 2, kernelIconUrl });
    palette?.addItem({ command: CommandIds.create, category: CATEGORY, args: { isPalette: true } });
  }
};

async function create(app: JupyterFrontEnd, folder: string): Promise<string> {
  const { contents, kernelspecs } = app.serviceManager;
  const listed: Contents.IModel = await contents.get(folder, { content: true });
  const taken = new Set((listed.content as Contents.IModel[]).map(item => item.name));
  let name = 'workflow.ipynb';
  for (let n = 2; taken.has(name); n++) {
    name = `workflow_${n}.ipynb`;
  }
  const known = kernelspecs.specs?.kernelspecs ?? {};
  const kernel = 'flowbook' in known ? 'flowbook' : (kernelspecs.specs?.default ?? 'python3');
  const path = PathExt.join(folder, name);
  const content = startingNotebook(kernel, known[kernel]?.display_name ?? 'Python 3');
  await contents.save(path, { type: 'notebook', format: 'json', content });
  return path;
}
