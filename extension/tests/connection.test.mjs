// The one socket of the page: what is asked, what watchers see, and how it comes back.
import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';

const timers = [];
globalThis.window = {
  setTimeout: (call, after) => timers.push({ call, after }),
  clearTimeout: id => id && (timers[id - 1] = null)
};

class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  open() {
    this.readyState = 1;
    this.onopen();
  }
  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  break() {
    this.readyState = 3;
    this.onclose();
  }
}
globalThis.WebSocket = FakeSocket;

const { Connection } = await import('../lib/engine/connection.js');

const PLACE = { path: 'a.ipynb' };
const VIEW = { id: 'r', status: 'running', seq: 2, steps: { load: { status: 'running' } } };
let sockets, connection;

beforeEach(() => {
  timers.length = 0;
  sockets = [];
  connection = new Connection({
    socket: () => {
      sockets.push(new FakeSocket());
      return sockets.at(-1);
    }
  });
});

function watching(run = 'r') {
  const listener = mock.fn();
  const watch = connection.watch(run, PLACE, listener);
  return { watch, seen: () => listener.mock.calls.at(-1)?.arguments[0], times: () => listener.mock.callCount() };
}

function ring() {
  const due = timers.splice(0);
  due.filter(Boolean).forEach(timer => timer.call());
}

test('one socket serves all, and each watch has a mark', () => {
  watching('r');
  watching('s');
  sockets[0].open();
  assert.equal(sockets.length, 1);
  assert.deepEqual(sockets[0].sent.map(({ watch, path }) => [watch, path]), [['r', 'a.ipynb'], ['s', 'a.ipynb']]);
  assert.notEqual(sockets[0].sent[0].as, sockets[0].sent[1].as);
});

test('two watchers of one run are one subscription, which ends with the last', () => {
  const first = watching();
  const second = watching();
  sockets[0].open();
  assert.equal(sockets[0].sent.length, 1);
  const { as } = sockets[0].sent[0];
  first.watch.dispose();
  assert.equal(sockets[0].sent.length, 1);
  second.watch.dispose();
  assert.deepEqual(sockets[0].sent[1], { unwatch: as });
});

test('a view, patches to it, and the end', () => {
  const { seen } = watching();
  sockets[0].open();
  const { as } = sockets[0].sent[0];
  sockets[0].say({ id: 'r', as, view: VIEW });
  assert.deepEqual(seen().view, VIEW);
  sockets[0].say({ id: 'r', as, patch: [[['steps', 'load', 'status'], 'done'], [['status'], 'succeeded']], seq: 3 });
  assert.equal(seen().view.steps.load.status, 'done');
  assert.equal(VIEW.steps.load.status, 'running', 'a patch makes a new view and leaves the old one');
  sockets[0].say({ id: 'r', as, last: true });
  assert.deepEqual([seen().view.status, seen().last], ['succeeded', true]);
});

test('a lost socket is said, comes back with longer pauses, and asks again', () => {
  const { seen } = watching();
  sockets[0].open();
  const { as } = sockets[0].sent[0];
  sockets[0].say({ id: 'r', as, view: VIEW });
  sockets[0].break();
  assert.deepEqual([seen().online, seen().view.status], [false, 'running'], 'the last view stays, marked as such');
  const [first] = timers;
  ring();
  sockets[1].break();
  assert.ok(timers[0].after > first.after);
  ring();
  sockets[2].open();
  assert.deepEqual(sockets[2].sent, [{ watch: 'r', as, path: 'a.ipynb' }]);
  sockets[2].say({ id: 'r', as, view: { ...VIEW, seq: 9 } });
  assert.deepEqual([seen().online, seen().view.seq], [true, 9]);
});

test('a run that is over is not asked for again', () => {
  watching();
  sockets[0].open();
  const { as } = sockets[0].sent[0];
  sockets[0].say({ id: 'r', as, view: { ...VIEW, status: 'succeeded' } });
  sockets[0].say({ id: 'r', as, last: true });
  sockets[0].break();
  ring();
  sockets[1].open();
  assert.deepEqual(sockets[1].sent, []);
});

test('a run nobody knows is not asked for again; an engine that stopped is', () => {
  const unknown = watching('nobody');
  const known = watching('r');
  sockets[0].open();
  const [a, b] = sockets[0].sent.map(one => one.as);
  sockets[0].say({ id: 'nobody', as: a, error: { type: 'UnknownRun', message: 'no run' } });
  assert.equal(unknown.seen().error.type, 'UnknownRun');
  sockets[0].say({ id: 'r', as: b, error: { type: 'EngineUnavailable', message: 'it has stopped' } });
  assert.equal(known.seen().online, false);
  ring();
  assert.deepEqual(sockets[0].sent.slice(2).map(one => one.watch), ['r']);
});

test('what comes late for a watch that has ended is dropped', () => {
  const { watch, times } = watching();
  sockets[0].open();
  const { as } = sockets[0].sent[0];
  watch.dispose();
  sockets[0].say({ id: 'r', as, view: VIEW });
  assert.equal(times(), 0);
});

test('a late watcher hears at once what is known', async () => {
  watching();
  sockets[0].open();
  const { as } = sockets[0].sent[0];
  sockets[0].say({ id: 'r', as, view: VIEW });
  const late = watching();
  await Promise.resolve();
  assert.deepEqual(late.seen().view, VIEW);
});

test('the list of runs', () => {
  const listener = mock.fn();
  connection.watchAll({}, listener);
  sockets[0].open();
  const { watch, as } = sockets[0].sent[0];
  assert.equal(watch, '*');
  sockets[0].say({ id: '*', as, home: '/p/.flowbook', runs: [{ id: 'r' }] });
  assert.deepEqual(listener.mock.calls.at(-1).arguments[0], { runs: [{ id: 'r' }], home: '/p/.flowbook', online: true });
});
