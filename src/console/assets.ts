/**
 * What a page of the console loads beside itself: one style sheet and one program, from the same
 * origin and nowhere else. Both are small, written by hand, and need nothing.
 */

const { raw } = String;

export const styleSheet = raw`:root {
  color-scheme: light dark;
  --ground: #ffffff; --panel: #f5f6f8; --text: #16191d; --faint: #50565e; --line: #c9ced5;
  --link: #0b4fa8; --focus: #0b4fa8;
  --good: #0a5c2b; --good-ground: #e2f3e8; --bad: #9b1020; --bad-ground: #fbe6e8;
  --warn: #6b4700; --warn-ground: #fdf0d5; --calm-ground: #e8ebef;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --panel: #1d2126; --text: #e9ecef; --faint: #b0b7c0; --line: #434a53;
    --link: #8dbbff; --focus: #8dbbff;
    --good: #8fdcac; --good-ground: #14331f; --bad: #ffb0b6; --bad-ground: #43161b;
    --warn: #f3cd85; --warn-ground: #3a2a0b; --calm-ground: #2b3138;
  }
}
* { box-sizing: border-box; }
html { font: 100%/1.5 system-ui, sans-serif; background: var(--ground); color: var(--text); }
body { margin: 0 auto; max-width: 84rem; padding: 0 1rem 3rem; overflow-wrap: anywhere; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.2rem 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--ground); padding: .3rem .6rem; }
.top { display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; align-items: center; padding: .7rem 0;
  border-bottom: 1px solid var(--line); }
.top nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; flex: 1; }
.top form { margin: 0; }
.brand { font-weight: 700; }
button, input, select { font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--faint);
  border-radius: .3rem; padding: .3rem .7rem; min-height: 2.2rem; max-width: 100%; }
button { background: var(--calm-ground); cursor: pointer; }
.faint { color: var(--faint); }
.state { display: inline-block; border-radius: .3rem; padding: 0 .5rem; font-weight: 600; white-space: nowrap;
  background: var(--calm-ground); }
.state.good, .state.same { background: var(--good-ground); color: var(--good); }
.state.bad, .state.refused, .state.unreadable { background: var(--bad-ground); color: var(--bad); }
.state.behind, .state.on-its-way { background: var(--warn-ground); color: var(--warn); }
.findings { list-style: none; padding: 0; margin: .4rem 0; }
.findings li { border-left: .35rem solid var(--bad); background: var(--panel); padding: .5rem .8rem; margin: .4rem 0; }
.findings li.near { border-left-color: var(--warn); }
.findings p:first-child { font-weight: 600; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; margin: .6rem 0; }
.sides > div { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .9rem; }
.sides h3 { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .4rem 1.4rem;
  margin: .6rem 0; }
.figures dt { color: var(--faint); font-size: .9rem; }
.figures dd { margin: 0; }
.figures .whole { grid-column: 1 / -1; }
table { border-collapse: collapse; width: 100%; }
table.sided { table-layout: fixed; }
.sided thead th:first-child { width: 26%; }
caption { text-align: left; color: var(--faint); padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; border-top: 1px solid var(--line); }
thead th { border-top: 0; font-size: .9rem; }
tbody th { font-weight: 600; }
td p, th p { margin: .15rem 0; font-weight: 400; font-size: .9rem; }
.lag { display: block; width: 100%; max-width: 40rem; height: 5rem; background: var(--panel); }
.lag rect { fill: var(--link); }
.lag line { stroke: var(--line); }
figure { margin: .6rem 0; }
.calendar { table-layout: fixed; max-width: 44rem; }
.calendar th, .calendar td { padding: .2rem .3rem; font-size: .85rem; border: 1px solid var(--line); }
.calendar td.some { background: var(--warn-ground); font-weight: 600; }
.calendar td.outside { background: var(--panel); }
.calendar .day { display: block; color: var(--faint); font-weight: 400; font-size: .8rem; }
.search { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; margin: .8rem 0; }
.search label { display: grid; gap: .2rem; }
.events { list-style: none; padding: 0; margin: .4rem 0; max-height: 9rem; overflow-y: auto; }
.events li { padding: .25rem 0; border-top: 1px solid var(--line); }
#live:empty { display: none; }
.pages { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; margin: .8rem 0; }
.notice { background: var(--bad-ground); color: var(--bad); padding: .6rem .9rem; border-radius: .4rem; }
[hidden] { display: none; }
@media (max-width: 44rem) {
  .top nav { order: 1; flex-basis: 100%; }
  .sided, .sided tbody, .sided tr, .sided th, .sided td { display: block; width: 100%; }
  .sided thead { position: absolute; left: -100rem; }
  .sided caption { display: block; }
  .sided td, .sided th { border: 0; padding: .2rem 0; }
  .sided tr { border-top: 1px solid var(--line); padding: .5rem 0; }
  .sided td::before { content: attr(data-side); display: block; color: var(--faint); font-size: .85rem; }
  .calendar th, .calendar td { padding: .1rem .15rem; font-size: .75rem; }
}
@media (prefers-reduced-motion: no-preference) {
  .fresh { animation: fresh 2s ease-out; }
  @keyframes fresh { from { background: var(--warn-ground); } }
}
`;

/**
 * The program of a page: shows events as they happen, and has the parts of the page that may
 * change made anew by the server, when something happens and each minute. Without it a page says
 * how things stood when it was opened. It makes text of what it hears, never markup; while nobody
 * looks at a page it asks for nothing.
 */
export const script = raw`'use strict';
(() => {
  const mostRows = 50;
  const calmMs = 1500;
  const anewMs = 60000;
  const live = document.getElementById('live');
  const events = document.getElementById('events');
  let source;
  let isOver = false;
  let waiting;
  let lastMs = 0;
  let asOf = new Date();
  let heard = { words: '', isBad: false };
  // Set while the page could not be made anew: nothing but a page that was takes it back.
  let old;

  function tell() {
    const { words, isBad } = old ?? heard;
    live.textContent = words;
    live.className = isBad ? 'notice' : 'faint';
  }
  const say = (words, isBad) => {
    heard = { words, isBad };
    tell();
  };
  function failed(why) {
    const time = asOf.toISOString().slice(11, 19);
    old = { words: 'This page is as it was at ' + time + ' UTC: ' + why + '. It is tried again.', isBad: true };
    tell();
  }
  const element = (name, text, attributes) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
    return made;
  };

  function show(row) {
    if (!events) return;
    const item = element('li', '', { id: row.id, class: 'fresh' });
    const state = element('span', '', { class: 'state ' + row.state });
    state.append(element('span', row.symbol, { 'aria-hidden': 'true' }), ' ' + row.words);
    item.append(
      element('time', row.time, { datetime: row.at }), ' ',
      state, ' ',
      element('a', row.name, { href: row.address }), ' ',
      element('span', row.about, { class: 'faint' }),
    );
    const before = document.getElementById(row.id);
    if (before) before.replaceWith(item);
    else events.prepend(item);
    while (events.children.length > mostRows) events.lastElementChild.remove();
  }

  // Nobody loses the place at which they are, nor has opened or closed what they did for nothing.
  function replace(part, next) {
    if (part.isEqualNode(next)) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : undefined;
    const alike = (root, href) => [...root.querySelectorAll('a')].filter((a) => a.getAttribute('href') === href);
    const href = focused?.getAttribute('href');
    const at = focused ? alike(part, href).indexOf(focused) : -1;
    const opened = new Map([...part.querySelectorAll('details')].map(({ id, open }) => [id, open]));
    part.replaceWith(next);
    for (const details of next.querySelectorAll('details')) details.open = opened.get(details.id) ?? details.open;
    if (!focused) return;
    const same = focused.id ? document.getElementById(focused.id) : (alike(next, href)[at] ?? alike(next, href)[0]);
    (same ?? document.getElementById('main')).focus({ preventScroll: true });
  }

  async function renew() {
    waiting = undefined;
    if (isOver || document.hidden) return;
    const began = Date.now();
    try {
      const answer = await fetch(location.href, { cache: 'no-store' });
      if (answer.status === 401) return over();
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      if (answer.ok) {
        for (const part of document.querySelectorAll('[data-part]')) {
          const next = fresh.getElementById(part.id);
          if (next) replace(part, next);
        }
        document.title = fresh.title;
        asOf = new Date(began);
        old = undefined;
        tell();
      } else failed(fresh.querySelector('main p')?.textContent ?? 'the console answered ' + answer.status);
    } catch {
      failed('the console does not answer');
    }
    lastMs = Date.now() - began;
  }
  const renewSoon = () => {
    waiting ??= setTimeout(renew, Math.max(calmMs, 10 * lastMs));
  };
  // What this process hears nothing of changes too, and what is told of the past grows old.
  setInterval(renewSoon, anewMs);

  function over() {
    isOver = true;
    old = undefined;
    source.close();
    say('The session has ended, and this page is as it was. certstandby console prints a new link.', true);
  }

  function open() {
    source = new EventSource('/events');
    source.addEventListener('open', () => say('Live', false));
    source.addEventListener('start', () => events && events.replaceChildren());
    source.addEventListener('row', (event) => {
      show(JSON.parse(event.data));
      renewSoon();
    });
    source.addEventListener('over', over);
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) void ended();
      else say('The connection is lost, and this page is as it was. It is tried again.', true);
    });
  }

  // A stream that was refused does not say why.
  async function ended() {
    const answer = await fetch(location.href, { method: 'HEAD', cache: 'no-store' }).catch(() => undefined);
    if (answer && answer.status === 401) over();
    else say('This page is as it was: it hears of nothing. Load it again to see how things stand.', true);
  }

  // Browsers keep few connections to one server: a page that nobody sees has none.
  document.addEventListener('visibilitychange', () => {
    if (isOver) return;
    source.close();
    if (document.hidden) return;
    open();
    renewSoon();
  });
  open();
})();
`;
