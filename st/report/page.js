// Players get their recordings; a click on a column's name sorts by it, downwards, upwards, then as it was.
const clips = JSON.parse(document.getElementById("clips").textContent);
for (const player of document.querySelectorAll("audio[data-clip]")) player.src = clips[player.dataset.clip];
const key = (row, column) => {
  const text = row.cells[column].textContent.trim(), value = parseFloat(text.replaceAll(",", ""));
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
