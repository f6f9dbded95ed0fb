import { LabIcon } from '@jupyterlab/ui-components';

const mark = (inner: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="16"><g class="jp-icon3" fill="#616161">${inner}</g></svg>`;

/** Three steps, the last two needing the first. */
export const flowIcon = new LabIcon({
  name: 'flowbook:flow',
  svgstr: mark(
    '<rect x="5" y="1" width="6" height="4" rx="1.2"/><rect x="1" y="11" width="6" height="4" rx="1.2"/>' +
      '<rect x="9" y="11" width="6" height="4" rx="1.2"/>' +
      '<path d="M7.4 5h1.2v2.4H12.6V11h-1.2V8.6H4.6V11H3.4V7.4h4z"/>'
  )
});

/** The same with a play mark. */
export const runIcon = new LabIcon({
  name: 'flowbook:run',
  svgstr: mark(
    '<rect x="1" y="2" width="5" height="4" rx="1.1"/><rect x="1" y="10" width="5" height="4" rx="1.1"/>' +
      '<path d="M2.9 6h1.2v4H2.9z"/><path d="M8 3.5v9l7-4.5z"/>'
  )
});
