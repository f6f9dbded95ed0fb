// How far a run is and what goes on in it, in words.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { face, progress } from '../lib/ui/status.js';

const step = status => ({ status, attempt: 1, started: 1, ended: null, items: null });
const view = (more, steps = {}) => ({
  status: 'running',
  waits: [],
  error: null,
  steps,
  graph: { nodes: [{ id: 'params', kind: 'params' }, { id: 'load' }, { id: 'price', kind: 'map' }, { id: 'take_back', kind: 'undo' }] },
  ...more
});

test('parameters and undos are no progress', () => {
  const { done, total } = progress(view({}, { load: step('done'), take_back: step('done') }));
  assert.deepEqual([done, total], [1, 2]);
});

test('a map says how many items, a retry which attempt', () => {
  const price = { ...step('running'), items: { total: 8, done: 3, failed: 0, running: 1 } };
  assert.equal(progress(view({}, { price })).now, 'price 3 of 8');
  assert.equal(progress(view({}, { load: { ...step('retrying'), attempt: 2 } })).now, 'load, attempt 3 soon');
});

test('a wait names the signal, the step, and the time when that is far', () => {
  const wait = { key: 'k', name: 'approval', since: 100, step: 'ask', due: null };
  assert.equal(progress(view({ waits: [{ ...wait, kind: 'signal' }] })).now, 'waits for the signal “approval”');
  assert.equal(progress(view({ waits: [{ ...wait, kind: 'timer', due: 101 }] })).now, 'ask waits');
  assert.match(progress(view({ waits: [{ ...wait, kind: 'timer', due: 7300 }] })).now, /^ask waits until .+/);
});

test('a paused run says why, whatever it waits for', () => {
  const waits = [{ kind: 'signal', name: 'approval' }];
  const paused = view({ status: 'paused', waits, error: { type: 'Paused', message: 'no module named x' } });
  assert.equal(progress(paused).now, 'no module named x');
});

test('a status this version does not know still has a face', () => {
  assert.deepEqual(face('levitating'), { glyph: '', family: 'idle' });
});

test('what stands below the graph is no progress', () => {
  const graph = { nodes: [{ id: 'load' }, { id: 'clean_up', options: { added: true } }] };
  const { done, total } = progress(view({ graph }, { load: step('done'), clean_up: step('done') }));
  assert.deepEqual([done, total], [1, 1]);
});

test('a step says how far it is, a queue and an answer from outside are named', () => {
  const load = { ...step('running'), progress: { done: 42, total: 100, text: 'epoch 42' } };
  assert.equal(progress(view({}, { load })).now, 'load 42% epoch 42');
  assert.equal(progress(view({}, { load: { ...step('queued'), queue: 'gpu' } })).now, 'load waits for its turn in queue gpu');
  const wait = { key: 'k', since: 100, due: null };
  assert.equal(progress(view({ waits: [{ ...wait, kind: 'outside', name: 'sign' }] })).now, 'sign waits for an answer from outside');
  assert.equal(progress(view({ waits: [{ ...wait, kind: 'child', name: 'r-1.c' }] })).now, 'waits for its child r-1.c');
});

test('how a run can end has a sign of its own', () => {
  assert.notEqual(face('terminated').glyph, face('cancelled').glyph);
  assert.equal(face('continued').family, 'done');
});
