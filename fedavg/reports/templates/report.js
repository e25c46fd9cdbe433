"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  const plots = [];

  function theme(layout, light) {
    const ink = light ? "#2b2f36" : "#d9dde3";
    const grid = light ? "#e4e7eb" : "#343a43";
    const themed = structuredClone(layout);
    themed.font = { family: "system-ui, -apple-system, 'Segoe UI', sans-serif", size: 13, color: ink };
    themed.paper_bgcolor = themed.plot_bgcolor = "rgba(0,0,0,0)";
    themed.hoverlabel = { bgcolor: light ? "#ffffff" : "#20252c", font: { color: ink } };
    for (const name of Object.keys(themed)) {
      if (/^[xy]axis/.test(name)) {
        Object.assign(themed[name], { gridcolor: grid, linecolor: grid, automargin: true, fixedrange: true });
        if (themed[name].title) {
          themed[name].title.font = { size: 13 };
          themed[name].title.standoff = 10;
        }
      }
    }
    for (const shape of themed.shapes || []) {
      shape.label.font = { color: ink, size: 12 };
    }
    return themed;
  }

  // On a phone a legend takes a row for each entry out of the picture's own height, and is cut off at half of
  // it. There the picture grows by the legend's rows, and short entries stand in two columns.
  function fitted(layout, traces) {
    const names = traces.filter((trace) => trace.name && trace.showlegend !== false).map((trace) => trace.name);
    const longest = Math.max(...names.map((name) => name.length));
    // Names of one letter or two fill a row several at a time.
    if (!narrow.matches || !layout.legend || names.length < 3 || longest < 6) {
      return layout;
    }
    const short = longest < 15;
    if (short) {
      Object.assign(layout.legend, { entrywidth: 0.49, entrywidthmode: "fraction", font: { size: 12 } });
    }
    layout.height += 20 * (short ? Math.ceil(names.length / 2) : names.length);
    return layout;
  }

  // Plotly chooses the colour of a cell's text as if the page behind a see-through cell were white.
  function written(traces, light) {
    const ink = { color: "#d9dde3" };
    return light ? traces : traces.map((trace) =>
      trace.meta === "see-through" ? { ...trace, textfont: { ...trace.textfont, ...ink } } : trace);
  }

  function draw(light) {
    for (const { node, figure } of plots) {
      const layout = fitted(theme(figure.layout, light), figure.data);
      Plotly.react(node, written(figure.data, light), layout, { responsive: true, displayModeBar: false });
    }
  }

  for (const source of document.querySelectorAll("script[data-for]")) {
    plots.push({ node: document.getElementById(source.dataset.for), figure: JSON.parse(source.textContent) });
  }
  draw(!dark.matches);
  for (const query of [dark, narrow]) {
    query.addEventListener("change", () => draw(!dark.matches));
  }
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(!dark.matches));
})();
