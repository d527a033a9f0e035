"use strict";
/* Tables sort by a heading: numbers by size, other cells as text; once more, the other way round. */
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[heading.cellIndex].textContent;
      const order = (a, b) => {
        const [x, y] = [parseFloat(key(a)), parseFloat(key(b))];
        const plain = key(a).localeCompare(key(b));
        return Number.isNaN(x) || Number.isNaN(y) ? plain : x - y || plain;
      };
      body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b)));
    });
  }
}

/* The library is in the page, deflated. */
async function library() {
  const text = document.getElementById("plotly").textContent;
  const bytes = Uint8Array.from(atob(text), sign => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

/* Panels of a figure side by side where there is room; titles of axes at the edges. */
function arranged(figure, width) {
  const panels = figure.layout.annotations.length;
  const columns = Math.max(1, Math.min(panels, 3, Math.floor(width / 300)));
  const rows = Math.ceil(panels / columns);
  const layout = structuredClone(figure.layout);
  for (let k = 0; k < panels; k++) {
    const end = k ? k + 1 : "";
    if (k + columns < panels) delete layout["xaxis" + end].title;
    if (k % columns) delete layout["yaxis" + end].title;
    layout["xaxis" + end].automargin = true;
  }
  const names = new Set(figure.data.map(trace => trace.name)).size;
  return Object.assign(layout, {
    grid: {rows, columns, pattern: "independent", xgap: .12, ygap: .3},
    height: 120 + 250 * rows + 22 * Math.ceil(names / Math.max(1, Math.floor(width / 140))),
    margin: {l: 50, r: 15, t: 50, b: 50},
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, sans-serif", size: 13},
    hovermode: "closest",
    legend: {orientation: "h", y: -0.3 / rows},
  });
}

async function curves() {
  const figures = JSON.parse(document.getElementById("curve-data").textContent);
  const boxes = [...document.querySelectorAll(".models input")];
  const options = {responsive: true, displaylogo: false, displayModeBar: true,
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"]};
  const draw = (place, figure) => {
    if (!place.clientWidth || place.dataset.width === String(place.clientWidth)) return;
    place.dataset.width = place.clientWidth;
    const hidden = new Set(boxes.filter(box => !box.checked).map(box => box.value));
    for (const trace of figure.data) trace.visible = hidden.has(trace.legendgroup) ? "legendonly" : true;
    const first = !place.data;
    Plotly.react(place, figure.data, arranged(figure, place.clientWidth),
      {...options, toImageButtonOptions: {filename: figure.label, scale: 2}});
    if (first) place.on("plotly_legendclick", event => {
      boxes.find(box => box.value === figure.data[event.curveNumber].legendgroup).click();
      return false;
    });
  };
  await library();
  const places = [...document.querySelectorAll(".curve-plot")];
  const all = () => places.forEach((place, k) => draw(place, figures[k]));
  for (const place of places) place.closest("details").addEventListener("toggle", all);
  for (const box of boxes) box.addEventListener("change", () => {
    for (const place of places) delete place.dataset.width;
    all();
  });
  document.querySelector(".models").addEventListener("click", event => {
    if (event.target.tagName !== "BUTTON") return;
    for (const box of boxes) box.checked = event.target.value === "all";
    boxes[0].dispatchEvent(new Event("change"));
  });
  addEventListener("resize", all);
  all();
}

if (document.getElementById("curve-data")) curves();
