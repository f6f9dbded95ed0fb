/**
 * A notebook as a workflow: its compiled page, kept up with what is typed, and the run that is looked at.
 * One for each open notebook; every surface listens to the same one.
 */
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { Signal } from '@lumino/signaling';

import type { Connection, Sight } from './connection';
import { EngineError, type Fork, type Requests } from './requests';
import { edited } from '../notebook/findings';
import { OPEN, type Diagnostic, type ForkPlan, type GraphNode, type Page, type Place, type Summary, type View } from './shapes';

const TYPING_PAUSE = 350;
const GONE = new Set(['dead', 'terminating']);

export type Change = 'page' | 'run' | 'view' | 'step' | 'kernel';

export class Flow implements IDisposable {
  constructor(
    readonly panel: NotebookPanel,
    readonly requests: Requests,
    readonly connection: Connection
  ) {
    this.typing = new Debouncer(() => this.compile(), TYPING_PAUSE);
    void panel.context.ready.then(() => this.begin());
    panel.disposed.connect(() => this.dispose());
  }

  /** What changed, for every surface. */
  readonly changed = new Signal<this, Change>(this);

  page: Page | null = null;
  /** Why the page could not be compiled at all (the server, not the notebook). */
  trouble = '';
  sight: Sight | null = null;
  runs: Summary[] = [];
  step = '';
  kernelGone = false;

  get path(): string {
    return this.panel.context.path;
  }

  get place(): Place {
    return { path: this.path };
  }

  get view(): View | null {
    return this.sight?.view ?? null;
  }

  get isOpen(): boolean {
    return this.view !== null && OPEN.has(this.view.status);
  }

  get content(): unknown {
    return this.panel.context.model.toJSON();
  }

  /** Whether this notebook has anything of a workflow; surfaces stay away from those that have not. */
  get isWorkflow(): boolean {
    return (this.page?.graph?.nodes?.length ?? 0) > 0 || this.runs.length > 0;
  }

  /** The step that a cell is, if it is one. */
  nodeOf(cellId: string, index: number): GraphNode | null {
    const nodes = this.page?.graph?.nodes ?? [];
    return nodes.find(n => n.cell === cellId) ?? nodes.find(n => !!n.cell && n.cell === `cell-${index + 1}`) ?? null;
  }

  /** What the compiler found in one cell. */
  findingsOf(cellId: string, index: number): Diagnostic[] {
    return (this.page?.diagnostics ?? []).filter(d => (d.cell ? d.cell === cellId : d.cell_number === index + 1));
  }

  /** Take the fix that the compiler offers, as an edit that can be undone. */
  fix(found: Diagnostic): void {
    for (const cell of this.panel.content.widgets) {
      const edits = found.edits.filter(edit => edit.cell === cell.model.id);
      if (edits.length) {
        cell.model.sharedModel.setSource(edited(cell.model.sharedModel.source, edits));
      }
    }
  }

  /** Take a step into view: its cell in the notebook, its details in the panel. */
  select(step: string, line = 0): void {
    this.step = step;
    this.changed.emit('step');
    const node = this.page?.graph?.nodes?.find(n => n.id === step);
    if (node) {
      void this.reveal(node.cell ?? '', node.cell_number ?? 0, line);
    }
  }

  /** Scroll to a cell, and to a line of it. */
  async reveal(cellId: string, number: number, line = 0): Promise<void> {
    const notebook = this.panel.content;
    const byId = notebook.widgets.findIndex(w => w.model.id === cellId);
    const index = byId >= 0 ? byId : number - 1;
    const cell = notebook.widgets[index];
    if (!cell) {
      return;
    }
    notebook.activeCellIndex = index;
    await notebook.scrollToCell(cell, 'smart');
    await cell.ready;
    if (line > 0 && cell.editor) {
      cell.editor.setCursorPosition({ line: line - 1, column: 0 });
      cell.editor.focus();
    }
  }

  async start(texts: Record<string, string>): Promise<Summary> {
    const summary = await this.requests.start(this.path, this.content, texts);
    this.follow(summary.id);
    return summary;
  }

  async fork(run: string, from: Fork): Promise<Summary> {
    const summary = await this.requests.fork(run, this.place, { ...from, content: this.content });
    this.follow(summary.id);
    return summary;
  }

  plan(run: string, from: Fork): Promise<ForkPlan> {
    return this.requests.plan(run, this.place, { ...from, content: this.content });
  }

  /** Look at this run from now on, until a newer one begins. */
  follow(run: string): void {
    if (this.followed === run) {
      return;
    }
    this.followed = run;
    this.watched?.dispose();
    this.sight = null;
    this.watched = this.connection.watch(run, this.place, sight => {
      const before = this.sight;
      this.sight = sight;
      this.changed.emit(before?.view?.status === sight.view?.status ? 'view' : 'run');
    });
    this.changed.emit('run');
  }

  /** Compile what stands in the editor now. */
  async compile(): Promise<void> {
    if (this.isDisposed) {
      return;
    }
    const round = ++this.round;
    try {
      const page = await this.requests.compile(this.path, this.content);
      if (round !== this.round) {
        return;
      }
      // While something is half typed, the last whole graph stays.
      this.page = page.graph || !this.page ? page : { ...page, graph: this.page.graph };
      this.trouble = '';
    } catch (error) {
      if (round !== this.round) {
        return;
      }
      this.trouble = error instanceof EngineError ? error.message : String(error);
    }
    this.changed.emit('page');
  }

  get isDisposed(): boolean {
    return this.disposed;
  }

  dispose(): void {
    if (this.disposed) {
      return;
    }
    this.disposed = true;
    this.typing.dispose();
    this.watched?.dispose();
    this.listed?.dispose();
    Signal.clearData(this);
  }

  private async begin(): Promise<void> {
    if (this.disposed) {
      return;
    }
    this.panel.context.model.contentChanged.connect(() => void this.typing.invoke().catch(() => undefined), this);
    this.panel.context.pathChanged.connect(() => void this.compile(), this);
    this.watchKernel();
    await this.compile();
    this.listed = this.connection.watchAll(this.place, listing => {
      const file = this.page?.file;
      this.runs = listing.runs.filter(run => run.source === file);
      const newest = this.runs[0];
      if (newest && newest.id !== this.newest) {
        this.newest = newest.id;
        this.follow(newest.id);
      }
      this.changed.emit('run');
    });
  }

  private watchKernel(): void {
    const context = this.panel.sessionContext;
    let seen = false;
    const look = () => {
      const kernel = context.session?.kernel;
      seen = seen || !!kernel;
      const gone = seen && (!kernel || kernel.isDisposed || GONE.has(kernel.status));
      if (gone !== this.kernelGone) {
        this.kernelGone = gone;
        this.changed.emit('kernel');
      }
    };
    context.statusChanged.connect(look, this);
    context.kernelChanged.connect(look, this);
    context.sessionChanged.connect(look, this);
    look();
  }

  private readonly typing: Debouncer;
  private disposed = false;
  private round = 0;
  private followed = '';
  private newest = '';
  private watched: IDisposable | null = null;
  private listed: IDisposable | null = null;
}
