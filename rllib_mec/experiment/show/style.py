"""The style and the script of an episode's page.

The script has neither "<" nor "&", so that the page is well-formed as XML, too. It only moves what
is on the page already: all numbers are in the tables at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rllib_mec.experiment.show import colours

_LAYOUT = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1.25rem 6rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 0.2rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.6rem; }
p, ul { max-width: 46rem; }
.about { color: var(--soft); margin: 0 0 1.2rem; max-width: none; }
main > ul { padding-left: 1.1rem; margin: 1rem 0 0; max-width: none; columns: 2 24rem;
  column-gap: 2.5rem; }
main > ul li { margin: 0 0 0.4rem; break-inside: avoid; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: 0.6rem;
  margin: 0; }
.tiles div { background: var(--card); border: 1px solid var(--rule); border-radius: 0.6rem;
  padding: 0.5rem 0.75rem 0.55rem; display: flex; flex-direction: column; }
.tiles dt { color: var(--soft); font-size: 0.8rem; flex: 1; }
.tiles dd { margin: 0; font-size: 1.35rem; font-weight: 650; line-height: 1.25; }
.tiles dd + dd { color: var(--soft); font-size: 0.8rem; font-weight: 400; }
.stage { margin-top: 1rem; }
.bar { position: sticky; top: 0; z-index: 2; display: grid; gap: 0 0.6rem; align-items: center;
  grid-template-columns: auto auto 1fr auto; padding: 0.5rem 0; background: var(--page);
  border-bottom: 1px solid var(--rule); }
.bar[hidden] { display: none; }
.bar label { font-weight: 650; min-width: 5rem; }
.bar input { width: 100%; accent-color: var(--own); margin: 0; height: 2rem; }
.bar button { font: inherit; width: 2.25rem; height: 2.25rem; border-radius: 0.5rem; padding: 0;
  border: 1px solid var(--rule); background: var(--card); color: var(--ink); cursor: pointer; }
.bar output { grid-column: 1 / -1; color: var(--soft); font-size: 0.85rem; min-height: 1.3em; }
.bar output b { color: var(--ink); font-weight: 600; }
figure { margin: 1.3rem 0 0; }
figcaption { margin-bottom: 0.4rem; line-height: 1.35; }
figcaption span { color: var(--soft); font-size: 0.85rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.1rem 1.1rem; margin: 0.25rem 0;
  padding: 0; font-size: 0.82rem; max-width: none; }
.legend li { display: flex; align-items: center; gap: 0.4rem; }
.legend i { flex: none; width: 0.85rem; height: 0.85rem; border-radius: 2px; }
.legend i.local { width: 3.4rem; background: var(--scale); }
.legend i.download, .legend i.forced { background: var(--e3); position: relative; }
.legend i.forced { background: var(--server); }
.legend i.download::after { content: ""; position: absolute; left: 2px; top: 4px;
  border: 4.5px solid transparent; border-top: 7px solid var(--mark); }
.legend i.forced::after { content: ""; position: absolute; inset: 3px; background: var(--mark);
  transform: rotate(45deg); }
.legend i.idle, .legend i.busy { height: 3px; }
.legend i.own { height: 3px; background: var(--own); width: 1.4rem; }
.legend i.hold { height: 0; border-top: 2px dashed var(--hold); border-radius: 0; width: 1.4rem; }
.plot, .axis { display: grid; grid-template-columns: var(--gutter) 1fr; }
.plot { margin-top: 0.6rem; }
.labels { position: relative; }
.labels span { position: absolute; right: 0.5rem; transform: translateY(-50%); color: var(--soft);
  font-size: 0.72rem; line-height: 1; white-space: nowrap; }
.area { position: relative; }
.area svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.area.lanes { cursor: pointer; }
.cursor { position: absolute; top: 0; bottom: 0; pointer-events: none; display: none;
  left: calc(var(--t) / var(--steps) * 100%); width: calc(100% / var(--steps)); min-width: 3px;
  background: var(--veil); box-shadow: 0 0 0 1px var(--own); border-radius: 2px; }
.live .cursor { display: block; }
.cell { position: absolute; pointer-events: none; box-shadow: 0 0 0 2px var(--ink);
  border-radius: 2px; }
.axis { font-size: 0.72rem; color: var(--soft); height: 1.3rem; margin-top: 0.3rem; }
.axis b { text-align: right; padding-right: 0.5rem; font-weight: 400; }
.axis div { position: relative; }
.axis span { position: absolute; transform: translateX(-50%); }
path { stroke: none; }
path.track { fill: var(--track); }
path.download, path.forced { fill: var(--mark); stroke: var(--outline); stroke-width: 1px;
  vector-effect: non-scaling-stroke; paint-order: stroke; }
path.grid, path.own, path.hold { fill: none; vector-effect: non-scaling-stroke; }
path.grid { stroke: var(--rule); stroke-width: 1px; }
path.own { stroke: var(--own); stroke-width: 2.25px; }
path.hold { stroke: var(--hold); stroke-width: 1.5px; stroke-dasharray: 5 4; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.82rem; }
caption { text-align: left; color: var(--soft); padding: 0.4rem 0; }
th, td { padding: 0.2rem 0.6rem; text-align: right; white-space: nowrap; }
thead th { border-bottom: 1.5px solid var(--soft); vertical-align: bottom; }
tbody tr:nth-child(even) { background: var(--card); }
.text { text-align: left; }
details { margin: 0.8rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { font-size: 0.78rem; white-space: pre-wrap; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--own); outline-offset: 2px; }
#tip { position: fixed; z-index: 3; left: var(--x); top: var(--y); pointer-events: none;
  background: var(--card); border: 1px solid var(--soft); border-radius: 0.6rem; padding: 0.6rem
  0.8rem; font-size: 0.82rem; box-shadow: 0 6px 24px rgb(0 0 0 / 0.25); }
#tip dl { display: grid; grid-template-columns: auto auto; gap: 0 1rem; margin: 0.3rem 0 0; }
#tip dt { color: var(--soft); }
#tip dd { margin: 0; text-align: right; }
@media (max-width: 40rem) {
  body { padding: 1rem 0.8rem 11rem; }
  h1 { font-size: 1.35rem; }
  .tiles { grid-template-columns: repeat(3, 1fr); gap: 0.4rem; }
  .tiles div { padding: 0.4rem 0.5rem; }
  .tiles dd { font-size: 1.1rem; }
  .tiles dt, .tiles dd + dd { font-size: 0.72rem; }
  #tip { left: 0.5rem; right: 0.5rem; top: auto; bottom: 0.5rem; }
  #tip dl { grid-template-columns: auto auto auto auto; }
}
@media print { .bar, #tip { display: none; } .area .cursor { display: none; } }
"""

_LIGHT = {
    "page": "#FFFFFF",
    "card": "#F5F6F8",
    "ink": "#15181C",
    "soft": "#59626C",
    "rule": "#DDE1E6",
    "track": "#EEF0F3",
    "veil": "rgb(0 114 178 / 0.14)",
    "own": colours.LIGHT["server"],
    "hold": "#30363D",
    "mark": "#FFFFFF",
    "outline": "#15181C",
}
_DARK = {
    "page": "#0F1317",
    "card": "#1A2027",
    "ink": "#EDF0F3",
    "soft": "#9DA7B1",
    "rule": "#303841",
    "track": "#1C232A",
    "veil": "rgb(86 180 233 / 0.18)",
    "own": colours.DARK["server"],
    "hold": "#D0D6DC",
    "mark": "#FFFFFF",
    "outline": "#0F1317",
}


def css() -> str:
    """Returns the style of the page, light and dark."""
    light = _variables({**_LIGHT, **colours.LIGHT}, colours.SHADES_LIGHT)
    dark = _variables({**_DARK, **colours.DARK}, colours.SHADES_DARK)
    kinds = [kind for kind in colours.LIGHT if kind != "local"]
    fills = [f"path.{k} {{ fill: var(--{k}); }} i.{k} {{ background: var(--{k}); }}" for k in kinds]
    fills += [f"path.e{n} {{ fill: var(--e{n}); }}" for n in range(len(colours.SHADES_LIGHT))]
    return (
        f":root {{ color-scheme: light dark; --gutter: 3.4rem; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
        f"{_LAYOUT}" + "\n".join(fills) + "\n"
    )


def _variables(named: Mapping[str, str], shades: Sequence[str]) -> str:
    parts = [f"--{name}: {value};" for name, value in named.items()]
    parts += [f"--e{number}: {shade};" for number, shade in enumerate(shades)]
    parts.append(f"--scale: linear-gradient(90deg, {', '.join(shades)});")
    return " ".join(parts)


SCRIPT = """
(() => {
  const find = (selector) => document.querySelector(selector);
  const stage = find(".stage"), range = find("#step"), said = find("#said");
  const label = find("#which"), now = find("#now"), tip = find("#tip");
  const rowsOf = (id) => Array.from(find(id).tBodies).flatMap((body) => Array.from(body.rows));
  const headsOf = (id) => Array.from(find(id).tHead.rows[0].cells, (cell) => cell.textContent);
  const ues = rowsOf("#ues table"), steps = rowsOf("#steps table");
  const ueHeads = headsOf("#ues table"), stepHeads = headsOf("#steps table");
  const numUes = ues.length / steps.length, step = stepHeads[0];
  const texts = (row) => Array.from(row.cells, (cell) => cell.textContent);
  const made = (tag, text) => {
    const element = document.createElement(tag);
    element.textContent = text;
    return element;
  };

  const choose = (t) => {
    const own = Math.max(0, Math.min(steps.length - 1, t));
    range.value = own;
    stage.style.setProperty("--t", own);
    label.textContent = step + " " + own;
    const parts = texts(steps[own]).flatMap((text, k) => [
      made("span", (k > 1 ? " \\u00b7 " : "") + stepHeads[k] + " "), made("b", text)]);
    const shown = stepHeads.filter((head) => !head.includes("of hold")).length;
    said.replaceChildren(...parts.slice(2, 2 * shown));
    const rows = ues.slice(own * numUes, (own + 1) * numUes).map((row) => row.cloneNode(true));
    now.tBodies[0].replaceChildren(...rows);
    now.caption.textContent = "Every UE in " + step + " " + own;
  };

  const cell = document.createElement("div");
  cell.className = "cell";
  const place = (event, area) => {
    const box = area.getBoundingClientRect();
    const at = (part, count) => Math.max(0, Math.min(count - 1, Math.floor(part * count)));
    const t = at((event.clientX - box.left) / box.width, steps.length);
    const ue = at((event.clientY - box.top) / box.height, numUes);
    return [t, area.classList.contains("lanes") ? ue : null];
  };
  const show = (event, area) => {
    const [t, ue] = place(event, area);
    const heads = ue === null ? stepHeads : ueHeads;
    const skipped = ue === null ? 1 : 2;
    const values = texts(ue === null ? steps[t] : ues[t * numUes + ue]);
    const list = document.createElement("dl");
    values.slice(skipped).forEach((text, k) => {
      list.append(made("dt", heads[k + skipped]), made("dd", text));
    });
    const title = step + " " + t + (ue === null ? "" : ", UE " + ue);
    tip.replaceChildren(made("b", title), list);
    tip.hidden = false;
    const right = event.clientX + 18 + tip.offsetWidth > innerWidth;
    const x = right ? event.clientX - 18 - tip.offsetWidth : event.clientX + 18;
    const y = Math.min(event.clientY + 18, innerHeight - tip.offsetHeight - 8);
    tip.style.setProperty("--x", Math.max(8, x) + "px");
    tip.style.setProperty("--y", Math.max(8, y) + "px");
    cell.style.left = (100 * t / steps.length) + "%";
    cell.style.width = (100 / steps.length) + "%";
    cell.style.top = ue === null ? "0" : (100 * ue / numUes) + "%";
    cell.style.height = ue === null ? "100%" : (100 / numUes) + "%";
    area.append(cell);
  };
  const hide = () => {
    tip.hidden = true;
    cell.remove();
  };
  document.querySelectorAll(".area").forEach((area) => {
    area.addEventListener("pointermove", (event) => show(event, area));
    area.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") hide();
    });
    area.addEventListener("click", (event) => {
      choose(place(event, area)[0]);
      show(event, area);
    });
  });
  document.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".area") === null) hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  range.addEventListener("input", () => choose(Number(range.value)));
  find("#back").addEventListener("click", () => choose(Number(range.value) - 1));
  find("#on").addEventListener("click", () => choose(Number(range.value) + 1));
  find(".bar").hidden = false;
  now.parentElement.hidden = false;
  stage.classList.add("live");
  choose(0);
})();
"""
