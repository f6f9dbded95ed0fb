/** One run in full, in the main area. The drawing code does the picture; this feeds it. */
import { Widget } from '@lumino/widgets';

import type { Connection } from '../engine/connection';
import type { Requests } from '../engine/requests';
import { RunPicture } from './drawing';

export class RunView extends Widget {
  constructor(
    readonly run: string,
    readonly home: string,
    requests: Requests,
    connection: Connection
  ) {
    super();
    this.addClass('fb-RunView');
    this.picture = new RunPicture(this.node, run, home ? { home } : {}, requests, connection);
  }

  override dispose(): void {
    this.picture.dispose();
    super.dispose();
  }

  private readonly picture: RunPicture;
}
