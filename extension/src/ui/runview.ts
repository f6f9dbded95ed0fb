/** One run in full, in the main area. The drawing code does the picture; this feeds it. */
import { Widget } from '@lumino/widgets';

import type { Connection } from '../engine/connection';
import type { Requests } from '../engine/requests';
import type { Place } from '../engine/shapes';
import { RunPicture, type RunActions } from './drawing';

export class RunView extends Widget {
  constructor(
    readonly run: string,
    readonly home: string,
    requests: Requests,
    connection: Connection,
    actions: RunActions
  ) {
    super();
    this.addClass('flow-RunView');
    this.node.tabIndex = -1;
    const place: Place = home ? { home } : {};
    this.picture = new RunPicture(this.node, run, place, requests, connection, actions);
  }

  override dispose(): void {
    this.picture.dispose();
    super.dispose();
  }

  private readonly picture: RunPicture;
}
