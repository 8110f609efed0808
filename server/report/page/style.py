"""The page's style: light and dark as the reader's system is set, and down to the width of a telephone."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f8; --card: #ffffff; --ink: #1c2126; --soft: #5b656e; --line: #dfe3e6; --accent: #0072b2;
  --warn: #8a4300; --warn-paper: #fff4e6; --warn-line: #f0c08a; --edge: #00000038;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: clamp(1.35rem, 3.4vw, 2rem); line-height: 1.25; margin: 0.25rem 0 0.75rem; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0.75rem; }
p { margin: 0 0 0.75rem; max-width: 72ch; }
.soft, figcaption, .note { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.75rem; margin: 1.5rem 0; }
.tile, figure, .table, details, pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 0.8rem 1rem; }
.tile .name { font-size: 0.82rem; color: var(--soft); }
.tile .value { font-size: 1.45rem; font-weight: 650; line-height: 1.3; white-space: nowrap; }
.tile .note { font-size: 0.82rem; }
.warn { background: var(--warn-paper); border: 1px solid var(--warn-line); border-radius: 10px; padding: 0.8rem 1rem; }
.warn strong { color: var(--warn); }
.warn ul { margin: 0.4rem 0 0; padding-left: 1.2rem; }
.warn details { background: none; border: 0; padding: 0; margin: 0.4rem 0 0; }
figure { margin: 0 0 1.25rem; padding: 1rem; }
figure h2 { margin: 0 0 0.35rem; }
figcaption { font-size: 0.92rem; margin-bottom: 0.75rem; max-width: 84ch; }
.picture { overflow-x: auto; }
.picture img { display: block; width: var(--width); max-width: 100%; height: auto; }
.followed .picture { display: none; }
.finding { display: none; font-weight: 650; margin: 0 0 0.5rem; max-width: none; }
.followed .finding { display: block; }
.curves .soft { font-size: 0.82rem; margin: 0; }
.curves button { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 6px; }
.curves button { cursor: pointer; }
.choice { display: flex; flex-wrap: wrap; gap: 0.4rem; margin-bottom: 0.5rem; font-size: 0.85rem; }
.choice button { padding: 0.2rem 0.7rem; }
.choice [aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: var(--card); }
.field { height: 340px; touch-action: pan-y; cursor: crosshair; border-radius: 6px; }
.field svg { display: block; width: 100%; height: 100%; }
.field text { fill: var(--soft); font-size: 12px; }
.grid, .stage, .cursor, .curve, .bar { fill: none; }
.grid { stroke: var(--line); }
.stage { stroke: var(--soft); stroke-dasharray: 1 4; }
.cursor { stroke: var(--soft); }
.curve { stroke: var(--shade); stroke-width: 2; stroke-linejoin: round; }
.bar { stroke: var(--shade); stroke-width: 6; opacity: 0.25; }
.curve, .bar, circle { --shade: var(--c); }
circle { fill: var(--shade); stroke: var(--card); stroke-width: 1.5; }
.where { font-weight: 650; margin: 0.5rem 0 0.4rem; }
.keys { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 0.35rem; font-size: 0.88rem; }
.keys { margin-bottom: 0.6rem; }
.keys button { display: flex; align-items: center; gap: 0.5rem; padding: 0.25rem 0.6rem; text-align: left; }
.keys svg { width: 26px; height: 8px; flex: none; }
.keys b { margin-left: auto; font-variant-numeric: tabular-nums; }
.keys [aria-pressed="false"] { color: var(--soft); text-decoration: line-through; }
.keys [aria-pressed="false"] svg { opacity: 0.4; }
.table { overflow: auto; max-height: 30rem; }
.table { /* a shade at the right edge as long as there is more to scroll to */
  background: linear-gradient(to left, var(--card) 40%, transparent) right / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--edge), transparent) right / 0.8rem 100% no-repeat scroll, var(--card);
}
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, .words, .line { text-align: left; }
thead th { position: sticky; top: 0; background: var(--card); color: var(--soft); font-weight: 600; }
thead th { white-space: normal; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
.words, .line { display: block; }
.words { min-width: 26rem; white-space: normal; }
.line { min-width: 24rem; white-space: normal; }
tbody th { position: sticky; left: 0; background: var(--card); }
details { padding: 0.7rem 1rem; margin: 0 0 0.75rem; }
details .table, details pre { margin-top: 0.75rem; border-radius: 6px; }
summary { cursor: pointer; font-weight: 600; }
pre, code { font: 0.85rem/1.5 ui-monospace, monospace; }
pre { margin: 0 0 0.75rem; padding: 0.8rem 1rem; overflow: auto; max-height: 30rem; }
pre.command { white-space: pre-wrap; }
pre.command span { display: inline-block; max-width: 100%; overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 820px) { .tiles { grid-template-columns: 1fr 1fr; } }
@media (max-width: 640px) {
  main { padding: 1.25rem 0.8rem 3rem; }
  .tiles { gap: 0.5rem; }
  .words { min-width: 20rem; }
  .tile .value { font-size: 1.2rem; }
  figure { padding: 0.8rem; }
  .finding { display: block; }
  .picture img { max-width: none; width: calc(0.68 * var(--width)); }
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1d2226; --ink: #e8ebed; --soft: #9aa5ae; --line: #333b41; --accent: #6cbcf0;
    --warn: #ffc078; --warn-paper: #2e2418; --warn-line: #6b4a22; --edge: #000000c0;
  }
  .picture { background: #fff; border-radius: 6px; padding: 0.5rem; filter: brightness(0.9); }
  .curve, .bar, circle { --shade: color-mix(in oklab, var(--c) 70%, white); }
}
@media print {
  @page { margin: 14mm; }
  :root { color-scheme: light; --paper: #ffffff; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h2, h2 + .soft { break-after: avoid; }
  figure, .tile, .warn, tr, details { break-inside: avoid; }
  figure { padding: 0.6rem; }
  .curves { display: none; }
  .followed .picture { display: block; }
  .finding, .followed .finding { display: none; }
  .picture { overflow: visible; }
  .picture img { width: var(--width); max-width: 100%; max-height: 11cm; object-fit: contain; object-position: left; }
  .tiles { grid-template-columns: repeat(4, 1fr); gap: 0.4rem; }
  .tile { padding: 0.4rem 0.6rem; }
  .tile .value { font-size: 1.1rem; }
  .tile .note { font-size: 0.7rem; }
  .table, pre { max-height: none; overflow: visible; }
  .table { border: 0; background: none; }
  table { font-size: 7pt; }
  thead { display: table-header-group; }
  th, td, tbody th, thead th { position: static; white-space: normal; padding: 0.15rem 0.25rem; }
  .words { min-width: 0; }
  .line { min-width: 10rem; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
"""
