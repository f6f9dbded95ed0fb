// The drawing of graphs, timelines and runs, shared by the notebook widgets and the JupyterLab extension.
// Views in, elements out; no requests here. The SVG is what flowbook/export draws, character by character (tested).
// Every text goes through escaped() or textContent.

// --- shapes, words and families: flowbook/export/style.py

export const STATUSES = {
  'not reached': ['idle', 'ring'],
  queued: ['idle', 'queued'],
  skipped: ['idle', 'skipped'],
  cancelled: ['idle', 'cancelled'],
  running: ['running', 'running'],
  retrying: ['waiting', 'retrying'],
  waiting: ['waiting', 'clock'],
  paused: ['waiting', 'paused'],
  done: ['done', 'done'],
  succeeded: ['done', 'done'],
  reused: ['done', 'reused'],
  failed: ['failed', 'failed'],
  lost: ['failed', 'lost'],
  terminated: ['idle', 'terminated'],
  continued: ['done', 'continued'],
  open: ['waiting', 'owed'],
  kept: ['done', 'done'],
  undone: ['done', 'undone'],
  settled: ['done', 'done'],
  received: ['waiting', 'clock'],
  completed: ['done', 'done'],
  rejected: ['failed', 'skipped'],
  sending: ['running', 'continued'],
  sent: ['done', 'continued'],
  abandoned: ['idle', 'skipped']
};

export const GLYPHS = {
  ring: '',
  queued: 'M0 -5.5A5.5 5.5 0 0 1 5.5 0L0 0Z',
  skipped: 'M-4.5 4.5L4.5 -4.5',
  cancelled: 'M-3 -3H3V3H-3Z',
  running: 'M-2.6 -4.4L4.8 0L-2.6 4.4Z',
  retrying: 'M4.3 -2.4A4.9 4.9 0 1 0 4.9 1M4.9 -5.2V-1.9H1.6',
  clock: 'M0 -5V0.4L3.4 2.6',
  hand: 'M-3.4 0.6V-2.6M-1.2 0V-4.4M1 0V-4.6M3.2 0.4V-3.2M3.2 0.4C3.2 4.2 1.6 5 -0.2 5C-2.6 5 -3.6 3.4 -5.2 0.2',
  paused: 'M-2.2 -3.8V3.8M2.2 -3.8V3.8',
  done: 'M-4.6 0.4L-1.6 3.6L4.6 -3.6',
  reused: 'M-4.6 0.4L-1.6 3.6L4.6 -3.6',
  failed: 'M-3.5 -3.5L3.5 3.5M-3.5 3.5L3.5 -3.5',
  lost: 'M-1.9 -2.2A2.1 2.1 0 1 1 0.6 0.2C0 0.5 0 1 0 1.8M0 4.4V4.5',
  terminated: 'M1 -5L-3.4 0.8H0.2L-1 5L3.4 -0.8H-0.2Z',
  continued: 'M-4.6 0H4.2M0.8 -3.4L4.4 0L0.8 3.4',
  owed: 'M0 -4.6V1.2M0 4.2V4.4',
  undone: 'M-4.3 -2.4A4.9 4.9 0 1 1 -4.9 1M-4.9 -5.2V-1.9H-1.6',
  params: 'M-4.6 -2.4H4.6M-4.6 2.4H4.6M-1.8 -4V-0.8M2 0.8V4'
};
const SOLID = ['queued', 'cancelled', 'running', 'terminated'];

const face = status => (Object.hasOwn(STATUSES, status) ? STATUSES[status] : ['idle', 'ring']);

// --- text: flowbook/export/text.py

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export function escaped(text) {
  return String(text)
    .replace(/[\u0000-\u001f\u007f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, ' ')
    .replace(/[&<>"']/g, c => ENTITIES[c]);
}

export function number(value) {
  const tenths = Math.floor(value * 10 + 0.5);
  const size = Math.abs(tenths);
  const whole = Math.floor(size / 10);
  return (tenths < 0 ? '-' : '') + (size % 10 ? `${whole}.${size % 10}` : `${whole}`);
}

export function duration(seconds) {
  seconds = Math.max(0, seconds);
  if (seconds < 0.9995) return `${Math.floor(seconds * 1000 + 0.5)} ms`;
  if (seconds < 9.95) return `${number(seconds)} s`;
  const whole = Math.floor(seconds + 0.5);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return two(whole, 60, 'min', 1, 's');
  return whole < 86400 ? two(whole, 3600, 'h', 60, 'min') : two(whole, 86400, 'd', 3600, 'h');
}

function two(whole, big, name, small, rest) {
  const left = Math.floor((whole % big) / small);
  return `${Math.floor(whole / big)} ${name}${left ? ` ${left} ${rest}` : ''}`;
}

function clock(seconds) {
  if (seconds < 59.5) return seconds === 0 ? '0' : duration(seconds);
  const whole = Math.floor(seconds + 0.5);
  const pad = n => String(n).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  const head = whole >= 3600 ? `${Math.floor(whole / 3600)}:${pad(minutes % 60)}` : `${minutes}`;
  return `${head}:${pad(whole % 60)}`;
}

function fitted(text, width, letter) {
  const room = Math.max(1, Math.floor(width / letter));
  const letters = Array.from(text);
  return letters.length <= room ? text : `${letters.slice(0, room - 1).join('')}…`;
}

// --- one node: flowbook/export/card.py

const LEFT = 40;
const CELL = 8;
const LETTERS = [['f', 'failed'], ['r', 'running'], ['t', 'waiting'], ['w', 'waiting'], ['c', 'idle']];
const GOING = ['running', 'retrying', 'queued', 'failed'];
const some = value => value !== null && value !== undefined;

export function badge(status, given = '') {
  const [family, usual] = face(status);
  const glyph = given || usual;
  const extra =
    (glyph === 'reused' || glyph === 'lost' ? '<circle class="fb-ring2" r="12.6"/>' : '') +
    (status === 'running' ? '<circle class="fb-spin" r="12.8"/>' : '');
  const solid = SOLID.includes(glyph) ? ' fb-solid' : '';
  const path = GLYPHS[glyph] ? `<path class="fb-glyph${solid}" d="${GLYPHS[glyph]}"/>` : '';
  const dashed = glyph === 'skipped' ? ' fb-dashed' : '';
  return `<g class="fb-badge fb-${family}${dashed}">${extra}<circle class="fb-disc" r="10"/>${path}</g>`;
}

function classes(node, step) {
  let family = 'idle';
  let state = '';
  if (step) {
    family = face(step.status)[0];
    state = ['not reached', 'queued', 'skipped'].includes(step.status) ? ' fb-later' : ' fb-live';
  }
  return `fb-node fb-k-${node.kind ?? 'step'} fb-${family}${state}`;
}

function label(node, step, now) {
  const parts = [node.id, said(node, step, now).replaceAll(' · ', ', ')];
  if (step) parts.push(spent(step, now));
  if (node.reads?.length) parts.push(`reads ${node.reads.join(', ')}`);
  if (node.writes?.length) parts.push(`writes ${node.writes.join(', ')}`);
  return parts.filter(Boolean).join(', ');
}

function spent(step, now) {
  if (!some(step.started) || step.status === 'reused') return '';
  if (!some(step.ended) && now - step.started < 0.01) return '';
  return duration((some(step.ended) ? step.ended : now) - step.started);
}

function said(node, step, now) {
  if (!step) return planned(node);
  const parts = [step.status];
  if (step.items) parts.push(counted(step.items, step.status));
  if (step.progress && GOING.includes(step.status)) parts.push(advanced(step.progress, step.items));
  if (step.error && (step.status === 'failed' || step.status === 'retrying')) parts.push(step.error.type);
  if (step.status === 'retrying') parts.push(`attempt ${step.attempt + 1}${left(' in ', step.retry_at, now, '')}`);
  else if (step.status === 'waiting') parts.push(left('', step.retry_at, now, ' left'));
  else if (!step.items && step.attempt > 1) parts.push(`attempt ${step.attempt}`);
  if ((step.rounds ?? 0) > 1) parts.push(`${step.rounds} rounds`);
  parts.push(elsewhere(step));
  return parts.filter(Boolean).join(' · ');
}

function counted(items, status) {
  if (status === 'done' || status === 'reused') return `${items.total} items`;
  return `${items.done} of ${items.total}${items.failed ? `, ${items.failed} failed` : ''}`;
}

function advanced(progress, mapped) {
  if (mapped) return progress.text;
  const part = progress.total ? `${Math.floor(100 * share(progress))}%` : number(progress.done);
  return `${part} ${progress.text}`.trim();
}

function elsewhere({ where, status, queue, run }) {
  if (where === 'queue') return `on ${queue}`;
  if (where === 'outside') return status === 'waiting' ? 'for an answer' : '';
  return where === 'child' || where === 'signal' ? run : '';
}

const share = ({ done, total }) => Math.min(1, Math.max(0, done / total));

const left = (before, due, now, after) => (!some(due) || due <= now ? '' : `${before}${duration(due - now)}${after}`);

function planned(node) {
  const options = node.options ?? {};
  const parts = ['map', 'when', 'until', 'wait'].filter(key => options[key]).map(key => `${key} ${options[key]}`);
  if (options.loop && typeof options.loop === 'object' && options.loop.until) parts.push(`until ${options.loop.until}`);
  else if (options['loop.until']) parts.push(`until ${options['loop.until']}`);
  if (options.retries) parts.push(`retries ${options.retries}`);
  if (options.timeout) parts.push(`timeout ${options.timeout}`);
  return parts.join(' · ') || (node.doc ?? '').trim().split('\n')[0];
}

function glyphOf(node, step) {
  const kind = node.kind ?? 'step';
  if (kind === 'params') return 'params';
  if (step?.where === 'outside' && step.status === 'waiting') return 'hand';
  const wait = String(node.options?.wait || '');
  if (!wait || (step && step.status !== 'not reached' && step.status !== 'waiting')) return '';
  if (step && step.status === 'not reached' && kind !== 'wait') return '';
  return /^\d/.test(wait) ? 'clock' : 'hand';
}

function inner(node, step, box, now) {
  const { width, height } = box;
  if (node.kind === 'params') return params(node, width, height);
  const words = said(node, step, now);
  const time = step ? spent(step, now) : '';
  const kind = node.kind ?? 'step';
  const mapped = kind === 'map';
  const room = width - LEFT - 12;
  let tag = kind !== 'step' ? kind : ['child', 'outside', 'signal'].includes(step?.where) ? step.where : '';
  let svg = card(width, height, kind === 'wait' ? 20 : 9, mapped);
  const sign = badge(step ? step.status : 'not reached', glyphOf(node, step));
  svg += `<g transform="translate(22 ${number(mapped ? 33 : height / 2)})">${sign}</g>`;
  const name = fitted(node.id, room - (time ? 7 * time.length + 8 : 0), 7.6);
  svg += `<text class="fb-name" x="${LEFT}" y="24">${escaped(name)}</text>`;
  if (time) svg += `<text class="fb-time" x="${number(width - 12)}" y="23" text-anchor="end">${escaped(time)}</text>`;
  const wired = wires(node);
  if (wired) svg += `<text class="fb-wires" x="${LEFT}" y="40">${escaped(fitted(wired, room, 6))}</text>`;
  if (tag && 5.9 * Array.from(words).length > room - 6 * tag.length - 8) tag = '';
  svg += `<text class="fb-word" x="${LEFT}" y="${wired ? 55 : 42}">${escaped(fitted(words, room, 5.9))}</text>`;
  if (tag) svg += `<text class="fb-kind" x="${number(width - 12)}" y="55" text-anchor="end">${tag}</text>`;
  if (mapped) svg += grid(step ? step.grid : '', width);
  return step?.progress && GOING.includes(step.status) ? svg + bar(step.progress, width, height) : svg;
}

function bar(progress, width, height) {
  if (!progress.total) return '';
  const room = width - LEFT - 12;
  const place = `x="${LEFT}" y="${number(height - 5)}" height="3" rx="1.5"`;
  const filling = `<rect class="fb-fill" ${place} width="${number(room * share(progress))}"/>`;
  return `<rect class="fb-track" ${place} width="${number(room)}"/>${filling}`;
}

function wires(node) {
  const reads = (node.reads ?? []).join(', ');
  const writes = (node.writes ?? []).join(', ');
  if (reads && writes) return `${reads} → ${writes}`;
  return writes ? `→ ${writes}` : reads;
}

function card(width, height, radius, mapped) {
  const size = `width="${number(width)}" height="${number(height)}" rx="${radius}"`;
  const under = mapped
    ? [6, 3].map(shift => `<rect class="fb-behind" x="${shift}" y="${shift}" ${size}/>`).join('')
    : `<rect class="fb-shadow" x="0" y="1.5" ${size}/>`;
  return `${under}<rect class="fb-card" ${size}/><rect class="fb-tint" ${size}/>`;
}

function params(node, width, height) {
  const text = fitted((node.writes ?? []).join(', ') || node.id, width - LEFT - 12, 6.9);
  const sign = `<g transform="translate(20 18)">${badge('not reached', 'params')}</g>`;
  return `${card(width, height, 18, false)}${sign}<text class="fb-params" x="${LEFT}" y="22">${escaped(text)}</text>`;
}

function grid(letters, width) {
  const columns = Math.floor((width - LEFT - 12) / CELL);
  const drawn = grouped(letters, 2 * columns).map((family, index) => {
    const x = LEFT + (index % columns) * CELL;
    const y = 63 + Math.floor(index / columns) * CELL;
    const cell = `<rect class="fb-cell fb-${family}" x="${x}" y="${y}" width="6" height="6" rx="1.2"/>`;
    return family === 'failed' ? `${cell}<path class="fb-mark" d="M${x + 1.5} ${y + 1.5}l3 3m0 -3l-3 3"/>` : cell;
  });
  return `<g class="fb-grid">${drawn.join('')}</g>`;
}

function grouped(letters, room) {
  const each = Math.ceil(letters.length / room);
  const families = [];
  for (let start = 0; start < letters.length; start += each) families.push(worst(letters.slice(start, start + each)));
  return families;
}

function worst(letters) {
  const found = LETTERS.find(([letter]) => letters.includes(letter));
  return found ? found[1] : letters.includes('-') ? 'none' : 'done';
}

// --- the graph: flowbook/export/svg.py

const ground = '<rect class="fb-ground" width="100%" height="100%"/>';

export function graphSVG(given, view, now = view?.time ?? 0) {
  const graph = given.layout ? given : { ...given, layout: plainLayout(given) };
  const where = graph.layout;
  const width = number(Math.max(where.width, 40));
  const height = number(Math.max(where.height, 40));
  const title = escaped(heading(graph, view));
  const edges = (graph.edges ?? []).map(edge => edgeSVG(edge, where, view?.steps ?? {}));
  const nodes = (graph.nodes ?? []).map(node => nodeSVG(node, view?.steps[node.id], where, now));
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="fb-picture fb-graph" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" role="group" aria-label="${title}"><title>${title}</title>${ground}` +
    `${edges.join('')}${nodes.join('')}</svg>`
  );
}

function heading(graph, view) {
  if (!view) return `Graph of ${(graph.nodes ?? []).length} steps`;
  const [done, total] = progress(view);
  return `Run ${view.id} of ${view.workflow}: ${view.status}, ${done} of ${total} steps done`;
}

export function progress(view) {
  const counts = n => n.kind !== 'params' && n.kind !== 'undo' && !n.options?.added;
  const names = (view.graph?.nodes ?? []).filter(counts).map(n => n.id);
  const known = names.length ? names : Object.keys(view.steps);
  const over = known.filter(name => ['done', 'reused', 'skipped'].includes(view.steps[name]?.status));
  return [over.length, known.length];
}

function passes(edge, steps) {
  return ['done', 'reused'].includes(steps[edge.source]?.status) && (edge.kind ?? 'data') !== 'undo';
}

function edgeClasses(edge, steps) {
  return `fb-edge fb-${edge.kind ?? 'data'}${passes(edge, steps) ? ' fb-passed' : ''}`;
}

function edgeSVG(edge, where, steps) {
  const path = where.paths?.[`${edge.source}->${edge.target}`];
  if (!path) return '';
  const names = (edge.names ?? []).join(', ');
  const title = `${edge.source} to ${edge.target}${names ? `: ${names}` : ''}`;
  return `<path class="${edgeClasses(edge, steps)}" d="${escaped(path)}"><title>${escaped(title)}</title></path>`;
}

function nodeSVG(node, step, where, now) {
  const box = where.boxes[node.id];
  if (!box) return '';
  const place = `${number(box.x - box.width / 2)} ${number(box.y - box.height / 2)}`;
  const words = escaped(label(node, step, now));
  return (
    `<g class="${classes(node, step)}" data-step="${escaped(node.id)}" transform="translate(${place})" ` +
    `role="img" aria-label="${words}"><title>${words}</title>${inner(node, step, box, now)}</g>`
  );
}

/** Rows by longest path, for a graph that came without positions. */
function plainLayout(graph) {
  const nodes = graph.nodes ?? [];
  const rank = new Map(nodes.map(node => [node.id, 0]));
  const edges = (graph.edges ?? []).filter(e => rank.has(e.source) && rank.has(e.target) && e.source !== e.target);
  for (let round = 0; round < nodes.length; round++) {
    for (const { source, target } of edges) rank.set(target, Math.max(rank.get(target), Math.min(rank.get(source) + 1, nodes.length)));
  }
  const rows = [];
  for (const node of nodes) (rows[rank.get(node.id)] ??= []).push(node);
  const wide = node => (node.kind === 'params' ? 160 : 240);
  const tall = node => ({ params: 36, map: 84 })[node.kind] ?? 66;
  const filled = rows.filter(Boolean);
  const across = row => row.reduce((sum, node) => sum + wide(node) + 26, -26);
  const width = Math.max(40, ...filled.map(across));
  const boxes = {};
  let y = 14;
  for (const row of filled) {
    const height = Math.max(...row.map(tall));
    let x = 14 + (width - across(row)) / 2;
    for (const node of row) {
      boxes[node.id] = { x: x + wide(node) / 2, y: y + height / 2, width: wide(node), height: tall(node) };
      x += wide(node) + 26;
    }
    y += height + 46;
  }
  const paths = {};
  for (const { source, target } of edges) {
    const [a, b] = [boxes[source], boxes[target]];
    const [y1, y2] = [a.y + a.height / 2, b.y - b.height / 2];
    const bend = Math.max(24, Math.abs(y2 - y1) / 2);
    const points = [a.x, y1 + bend, b.x, y2 - bend, b.x, y2].map(number).join(' ');
    paths[`${source}->${target}`] = `M${number(a.x)} ${number(y1)}C${points}l-4 -6.5m4 6.5l4 -6.5`;
  }
  return { width: width + 28, height: y - 32, boxes, paths };
}

// --- time to pixels: flowbook/export/clockface.py

const CUT = 34;
const TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400,
  43200, 86400, 172800, 604800];

function scaleOf(busy, left, width) {
  const pieces = piecesOf(merged(busy), left, width);
  const x = time => {
    for (const piece of pieces) {
      if (time <= piece.end) {
        if (time <= piece.start || piece.end <= piece.start) return piece.left;
        return piece.left + ((time - piece.start) / (piece.end - piece.start)) * (piece.right - piece.left);
      }
    }
    return pieces[pieces.length - 1].right;
  };
  return { pieces, x, ticks: () => ticksOf(pieces, x) };
}

function ticksOf(pieces, x) {
  const origin = pieces[0].start;
  const solid = pieces.filter(piece => !piece.cut);
  const wide = solid.reduce((sum, piece) => sum + (piece.right - piece.left), 0);
  const long = solid.reduce((sum, piece) => sum + (piece.end - piece.start), 0);
  const step = TICKS.find(s => long <= 0 || (s / long) * wide >= 72) ?? TICKS[TICKS.length - 1];
  const found = [];
  for (const piece of solid) {
    const first = Math.ceil((piece.start - origin) / step - 1e-6);
    const last = Math.floor((piece.end - origin) / step + 1e-6);
    for (let index = first; index <= Math.min(last, first + 40); index++) {
      const at = x(origin + index * step);
      if (!found.length || at - found[found.length - 1][0] >= 56) found.push([at, index * step]);
    }
  }
  return found;
}

function merged(busy) {
  const out = [];
  for (const [start, end] of [...busy].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const last = out[out.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else out.push([start, end]);
  }
  return out;
}

function piecesOf(busy, left, width) {
  const active = busy.reduce((sum, [start, end]) => sum + (end - start), 0);
  const limit = Math.max(1, 0.6 * active);
  const stretches = [];
  for (const [start, end] of busy) {
    const last = stretches[stretches.length - 1];
    if (!last) stretches.push([start, end, false]);
    else if (start - last[1] > limit) stretches.push([last[1], start, true], [start, end, false]);
    else last[1] = end;
  }
  const cuts = stretches.filter(stretch => stretch[2]).length;
  const short = cuts ? Math.min(CUT, width / 2 / cuts) : 0;
  const long = stretches.reduce((sum, [start, end, cut]) => sum + (cut ? 0 : end - start), 0);
  let x = left;
  return stretches.map(([start, end, cut]) => {
    const share = long > 0 ? (end - start) / long : 1 / (stretches.length - cuts);
    const wide = cut ? short : (width - cuts * short) * share;
    const piece = { start, end, left: x, right: x + wide, cut };
    x += wide;
    return piece;
  });
}

// --- the timeline: flowbook/export/timeline.py

const ROW = 30;
const TOP = 30;
const LABELS = 164;
const WORDS = 180;
const LANES = 5;
const LETTER = 5.9;

export function timelineSVG(view, width = 820, time = view.time) {
  const names = rowsOf(view);
  const now = some(view.ended) ? view.ended : time;
  const height = TOP + ROW * Math.max(1, names.length) + 12;
  const title = escaped(`Timeline of run ${view.id}: ${view.status} after ${duration(now - view.started)}`);
  let svg =
    `<svg xmlns="http://www.w3.org/2000/svg" class="fb-picture fb-timeline" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" role="group" aria-label="${title}"><title>${title}</title>${ground}`;
  if (!names.length) return `${svg}<text class="fb-note" x="12" y="${TOP}">No step has begun.</text></svg>`;
  const nodes = new Map((view.graph?.nodes ?? []).map(node => [node.id, node]));
  const scale = scaleOf(busyTimes(view, names, now), LABELS, width - LABELS - WORDS);
  svg += axis(scale, height, width);
  names.forEach((name, index) => {
    const glyph = glyphOf(nodes.get(name) ?? {}, view.steps[name]);
    svg += row(name, view.steps[name], glyph, scale, TOP + index * ROW, now, width);
  });
  svg += breaks(scale, height);
  names.forEach((name, index) => (svg += beside(view.steps[name], scale, TOP + ROW / 2 + index * ROW, now, width)));
  if (!some(view.ended)) {
    const x = number(scale.x(now));
    svg += `<line class="fb-nowline" x1="${x}" x2="${x}" y1="${TOP - 6}" y2="${height - 10}"/>`;
  }
  return `${svg}</svg>`;
}

function rowsOf(view) {
  const nodes = view.graph?.nodes ?? [];
  const ids = new Set(nodes.map(node => node.id));
  const known = nodes.filter(node => node.kind !== 'params').map(node => node.id);
  const names = [...known, ...Object.keys(view.steps).filter(name => !ids.has(name))];
  const begun = step => step.attempts.length || step.pauses?.length || ['reused', 'skipped'].includes(step.status);
  return names.filter(name => view.steps[name] && begun(view.steps[name]));
}

function pausesOf(step, now) {
  const found = (step.pauses ?? []).map(([start, end]) => [start, some(end) ? end : now]);
  const attempts = step.attempts.filter(a => !some(a.item));
  attempts.slice(1).forEach((after, index) => {
    const before = attempts[index];
    if (after.attempt > before.attempt && some(before.ended)) found.push([before.ended, after.started]);
  });
  const last = attempts[attempts.length - 1];
  if (step.status === 'retrying' && last && some(last.ended)) found.push([last.ended, now]);
  return found.filter(([start, end]) => end > start);
}

function busyTimes(view, names, now) {
  const busy = [[view.started, view.started]];
  for (const name of names) for (const attempt of view.steps[name].attempts) busy.push([attempt.started, endOf(attempt, now)]);
  return [...busy, [now, now]];
}

const endOf = (attempt, now) => Math.max(some(attempt.ended) ? attempt.ended : now, attempt.started);

function axis(scale, height, width) {
  let svg = '';
  for (const [x, seconds] of scale.ticks()) {
    const at = number(x);
    svg += `<line class="fb-gridline" x1="${at}" x2="${at}" y1="${TOP - 8}" y2="${height - 10}"/>`;
    if (x + 40 < width) svg += `<text class="fb-tick" x="${number(x + 3)}" y="${TOP - 14}">${clock(seconds)}</text>`;
  }
  return svg;
}

function breaks(scale, height) {
  let svg = '';
  for (const piece of scale.pieces.filter(one => one.cut)) {
    const first = number(piece.left + 4);
    const middle = number((piece.left + piece.right) / 2);
    const wide = number(piece.right - piece.left - 8);
    svg += `<rect class="fb-break" x="${first}" y="${TOP - 26}" width="${wide}" height="${height - TOP + 18}"/>`;
    for (const x of [first, number(piece.right - 4)]) {
      svg += `<line class="fb-breakline" x1="${x}" x2="${x}" y1="${TOP - 8}" y2="${height - 10}"/>`;
    }
    svg +=
      `<text class="fb-note" transform="translate(${middle} ${number((TOP + height - 18) / 2)}) rotate(-90)" ` +
      `text-anchor="middle" dy="4">${escaped(`// ${duration(piece.end - piece.start)}`)}</text>`;
  }
  return svg;
}

function row(name, step, glyph, scale, top, now, width) {
  const middle = top + ROW / 2;
  let svg =
    `<g class="fb-row" data-step="${escaped(name)}">` +
    `<line class="fb-rowline" x1="8" x2="${width - 8}" y1="${top + ROW}" y2="${top + ROW}"/>` +
    `<g transform="translate(20 ${number(middle)}) scale(0.72)">${badge(step.status, glyph)}</g>` +
    `<text class="fb-name" x="36" y="${number(middle + 4)}">${escaped(fitted(name, LABELS - 44, 8))}</text>`;
  for (const [start, end] of pausesOf(step, now)) {
    const [first, last] = [scale.x(start), scale.x(end)];
    if (last - first >= 1) {
      const y = number(middle);
      svg +=
        `<line class="fb-hatch" x1="${number(first)}" x2="${number(last)}" y1="${y}" y2="${y}" stroke-width="8">` +
        `<title>${escaped(`${name} waits ${duration(end - start)}`)}</title></line>`;
    }
  }
  return `${svg}${(step.items ? lanes : bars)(name, step, scale, top, now)}</g>`;
}

function bars(name, step, scale, top, now) {
  return step.attempts
    .map((attempt, index) => {
      const [first, last] = [scale.x(attempt.started), scale.x(endOf(attempt, now))];
      const family = face(attempt.status)[0];
      const title = escaped(`${name}, ${attemptWords(attempt, now)}`);
      const again = index + 1 < step.attempts.length && family === 'failed' ? ' fb-again' : '';
      return (
        `<rect class="fb-bar fb-${family}${again}" x="${number(first)}" y="${top + 8}" ` +
        `width="${number(Math.max(last - first, 3))}" height="14" rx="3"><title>${title}</title></rect>`
      );
    })
    .join('');
}

function lanes(name, step, scale, top, now) {
  const ends = Array(LANES).fill(-1);
  return step.attempts
    .map((attempt, index) => {
      const first = scale.x(attempt.started);
      const last = Math.max(scale.x(endOf(attempt, now)), first + 1.5);
      const free = ends.findIndex(end => end <= first);
      const lane = free >= 0 ? free : index % LANES;
      ends[lane] = last;
      const title = escaped(`${name}, item ${attempt.item}, ${attemptWords(attempt, now)}`);
      return (
        `<rect class="fb-bar fb-${face(attempt.status)[0]}" x="${number(first)}" y="${number(top + 4 + lane * 4.5)}" ` +
        `width="${number(last - first)}" height="3.5" rx="1"><title>${title}</title></rect>`
      );
    })
    .join('');
}

function attemptWords(attempt, now) {
  const which = attempt.attempt > 1 ? `attempt ${attempt.attempt}, ` : '';
  const more = [attempt.run, attempt.why].filter(Boolean).map(words => `, ${words}`).join('');
  return `${which}${attempt.status}, ${duration(endOf(attempt, now) - attempt.started)}${more}`;
}

function rowWords(step, now) {
  const words = [step.status];
  if (step.items) words.push(`${step.items.done} of ${step.items.total}`);
  else if ((step.rounds ?? 0) > 1) words.push(`${step.rounds} rounds`);
  else if (step.attempt > 1) words.push(`attempt ${step.attempt}`);
  if (step.progress && GOING.includes(step.status)) words.push(advanced(step.progress, step.items));
  if (step.status !== 'skipped') words.push(spent(step, now));
  if (step.where === 'queue') words.push(elsewhere(step));
  return words.filter(Boolean).join(' · ');
}

function beside(step, scale, middle, now, width) {
  const times = [...step.attempts.map(a => [a.started, endOf(a, now)]), ...pausesOf(step, now)];
  const start = some(step.started) ? step.started : scale.pieces[0].start;
  const first = scale.x(times.length ? Math.min(...times.map(t => t[0])) : start);
  const last = scale.x(times.length ? Math.max(...times.map(t => t[1])) : start);
  const text = rowWords(step, now);
  const room = Array.from(text).length * LETTER;
  if (last + 14 + room <= width) return barWords(text, last + 7, middle, 'start');
  if (first - 8 - room >= LABELS) return barWords(text, first - 7, middle, 'end');
  return barWords(text, width - 12, middle, 'end');
}

function barWords(text, x, middle, anchor) {
  const place = `x="${number(x)}" y="${number(middle + 4)}" text-anchor="${anchor}"`;
  return `<text class="fb-barword" ${place}>${escaped(text)}</text>`;
}

// --- patches: flowbook/core/patch.py

export function applyPatch(view, patch) {
  return patch.reduce((current, [path, ...value]) => changed(current, path, value), view);
}

function changed(view, path, value) {
  if (!path.length) return value[0];
  const [first, ...rest] = path;
  if (Array.isArray(view)) {
    const copy = view.slice();
    copy[first] = changed(view[first], rest, value);
    return copy;
  }
  const copy = { ...view };
  if (!rest.length && !value.length) delete copy[first];
  else copy[first] = changed(view?.[first], rest, value);
  return copy;
}

// --- elements

const kept = children => children.flat().filter(child => some(child) && child !== false && child !== '');

const fill = (element, ...parts) => element.replaceChildren(...kept(parts));

function h(tag, given, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given ?? {})) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, '');
    else if (some(value) && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...kept(children));
  return element;
}

/** Nobody else is to act on it. */
const taken = event => {
  event.preventDefault();
  event.stopPropagation();
};

/** SVG made above, where every text is escaped. */
function svgOf(text) {
  const holder = document.createElement('div');
  holder.innerHTML = text;
  return holder.firstElementChild;
}

function statusBadge(status) {
  const disc = svgOf(`<svg class="fb-sign" viewBox="-14 -14 28 28" width="20" height="20" aria-hidden="true">${badge(status)}</svg>`);
  return h('span', { class: 'fb-status', 'data-status': status }, disc, span('status-word', status));
}

const isOpen = view => view && !some(view.ended);
const present = (view, frozen) => (isOpen(view) && !frozen && view.status !== 'paused' ? Math.max(view.time, Date.now() / 1000) : view?.time ?? 0);

// Inside a notebook, JupyterLab takes keys before any element sees them, unless an element keeps its own.
const OWN_KEYS = { 'data-lm-suppress-shortcuts': 'true' };

// --- the live graph

export function createGraph(element, given, options = {}) {
  const frame = h('div', { class: 'fb-picture fb-scroll', ...OWN_KEYS });
  element.append(frame);
  let graph = null;
  let view = null;
  let frozen = false;
  let chosen = '';
  let zoom = 1;
  let svg = null;
  let groups = new Map();
  let drawn = new Map();
  let wires = [];

  const show = next => {
    graph = next.layout ? next : { ...next, layout: plainLayout(next) };
    svg = svgOf(graphSVG(graph, null));
    fill(frame, svg);
    const nodes = (graph.nodes ?? []).filter(node => graph.layout.boxes[node.id]);
    groups = new Map([...svg.querySelectorAll(':scope > g.fb-node')].map((group, index) => [nodes[index].id, group]));
    wires = (graph.edges ?? []).filter(edge => graph.layout.paths?.[`${edge.source}->${edge.target}`]);
    drawn = new Map();
    [...groups].forEach(([, group], index) => {
      group.setAttribute('role', 'button');
      group.setAttribute('tabindex', index ? '-1' : '0');
    });
    fit();
  };
  const fit = () => {
    svg.style.width = zoom === 1 ? '' : `${graph.layout.width * zoom}px`;
    svg.style.maxWidth = zoom === 1 ? '100%' : 'none';
    svg.style.minWidth = zoom === 1 ? `${Math.round(graph.layout.width * 0.6)}px` : '';
  };
  const paint = () => {
    if (!graph) return;
    const now = present(view, frozen);
    for (const node of graph.nodes ?? []) {
      const group = groups.get(node.id);
      if (!group) continue;
      const step = view?.steps[node.id];
      const words = escaped(label(node, step, now));
      const body = `<title>${words}</title>${inner(node, step, graph.layout.boxes[node.id], now)}`;
      const kind = classes(node, step) + (node.id === chosen ? ' fb-chosen' : '');
      if (drawn.get(node.id) === kind + body) continue;
      drawn.set(node.id, kind + body);
      group.setAttribute('class', kind);
      group.setAttribute('aria-label', label(node, step, now));
      group.setAttribute('aria-pressed', String(node.id === chosen));
      group.innerHTML = body;
    }
    const paths = svg.querySelectorAll(':scope > path.fb-edge');
    wires.forEach((edge, index) => paths[index]?.setAttribute('class', edgeClasses(edge, view?.steps ?? {})));
    const title = heading(graph, view);
    svg.setAttribute('aria-label', title);
    svg.querySelector(':scope > title').textContent = title;
  };
  const stepOf = event => [...groups].find(([, group]) => group.contains(event.target))?.[0];
  const choose = (step, tell) => {
    chosen = step;
    paint();
    if (tell) options.onSelect?.(step);
  };
  const focus = step => {
    const group = groups.get(step);
    if (!group) return;
    for (const other of groups.values()) other.setAttribute('tabindex', '-1');
    group.setAttribute('tabindex', '0');
    group.focus();
  };
  const walk = (from, key) => {
    const next = (graph.edges ?? []).filter(e => (key === 'ArrowDown' ? e.source : e.target) === from);
    if (key === 'ArrowDown' || key === 'ArrowUp') return next[0]?.[key === 'ArrowDown' ? 'target' : 'source'];
    const here = graph.layout.boxes[from];
    const sides = Object.entries(graph.layout.boxes)
      .filter(([name, box]) => name !== from && Math.abs(box.y - here.y) < 40 && box.x > here.x === (key === 'ArrowRight'))
      .sort((a, b) => Math.abs(a[1].x - here.x) - Math.abs(b[1].x - here.x));
    return sides[0]?.[0];
  };
  frame.addEventListener('click', event => {
    const step = stepOf(event);
    if (step) choose(step, true);
  });
  frame.addEventListener('dblclick', event => {
    const step = stepOf(event);
    if (step) options.onOpen?.(step);
  });
  frame.addEventListener('keydown', event => {
    const step = stepOf(event);
    if (event.ctrlKey || event.metaKey || event.altKey || !step) return;
    if (event.key.startsWith('Arrow')) focus(walk(step, event.key));
    else if (event.key === 'Enter' && chosen === step) options.onOpen?.(step);
    else if (event.key === 'Enter' || event.key === ' ') choose(step, true);
    else if (event.key === '+' || event.key === '-') zoom = Math.min(3, Math.max(0.3, zoom * (event.key === '+' ? 1.2 : 1 / 1.2)));
    else if (event.key === '0') zoom = 1;
    else return;
    fit();
    taken(event);
  });
  const update = (next, still = false) => {
    view = Array.isArray(next) ? view && applyPatch(view, next) : next;
    frozen = still;
    if (view?.graph?.nodes?.length && view.graph !== graph && !same(view.graph, graph)) show(view.graph);
    paint();
  };
  if (given?.steps) update(given);
  else if (given) {
    show(given);
    paint();
  }
  const ticking = setInterval(() => isOpen(view) && !frozen && frame.isConnected && paint(), 1000);
  return {
    update,
    select: step => step !== chosen && choose(step, false),
    dispose: () => {
      clearInterval(ticking);
      frame.remove();
    }
  };
}

/** The same wiring; positions may differ, because only one of them may have some. */
function same(a, b) {
  const plain = graph => JSON.stringify([graph?.nodes, graph?.edges]);
  return plain(a) === plain(b);
}

// --- the live timeline

export function createTimeline(element, given, options = {}) {
  const frame = h('div', { class: 'fb-picture fb-scroll' });
  element.append(frame);
  let view = given;
  let frozen = false;
  let last = '';
  let width = 820;
  const paint = () => {
    if (!view) return;
    const next = timelineSVG(view, width, present(view, frozen));
    if (next !== last) {
      last = next;
      fill(frame, svgOf(next));
    }
  };
  frame.addEventListener('click', event => {
    const step = event.target.closest('[data-step]')?.getAttribute('data-step');
    if (step) options.onSelect?.(step);
  });
  const observer = new ResizeObserver(entries => {
    const room = Math.round(entries[0].contentRect.width);
    if (room > 0 && Math.abs(room - width) > 4) {
      width = Math.min(1600, Math.max(560, room));
      paint();
    }
  });
  observer.observe(frame);
  const ticking = setInterval(() => isOpen(view) && !frozen && frame.isConnected && paint(), 1000);
  paint();
  return {
    update: (next, still = false) => {
      view = Array.isArray(next) ? view && applyPatch(view, next) : next;
      frozen = still;
      paint();
    },
    dispose: () => {
      observer.disconnect();
      clearInterval(ticking);
      frame.remove();
    }
  };
}

// --- events, values and frames in words

/** What is said of an event, and the status whose colour it has: `running` where none is named. */
const KINDS = {
  RunStarted: ['run started'],
  RunBegan: ['run left its queue'],
  RunCompleted: ['run succeeded', 'done'],
  RunFailed: ['run failed', 'failed'],
  RunCancelled: ['run cancelled', 'cancelled'],
  RunPaused: ['run paused', 'paused'],
  RunResumed: ['run resumed'],
  RunTerminated: ['run terminated', 'terminated'],
  RunContinued: ['run goes on as', 'continued'],
  RunMoved: ['run moved to other code', 'continued'],
  CancelRequested: ['cancel asked for', 'cancelled'],
  TerminateRequested: ['termination asked for', 'terminated'],
  AttributesSet: ['attributes set', 'done'],
  RunOutput: ['printed by the workflow', 'idle'],
  PatchMarked: ['takes the new branch of', 'done'],
  UpdateReceived: ['update came', 'received'],
  UpdateCompleted: ['update answered', 'completed'],
  UpdateFailed: ['update failed', 'rejected'],
  ObligationOpened: ['owes outside', 'open'],
  ObligationSettled: ['owes no longer', 'kept'],
  ObligationFailed: ['could not be taken back', 'failed'],
  ObligationRetried: ['tried again by', 'retrying'],
  StepStarted: ['started'],
  StepOutput: ['printed'],
  StepScheduled: ['put on its queue', 'queued'],
  StepWaiting: ['waits for an answer from outside', 'waiting'],
  StepProgress: ['got further'],
  StepHeartbeat: ['gave a sign of life'],
  ChildStarted: ['started as a child'],
  ChildLeft: ['a child of an earlier run ended', 'done'],
  StepCompleted: ['done', 'done'],
  StepAttemptFailed: ['attempt failed', 'retrying'],
  StepFailed: ['failed', 'failed'],
  StepCancelled: ['cancelled', 'cancelled'],
  StepStopRequested: ['told to stop', 'cancelled'],
  StepReused: ['reused', 'reused'],
  StepSkipped: ['skipped', 'skipped'],
  MapStarted: ['map begins'],
  TimerStarted: ['waits for a time', 'waiting'],
  TimerFired: ['time came', 'done'],
  TimerCancelled: ['stops waiting for a time', 'cancelled'],
  SignalAwaited: ['waits for signal', 'waiting'],
  SignalDropped: ['stops waiting for signal', 'cancelled'],
  SignalReceived: ['signal came', 'done'],
  SignalSent: ['sends signal', 'sending'],
  CancelSent: ['cancels', 'sending'],
  RunAwaited: ['awaited by another run', 'done']
};

/** `[status, what, details]` of an event. */
function eventWords({ event }) {
  const [words, status = 'running'] = Object.hasOwn(KINDS, event.kind) ? KINDS[event.kind] : [event.kind, 'not reached'];
  const details = [
    some(event.item) ? `item ${event.item}` : '',
    event.attempt > 1 ? `attempt ${event.attempt}` : '',
    some(event.done) ? advanced({ total: 0, text: '', ...event }) : some(event.total) ? `${event.total} items` : '',
    event.queue ?? '',
    event.run && event.kind !== 'RunStarted' ? event.run : '',
    event.id ?? '',
    event.outcome ?? '',
    event.rejected ? 'rejected' : '',
    event.cause ?? '',
    event.attributes && event.kind === 'AttributesSet' ? JSON.stringify(event.attributes) : '',
    event.failure ? `${event.failure.type}: ${event.failure.message}` : '',
    event.reason ?? '',
    event.note ?? '',
    event.label ?? ''
  ];
  const name = event.step ?? '';
  const named = ['Signal', 'Update', 'Obliga'].includes(event.kind.slice(0, 6)) && event.name;
  const subject = named ? `${words} “${event.name}”` : name ? `${name} ${words}` : words;
  return [status, subject, details.filter(Boolean).join(' · ')];
}

const clipped = (text, room = 300) => (text.length <= room ? text : `${text.slice(0, room - 1)}…`);

/** A shown value, an encoded value or a local, in one line. */
function valueWords(value) {
  if (value && typeof value === 'object') {
    if ('$type' in value) return `${value.$type} ${value.preview ?? ''}`;
    if ('codec' in value) return value.preview || (value.codec === 'json' && some(value.data) ? JSON.stringify(value.data) : `${value.size ?? 0} bytes of ${value.codec}`);
    if ('preview' in value && 'size' in value) return value.json !== undefined ? JSON.stringify(value.json) : value.preview;
  }
  return JSON.stringify(value) ?? '';
}

const valuesTable = (caption, values) =>
  h(
    'table',
    { class: 'fb-table' },
    h('caption', null, caption),
    h(
      'tbody',
      null,
      Object.entries(values).map(([name, value]) =>
        h('tr', null, h('th', { scope: 'row' }, name), h('td', { class: 'fb-muted' }, value?.type ?? ''), h('td', null, h('code', null, clipped(valueWords(value)))))
      )
    )
  );

/** One chunk of output. HTML of a step gets a frame of its own in which no script runs and nothing is fetched. */
function outputElement({ stream, text, data }, name) {
  if (!data || !Object.keys(data).length) return part('pre', `output fb-${stream}`, String(text ?? '').slice(-8000));
  const alt = `what ${name} displayed`;
  const image = ['image/png', 'image/jpeg'].find(type => typeof data[type] === 'string');
  if (image) return h('img', { src: `data:${image};base64,${data[image].replace(/[^A-Za-z0-9+/=]/g, '')}`, alt });
  if (typeof data['image/svg+xml'] === 'string') return h('img', { src: `data:image/svg+xml,${encodeURIComponent(data['image/svg+xml'])}`, alt });
  const html = data['text/html'];
  if (typeof html === 'string') return h('iframe', { class: 'fb-html', sandbox: '', srcdoc: FRAME_HEAD + html, title: alt });
  return h('pre', { class: 'fb-output' }, String(data['text/plain'] ?? '').slice(-8000));
}

const STOPPING = { cancel: 'is being cancelled', terminate: 'is being terminated', timeout: 'its time is up' };

/** What a run owes outside; some of it may have been given up. */
export const owing = view => (view?.obligations ?? []).filter(one => !some(one.ended));

export function owedWords(owed) {
  const failed = owed.filter(one => one.status === 'failed').length;
  return `${owed.length} open ${owed.length === 1 ? 'obligation' : 'obligations'}${failed ? `, ${failed} failed` : ''}`;
}

/** JSON, or else the text as it was typed. */
function typed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const progressLine = progress =>
  h('p', null, progress.total ? [h('progress', { max: 1, value: share(progress), 'aria-label': 'Progress' }), ' '] : '', advanced(progress));

const button = (words, click, kind = '', given = {}) => h('button', { type: 'button', class: `fb-button${kind && ` fb-${kind}`}`, click, ...given }, words);
const field = (label, value) => h('input', { type: 'text', value, 'aria-label': label, spellcheck: 'false' });
const part = (name, kind, ...inner) => h(name, { class: `fb-${kind}` }, ...inner);
const span = (kind, ...words) => part('span', kind, words);

// --- a whole run

const TABS = ['Graph', 'Timeline', 'Events', 'Table'];
const ROWS = 300;
const OUTPUTS = 60;
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:";
const FRAME_HEAD = `<meta http-equiv="Content-Security-Policy" content="${POLICY}"><meta charset="utf-8"><style>body{font:13px system-ui,sans-serif;background:#fff;color:#111}table{border-collapse:collapse}td,th{padding:2px 8px}</style>`;

export function createRunView(element, source, given = null) {
  return new RunDrawing(element, source, given);
}

class RunDrawing {
  constructor(element, source, given) {
    this.source = source;
    this.actions = source.actions ?? {};
    this.live = null;
    this.shown = null;
    this.at = null;
    this.chosen = '';
    this.tab = 'Graph';
    this.isOnline = true;
    this.asked = 0;
    this.events = [];
    this.spoken = 0;
    this.build(element);
    this.gather();
    if (given) this.update(given);
    else this.first();
  }

  build(element) {
    this.head = h('header', { class: 'fb-head' });
    this.ask = h('div', { class: 'fb-ask', ...OWN_KEYS });
    this.trouble = h('div', { class: 'fb-trouble', hidden: true });
    this.news = h('div', { class: 'fb-news', hidden: true });
    this.said = h('section', { class: 'fb-outputs', hidden: true });
    this.affairs = h('section', { class: 'fb-affairs', hidden: true, 'aria-label': 'Dealings with others' });
    this.band = h('div', { class: 'fb-band', hidden: true });
    this.range = h('input', { type: 'range', min: 1, max: 1, value: 1, 'aria-label': 'Event', input: () => this.look(Number(this.range.value)) });
    this.where = span('where');
    const step = (title, glyph, by) => button(glyph, by, 'small', { title, 'aria-label': title });
    this.scrub = h(
      'div',
      { class: 'fb-scrub', ...OWN_KEYS },
      step('Event before (←)', '‹', () => this.move(-1)),
      this.range,
      step('Next event (→)', '›', () => this.move(1)),
      this.where
    );
    this.scrub.addEventListener('keydown', event => this.key(event));
    this.tabs = h('div', { class: 'fb-tabs', role: 'tablist', ...OWN_KEYS }, TABS.map(name => h('button', { type: 'button', role: 'tab', class: 'fb-tab', 'data-tab': name, click: () => this.open(name) }, name)));
    this.tabs.addEventListener('keydown', event => this.turn(event));
    this.panes = Object.fromEntries(TABS.map(name => [name, h('div', { class: 'fb-pane', role: 'tabpanel', 'aria-label': name, hidden: name !== 'Graph' })]));
    this.moment = h('section', { class: 'fb-moment', hidden: true, 'aria-label': 'Stack and values' });
    this.facts = h('div');
    this.printed = part('div', 'outputs');
    this.details = h('section', { class: 'fb-details', hidden: true, 'aria-label': 'Step' }, this.facts, this.printed);
    this.region = h('div', { class: 'fb-spoken', role: 'status', 'aria-live': 'polite' });
    this.root = part('div', 'picture fb-run', this.head, this.ask, this.trouble, this.news, this.scrub, this.band, this.tabs, Object.values(this.panes), this.details, this.said, this.affairs, this.moment, this.region);
    element.append(this.root);
    this.graph = createGraph(this.panes.Graph, null, { onSelect: name => this.choose(name), onOpen: name => this.reveal(name) });
    this.timeline = createTimeline(this.panes.Timeline, null, { onSelect: name => this.choose(name) });
    this.open('Graph');
    this.ticking = setInterval(() => isOpen(this.live) && this.at === null && this.root.isConnected && this.drawClock(), 1000);
  }

  async first() {
    try {
      this.update(await this.source.getView());
    } catch (error) {
      this.complain(error);
    }
  }

  /** A view, a patch to the last one, or null. */
  update(next) {
    this.live = Array.isArray(next) ? this.live && applyPatch(this.live, next) : next;
    if (!this.live) return;
    this.range.max = this.live.seq;
    if (this.at === null) {
      this.shown = this.live;
      this.gather();
    } else {
      this.drawScrub();
    }
  }

  /** Many updates a second are one picture a frame. */
  gather() {
    if (this.frame) return;
    this.frame = setTimeout(() => {
      this.frame = 0;
      this.draw();
    }, 40);
  }

  online(yes) {
    this.isOnline = yes;
    this.gather();
  }

  async look(at) {
    if (!this.live) return;
    const ticket = ++this.asked;
    if (at === null || at >= this.live.seq) {
      this.at = null;
      this.shown = this.live;
      this.moment.hidden = true;
      this.draw();
      return;
    }
    this.at = Math.max(1, at);
    this.drawScrub();
    try {
      const view = await this.source.getView(this.at);
      if (ticket !== this.asked) return;
      this.shown = view;
      this.draw();
      await new Promise(resolve => setTimeout(resolve, 120));
      if (ticket !== this.asked) return;
      const moment = await this.source.getAt(this.at);
      if (ticket === this.asked) this.drawMoment(moment);
    } catch (error) {
      if (ticket === this.asked) this.complain(error);
    }
  }

  move(by) {
    if (this.live) this.look((this.at ?? this.live.seq) + by);
  }

  key(event) {
    const far = event.shiftKey ? 10 : 1;
    const steps = { ArrowLeft: -far, ArrowRight: far, ArrowDown: -far, ArrowUp: far };
    if (event.key in steps) this.move(steps[event.key]);
    else if (event.key === 'Home') this.look(1);
    else if (event.key === 'End' || event.key === 'l' || event.key === 'L') this.look(null);
    else return;
    taken(event);
  }

  turn(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    this.open(TABS[(TABS.indexOf(this.tab) + by + TABS.length) % TABS.length]);
    this.tabs.querySelector('[aria-selected=true]').focus();
    taken(event);
  }

  open(name) {
    this.tab = name;
    for (const button of this.tabs.children) {
      const on = button.dataset.tab === name;
      button.setAttribute('aria-selected', String(on));
      button.setAttribute('tabindex', on ? '0' : '-1');
    }
    for (const tab of TABS) this.panes[tab].hidden = tab !== name;
    this.draw();
  }

  choose(name) {
    this.chosen = this.chosen === name ? '' : name;
    this.graph.select(this.chosen);
    this.drawDetails();
  }

  reveal(name) {
    const node = this.shown?.graph?.nodes?.find(n => n.id === name);
    if (node?.cell) this.actions.reveal?.(node.cell, 1);
  }

  draw() {
    const view = this.shown;
    if (!view) {
      fill(this.head, span('muted', 'Asking the engine…'));
      return;
    }
    const frozen = this.at !== null || !this.isOnline;
    this.drawHead(view);
    this.drawScrub();
    this.graph.update(view, frozen);
    if (this.tab === 'Timeline') this.timeline.update(view, frozen);
    if (this.tab === 'Events') this.drawEvents();
    if (this.tab === 'Table') this.drawTable(view);
    this.drawDetails();
    this.drawOutput(this.said, view.output ?? [], 'the workflow', h('h4', null, 'Printed by the workflow'));
    this.drawAffairs(view);
    this.speak(view);
  }

  drawHead(view) {
    const { actions } = this;
    const open = isOpen(this.live);
    const [done, total] = progress(view);
    this.elapsed = span('muted fb-elapsed');
    const signals = open && actions.signal ? this.live.waits.filter(wait => wait.kind === 'signal') : [];
    const fork = () => actions.fork(this.at !== null ? { at: this.at } : view.error?.step ? { step: view.error.step } : { at: view.seq });
    const owed = owing(view);
    fill(
      this.head,
      statusBadge(view.status),
      view.stopping && isOpen(view) && span('chip fb-hot', STOPPING[view.stopping.how]),
      h('strong', { class: 'fb-workflow' }, view.workflow),
      h('code', { class: 'fb-id' }, view.id),
      h('span', null, `${done} of ${total} done`),
      this.elapsed,
      view.origin && span('muted', `fork of ${view.origin.run} at event ${view.origin.seq}`),
      owed.length > 0 && span(`chip fb-${owed.some(o => o.status === 'failed') ? 'bad' : 'hot'}`, owedWords(owed)),
      view.queue && span('chip', `queue ${view.queue}`),
      ...(this.isOnline || !open ? [] : [span('note', 'as last seen; not live')]),
      span('spacer'),
      part('div', 'actions', ...signals.map(wait => button(`Signal “${wait.name}”…`, () => this.askSignal(wait.name), 'main')),
      actions.fork && (!open || this.at !== null) && button('Fork…', fork),
      open && actions.update && view.updates?.length > 0 && button('Update…', () => this.askUpdate(view.updates.at(-1).name)),
      open && actions.cancel && button('Cancel', () => this.confirm('Cancel', () => actions.cancel())),
      open && actions.terminate && button('Terminate…', () => this.confirm('Terminate', () => actions.terminate())))
    );
    this.drawNews(view);
    this.drawClock();
    const error = view.error;
    this.trouble.hidden = !error;
    if (error) {
      const place = error.step ? `${error.step}: ` : '';
      fill(this.trouble, h('strong', null, `${place}${error.type}`), ` ${error.message}`, ...this.place(error));
    }
  }

  drawClock() {
    const view = this.shown;
    const now = some(view.ended) ? view.ended : present(view, this.at !== null || !this.isOnline);
    this.elapsed.textContent = duration(now - view.started);
  }

  place({ cell, line, number: page }) {
    if (!line) return [];
    const words = page ? `cell ${page}, line ${line}` : `line ${line}`;
    const { reveal } = this.actions;
    if (!reveal || !cell) return [span('muted', ` (${words})`)];
    return [' ', h('a', { href: '#', click: event => (event.preventDefault(), reveal(cell, line)) }, words)];
  }

  drawScrub() {
    const seq = this.live?.seq ?? 1;
    this.range.max = seq;
    this.range.value = this.at ?? seq;
    this.range.setAttribute('aria-valuetext', this.at === null ? `event ${seq}, the present` : `event ${this.at} of ${seq}`);
    this.where.textContent = this.at === null ? `event ${seq}${isOpen(this.live) && this.isOnline ? ' · live' : ''}` : `event ${this.at} of ${seq}`;
    this.band.hidden = this.at === null;
    this.root.classList.toggle('fb-past', this.at !== null);
    if (this.at !== null) {
      const back = isOpen(this.live) ? 'Back to live' : 'Back to the end';
      fill(
        this.band,
        h('span', null, `Viewing event ${this.at} of ${this.live.seq} — nothing runs.`),
        button(back, () => this.look(null), 'small')
      );
    }
  }

  async drawEvents() {
    const seq = this.live.seq;
    if (this.events.length < seq && !this.fetching) {
      this.fetching = true;
      try {
        this.events = await this.source.getHistory();
      } catch (error) {
        this.complain(error);
      }
      setTimeout(() => {
        this.fetching = false;
        if (this.tab === 'Events' && this.events.length && this.events.length < this.live.seq) this.drawEvents();
      }, 400);
    }
    const here = this.at ?? seq;
    const start = Math.max(0, Math.min(this.events.length - ROWS, here - ROWS / 2));
    const origin = this.events[0]?.time ?? 0;
    const rows = this.events.slice(start, start + ROWS).map(recorded => {
      const [status, words, details] = eventWords(recorded);
      const disc = svgOf(`<svg viewBox="-14 -14 28 28" width="18" height="18" aria-hidden="true">${badge(status)}</svg>`);
      return h(
        'tr',
        { class: recorded.seq === here ? 'fb-here' : recorded.seq > here ? 'fb-later' : '', 'aria-current': recorded.seq === here ? 'true' : null, click: () => this.look(recorded.seq) },
        h('td', { class: 'fb-number' }, recorded.seq),
        h('td', { class: 'fb-number fb-muted' }, `+${duration(recorded.time - origin)}`),
        h('td', { class: 'fb-sign' }, disc),
        h('td', null, words),
        h('td', { class: 'fb-muted' }, clipped(details, 160))
      );
    });
    const head = h('tr', null, ['event', 'after', '', 'what happened', 'details'].map(word => h('th', { scope: 'col' }, word)));
    const more = this.events.length > ROWS ? part('p', 'muted', `${ROWS} of ${this.events.length} events, around event ${here}`) : '';
    const pane = this.panes.Events;
    const before = pane.querySelector('tr.fb-here')?.textContent;
    fill(pane, part('div', 'list', part('table', 'table', h('thead', null, head), h('tbody', null, rows))), more);
    const current = pane.querySelector('tr.fb-here');
    if (current && current.textContent !== before) {
      const list = pane.firstElementChild;
      list.scrollTop = Math.max(0, current.offsetTop - list.clientHeight / 2);
    }
  }

  drawTable(view) {
    const now = present(view, this.at !== null || !this.isOnline);
    const known = view.graph?.nodes ?? [];
    const nodes = [...known, ...Object.keys(view.steps).filter(id => !known.some(n => n.id === id)).map(id => ({ id }))];
    const rows = nodes.filter(node => node.kind !== 'params').map(node => {
      const step = view.steps[node.id];
      return h(
        'tr',
        null,
        h('th', { scope: 'row' }, h('button', { type: 'button', class: 'fb-link', click: () => this.choose(node.id) }, node.id)),
        h('td', null, step ? statusBadge(step.status) : 'not reached'),
        h('td', null, step ? said(node, step, now).slice(step.status.length).replace(/^ · /, '') : ''),
        h('td', { class: 'fb-number' }, step ? spent(step, now) : ''),
        h('td', { class: 'fb-muted' }, (node.reads ?? []).join(', ')),
        h('td', { class: 'fb-muted' }, (node.writes ?? []).join(', '))
      );
    });
    const head = h('tr', null, ['step', 'status', 'details', 'time', 'reads', 'writes'].map(word => h('th', { scope: 'col' }, word)));
    fill(this.panes.Table, part('table', 'table', h('thead', null, head), h('tbody', null, rows)));
  }

  drawDetails() {
    const step = this.shown?.steps[this.chosen];
    const node = this.shown?.graph?.nodes?.find(n => n.id === this.chosen) ?? { id: this.chosen };
    this.details.hidden = !this.chosen || !step;
    if (this.details.hidden) return;
    const fork = this.actions.fork && !isOpen(this.live);
    const attempts = step.attempts.filter(a => !some(a.item)).slice(-12);
    const close = button('✕', () => this.choose(this.chosen), 'small', { title: 'Close', 'aria-label': 'Close' });
    this.drawOutput(this.printed, step.output, node.id);
    fill(
      this.facts,
      part(
        'div',
        'head',
        h('strong', null, node.id),
        statusBadge(step.status),
        span('muted', wires(node)),
        step.queue && span('chip', `queue ${step.queue}`),
        span('spacer'),
        fork && button('Fork from here…', () => this.actions.fork({ step: node.id })),
        close
      ),
      node.doc && part('p', 'muted', node.doc),
      step.reason && h('p', null, step.reason),
      step.progress && progressLine(step.progress),
      step.heartbeat && part('p', 'muted', `last sign of life ${duration(Math.max(0, this.shown.time - step.heartbeat.time))} before event ${this.shown.seq}: ${clipped(valueWords(step.heartbeat.details))}`),
      step.error && part('div', 'trouble', h('strong', null, step.error.type), ` ${step.error.message}`, ...this.place(step.error)),
      (attempts.length > 1 || attempts[0]?.run) && part('ol', 'attempts', attempts.map(a => h('li', null, attemptWords({ ...a, run: '' }, this.shown.time), a.run && ' ', a.run && this.runLink(a.run)))),
      Object.keys(step.values).length > 0 && valuesTable('Values', step.values)
    );
  }

  /** What was printed and displayed, in its order. Touched only when it changed: a frame moved is loaded again. */
  drawOutput(place, output, name, ...head) {
    if (place.output === output) return;
    place.output = output;
    place.hidden = !output.length;
    fill(place, ...head, ...output.slice(-OUTPUTS).map(chunk => outputElement(chunk, name)));
  }

  drawMoment(moment) {
    const frames = moment.stack.map(frame => {
      const page = frame.number ? { cell: frame.cell, line: frame.line, number: frame.number } : { line: frame.line };
      const locals = frame.locals ?? {};
      return h(
        'li',
        null,
        h('code', null, frame.task ? `${frame.function} (task ${frame.task})` : frame.function),
        ...this.place(page),
        frame.source?.trim() ? part('pre', 'source', frame.source.trim()) : '',
        Object.keys(locals).length ? valuesTable('Variables', locals) : ''
      );
    });
    const values = Object.keys(moment.values ?? {}).length ? valuesTable(`Values as of event ${moment.event}`, moment.values) : '';
    const stack = frames.length ? part('ol', 'stack', frames) : part('p', 'muted', 'No code is on the stack.');
    fill(this.moment, h('div', null, h('h4', null, 'Stack'), stack), h('div', null, values));
    this.moment.hidden = this.at === null;
  }

  /** What is to be known first: how the run is being stopped, what came before and comes after, when its time is up. */
  drawNews(view) {
    const said = [];
    const tell = (...words) => said.push(h('p', null, words));
    const { stopping } = view;
    if (stopping && isOpen(view)) tell(h('strong', null, STOPPING[stopping.how]), stopping.reason ? `: ${stopping.reason}` : '');
    if (view.reason) tell(h('strong', null, view.status), `: ${view.reason}`);
    if (view.next) tell('It went on as ', this.runLink(view.next));
    if (view.previous) tell('It goes on from ', this.runLink(view.previous));
    if (view.parent) tell('Child of ', this.runLink(view.parent));
    if (view.schedule) tell(`Started by schedule ${view.schedule}`);
    if (view.deadline && isOpen(view)) tell(`Its time is up ${new Date(view.deadline * 1000).toLocaleString()}`);
    for (const move of (view.moves ?? []).slice(-1)) tell(`Moved to other code ${new Date(move.since * 1000).toLocaleString()}${move.source ? `: ${move.source}` : ''}`);
    this.news.hidden = !said.length;
    fill(this.news, ...said);
  }

  runLink(run) {
    const { open } = this.actions;
    return open ? h('a', { href: '#', 'data-run': run, click: event => (event.preventDefault(), open(run)) }, run) : h('code', { class: 'fb-id' }, run);
  }

  /** Drawn again only when it says something else, so that a form in it keeps what was typed. */
  drawAffairs(view) {
    const past = this.at !== null;
    const { children = [], sent = [], updates = [], obligations = [], waits = [], attributes = {}, memo = {}, patches = [] } = view;
    const mark = JSON.stringify([children, sent, updates, obligations, waits, attributes, memo, patches, past, isOpen(this.live)]);
    if (mark === this.affairsDrawn) return;
    this.affairsDrawn = mark;
    const table = (caption, entries, cells) =>
      entries.length ? [part('table', 'table', h('caption', null, caption), h('tbody', null, entries.map(entry => h('tr', null, h('td', null, statusBadge(entry.status)), cells(entry).map(cell => h('td', null, cell))))))] : [];
    const outside = waits.filter(wait => wait.kind === 'outside');
    const plain = Object.entries(attributes).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    const owed = owing(view);
    const parts = kept([
      outside.length > 0 && [h('h4', null, 'Waiting for answers from outside'), ...outside.map(wait => this.outside(wait, past))],
      ...table(owed.length ? owedWords(owed) : 'Obligations, all settled', obligations, owe => [h('strong', null, owe.name), owe.what, owe.status === 'retrying' ? this.runLink(owe.trying) : owe.error || (owe.status === 'open' && 'owed'), this.remedies(owe)]),
      ...table('Children', children, ({ run, workflow, error, close }) => [this.runLink(run), workflow, error || (close === 'cancel' ? '' : `${close} with this run`)]),
      ...table('Updates', updates, ({ name, value, error }) => [name, h('code', null, value && clipped(valueWords(value))), error]),
      ...table('Signals sent', sent, ({ name, run, error }) => [`“${name}”`, this.runLink(run), error]),
      plain.length > 0 && part('p', 'chips', plain.map(words => span('chip', words))),
      patches.length > 0 && part('p', 'muted', `Takes the new branch of ${patches.join(', ')}`),
      Object.keys(memo).length > 0 && valuesTable('Memo', memo)
    ]);
    this.affairs.hidden = !parts.length;
    fill(this.affairs, ...parts);
  }

  /** What a person can do about what is owed, once the run's own code does not take care of it any more. */
  remedies({ key, name, status, undo }) {
    const { settle, retry } = this.actions;
    if (this.at !== null || (status !== 'failed' && (status !== 'open' || isOpen(this.live)))) return;
    const note = field(`What became of ${name}`, '');
    const ask = () => {
      this.inquire([h('label', null, `What became of “${name}”? `, note)], 'Settle', () => settle(key, note.value));
      note.focus();
    };
    return [retry && undo && button('Try again', () => this.attempt(() => retry(key))), ' ', settle && button('Settle…', ask)];
  }

  outside(wait, past) {
    const { complete } = this.actions;
    const token = h('input', { class: 'fb-token', type: 'text', readonly: true, value: wait.token, 'aria-label': `Token of ${wait.name}`, click: event => event.target.select() });
    const value = field(`Answer for ${wait.name}, as JSON`, 'true');
    const form = complete && isOpen(this.live) && !past
      ? [value, button('Complete', () => this.attempt(() => complete(wait.token, { value: typed(value.value) })), 'main'), button('Fail', () => this.attempt(() => complete(wait.token, { failure: value.value })))]
      : [];
    return h('div', { class: 'fb-outside', ...OWN_KEYS }, h('strong', null, `${wait.name}${some(wait.item) ? ` [${wait.item}]` : ''}`), h('label', null, 'token ', token), ...form);
  }

  /** Stopping a run that owes something outside, or ending it without asking its code, wants a second look. */
  confirm(word, act) {
    const names = owing(this.live).map(o => o.name);
    if (word === 'Cancel' && !names.length) return this.attempt(act);
    const what = word === 'Cancel' ? 'Cancel the run?' : 'Terminate the run? Its code has no say.';
    const rest = names.length ? ` It still owes: ${clipped(names.join(', '), 200)}; that is taken back first.` : '';
    this.inquire([what + rest], word, act);
  }

  askSignal(name) {
    const { signal, askSignal } = this.actions;
    if (askSignal) askSignal(name);
    else this.inquireValue(`Value of “${name}” (JSON or text) `, `Value of ${name}, as JSON`, 'true', text => signal(name, typed(text)));
  }

  askUpdate(usual) {
    const name = field('Name of the update', usual);
    this.inquireValue('Update ', 'Arguments, as a JSON list', '[]', text => this.actions.update(name.value, [typed(text)].flat()), name);
  }

  inquireValue(words, title, usual, act, before = '') {
    const input = field(title, usual);
    this.inquire([h('label', null, words, before, ' ', input)], 'Send', () => act(input.value));
    input.focus();
    input.select();
  }

  inquire(words, yes, act) {
    const close = () => fill(this.ask);
    const go = () => {
      close();
      this.attempt(act);
    };
    this.ask.onkeydown = event => {
      event.stopPropagation();
      if (event.key === 'Enter' && event.target.tagName === 'INPUT') go();
      if (event.key === 'Escape') close();
    };
    fill(
      this.ask,
      ...words,
      button(yes, go, 'main'),
      button('Not now', close)
    );
    this.ask.querySelector('button').focus();
  }

  async attempt(act) {
    try {
      await act();
      this.trouble.hidden = !this.shown?.error;
    } catch (error) {
      this.complain(error);
    }
  }

  complain(error) {
    this.trouble.hidden = false;
    fill(this.trouble, String(error?.message ?? error));
  }

  /** At most one sentence in three seconds; a failure at once. */
  speak(view) {
    const words = heading(view.graph ?? {}, view);
    const now = Date.now();
    clearTimeout(this.later);
    if (this.at !== null || words === this.region.textContent) return;
    if (now - this.spoken < 3000 && view.status !== 'failed') {
      this.later = setTimeout(() => this.shown && this.speak(this.shown), 3000 - (now - this.spoken));
      return;
    }
    this.spoken = now;
    this.region.textContent = words;
  }

  dispose() {
    clearInterval(this.ticking);
    clearTimeout(this.frame);
    clearTimeout(this.later);
    this.graph.dispose();
    this.timeline.dispose();
    this.root.remove();
  }
}
