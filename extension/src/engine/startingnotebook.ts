/** The notebook one begins with: small, working, and it shows inputs, outputs, a retry and a map. */
import { UUID } from '@lumino/coreutils';

const CELLS: ['markdown' | 'code', string][] = [
  ['markdown', '# A workflow\n\nCells that begin with `#| step` are durable steps. **Run workflow** (Alt G R) runs them; the run survives a closed tab, a dead kernel and a restart.'],
  ['code', 'import time'],
  ['code', '#| params\ncount = 5'],
  ['markdown', 'Make some orders.'],
  ['code', '#| step: load\norders = [{"id": n, "price": 10 * n} for n in range(1, count + 1)]'],
  ['markdown', 'Price each order by itself; one that fails is tried again.'],
  [
    'code',
    '#| step: enrich\n#| map: orders as order\n#| retries: 3\ntime.sleep(1)\npriced = {**order, "total": round(order["price"] * 1.2, 2)}'
  ],
  ['code', '#| step: summarise\ntotal = sum(order["total"] for order in priced)\nprint(f"{len(priced)} orders, {total} in all")'],
  ['code', '# Not a step: a place to try things. It is no part of the workflow.\nflow.runs()']
];

export function startingNotebook(kernel: string, display: string): unknown {
  return {
    cells: CELLS.map(([type, source]) => ({
      cell_type: type,
      id: UUID.uuid4().slice(0, 8),
      metadata: {},
      source,
      ...(type === 'code' ? { execution_count: null, outputs: [] } : {})
    })),
    metadata: { kernelspec: { name: kernel, display_name: display, language: 'python' }, language_info: { name: 'python' } },
    nbformat: 4,
    nbformat_minor: 5
  };
}
