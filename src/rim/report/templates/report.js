// Figures become interactive when they come into view; their data and drawings are one click away.
document.documentElement.classList.add("js");
const specs = JSON.parse(document.getElementById("specs").textContent);
const LABELS = 210, GAP = 40; // pixels that row labels take, and that lie between panels

function fitted(spec, width) {
  const copy = structuredClone(spec);
  if (copy.columns) {
    const labels = width < 600 ? 190 : LABELS;
    copy.columns = Math.max(1, Math.min(copy.columns, Math.floor((width - labels) / (copy.spec.width + GAP))));
    if (width < 600) {
      copy.config.axis.labelLimit = labels - 10;
      copy.spec.width = Math.min(copy.spec.width, width - labels - 15);
    }
  }
  return copy;
}

async function draw(figure) {
  const place = figure.querySelector(".live");
  const width = figure.clientWidth;
  place.style.display = "block";
  const { view } = await vegaEmbed(place, fitted(specs[figure.dataset.name], width), { actions: false, renderer: "svg" });
  figure.view = view;
  place.style.display = "";
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

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
