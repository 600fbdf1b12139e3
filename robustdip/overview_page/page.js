// Which pictures are shown, and in which order. Without this script all are, in the run's order.

const byId = (id) => document.getElementById(id);
const list = document.querySelector(".pictures");
const cards = [...list.children]; // in the order of the run
const ATTENTION = ["failed", "left", "done", "unchanged"];
const ENLARGED = 128; // a picture this narrow is shown larger than it is: by its pixels

const name = (card) => card.querySelector("h2").textContent;
// What has no number comes last.
const number = (card, key) => Number(card.dataset[key] ?? -1);
const ORDER = {
  order: () => 0,
  name: (a, b) => name(a).localeCompare(name(b), undefined, { numeric: true }),
  share: (a, b) => number(b, "share") - number(a, "share"),
  seconds: (a, b) => number(b, "seconds") - number(a, "seconds"),
  status: (a, b) => ATTENTION.indexOf(a.dataset.status) - ATTENTION.indexOf(b.dataset.status),
};
const said = new Map(
  cards.map((card) => [card, `${name(card)}\n${card.querySelector(".reason")?.textContent ?? ""}`.toLowerCase()]),
);

function filter() {
  const search = byId("search").value.trim().toLowerCase();
  const status = byId("status").value;
  let shown = 0;
  for (const card of cards) {
    card.hidden = !said.get(card).includes(search) || (status !== "" && card.dataset.status !== status);
    shown += card.hidden ? 0 : 1;
  }
  byId("count").textContent = `${shown} of ${cards.length} shown`;
  byId("nothing").hidden = shown > 0;
}

function sort() {
  list.append(...cards.toSorted(ORDER[byId("sort").value]));
}

byId("search").addEventListener("input", filter);
byId("status").addEventListener("change", filter);
byId("sort").addEventListener("change", sort);
document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
for (const picture of document.images) {
  picture.classList.toggle("pixels", picture.getAttribute("width") <= ENLARGED / 2);
}
document.querySelector(".tools").hidden = false;
// A browser keeps what was chosen when a page is loaded again.
sort();
filter();
