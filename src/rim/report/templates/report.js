// Figures become interactive when they come into view; their data and drawings are one click away.
document.documentElement.classList.add("js");
const specs = JSON.parse(document.getElementById("specs").textContent);

// Data come by column; where few values are different, as these and the place of each row's in them.
function rowsOf(columns) {
  const names = Object.keys(columns);
  const values = Object.values(columns).map((column) => (Array.isArray(column) ? column : column.at.map((place) => column.values[place])));
  return values[0].map((_, row) => Object.fromEntries(names.map((name, i) => [name, values[i][row]])));
}

for (const { datasets } of Object.values(specs)) {
  for (const name of Object.keys(datasets)) datasets[name] = rowsOf(datasets[name]);
}

function fitted(spec, width, columns) {
  const copy = structuredClone(spec);
  copy.columns = columns;
  if (width < 600) {
    Object.assign(copy.config.axis, { labelLimit: 215, labelFontSize: 9, titleLimit: width - 40 });
    Object.assign(copy.config.legend, { orient: "bottom", columns: 1, titleOrient: "top", titleLimit: width - 40 });
    copy.config.header.labelLimit = width - 40;
    copy.spec.width = Math.min(copy.spec.width, width - 240);
  }
  return copy;
}

// Only errors are logged: a panel that a filter leaves empty has no extent, of which Vega would warn.
// As many panels side by side as there is room for, which is known when they are drawn, in rows that are filled alike.
async function draw(figure) {
  const place = figure.querySelector(".live");
  const spec = specs[figure.dataset.name];
  const width = figure.clientWidth;
  const panels = new Set(Object.values(spec.datasets)[0].map((row) => row.panel)).size;
  figure.classList.add("drawing");
  for (let columns = spec.columns ?? 1; columns; ) {
    figure.view?.finalize();
    const options = { actions: false, renderer: "svg", logLevel: 1, bind: figure.querySelector(".filters") };
    figure.view = (await vegaEmbed(place, spec.columns ? fitted(spec, width, columns) : spec, options)).view;
    const taken = place.querySelector("svg").clientWidth;
    const fewer = Math.max(1, Math.min(columns - 1, Math.floor((columns * width) / taken)));
    columns = taken > width && columns > 1 ? Math.ceil(panels / Math.ceil(panels / fewer)) : 0;
  }
  figure.classList.remove("drawing");
  figure.classList.add("drawn");
}

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function picture(figure) {
  const still = figure.querySelector(".still");
  if (!still) return figure.view.toSVG();
  return decodeURIComponent(still.src.slice(still.src.indexOf(",") + 1));
}

function csv(spec) {
  const rows = Object.values(spec.datasets)[0];
  const names = Object.keys(rows[0]).filter((name) => !["panel", "row", "slot"].includes(name) || !("model" in rows[0]));
  const cell = (value) => (value === null ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

const seen = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    seen.unobserve(target);
    draw(target);
  }
}, { rootMargin: "200px" });

for (const figure of document.querySelectorAll("figure[data-name]")) {
  const { name } = figure.dataset;
  figure.querySelector(".csv").addEventListener("click", () => save(`${name}.csv`, "text/csv", csv(specs[name])));
  figure.querySelector(".svg").addEventListener("click", async () => save(`${name}.svg`, "image/svg+xml", await picture(figure)));
  seen.observe(figure);
}

const contents = document.querySelector("nav details");
contents.addEventListener("click", ({ target }) => {
  if (target.closest("a")) contents.open = false;
});
