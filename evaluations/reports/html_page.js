"use strict";
(function () {
  const data = JSON.parse(document.getElementById("curve-data").textContent);
  const plot = document.getElementById("curve-plot");
  const noise = document.getElementById("curve-noise");
  const strength = document.getElementById("curve-strength");
  const named = document.getElementById("curve-control");
  const boxes = Array.from(document.querySelectorAll("#curve-models input"));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let printed = false;

  // Plotly reads a few tags in the texts it draws: names are shown as they stand.
  const plain = (text) =>
    String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const share = (value) => (value === null ? "not known" : value.toFixed(3));

  function fill(select, labels, chosen) {
    select.replaceChildren(...labels.map((label, k) => new Option(label, String(k))));
    select.value = String(Math.min(chosen, labels.length - 1));
    select.disabled = labels.length < 2;
  }

  function points(panel, line, name) {
    return line.x.map((x, k) => {
      const low = line.low[k], high = line.high[k];
      const range = low === null || high === null
        ? "no interval" : "95% interval [" + share(low) + ", " + share(high) + "]";
      return "<b>" + plain(name) + "</b><br>" + panel.x + " " + x + "<br>accuracy " +
        share(line.y[k]) + "<br>" + range + "<br>n = " + line.n[k] + ", seeds: " + line.seeds[k];
    });
  }

  function ribbon(line, colour) {
    const there = line.x.map((_, k) => k)
      .filter((k) => line.low[k] !== null && line.high[k] !== null);
    const back = there.slice().reverse();
    return {
      x: there.map((k) => line.x[k]).concat(back.map((k) => line.x[k])),
      y: there.map((k) => line.low[k]).concat(back.map((k) => line.high[k])),
      type: "scatter", mode: "lines", fill: "toself", fillcolor: colour + "2e",
      line: { width: 0, color: colour }, hoverinfo: "skip", name: "interval",
    };
  }

  function bars(line) {
    const gap = (end, k) => (end[k] === null || line.y[k] === null ? 0 : end[k] - line.y[k]);
    return {
      type: "data", symmetric: false, thickness: 1, width: 3,
      array: line.x.map((_, k) => gap(line.high, k)),
      arrayminus: line.x.map((_, k) => -gap(line.low, k)),
    };
  }

  function traces(panel, group) {
    const found = [];
    const shown = group.lines.filter((line) => boxes[line.model].checked);
    for (const line of shown) {
      const model = data.models[line.model];
      if (panel.x === "mode" && line.x.length > 1) found.push(ribbon(line, model.colour));
      found.push({
        x: line.x, y: line.y, type: "scatter", mode: "lines+markers", name: plain(model.name),
        line: { color: model.colour, dash: model.dash, width: 1.8 },
        marker: { color: model.colour, symbol: model.symbol, size: 6 },
        text: points(panel, line, model.name), hovertemplate: "%{text}<extra></extra>",
        error_y: panel.x === "mode" && line.x.length > 1 ? undefined : bars(line),
      });
    }
    return found;
  }

  // The title of an axis in lines that a narrow figure has room for; about 8 px a character.
  function lines(text) {
    const room = Math.max(20, Math.floor((plot.clientWidth - 80) / 8));
    const found = [""];
    for (const word of String(text).split(" ")) {
      const last = found[found.length - 1];
      if (last && last.length + 1 + word.length > room) found.push(word);
      else found[found.length - 1] = last ? last + " " + word : word;
    }
    return found.map(plain).join("<br>");
  }

  function layout(panel, light) {
    const root = getComputedStyle(document.documentElement);
    const colour = (name, print) => (light ? print : root.getPropertyValue(name).trim());
    const ink = colour("--ink", "#1b1f24"), grid = colour("--line", "#c8ced6");
    const axis = { gridcolor: grid, linecolor: ink, zeroline: false, automargin: true };
    const chance = data.chance === null ? [] : [{
      type: "line", xref: "paper", x0: 0, x1: 1, y0: data.chance, y1: data.chance,
      line: { color: ink, width: 1, dash: "dot" },
    }];
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: "system-ui, sans-serif", size: 13 },
      margin: { l: 50, r: 15, t: 15, b: 50 }, showlegend: false, hovermode: "closest",
      shapes: chance,
      hoverlabel: { bgcolor: colour("--box", "#f3f5f8"), font: { color: ink } },
      xaxis: { ...axis, title: { text: lines(panel.axis) }, type: panel.log ? "log" : "linear" },
      yaxis: { ...axis, title: { text: "accuracy" }, range: [0, 1.03] },
    };
  }

  function draw() {
    const panel = data.panels[Number(noise.value)];
    const group = panel.groups[Number(strength.value)];
    const options = { responsive: true, displayModeBar: false };
    window.Plotly.react(plot, traces(panel, group), layout(panel, printed), options);
  }

  function chooseNoise() {
    const panel = data.panels[Number(noise.value)];
    named.textContent = panel.control;
    fill(strength, panel.groups.map((group) => group.label), panel.groups.length - 1);
    draw();
  }

  fill(noise, data.panels.map((panel) => panel.label), 0);
  document.getElementById("curve-tool").hidden = false;
  chooseNoise();
  noise.addEventListener("change", chooseNoise);
  strength.addEventListener("change", () => draw());
  boxes.forEach((box) => box.addEventListener("change", () => draw()));
  document.querySelectorAll("[data-all]").forEach((button) =>
    button.addEventListener("click", () => {
      boxes.forEach((box) => { box.checked = button.dataset.all === "on"; });
      draw();
    }));
  dark.addEventListener("change", () => draw());
  window.addEventListener("resize", () => draw());
  window.addEventListener("beforeprint", () => { printed = true; draw(); });
  window.addEventListener("afterprint", () => { printed = false; draw(); });
})();
