// Where findings lie, and what a fix makes of a cell.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { edited, rangeOf } from '../lib/notebook/findings.js';

const TEXT = '#| step: one\n  total = rows + 1\n';
const cut = found => {
  const range = rangeOf(TEXT, found);
  return range && TEXT.slice(range.from, range.to);
};

test('a finding with a width is that piece of its line', () => {
  assert.equal(cut({ line: 2, column: 11, end_column: 15 }), 'rows');
});

test('a finding without a width is its line without the indentation', () => {
  assert.equal(cut({ line: 2, column: 1, end_column: 1 }), 'total = rows + 1');
});

test('a line that is gone has no range', () => {
  assert.equal(rangeOf(TEXT, { line: 9, column: 1, end_column: 3 }), null);
});

test('a range ends with its line, whatever the column says', () => {
  assert.equal(cut({ line: 1, column: 4, end_column: 400 }), 'step: one');
});

test('columns count characters, ranges count what editors count', () => {
  const text = 'x = "😀" + rows';
  const { from, to } = rangeOf(text, { line: 1, column: 11, end_column: 15 });
  assert.equal(text.slice(from, to), 'rows');
});

test('edits do not move each other', () => {
  const edits = [
    { cell: 'c', line: 1, column: 4, end_column: 8, text: 'wait' },
    { cell: 'c', line: 2, column: 3, end_column: 8, text: 'sum_of_all' },
    { cell: 'c', line: 2, column: 11, end_column: 15, text: 'r' }
  ];
  assert.equal(edited(TEXT, edits), '#| wait: one\n  sum_of_all = r + 1\n');
});

test('an edit without a width inserts', () => {
  assert.equal(edited('a\nb', [{ cell: 'c', line: 2, column: 1, end_column: 1, text: '#| params\n' }]), 'a\n#| params\nb');
});
