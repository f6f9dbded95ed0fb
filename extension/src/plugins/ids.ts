/** The names of the commands, as the schema, the palette and the surfaces use them. */
export const CommandIds = {
  run: 'flowbook:run',
  panel: 'flowbook:graph',
  open: 'flowbook:history',
  stop: 'flowbook:stop',
  terminate: 'flowbook:terminate',
  update: 'flowbook:update',
  resume: 'flowbook:resume',
  fork: 'flowbook:fork',
  signal: 'flowbook:signal',
  export: 'flowbook:export',
  problem: 'flowbook:next-failed',
  openRun: 'flowbook:open-run',
  runs: 'flowbook:runs',
  create: 'flowbook:new-workflow'
} as const;

export const CATEGORY = 'Flowbook';
