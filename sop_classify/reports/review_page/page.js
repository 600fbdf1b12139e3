// Review of suspected labels: shows them, takes decisions, keeps them, exports them.
// Names and paths come from a user's data. They reach the page as text only, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const { classes, items, pictures } = data;
const PAGE = 60; // cards on a page: more makes a phone slow
const DIGITS = "1234567890"; // keys of the first ten classes
const STORE = `sop_classify review ${data.key}`;
// As `apply-corrections` reads it.
const COLUMNS = ["path", "split", "given", "corrected", "action", "score", "reviewer", "time"];
const NEEDED = ["path", "given", "corrected", "action"];
const DONE = { accept: "Accepted", relabel: "Another class", keep: "Kept", drop: "Dropped" };

const byId = (id) => document.getElementById(id);
const given = (item) => classes[item.given];
const suggested = (item) => classes[item.suggested];
const percent = (p) => `${(100 * p).toFixed(p > 0 && p < 0.095 ? 1 : 0)}\u00a0%`;

// --- state: decisions by number of the item, and what to undo --------------------------------

const choices = new Map(); // number -> { action, label, time }
const undoable = []; // steps, each a list of [number, choice before]
const view = { search: "", class: "", split: "", status: "", sort: "score", pair: "", page: 0 };
let listed = []; // numbers of the items that match the filters, in their order
let current = null; // number of the item that the keys are for

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) ?? "null");
    localStorage.setItem(STORE, JSON.stringify(kept)); // a full or forbidden store fails now
    restore(kept);
  } catch {
    byId("storage").hidden = false;
  }
}

function restore(kept) {
  for (const [number, choice] of kept?.choices ?? []) {
    if (items[number] && Object.hasOwn(DONE, choice.action)) choices.set(number, choice);
  }
  undoable.push(...(kept?.undoable ?? []));
  byId("reviewer").value = kept?.reviewer ?? "";
}

function save() {
  try {
    const reviewer = byId("reviewer").value;
    localStorage.setItem(STORE, JSON.stringify({ choices: [...choices], undoable, reviewer }));
    byId("storage").hidden = true;
  } catch {
    byId("storage").hidden = false;
  }
}

function choiceOf(item, action, label) {
  return { action, label, time: new Date().toISOString().replace(/\.\d+/, "") };
}

/** Take the label for the item: what that means depends on what was given and suggested. */
function labelled(item, label) {
  const action = label === item.given ? "keep" : label === item.suggested ? "accept" : "relabel";
  return choiceOf(item, action, label);
}

function put(number, choice) {
  if (choice) choices.set(number, choice);
  else choices.delete(number);
}

function decide(numbers, choiceFor) {
  undoable.push(numbers.map((number) => [number, choices.get(number) ?? null]));
  for (const number of numbers) put(number, choiceFor(items[number], number));
  save();
}

function undo() {
  const step = undoable.pop();
  if (!step) return;
  for (const [number, before] of step) put(number, before);
  save();
  show();
  const [[number]] = step;
  if (listed.includes(number)) focusItem(number);
  announce(step.length > 1 ? `${step.length} decisions undone` : `Undone: ${items[number].path}`);
}

// --- which items, in which order -------------------------------------------------------------

const ORDER = {
  score: (a, b) => items[a].score - items[b].score,
  sure: (a, b) => items[b].pSuggested - items[a].pSuggested,
  given: (a, b) => items[a].given - items[b].given,
  suggested: (a, b) => items[a].suggested - items[b].suggested,
  path: (a, b) => items[a].path.localeCompare(items[b].path, undefined, { numeric: true }),
};

const pairOf = (item) => `${item.given} ${item.suggested}`;

function matches(item, number, ignorePair = false) {
  const action = choices.get(number)?.action;
  const text = `${item.path}\n${given(item)}\n${suggested(item)}`.toLowerCase();
  return (
    text.includes(view.search) &&
    (view.class === "" || [item.given, item.suggested].includes(Number(view.class))) &&
    (view.split === "" || item.split === view.split) &&
    (view.status === "" ||
      (view.status === "none" ? !action : view.status === "any" ? Boolean(action) : action === view.status)) &&
    (ignorePair || view.pair === "" || pairOf(item) === view.pair)
  );
}

function list() {
  listed = [...items.keys()].filter((number) => matches(items[number], number));
  listed.sort((a, b) => ORDER[view.sort](a, b) || a - b);
  const last = Math.max(0, Math.ceil(listed.length / PAGE) - 1);
  view.page = Math.min(view.page, last);
}

const onPage = () => listed.slice(view.page * PAGE, (view.page + 1) * PAGE);

// --- drawing ---------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(text, name, key, action) {
  const made = element("button", { type: "button", "aria-label": name, "aria-keyshortcuts": key }, text);
  made.addEventListener("click", action);
  return made;
}

function card(number) {
  const item = items[number];
  const picture = element("img", {
    src: pictures[number],
    alt: `Image of ${item.path}, labelled ${given(item)}`,
    loading: "lazy",
    draggable: "false",
  });
  // The name at last: it is what may be too long for its place.
  const line = (role, label, p) =>
    element(
      "span",
      { class: "label", title: label },
      element("span", { class: "quiet" }, `${role} (${percent(p)}) `),
      element("strong", { class: role.toLowerCase() }, label),
    );
  const labels = element(
    "p",
    { class: "labels", id: `labels-${number}` },
    line("Given", given(item), item.pGiven),
    " ", // between the words that a screen reader hears
    line("Suggested", suggested(item), item.pSuggested),
  );
  const where = [`score ${item.score.toPrecision(2)}`, item.split, item.path];
  if (item.runnerUp !== null) where.push(`runner-up ${classes[item.runnerUp]}`);
  const buttons = element(
    "div",
    { class: "buttons", role: "group", "aria-label": `Decision for ${item.path}` },
    button("Accept", `Accept ${suggested(item)}`, "a", () => choose(number, item.suggested)),
    button("Keep", `Keep ${given(item)}`, "k", () => choose(number, item.given)),
    button("Other…", "Other… choose another class", "c", () => openChooser(number)),
    button("Drop", "Drop the image", "d", () => take([number], (it) => choiceOf(it, "drop", null))),
  );
  const made = element(
    "article",
    { class: "card", tabindex: "-1", "aria-labelledby": `labels-${number} done-${number}` },
    element("div", { class: "picture" }, picture),
    element(
      "div",
      { class: "text" },
      labels,
      element("p", { class: "where quiet", title: item.path }, where.join(" · ")),
      element("p", { class: "done", id: `done-${number}` }),
    ),
    buttons,
  );
  made.dataset.number = number;
  picture.addEventListener("load", () => {
    // Enlarged small pictures show their pixels; a blur would hide what there is to see.
    if (picture.naturalWidth < 96) picture.classList.add("pixels");
  });
  return element("li", {}, made);
}

const cardOf = (number) => document.querySelector(`article[data-number="${number}"]`);

function mark(number) {
  const shown = cardOf(number);
  if (!shown) return;
  const choice = choices.get(number);
  shown.dataset.action = choice?.action ?? "";
  const what = choice?.label === null || !choice ? "" : `: ${classes[choice.label]}`;
  shown.querySelector(".done").textContent = choice ? DONE[choice.action] + what : "";
  const actions = ["accept", "keep", "relabel", "drop"];
  for (const [place, made] of [...shown.querySelectorAll("button")].entries()) {
    made.setAttribute("aria-pressed", String(choice?.action === actions[place]));
    made.tabIndex = number === current ? 0 : -1;
  }
  shown.tabIndex = number === current ? 0 : -1;
}

function show() {
  list();
  const page = onPage();
  if (!page.includes(current)) current = page[0] ?? null;
  byId("gallery").replaceChildren(...page.map(card));
  byId("gallery").start = view.page * PAGE + 1;
  for (const number of page) mark(number);
  const last = Math.max(1, Math.ceil(listed.length / PAGE));
  byId("shown").textContent =
    listed.length === items.length ? `All ${items.length} labels` : `${listed.length} of ${items.length} labels`;
  byId("page-text").textContent = `Page ${view.page + 1} of ${last}`;
  byId("previous").disabled = view.page === 0;
  byId("next").disabled = view.page + 1 >= last;
  byId("nothing").hidden = listed.length > 0;
  showProgress();
  showPairs();
}

function showProgress() {
  const counts = Object.keys(DONE).map((action) => {
    const number = [...choices.values()].filter((choice) => choice.action === action).length;
    return number ? `${number} ${DONE[action].toLowerCase()}` : "";
  });
  const detail = counts.filter(Boolean).join(", ");
  byId("progress-text").textContent =
    `${choices.size} of ${items.length} decided${detail ? `: ${detail}` : ""}`;
  byId("progress").max = Math.max(1, items.length);
  byId("progress").value = choices.size;
  byId("undo").disabled = undoable.length === 0;
  byId("accept-page").disabled = onPage().every((number) => choices.has(number));
}

function showPairs() {
  const counts = new Map();
  for (const [number, item] of items.entries()) {
    if (matches(item, number, true)) counts.set(pairOf(item), (counts.get(pairOf(item)) ?? 0) + 1);
  }
  if (view.pair && !counts.has(view.pair)) counts.set(view.pair, 0);
  const focused = document.activeElement?.dataset?.pair;
  const made = [...counts]
    .toSorted((a, b) => b[1] - a[1])
    .map(([pair, count]) => {
      const [from, to] = pair.split(" ").map((label) => classes[label]);
      const entry = element(
        "button",
        { type: "button", "data-pair": pair, "aria-pressed": String(view.pair === pair) },
        element("span", { class: "pair" }, `${from} → ${to}`),
        element("span", { class: "count" }, String(count)),
      );
      entry.addEventListener("click", () => filter({ pair: view.pair === pair ? "" : pair }));
      return element("li", {}, entry);
    });
  byId("pairs").replaceChildren(...made);
  if (focused) byId("pairs").querySelector(`[data-pair="${focused}"]`)?.focus();
}

// --- acting ----------------------------------------------------------------------------------

let news = 0;
function announce(text) {
  // A reader is told of a change only: the same words twice need a difference.
  byId("news").textContent = text + (news++ % 2 ? "\u00a0" : "");
}

function filter(changes) {
  Object.assign(view, { page: 0 }, changes);
  show();
  announce(byId("shown").textContent);
}

function focusItem(number) {
  const place = listed.indexOf(number);
  const page = Math.floor(place / PAGE);
  const before = current;
  current = number;
  if (page !== view.page) {
    view.page = page;
    show();
  } else {
    mark(before);
    mark(number);
  }
  const shown = cardOf(number);
  shown?.focus({ preventScroll: true });
  shown?.scrollIntoView({ block: "nearest" });
}

/** Decide, and leave the focus where it is: on the button, or on the item that took the place. */
function take(numbers, choiceFor) {
  const place = listed.indexOf(numbers[0]);
  const inside = byId("gallery").contains(document.activeElement);
  decide(numbers, choiceFor);
  list();
  if (numbers.every((number) => listed.includes(number))) {
    const before = current;
    if (numbers.length === 1) [current] = numbers;
    for (const number of [before, ...numbers]) mark(number);
    showProgress();
    showPairs();
  } else {
    show();
    if (inside && listed.length) focusItem(listed[Math.min(place, listed.length - 1)]);
    else byId("shown").focus();
  }
  const item = items[numbers[0]];
  const choice = choices.get(numbers[0]);
  const what = choice.label === null ? "" : ` ${classes[choice.label]}`;
  announce(numbers.length > 1 ? `${numbers.length} accepted` : `${DONE[choice.action]}${what}: ${item.path}`);
}

function choose(number, label) {
  take([number], (item) => labelled(item, label));
}

function move(steps) {
  const place = listed.indexOf(current) + steps;
  if (listed.length && current !== null) {
    focusItem(listed[Math.min(Math.max(place, 0), listed.length - 1)]);
  }
}

/** By key: decide, and go on to the next item. */
function takeAndMove(act) {
  if (current === null) return;
  const number = current;
  if (!byId("gallery").contains(document.activeElement)) focusItem(number);
  act(number);
  if (current === number && listed.includes(number)) move(1);
}

function columns() {
  const cards = [...document.querySelectorAll("article")];
  const top = cards[0]?.getBoundingClientRect().top;
  const next = cards.findIndex((shown) => shown.getBoundingClientRect().top > top);
  return next > 0 ? next : Math.max(1, cards.length);
}

// --- choosing another class ------------------------------------------------------------------

let chosenFor = null;

function openChooser(number) {
  chosenFor = number;
  byId("chooser-search").value = "";
  listClasses();
  byId("chooser").showModal();
  // On a touch screen the search would open the keyboard, over the classes.
  byId(matchMedia("(pointer: fine)").matches ? "chooser-search" : "chooser-title").focus();
}

function listClasses() {
  const text = byId("chooser-search").value.toLowerCase();
  const made = [];
  for (const [label, name] of classes.entries()) {
    if (!name.toLowerCase().includes(text)) continue;
    const key = DIGITS[label] ? `${DIGITS[label]} ` : "";
    const entry = element("button", { type: "button" }, element("span", { class: "quiet" }, key), name);
    entry.addEventListener("click", () => choseClass(label));
    made.push(element("li", {}, entry));
  }
  byId("chooser-list").replaceChildren(...made);
}

function choseClass(label) {
  byId("chooser").close(); // gives the focus back to what had it
  choose(chosenFor, label);
}

// --- files out and in ------------------------------------------------------------------------

function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  announce(`${name}: ${choices.size} decisions`);
}

const decided = () => [...choices].toSorted((a, b) => a[0] - b[0]).map(([number, choice]) => [items[number], choice]);

const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;

function correctionsCsv() {
  const reviewer = byId("reviewer").value;
  const rows = decided().map(([item, choice]) => [
    item.path,
    item.split,
    given(item),
    choice.label === null ? "" : classes[choice.label],
    choice.action,
    item.score,
    reviewer,
    choice.time,
  ]);
  return [COLUMNS, ...rows].map((row) => `${row.map(quoted).join(",")}\n`).join("");
}

const chosen = (name) => [{ type: "choices", from_name: "label", to_name: "image", value: { choices: [name] } }];

function labelStudio() {
  const tasks = items.map((item, number) => {
    const choice = choices.get(number);
    const meta = { split: item.split, given: given(item), label_quality: item.score };
    const task = {
      data: { image: item.path, ...meta },
      predictions: [{ model_version: "sop_classify", score: item.pSuggested, result: chosen(suggested(item)) }],
    };
    if (choice) {
      const drop = choice.label === null;
      task.annotations = [{ was_cancelled: drop, result: drop ? [] : chosen(classes[choice.label]) }];
    }
    return task;
  });
  return JSON.stringify(tasks, null, 1);
}

const classification = (label, confidence) => ({ _cls: "Classification", label, confidence });

function fiftyOne() {
  const samples = items.map((item, number) => {
    const choice = choices.get(number);
    return {
      filepath: item.path,
      tags: [item.split, ...(choice ? [choice.action] : [])],
      ground_truth: classification(given(item)),
      p_given: item.pGiven,
      suggested: classification(suggested(item), item.pSuggested),
      corrected: choice && choice.label !== null ? classification(classes[choice.label]) : null,
      label_quality: item.score,
    };
  });
  return JSON.stringify({ samples }, null, 1);
}

function parseCsv(text) {
  const rows = [[]];
  // Spreadsheets of many countries write semicolons, and some say so in a line before the header,
  // as apply-corrections reads them.
  const [first, said] = /^\s*"?sep=([,;:|\t])"? *(?=[\r\n]|$)/i.exec(text) ?? [""];
  const table = text.slice(first.length);
  const [head] = table.trimStart().split(/[\r\n]/, 1);
  const parts = (between) => head.split(between).length;
  const most = [",", ";", "\t"].reduce((best, other) => (parts(other) > parts(best) ? other : best));
  const comma = said ?? most;
  // A field, quoted or not, and what ends it.
  const fields = new RegExp(`(?: *"((?:[^"]|"")*)"|([^"${comma}\\r\\n]*))([${comma}]|\\r\\n?|\\n|$)`, "g");
  for (const [, inQuotes, plain, end] of table.matchAll(fields)) {
    rows.at(-1).push(inQuotes === undefined ? plain.trim() : inQuotes.replaceAll('""', '"'));
    if (end !== comma) rows.push([]);
  }
  return rows.filter((row) => row.length > 1);
}

// As apply-corrections reads them: names of columns and actions in any case, `given` may be empty.
async function loadCorrections(file) {
  const [first = [], ...rows] = parseCsv((await file.text()).replace(/^\ufeff/, ""));
  const head = first.map((name) => name.toLowerCase());
  const missing = NEEDED.filter((name) => !head.includes(name));
  if (missing.length) return problem(`${file.name} has no column ${missing.join(", ")}`);
  const numbers = new Map(items.map((item, i) => [item.path, i]));
  const found = new Map();
  for (const values of rows) {
    const row = Object.fromEntries(head.map((name, place) => [name, values[place] ?? ""]));
    const number = numbers.get(row.path);
    const action = row.action.toLowerCase();
    const known = { drop: null, keep: items[number]?.given };
    const label = action in known ? known[action] : classes.indexOf(row.corrected);
    if (number === undefined || label === -1 || !Object.hasOwn(DONE, action)) continue;
    if (row.given && row.given !== given(items[number])) continue;
    found.set(number, { action, label, time: row.time ?? "" });
  }
  const left = rows.length - found.size;
  problem(left ? `${left} of ${rows.length} rows of ${file.name} are of other labels than these, or of no known action` : "");
  if (found.size) decide([...found.keys()], (_, number) => found.get(number));
  show();
  announce(`${found.size} decisions loaded`);
}

function problem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

// --- events ----------------------------------------------------------------------------------

const KEYS = {
  a: () => takeAndMove((number) => choose(number, items[number].suggested)),
  k: () => takeAndMove((number) => choose(number, items[number].given)),
  d: () => takeAndMove((number) => take([number], (item) => choiceOf(item, "drop", null))),
  c: () => current !== null && openChooser(current),
  u: undo,
  "/": () => {
    byId("filters").open = true;
    byId("search").focus();
  },
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  ArrowDown: () => move(columns()),
  ArrowUp: () => move(-columns()),
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || byId("chooser").open) return;
  if (target.matches("select, textarea, input:not([type=checkbox])")) return;
  const letter = key.length === 1;
  if (letter && !byId("single-keys").checked) return;
  if (!letter && !byId("gallery").contains(target) && target !== document.body) return;
  const label = DIGITS.indexOf(key);
  if (letter && label >= 0 && label < classes.length) takeAndMove((number) => choose(number, label));
  else if (Object.hasOwn(KEYS, key)) KEYS[key]();
  else return;
  event.preventDefault();
});

byId("gallery").addEventListener("focusin", (event) => {
  const number = Number(event.target.closest("article")?.dataset.number);
  if (number === current || Number.isNaN(number)) return;
  const before = current;
  current = number;
  for (const changed of [before, number]) mark(changed);
});

for (const name of ["class", "split", "status", "sort"]) {
  byId(name).addEventListener("change", () => filter({ [name]: byId(name).value }));
}
byId("search").addEventListener("input", () => filter({ search: byId("search").value.trim().toLowerCase() }));
byId("clear").addEventListener("click", () => {
  for (const name of ["search", "class", "split", "status"]) byId(name).value = "";
  filter({ search: "", class: "", split: "", status: "", pair: "" });
});
for (const [name, steps] of [["previous", -1], ["next", 1]]) {
  byId(name).addEventListener("click", () => {
    view.page += steps;
    show();
    byId("shown").focus();
    announce(byId("page-text").textContent);
  });
}
byId("accept-page").addEventListener("click", () => {
  const open = onPage().filter((number) => !choices.has(number));
  if (open.length) take(open, (item) => labelled(item, item.suggested));
});
byId("undo").addEventListener("click", undo);
byId("reviewer").addEventListener("input", save);
byId("export-csv").addEventListener("click", () => download("corrections.csv", "text/csv", correctionsCsv()));
byId("export-label-studio").addEventListener("click", () =>
  download("label_studio.json", "application/json", labelStudio()),
);
byId("export-fiftyone").addEventListener("click", () => download("fiftyone.json", "application/json", fiftyOne()));
byId("load").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file) await loadCorrections(file);
  event.target.value = "";
});
byId("chooser-search").addEventListener("input", listClasses);
byId("chooser-search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  byId("chooser-list").querySelector("button")?.click();
});
byId("chooser-cancel").addEventListener("click", () => byId("chooser").close());
byId("more").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  byId("more").open = false;
  byId("more").querySelector("summary").focus();
});
addEventListener("beforeunload", (event) => {
  if (!byId("storage").hidden && choices.size) event.preventDefault();
});

// --- start -----------------------------------------------------------------------------------

function fill(id, all, options) {
  byId(id).replaceChildren(new Option(all, ""), ...options.map(([value, text]) => new Option(text, value)));
}

const present = new Set(items.flatMap((item) => [item.given, item.suggested]));
fill("class", "All", [...classes.entries()].filter(([label]) => present.has(label)));
fill("split", "All", [...new Set(items.map((item) => item.split))].map((split) => [split, split]));
for (const id of ["filters", "pairs-panel"]) byId(id).open = matchMedia("(min-width: 60rem)").matches;
load();
show();
