
// --- the widget: appended to draw.js, which it shares its scope with
// A run is followed through the Jupyter server where there is one, so a busy or dead kernel changes nothing;
// else through the kernel; else what is stored with the widget is shown.

const HOPELESS = ['UnknownRun', 'UserError'];

function jupyterServer() {
  try {
    const config = JSON.parse(document.getElementById('jupyter-config-data').textContent);
    return config.baseUrl ? { base: new URL(config.baseUrl, location.href), token: config.token ?? '' } : null;
  } catch {
    return null;
  }
}

class ServerLink {
  constructor(server, home) {
    this.server = server;
    this.home = home;
  }

  async ask(what, { run, at, ...body }) {
    const posted = ['signal', 'cancel', 'terminate', 'update', 'complete'].includes(what);
    const url = new URL(`flowbook/api/runs/${encodeURIComponent(run)}/${what}`, this.server.base);
    const headers = {};
    if (this.server.token) headers.Authorization = `token ${this.server.token}`;
    const cookie = document.cookie.match(/(?:^|;\s*)_xsrf=([^;]+)/);
    if (cookie) headers['X-XSRFToken'] = decodeURIComponent(cookie[1]);
    if (!posted) {
      url.searchParams.set('home', this.home);
      if (some(at)) url.searchParams.set('at', at);
    }
    const text = posted ? JSON.stringify({ ...body, home: this.home }) : undefined;
    const response = await fetch(url, { method: posted ? 'POST' : 'GET', headers, body: text, credentials: 'same-origin' });
    const found = await response.json().catch(() => null);
    if (!response.ok || !found) throw new Error(found?.error?.message ?? `The Jupyter server answered ${response.status}.`);
    return found;
  }

  /** Calls `tell` with `{view}`, `{patch}`, `{runs}`, `{last}`, and `{away}` while the connection is lost. */
  follow(run, tell) {
    const url = new URL('flowbook/ws', this.server.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    let pause = 400;
    let socket = null;
    let timer = 0;
    let over = false;
    const open = () => {
      socket = new WebSocket(url);
      socket.onopen = () => socket.send(JSON.stringify({ watch: run, home: this.home }));
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        pause = 400;
        over ||= Boolean(message.last) || HOPELESS.includes(message.error?.type);
        if (message.error) tell({ away: true });
        else tell(message);
        if (message.error) socket.close();
        if (over) socket.close();
      };
      socket.onclose = () => {
        if (over) return;
        tell({ away: true });
        timer = setTimeout(open, pause);
        pause = Math.min(2 * pause, 10000);
      };
    };
    open();
    return () => {
      over = true;
      clearTimeout(timer);
      socket.close();
    };
  }
}

class KernelLink {
  constructor(model) {
    this.model = model;
    this.number = 0;
    this.waiting = new Map();
    this.followers = new Map();
    this.receive = message => this.take(message);
    model.on('msg:custom', this.receive);
  }

  ask(what, given) {
    const id = `${Math.random().toString(36).slice(2)}-${++this.number}`;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.take({ id, error: 'The kernel does not answer. The run goes on without it.' }), 10000);
      this.waiting.set(id, { resolve, reject, late });
      this.model.send({ ...given, ask: what, id });
    });
  }

  follow(run, tell) {
    const id = `${Math.random().toString(36).slice(2)}-${++this.number}`;
    this.followers.set(id, tell);
    this.model.send({ id, ask: 'follow', run });
    return () => {
      this.followers.delete(id);
      this.model.send({ id, ask: 'unfollow' });
    };
  }

  take({ id, answer, update, error }) {
    if (update) this.followers.get(id)?.(update);
    const asked = this.waiting.get(id);
    if (!asked || update) return;
    clearTimeout(asked.late);
    this.waiting.delete(id);
    if (error) asked.reject(new Error(error));
    else asked.resolve(answer);
  }

  close() {
    this.model.off('msg:custom', this.receive);
  }
}

/** The server if it knows this run, else the kernel. */
async function linkOf(model, run) {
  const server = jupyterServer();
  if (server && model.get('home')) {
    const link = new ServerLink(server, model.get('home'));
    try {
      if (run) await link.ask('view', { run });
      return link;
    } catch {
      // No server extension, or a server that may not look there: the kernel is asked.
    }
  }
  return new KernelLink(model);
}

/** Follows one run and keeps its view whole. Returns how to stop. */
function followRun(link, run, onView, onOnline) {
  let view = null;
  let over = false;
  return link.follow(run, message => {
    if (message.view) view = message.view;
    else if (message.patch && view) view = applyPatch(view, message.patch);
    over ||= Boolean(message.last);
    if (view && (message.view || message.patch)) onView(view);
    onOnline(over || !message.away);
  });
}

function renderRun(model, el, stops) {
  const run = model.get('run');
  const stored = model.get('view');
  const link = linkOf(model, run);
  const ask = async (what, given = {}) => (await link).ask(what, { run, ...given });
  const source = {
    getView: at => ask('view', { at }),
    getHistory: () => ask('history'),
    getAt: at => ask('at', { at }),
    actions: {
      signal: (name, value) => ask('signal', { name, value, id: `${Date.now()}-${Math.random()}` }),
      cancel: () => ask('cancel'),
      terminate: () => ask('terminate'),
      update: (name, values) => ask('update', { name, values, id: `${Date.now()}-${Math.random()}` }),
      complete: (token, answer) => ask('complete', { token, ...answer }),
      settle: (key, note) => ask('settle', { key, note }),
      retry: key => ask('retry', { key })
    }
  };
  const drawing = createRunView(el, source, stored?.id ? stored : null);
  stops.push(() => drawing.dispose());
  if (stored?.id && some(stored.ended) && !owing(stored).length) return;
  drawing.online(false);
  link.then(found => {
    if (stops.done) return;
    stops.push(followRun(found, run, view => drawing.update(view), yes => drawing.online(yes)), () => found.close?.());
  });
}

function renderGraph(model, el, stops) {
  const graph = model.get('graph');
  const stored = model.get('view');
  const coloured = view => (view?.id ? { ...view, graph } : null);
  const line = h('div', { class: 'fb-picture fb-head', hidden: true });
  el.append(line);
  const drawing = createGraph(el, graph);
  const show = (view, live) => {
    drawing.update(coloured(view));
    line.hidden = !view?.id;
    if (!view?.id) return;
    const [done, total] = progress({ ...view, graph });
    const words = `${done} of ${total} done${some(view.ended) || live ? '' : ' · as last seen'}`;
    line.replaceChildren(statusBadge(view.status), h('code', { class: 'fb-id' }, view.id), h('span', null, words));
  };
  show(stored, false);
  stops.push(() => drawing.dispose());
  if (!model.get('home')) return;
  let current = '';
  let stop = () => {};
  linkOf(model, stored?.id ?? '').then(link => {
    if (stops.done) return;
    const turn = run => {
      if (!run || run === current) return;
      current = run;
      stop();
      let last = null;
      stop = followRun(link, run, view => show((last = view), true), yes => last && show(last, yes));
    };
    turn(stored?.id);
    const source = model.get('source');
    const whole = link.follow('*', message => turn(message.runs?.find(summary => summary.source === source)?.id));
    stops.push(() => stop(), whole, () => link.close?.());
  });
}

export default {
  render({ model, el }) {
    const stops = [];
    (model.get('shape') === 'graph' ? renderGraph : renderRun)(model, el, stops);
    return () => {
      stops.done = true;
      for (const stop of stops.splice(0)) stop();
    };
  }
};
