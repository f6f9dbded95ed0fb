/**
 * Live updates: one socket for the whole page, however many watch. It comes back by itself and subscribes again.
 * Nothing here goes through a kernel.
 */
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

import { applyPatch } from '../ui/shared/draw';
import type { Requests } from './requests';
import type { Place, Problem, Summary, View } from './shapes';

/** What a watcher of a run sees. `online` is false while the socket is away; the view is the last one known. */
export interface Sight {
  view: View | null;
  online: boolean;
  last: boolean;
  error: Problem | null;
}

/** What a watcher of the runs list sees. */
export interface Listing {
  runs: Summary[];
  home: string;
  online: boolean;
}

interface Subscription {
  mark: string;
  run: string;
  place: Place;
  sight: Sight;
  listing: Listing | null;
  listeners: Set<() => void>;
  retry: number;
  timer: number;
}

const ALL = '*';
const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 10_000;

export class Connection {
  constructor(private readonly requests: Requests) {}

  /** Watch one run. The listener is called at once where something is known already. */
  watch(run: string, place: Place, listener: (sight: Sight) => void): IDisposable {
    const found = this.subscription(run, place);
    const call = () => listener(found.sight);
    if (found.sight.view) {
      queueMicrotask(() => found.listeners.has(call) && call());
    }
    return this.listen(found, call);
  }

  /** Watch the list of a project's runs. */
  watchAll(place: Place, listener: (listing: Listing) => void): IDisposable {
    const found = this.subscription(ALL, place);
    const call = () => found.listing && listener(found.listing);
    if (found.listing) {
      queueMicrotask(() => found.listeners.has(call) && call());
    }
    return this.listen(found, call);
  }

  private subscription(run: string, place: Place): Subscription {
    const mark = JSON.stringify([run, place.home ?? '', place.home ? '' : (place.path ?? '')]);
    let found = this.subscriptions.get(mark);
    if (!found) {
      const sight = { view: null, online: true, last: false, error: null };
      found = { mark, run, place, sight, listing: null, listeners: new Set(), retry: FIRST_PAUSE, timer: 0 };
      this.subscriptions.set(mark, found);
      this.ask(found);
    }
    return found;
  }

  private listen(found: Subscription, call: () => void): IDisposable {
    found.listeners.add(call);
    return new DisposableDelegate(() => {
      found.listeners.delete(call);
      if (found.listeners.size === 0 && this.subscriptions.get(found.mark) === found) {
        this.subscriptions.delete(found.mark);
        window.clearTimeout(found.timer);
        this.send({ unwatch: found.mark });
      }
    });
  }

  private ask(found: Subscription): void {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.send({ watch: found.run, as: found.mark, ...found.place });
    } else {
      this.open();
    }
  }

  private send(message: unknown): void {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }

  private open(): void {
    if (this.socket || this.reopening) {
      return;
    }
    const socket = this.requests.socket();
    this.socket = socket;
    socket.onopen = () => {
      this.pause = FIRST_PAUSE;
      for (const found of this.subscriptions.values()) {
        if (!found.sight.last) {
          this.ask(found);
        }
      }
    };
    socket.onmessage = event => this.receive(JSON.parse(event.data));
    socket.onclose = () => this.lost(socket);
  }

  private lost(socket: WebSocket): void {
    if (this.socket !== socket) {
      return;
    }
    this.socket = null;
    for (const found of this.subscriptions.values()) {
      if (!found.sight.last) {
        found.sight = { ...found.sight, online: false };
        found.listing = found.listing && { ...found.listing, online: false };
        this.tell(found);
      }
    }
    this.reopening = window.setTimeout(() => {
      this.reopening = 0;
      if (this.subscriptions.size > 0) {
        this.open();
      }
    }, this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }

  private receive(message: any): void {
    const found = this.subscriptions.get(message.as);
    if (!found) {
      return;
    }
    const sight = found.sight;
    if (message.error) {
      found.sight = { ...sight, error: message.error, online: false };
      this.askLater(found, message.error.type);
    } else if (message.runs) {
      found.listing = { runs: message.runs, home: message.home ?? '', online: true };
      found.retry = FIRST_PAUSE;
    } else if (message.view) {
      found.sight = { ...sight, view: message.view, online: true, error: null };
      found.retry = FIRST_PAUSE;
    } else if (message.patch && sight.view) {
      found.sight = { ...sight, view: applyPatch(sight.view, message.patch) as View, online: true };
    }
    if (message.last) {
      found.sight = { ...found.sight, last: true };
    }
    this.tell(found);
  }

  /** The engine went away on purpose or could not start: ask again, slowly; never for a run that does not exist. */
  private askLater(found: Subscription, why: string): void {
    if (why === 'UnknownRun' || why === 'UserError') {
      return;
    }
    window.clearTimeout(found.timer);
    found.timer = window.setTimeout(() => this.ask(found), found.retry);
    found.retry = Math.min(found.retry * 2, LONGEST_PAUSE);
  }

  private tell(found: Subscription): void {
    for (const call of [...found.listeners]) {
      call();
    }
  }

  private readonly subscriptions = new Map<string, Subscription>();
  private socket: WebSocket | null = null;
  private reopening = 0;
  private pause = FIRST_PAUSE;
}
