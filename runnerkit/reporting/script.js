
"use strict";
const say = (text) => { document.getElementById("said").textContent = text; };

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, column, kind) => {
    const cell = row.cells[column];
    if (kind === "text") return cell.textContent;
    const number = Number(cell.dataset.value ?? cell.textContent.replaceAll(",", ""));
    return cell.textContent === "–" || Number.isNaN(number) ? null : number;
  };
  heads.forEach((head, column) => head.querySelector("button[data-kind]")?.addEventListener("click", (event) => {
    const kind = event.currentTarget.dataset.kind;
    const down = head.getAttribute("aria-sort") === "ascending";
    const rows = [...body.rows].map((row) => [value(row, column, kind), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = kind === "text" ? a.localeCompare(b) : a - b;
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
    heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    say(`Sorted by ${event.currentTarget.textContent}, ${down ? "descending" : "ascending"}.`);
  }));
}

const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // no permission, or an old browser
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
};
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  await copy(button.dataset.copy);
  button.focus();
  button.classList.add("done");
  say(`Copied ${button.dataset.copy}`);
  setTimeout(() => button.classList.remove("done"), 1500);
});

for (const plot of document.querySelectorAll("[data-curves]")) {
  const { box: [, , top, bottom], x, y, lines } = JSON.parse(plot.dataset.curves);
  const svg = plot.querySelector("svg"), cursor = svg.querySelector(".cursor"), readout = plot.querySelector(".readout");
  const make = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const nearest = (places, at) => {
    let best = 0;
    places.forEach((place, k) => { if (Math.abs(place - at) < Math.abs(places[best] - at)) best = k; });
    return best;
  };
  const longest = lines.reduce((a, b) => (b.px.length > a.px.length ? b : a), lines[0]);
  let index = -1;
  const show = (k) => {
    index = Math.max(0, Math.min(longest.px.length - 1, k));
    const at = longest.px[index];
    cursor.removeAttribute("hidden");
    cursor.replaceChildren(make("line", { x1: at, x2: at, y1: top, y2: bottom }));
    const parts = lines.map((line) => {
      const j = nearest(line.px, at);
      cursor.append(make("circle", { cx: line.px[j], cy: line.py[j], r: 4, class: `s${line.s}` }));
      return lines.length > 1 ? `${line.name}: ${line.of[j]}` : line.of[j];
    });
    readout.textContent = `${x} ${longest.at[index]}, ${y} ${parts.join(" · ")}`;
  };
  const hide = () => { cursor.setAttribute("hidden", ""); cursor.replaceChildren(); readout.textContent = ""; };
  plot.addEventListener("keydown", (event) => {
    const last = longest.px.length - 1;
    const far = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: index - far, ArrowRight: index + far, Home: 0, End: last }[event.key];
    if (event.key === "Escape") hide();
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    show(nearest(longest.px, at));
  });
  svg.addEventListener("pointerleave", () => { if (document.activeElement !== plot) hide(); });
  plot.addEventListener("blur", hide);
}
