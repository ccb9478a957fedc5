// Makes uswds.css anew: the parts of the U.S. Web Design System that the pages may use, with Public Sans as the font.
//
//     cd "$(mktemp -d)" && npm install @uswds/uswds@3.14.0 purgecss@8 esbuild && node PATH/TO/api/pages/static/uswds.mjs
//
// The default font of the system, Source Sans Pro as it is bundled, lacks Vietnamese letters; Public Sans has them.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const installed = createRequire(path.resolve('package.json')); // where npm was told to install, not where this file is
const esbuild = installed('esbuild');
const { PurgeCSS } = installed('purgecss');
const here = path.dirname(new URL(import.meta.url).pathname);
const dist = path.resolve('node_modules/@uswds/uswds/dist');
const parts = new RegExp('^usa-(button|alert|table|tag|card|form|input|select|textarea|checkbox|radio|label|hint|' +
  'error-message|pagination|breadcrumb|summary-box|list|link|skipnav|prose|intro|fieldset|legend|form-group|' +
  'sr-only|section|grid)');
const elements = 'html body main a h1 h2 h3 p ul li ol table th td thead tbody caption dl dt dd form input select ' +
  'option button label textarea fieldset legend strong em abbr details summary figure header footer nav section ' +
  'article svg img pre code';
const raw = elements.split(' ').map((name) => `<${name}>`).join('');
const [purged] = await new PurgeCSS().purge({
  content: [{ raw, extension: 'html' }],
  css: [path.join(dist, 'css/uswds.css')],
  safelist: { standard: [parts, /^grid-(row|col|gap|container)/] },
  keyframes: true,
});
const icons = new Set();
const css = purged.css
  .replace(/@font-face\s*{[^}]*}/g, '')
  .replace(/@charset[^;]*;/g, '')
  .replace(/Source Sans Pro Web|Merriweather Web/g, 'Public Sans Web')
  .replace(/url\("\.\.\/img\/(usa-icons(?:-bg)?\/([a-z_-]+\.svg))"\)/g, (_, file, name) => {
    icons.add([file, name].join(' '));
    return `url("icons/${name}")`;
  });
const { code } = await esbuild.transform(css, { loader: 'css', minify: true });
const note = '/*! A subset of the U.S. Web Design System 3.14.0 (USWDS-LICENSE.md); made by uswds.mjs: do not edit. */\n';
fs.writeFileSync(path.join(here, 'uswds.css'), note + code);
for (const icon of icons) {
  const [file, name] = icon.split(' ');
  fs.copyFileSync(path.join(dist, 'img', file), path.join(here, 'icons', name));
}
