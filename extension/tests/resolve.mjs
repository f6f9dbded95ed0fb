// The compiled sources name each other without ".js", as bundlers allow; node wants it.
import { register } from 'node:module';

const hooks = `
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (specifier.startsWith('.')) {
      return next(specifier + '.js', context);
    }
    throw error;
  }
}
export async function load(url, context, next) {
  // lib has no package.json of its own that says "module".
  return next(url, url.includes('/extension/lib/') ? { ...context, format: 'module' } : context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
