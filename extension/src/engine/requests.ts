/** Every request to the server. Only this file knows addresses. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { Diagnostic, ForkPlan, Page, Place, Summary, View } from './shapes';

/** An error the server explained. */
export class EngineError extends Error {
  constructor(
    readonly type: string,
    message: string,
    readonly status: number,
    readonly diagnostics: Diagnostic[] = []
  ) {
    super(message);
    this.name = 'EngineError';
  }
}

export class Requests {
  constructor(readonly settings: ServerConnection.ISettings = ServerConnection.makeSettings()) {}

  compile(path: string, content: unknown): Promise<Page> {
    return this.post('compile', { path, content });
  }

  start(path: string, content: unknown, texts: Record<string, string>): Promise<Summary> {
    return this.post('runs', { path, content, texts });
  }

  runs(place: Place): Promise<{ runs: Summary[]; home: string; file: string }> {
    return this.get('runs', place);
  }

  run(run: string, place: Place): Promise<Summary> {
    return this.get(`runs/${encodeURIComponent(run)}`, { ...place });
  }

  view(run: string, place: Place, at?: number): Promise<View> {
    return this.get(`runs/${encodeURIComponent(run)}/view`, { ...place, at });
  }

  history(run: string, place: Place): Promise<any[]> {
    return this.get(`runs/${encodeURIComponent(run)}/history`, { ...place });
  }

  moment(run: string, place: Place, at: number): Promise<any> {
    return this.get(`runs/${encodeURIComponent(run)}/at`, { ...place, at });
  }

  signal(run: string, place: Place, name: string, value: unknown, id: string): Promise<Summary> {
    return this.post(`runs/${encodeURIComponent(run)}/signal`, { ...place, name, value, id });
  }

  cancel(run: string, place: Place): Promise<{ outcome: string }> {
    return this.post(`runs/${encodeURIComponent(run)}/cancel`, { ...place });
  }

  terminate(run: string, place: Place): Promise<{ outcome: string }> {
    return this.post(`runs/${encodeURIComponent(run)}/terminate`, { ...place });
  }

  update(run: string, place: Place, name: string, values: unknown[], id: string): Promise<unknown> {
    return this.post(`runs/${encodeURIComponent(run)}/update`, { ...place, name, values, id });
  }

  complete(run: string, place: Place, token: string, answer: { value: unknown } | { failure: string }): Promise<Summary> {
    return this.post(`runs/${encodeURIComponent(run)}/complete`, { ...place, token, ...answer });
  }

  settle(run: string, place: Place, key: string, note: string): Promise<Summary> {
    return this.post(`runs/${encodeURIComponent(run)}/settle`, { ...place, key, note });
  }

  retry(run: string, place: Place, key: string): Promise<Summary> {
    return this.post(`runs/${encodeURIComponent(run)}/retry`, { ...place, key });
  }

  resume(run: string, place: Place): Promise<Summary> {
    return this.post(`runs/${encodeURIComponent(run)}/resume`, { ...place });
  }

  plan(run: string, place: Place, from: Fork): Promise<ForkPlan> {
    return this.post(`runs/${encodeURIComponent(run)}/fork`, { ...place, ...from, plan: true });
  }

  fork(run: string, place: Place, from: Fork): Promise<Summary> {
    return this.post(`runs/${encodeURIComponent(run)}/fork`, { ...place, ...from });
  }

  export(path: string, content: unknown): Promise<{ source: string; name: string }> {
    return this.post('export', { path, content });
  }

  /** A new socket for live updates. */
  socket(): WebSocket {
    const url = new URL(URLExt.join(this.settings.wsUrl, 'flowbook', 'ws'));
    if (this.settings.appendToken && this.settings.token) {
      url.searchParams.set('token', this.settings.token);
    }
    return new this.settings.WebSocket(url.toString());
  }

  private get<T>(route: string, query: Record<string, any>): Promise<T> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
    const search = new URLSearchParams(given.map(([key, value]) => [key, String(value)]));
    return this.ask(`${route}?${search.toString()}`, { method: 'GET' });
  }

  private post<T>(route: string, body: unknown): Promise<T> {
    return this.ask(route, { method: 'POST', body: JSON.stringify(body) });
  }

  private async ask<T>(route: string, init: RequestInit): Promise<T> {
    const url = URLExt.join(this.settings.baseUrl, 'flowbook', 'api') + '/' + route;
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
    } catch (error) {
      throw new EngineError('Offline', 'The Jupyter server does not answer. Runs go on without it.', 0);
    }
    const text = await response.text();
    if (response.ok) {
      return JSON.parse(text) as T;
    }
    throw explained(text, response);
  }
}

export interface Fork {
  at?: number;
  step?: string;
  content?: unknown;
}

function explained(text: string, response: Response): EngineError {
  try {
    const { type, message, diagnostics } = JSON.parse(text).error;
    return new EngineError(type, message, response.status, diagnostics ?? []);
  } catch {
    const hint = response.status === 404 ? 'The Flowbook server extension is not enabled.' : response.statusText;
    return new EngineError('HTTPError', hint, response.status);
  }
}
