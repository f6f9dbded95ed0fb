// The drawing code is shared with the notebook widgets and lives there; take it over before compiling.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const from = join(here, '..', 'flowbook', 'widgets');
const copies = [
  ['draw.js', 'src/ui/shared'],
  ['draw.d.ts', 'src/ui/shared'],
  ['draw.js', 'lib/ui/shared'],
  ['draw.css', 'style/shared']
];
for (const [name, folder] of copies) {
  const source = join(from, name);
  if (!existsSync(source)) {
    console.error(`shared: ${source} is missing`);
    process.exit(1);
  }
  mkdirSync(join(here, folder), { recursive: true });
  copyFileSync(source, join(here, folder, name));
}
