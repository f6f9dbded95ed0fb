/** The compiler's findings as a list; a click goes to the place. */
import type { Diagnostic } from '../engine/shapes';
import { h } from './dom';

const GLYPHS: Record<string, [string, string]> = {
  error: ['✕', 'failed'],
  warning: ['!', 'waiting'],
  info: ['i', 'running']
};

export function problemsList(found: Diagnostic[], go: (d: Diagnostic) => void, fix: (d: Diagnostic) => void): HTMLElement {
  return h('ul', { class: 'flow-problem-list' }, found.map(d => h('li', null, entry(d, go), d.edits?.length ? button(d, fix) : null)));
}

function button(d: Diagnostic, fix: (d: Diagnostic) => void): HTMLElement {
  return h('button', { class: 'flow-button jp-mod-styled flow-take-fix', title: d.fix, click: () => fix(d) }, 'Fix it');
}

function entry(d: Diagnostic, go: (d: Diagnostic) => void): HTMLElement {
  const [glyph, family] = GLYPHS[d.severity] ?? GLYPHS.info;
  const place = d.cell ? `cell ${d.cell_number}, line ${d.line}` : '';
  return h(
    'button',
    { class: 'flow-problem', 'data-severity': d.severity, click: () => go(d) },
    h('span', { class: `flow-badge flow-${family}`, 'aria-label': d.severity }, h('span', { class: 'flow-glyph' }, glyph)),
    h(
      'span',
      { class: 'flow-problem-text' },
      h('span', null, d.message),
      d.fix ? h('span', { class: 'flow-fix' }, d.fix) : null,
      h('span', { class: 'flow-muted' }, [place, d.code].filter(Boolean).join(' · '))
    )
  );
}
