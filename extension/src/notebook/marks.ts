/** Underlines below the compiler's findings in one cell's editor. They move with what is typed. */
import { StateEffect, StateField, type EditorState } from '@codemirror/state';
import { Decoration, EditorView, type DecorationSet } from '@codemirror/view';
import type { CodeEditor } from '@jupyterlab/codeeditor';
import type { CodeMirrorEditor } from '@jupyterlab/codemirror';

import type { Diagnostic } from '../engine/shapes';
import { rangeOf } from './findings';

const put = StateEffect.define<Diagnostic[]>();

const field = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    const given = transaction.effects.find(effect => effect.is(put));
    return given ? decorations(transaction.state, given.value as Diagnostic[]) : marks.map(transaction.changes);
  },
  provide: own => EditorView.decorations.from(own)
});

function decorations(state: EditorState, found: Diagnostic[]): DecorationSet {
  const text = state.doc.toString();
  const marks = found.flatMap(one => {
    const range = rangeOf(text, one);
    if (!range || range.from >= range.to) {
      return [];
    }
    const title = `${one.code} ${one.message}${one.fix ? `\nFix: ${one.fix}` : ''}`;
    return [Decoration.mark({ class: `flow-mark flow-mark-${one.severity}`, attributes: { title } }).range(range.from, range.to)];
  });
  return Decoration.set(marks, true);
}

/** Mark these findings in an editor, in place of those marked before. */
export function mark(editor: CodeEditor.IEditor, found: Diagnostic[]): void {
  const view = (editor as CodeMirrorEditor).editor;
  if (!view) {
    return;
  }
  if (!view.state.field(field, false)) {
    if (!found.length) {
      return;
    }
    (editor as CodeMirrorEditor).injectExtension(field);
  }
  view.dispatch({ effects: put.of(found) });
}
