/** Where the compiler's findings lie in a cell's text, and what it becomes when a fix is taken. Pure. */
import type { Diagnostic, Edit } from '../engine/shapes';

export interface Range {
  from: number;
  to: number;
}

/**
 * The range of a finding in a text, or null where the text has no such line. Lines and columns count from 1, columns in
 * characters as Python counts them; the range counts in UTF-16 units, as editors do. A finding without a width takes
 * its whole line.
 */
export function rangeOf(text: string, found: Pick<Diagnostic, 'line' | 'column' | 'end_column'>): Range | null {
  const lines = text.split('\n');
  const line = lines[found.line - 1];
  if (line === undefined) {
    return null;
  }
  const start = lines.slice(0, found.line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  if (found.end_column <= found.column) {
    const indent = line.length - line.trimStart().length;
    return { from: start + Math.min(indent, line.length), to: start + line.length };
  }
  return { from: start + units(line, found.column), to: start + units(line, found.end_column) };
}

function units(line: string, column: number): number {
  return [...line].slice(0, column - 1).join('').length;
}

/** A text with the edits of a fix. They are made from the end, so that one does not move another. */
export function edited(text: string, edits: Edit[]): string {
  const places = edits
    .map(edit => {
      const lines = text.split('\n');
      const start = lines.slice(0, edit.line - 1).reduce((sum, one) => sum + one.length + 1, 0);
      const line = lines[edit.line - 1] ?? '';
      return { from: start + units(line, edit.column), to: start + units(line, edit.end_column), text: edit.text };
    })
    .sort((a, b) => b.from - a.from);
  return places.reduce((done, { from, to, text: put }) => done.slice(0, from) + put + done.slice(to), text);
}
