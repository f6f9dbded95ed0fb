/** What is asked before something starts: parameters, a signal's value, a fork's plan. */
import { Dialog, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

import { EngineError } from '../engine/requests';
import type { Diagnostic, ForkPlan, ForkRow, Parameter, View } from '../engine/shapes';
import { count, h } from './dom';
import { owing } from './shared/draw';

/** Texts for each parameter that was changed, or null when the user thought better of it. */
export async function askParameters(workflow: string, parameters: Parameter[]): Promise<Record<string, string> | null> {
  const body = new Form(parameters);
  const result = await showDialog({
    title: `Run ${workflow}`,
    body,
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Run' })],
    focusNodeSelector: 'input'
  });
  return result.button.accept ? body.getValue() : null;
}

class Form extends Widget implements Dialog.IBodyWidget<Record<string, string>> {
  constructor(parameters: Parameter[]) {
    super();
    this.addClass('flow-Form');
    for (const parameter of parameters) {
      this.node.append(this.row(parameter));
    }
    const needed = parameters.some(p => p.default === null || p.default === undefined);
    this.node.append(
      h('p', { class: 'flow-hint' }, needed ? 'Values are read as JSON where they are JSON, else as text.' : 'Leave a field as it is to use its default.')
    );
  }

  getValue(): Record<string, string> {
    const changed = [...this.inputs].filter(([, [input, start]]) => input.value !== start && input.value !== '');
    return Object.fromEntries(changed.map(([name, [input]]) => [name, input.value]));
  }

  private row(parameter: Parameter): HTMLElement {
    const start = plainDefault(parameter.default);
    const boolean = parameter.annotation === 'bool' && /^(True|False)$/.test(parameter.default ?? '');
    const input = boolean ? choice(start) : h('input', {
      class: 'jp-mod-styled',
      type: parameter.secret ? 'password' : 'text',
      value: start,
      placeholder: start === '' ? (parameter.default ?? 'needed') : '',
      spellcheck: 'false'
    });
    this.inputs.set(parameter.name, [input, start]);
    return h(
      'label',
      { class: 'flow-field' },
      h('span', { class: 'flow-field-name' }, parameter.name, parameter.annotation ? h('code', null, parameter.annotation) : null),
      input
    );
  }

  private readonly inputs = new Map<string, [HTMLInputElement | HTMLSelectElement, string]>();
}

function choice(start: string): HTMLSelectElement {
  return h(
    'select',
    { class: 'jp-mod-styled' },
    ['true', 'false'].map(word => h('option', { value: word, selected: word === start }, word))
  );
}

/** A default as one would type it: JSON for what is JSON, the bare text for a text, nothing for an expression. */
function plainDefault(text: string | null | undefined): string {
  if (text === null || text === undefined) {
    return '';
  }
  const words: Record<string, string> = { True: 'true', False: 'false', None: 'null' };
  if (text in words) {
    return words[text];
  }
  const quoted = /^(['"])([^'"\\]*)\1$/.exec(text);
  if (quoted) {
    return quoted[2];
  }
  try {
    JSON.parse(text);
    return text;
  } catch {
    return '';
  }
}

/** The value to send with a signal; undefined when the user thought better of it. */
export async function askSignal(run: string, name: string): Promise<{ value: unknown } | undefined> {
  const input = h('textarea', { class: 'jp-mod-styled flow-json', rows: 3, spellcheck: 'false', 'aria-label': 'value' }, 'true');
  const body = new Widget({
    node: h(
      'div',
      { class: 'flow-Form' },
      h('p', null, 'The run ', h('code', null, run), ' waits for ', h('code', null, name), '. Send it this value:'),
      input,
      h('p', { class: 'flow-hint' }, 'JSON where it is JSON, else text.')
    )
  });
  const result = await showDialog({
    title: `Signal “${name}”`,
    body,
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Send' })]
  });
  if (!result.button.accept) {
    return undefined;
  }
  try {
    return { value: JSON.parse(input.value) };
  } catch {
    return { value: input.value };
  }
}

/** Name what the run still owes outside, and ask whether it is to end nevertheless. */
export async function confirmEnd(word: 'Stop' | 'Terminate', view: View): Promise<boolean> {
  const owed = owing(view).map(one => one.name);
  const body = new Widget({
    node: h(
      'div',
      { class: 'flow-Form' },
      h('p', null, word === 'Stop' ? 'Its code is told and may clean up.' : 'Its code has no say.'),
      owed.length ? h('p', null, 'It still owes outside: ', h('code', null, owed.join(', ')), '. That is taken back first.') : null
    )
  });
  const buttons = [Dialog.cancelButton({ label: 'Not now' }), Dialog.warnButton({ label: word })];
  return (await showDialog({ title: `${word} ${view.id}?`, body, buttons })).button.accept;
}

/** An update's name and its arguments; null when the user thought better of it. */
export async function askUpdate(run: string, usual: string): Promise<{ name: string; values: unknown[] } | null> {
  const name = h('input', { class: 'jp-mod-styled', type: 'text', value: usual, 'aria-label': 'name', spellcheck: 'false' });
  const input = h('textarea', { class: 'jp-mod-styled flow-json', rows: 3, spellcheck: 'false', 'aria-label': 'arguments' }, '[]');
  const body = new Widget({
    node: h('div', { class: 'flow-Form' }, h('p', null, 'To the run ', h('code', null, run)), name, input, h('p', { class: 'flow-hint' }, 'Its arguments as a JSON list, or one text.'))
  });
  const result = await showDialog({ title: 'Send update', body, buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Send' })] });
  if (!result.button.accept || !name.value) {
    return null;
  }
  try {
    return { name: name.value, values: [JSON.parse(input.value)].flat() };
  } catch {
    return { name: name.value, values: [input.value] };
  }
}

const WORDS: Record<ForkRow['action'], [glyph: string, word: string, family: string]> = {
  reuse: ['✓', 'reused', 'done'],
  run: ['▶', 'runs', 'running'],
  rerun: ['↻', 'runs again', 'waiting'],
  new: ['▶', 'runs (new)', 'running'],
  gone: ['⊘', 'gone', 'idle']
};

/** Show what a fork would do; true when it is wanted. */
export async function confirmFork(run: string, plan: ForkPlan): Promise<boolean> {
  const reused = plan.rows.filter(row => row.action === 'reuse').length;
  const body = new Widget({
    node: h(
      'div',
      { class: 'flow-Plan' },
      h('p', null, `A new run from `, h('code', null, run), ` as of event ${plan.seq}. `, `${count(reused, 'step')} reused, nothing of them runs again.`),
      h(
        'table',
        null,
        h('thead', null, h('tr', null, ['step', 'cell', 'what happens', 'why'].map(text => h('th', null, text)))),
        h('tbody', null, plan.rows.map(planRow))
      )
    )
  });
  const result = await showDialog({
    title: 'Fork',
    body,
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Start the fork' })]
  });
  return result.button.accept;
}

function planRow(row: ForkRow): HTMLElement {
  const [glyph, word, family] = WORDS[row.action];
  const items = row.items_reused && row.items_rerun ? ` (${row.items_rerun} of ${row.items_reused + row.items_rerun})` : '';
  return h(
    'tr',
    { 'data-action': row.action },
    h('td', null, h('code', null, row.step)),
    h('td', null, row.cell_number ? String(row.cell_number) : ''),
    h('td', null, h('span', { class: `flow-badge flow-${family}` }, h('span', { class: 'flow-glyph' }, glyph), ` ${word}${items}`)),
    h('td', { class: 'flow-why' }, row.reason)
  );
}

/** Say what went wrong; for a notebook that does not compile, lead to the place. */
export async function report(title: string, error: unknown, show?: (found: Diagnostic) => void): Promise<void> {
  const first = error instanceof EngineError ? error.diagnostics.find(d => d.severity === 'error') : undefined;
  if (first && show) {
    const fix = first.fix ? h('p', { class: 'flow-hint' }, `Fix: ${first.fix}`) : null;
    const body = new Widget({ node: h('div', { class: 'flow-Form' }, h('p', null, (error as Error).message), fix) });
    const result = await showDialog({ title, body, buttons: [Dialog.cancelButton({ label: 'Close' }), Dialog.okButton({ label: 'Go to the cell' })] });
    if (result.button.accept) {
      show(first);
    }
    return;
  }
  await showErrorMessage(title, error instanceof Error ? error.message : String(error));
}
