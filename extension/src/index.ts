/** The list of plugins, and nothing else. */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { commands } from './plugins/commands';
import { engine } from './plugins/engine';
import { launcher } from './plugins/launcher';
import { marks } from './plugins/marks';
import { outputs } from './plugins/outputs';
import { panel } from './plugins/panel';
import { runs } from './plugins/runs';
import { runviews } from './plugins/runviews';
import { strips } from './plugins/strips';

const plugins: JupyterFrontEndPlugin<any>[] = [engine, commands, panel, strips, marks, runviews, runs, launcher, outputs];

export default plugins;
