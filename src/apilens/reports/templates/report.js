"use strict";
// The page is complete without this: it adds sorting, a filter, and charts one can hover and zoom.
(() => {
  const byId = (id) => document.getElementById(id);

  const table = byId("endpoints-table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const value = (row, column) => {
      const cell = row.cells[column];
      return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
    };
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (head.classList.contains("still")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        // Numbers are asked for from the largest down, names from A on.
        const first = head.classList.contains("num") ? "descending" : "ascending";
        const second = first === "ascending" ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === first ? second : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        body.append(...rows.sort((a, b) => sign * compare(value(a, column), value(b, column))));
      });
    });

    const label = document.createElement("label");
    const input = document.createElement("input");
    const shown = document.createElement("output");
    label.className = "filter";
    input.type = "search";
    input.placeholder = "part of a route, method or service";
    label.append("Filter endpoints ", input, " ", shown);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      let left = 0;
      for (const row of rows) {
        const names = row.cells[0].textContent + " " + row.cells[1].textContent;
        row.hidden = !names.toLowerCase().includes(wanted);
        left += row.hidden ? 0 : 1;
      }
      shown.textContent = wanted ? left + " of " + rows.length + " shown" : "";
    });
  }

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });

  const { palette, figures } = JSON.parse(byId("figures").textContent);
  if (Object.keys(figures).length === 0 || typeof DecompressionStream === "undefined") return;

  const coloured = (node, colours) => {
    if (typeof node === "string") return colours[node] || node;
    if (Array.isArray(node)) return node.map((item) => coloured(item, colours));
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).map(([key, item]) => [key, coloured(item, colours)]));
  };
  const current = () => {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(
      Object.entries(palette).map(([colour, name]) => [colour, style.getPropertyValue(name).trim()]),
    );
  };
  const buttons = [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
  const config = { displaylogo: false, responsive: true, modeBarButtons: buttons };
  const draw = async () => {
    const colours = current();
    const paper = getComputedStyle(document.documentElement).getPropertyValue("--bg").trim();
    for (const [name, figure] of Object.entries(figures)) {
      const { data, layout } = coloured(figure, colours);
      layout.hoverlabel = { bgcolor: paper, bordercolor: colours["#57606a"], font: { color: colours["#1b1f24"] } };
      const place = byId("chart-" + name);
      if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
      await Plotly.react(place, data, layout, config);
    }
  };
  const start = async () => {
    const packed = Uint8Array.from(atob(byId("library").textContent.trim()), (letter) => letter.charCodeAt(0));
    const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
    await draw();
    const changed = () => { draw(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
    matchMedia("print").addEventListener("change", changed);
  };
  start();
})();
