"use strict";
// Sorting, searching, opening.  Everything is in the page already: this only moves, hides and shows it.
{
  const table = document.querySelector("table.quantizers");
  const bodies = [...table.tBodies];
  const form = document.querySelector(".controls");
  const words = form.querySelector("[type=search]");
  const kinds = [...form.querySelectorAll("[type=checkbox]")];
  const count = form.querySelector("output");
  const all = form.querySelector(".all");
  const main = (body) => body.rows[0];
  const text = new Map(bodies.map((body) => [body, main(body).textContent.toLowerCase()]));

  document.documentElement.classList.add("js");
  form.hidden = false;

  // What a cell sorts by: its key, else its text.
  const key = (body, column) => {
    const cell = main(body).cells[column];
    return cell.dataset.key ?? cell.textContent.trim();
  };
  const byName = (a, b) => a.localeCompare(b, undefined, { numeric: true });
  // Two infinities are equal, but their difference is not a number.
  const byNumber = (a, b) => Number(a) - Number(b) || 0;

  const sort = (header) => {
    const column = header.cellIndex;
    const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const compare = header.classList.contains("number") ? byNumber : byName;
    // Nothing comes last, whichever way the rest is sorted.
    const keyed = bodies.map((body) => [key(body, column), body]);
    keyed.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : direction * compare(a, b)));
    table.append(...keyed.map(([, body]) => body));
  };

  for (const header of table.tHead.rows[0].cells) {
    if ("fixed" in header.dataset) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => sort(header));
  }

  const open = (body, wanted) => {
    body.rows[1].classList.toggle("open", wanted);
    main(body).querySelector("button").setAttribute("aria-expanded", String(wanted));
  };
  const isOpen = (body) => body.rows[1].classList.contains("open");

  table.addEventListener("click", (event) => {
    const row = event.target.closest("tr.main");
    if (row && !String(getSelection())) open(row.parentNode, !isOpen(row.parentNode));
  });

  all.addEventListener("click", () => {
    const wanted = all.getAttribute("aria-pressed") !== "true";
    all.setAttribute("aria-pressed", String(wanted));
    all.textContent = wanted ? "Close all" : "Open all";
    for (const body of bodies) open(body, wanted);
  });

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = new Set(kinds.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const body of bodies) {
      const fits = chosen.has(body.dataset.kind) && wanted.every((word) => text.get(body).includes(word));
      body.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown === bodies.length ? "" : `${shown} of ${bodies.length}`;
    document.querySelector(".none").hidden = shown > 0 || bodies.length === 0;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  // A reload keeps what was typed, in some browsers.
  filter();

  // report.html#q3 opens the fourth-worst quantizer.
  const follow = () => {
    const body = bodies.find((b) => `#${b.id}` === location.hash);
    if (body) {
      open(body, true);
      body.scrollIntoView();
    }
  };
  addEventListener("hashchange", follow);
  follow();
}
