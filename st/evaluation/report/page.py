"""Style and script of ``report.html``: small, inline, loading nothing."""

from __future__ import annotations

PAGE_CSS = """
:root{color-scheme:light dark;--page:#fbfbf9;--card:#ffffff;--ink:#1f1f1c;--soft:#5c5b56;--line:#e3e2dd;--good:#137a54;--bad:#b3276b}
@media (prefers-color-scheme:dark){:root{--page:#161614;--card:#1f1f1c;--ink:#ecebe6;--soft:#b2b0a8;--line:#34342f;
--good:#35b383;--bad:#ea78ad}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:40px 0 12px}
p.lead,p.note{color:var(--soft);margin:0 0 16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:24px 0 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px}
.tile b{display:block;font-size:28px;line-height:1.2;font-weight:600}.tile span{color:var(--soft);font-size:13px}
.card{margin:0 0 16px;overflow-x:auto}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}.panels{margin:0 0 16px}.panels .card{margin:0}
table{border-collapse:collapse;width:100%}
th,td{padding:6px 12px 6px 0;text-align:start;vertical-align:top;border-bottom:1px solid var(--line)}
tr:last-child td,tr:last-child th{border-bottom:0}thead th{color:var(--soft);font-weight:500;font-size:13px}
tbody th{font-weight:500;white-space:nowrap}
.num{text-align:end;font-variant-numeric:tabular-nums;white-space:nowrap}
th button{all:unset;cursor:pointer;color:inherit}thead th.num{white-space:normal}thead th{vertical-align:bottom}th button:hover{color:var(--ink)}th button:focus-visible{outline:2px solid var(--soft);outline-offset:2px}
th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
td.some{color:var(--bad);font-weight:600}td.zero{color:var(--soft)}
td.wide{color:var(--soft);font-size:13px}
details{border-bottom:1px solid var(--line);padding:8px 0}details:last-child{border-bottom:0}
summary{cursor:pointer;font-weight:500}summary span{color:var(--soft);font-weight:400;margin-inline-start:8px}
.pair{display:grid;grid-template-columns:92px minmax(0,1fr);gap:2px 12px;margin:12px 0;padding-inline-start:12px;border-inline-start:3px solid var(--good)}
.pair.worst{border-color:var(--bad)}
.pair dt{color:var(--soft);font-size:13px}.pair dd{margin:0;overflow-wrap:anywhere}.pair dd:empty::before{content:"(empty)";color:var(--soft)}
.flag{display:inline-block;border:1px solid var(--bad);color:var(--bad);border-radius:4px;padding:0 6px;margin-inline-start:6px;font-size:12px}
.pair.flagged{border-color:var(--bad)}audio{width:100%;max-width:340px;height:32px;display:block}
dl.methods{display:grid;grid-template-columns:minmax(140px,max-content) minmax(0,1fr);gap:6px 16px;margin:0}
dl.methods dt{color:var(--soft);max-width:280px}dl.methods dd{margin:0}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
@media (max-width:560px){tbody th{white-space:normal}dl.methods,.pair{grid-template-columns:1fr}}
@media print{.card,.tile{break-inside:avoid}}
"""

PAGE_SCRIPT = """
const clips = JSON.parse(document.getElementById("clips").textContent);
for (const player of document.querySelectorAll("audio[data-clip]")) player.src = clips[player.dataset.clip];
const key = (row, column) => {
  const text = row.cells[column].textContent.trim(), value = parseFloat(text);
  return row.cells[column].classList.contains("num") ? (Number.isNaN(value) ? -Infinity : value) : text;
};
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const fixed = original.filter(row => row.classList.contains("total"));
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("num") ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      const order = { [first]: second, [second]: "none" }[head.getAttribute("aria-sort")] || first;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      if (order !== "none") head.setAttribute("aria-sort", order);
      const rows = original.filter(row => !fixed.includes(row)), sign = order === "descending" ? -1 : 1;
      if (order !== "none") rows.sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        return sign * (typeof x === "number" ? x - y || 0 : x.localeCompare(y));
      });
      body.append(...rows, ...fixed);
    });
  });
}
"""
"""Players get their recordings; a click on a column's name sorts by it, downwards, upwards, then as it was."""
