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

/** The coloured mark, as the kernel has it. */
export const cardPicture =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64"><rect x="2" y="2"' +
  ' width="60" height="60" rx="12" fill="#1a917e"/><g fill="#fff"><rect x="20" y="11" width="24" height' +
  '="14" rx="4"/><rect x="8" y="39" width="22" height="14" rx="4"/><rect x="34" y="39" width="22" heigh' +
  't="14" rx="4"/></g><path d="M32 25v7M19 39v-3.500q0-3.500 3.500-3.500h19q3.500 0 3.500 3.500V39" fil' +
  'l="none" stroke="#fff" stroke-width="3.500"/></svg>';
