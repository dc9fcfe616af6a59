// The gallery of a core. All text from data is inserted as text, never as HTML.
"use strict";

const element = (id) => document.getElementById(id);
const GAP = 10;
let data = null;      // columns of all clusters: ids, words, sizes, similarities (thousandths), hasPicture
let shown = [];       // numbers of the clusters that match the filters, in the chosen order
const chunks = new Map();   // file number -> members of its clusters; null while the file is loading
const rows = new Map();     // position in the list -> element

function sgClusters(index) {
  const ids = index.ids.split("\n"), words = index.words.split("\n");
  const drawn = index.pictures === null ? null : new Set(index.pictures);
  data = {
    ...index, ids, words,
    text: ids.map((id, number) => `${id} ${shownId(id)} ${words[number]}`.toLowerCase()),
    hasPicture: (number) => drawn === null || drawn.has(number),
  };
  element("list").className = words.some(Boolean) ? "" : "bare";  // without captions a card has two lines of text
  element("title").textContent =
    `of a core of ${index.core.toLocaleString("en")} out of ${index.videos.toLocaleString("en")} videos`;
  refresh();
}

function sgMembers(file, members) {
  chunks.set(file, members);
  for (const [place, row] of rows) fillRow(row, shown[place]);
  const open = element("detail");
  if (open.open) fillDetail(Number(open.dataset.number));
}

function membersOf(number) {
  const file = Math.floor(number / data.clusters_a_file);
  if (!chunks.has(file)) {
    chunks.set(file, null);
    const script = document.createElement("script");
    script.src = `members/${String(file).padStart(3, "0")}.js`;
    document.head.append(script);
  }
  const members = chunks.get(file);
  return members === null ? null : members[number % data.clusters_a_file];
}

const bound = (id, fallback) => (element(id).value === "" ? fallback : Number(element(id).value));

const ORDERS = {
  largest: (a, b) => a - b,
  smallest: (a, b) => data.sizes[a] - data.sizes[b] || a - b,
  unlike: (a, b) => (data.similarities[a] ?? 2000) - (data.similarities[b] ?? 2000) || a - b,
  alike: (a, b) => (data.similarities[b] ?? -2000) - (data.similarities[a] ?? -2000) || a - b,
  id: (a, b) => (data.ids[a] < data.ids[b] ? -1 : 1),
};

function refresh() {
  const terms = element("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [fewest, most] = [bound("min-size", 0), bound("max-size", Infinity)];
  const [lowest, highest] = [bound("min-similarity", -Infinity), bound("max-similarity", Infinity)];
  const limited = lowest !== -Infinity || highest !== Infinity, pictured = element("pictured").checked;
  shown = [];
  for (let number = 0; number < data.ids.length; number++) {
    const size = data.sizes[number], similarity = data.similarities[number];
    if (size < fewest || size > most || (pictured && !data.hasPicture(number))) continue;
    if (limited && (similarity === null || similarity < 1000 * lowest || similarity > 1000 * highest)) continue;
    if (terms.every((term) => data.text[number].includes(term))) shown.push(number);
  }
  shown.sort(ORDERS[element("sort").value]);
  element("count").textContent =
    `${shown.length.toLocaleString("en")} of ${data.ids.length.toLocaleString("en")} clusters`;
  rows.forEach((row) => row.remove());
  rows.clear();
  draw();
}

function rowHeight() {
  return (matchMedia("(max-width: 640px)").matches && element("list").className !== "bare" ? 258 : 164) + GAP;
}

function draw() {
  if (data === null) return;
  const height = rowHeight(), list = element("list");
  list.style.height = `${shown.length * height}px`;
  const top = -list.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / height) - 3);
  const last = Math.min(shown.length, Math.ceil((top + innerHeight) / height) + 3);
  for (const [place, row] of rows) {
    if (place < first || place >= last) {
      row.remove();
      rows.delete(place);
    }
  }
  for (let place = first; place < last; place++) {
    if (!rows.has(place)) {
      const row = makeRow(shown[place]);
      rows.set(place, row);
      list.append(row);
    }
    rows.get(place).style.top = `${place * height}px`;
  }
}

function make(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function title(number) {
  const size = data.sizes[number], similarity = data.similarities[number];
  const videos = `${size.toLocaleString("en")} video${size === 1 ? "" : "s"}`;
  return videos + (similarity === null ? "" : `, lowest cosine similarity ${(similarity / 1000).toFixed(2)}`);
}

// The id as people wrote it: `my%20clip` is `my clip`. What cannot be printed is replaced.
function shownId(id) {
  try {
    return decodeURIComponent(id).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
  } catch {
    return id;
  }
}

function picture(number, member, video) {
  const made = make("img", ""), folder = String(Math.floor(number / 500)).padStart(3, "0");
  made.loading = "lazy";
  made.alt = `frames of ${shownId(video)}`;
  made.src = `pictures/${folder}/${String(number).padStart(6, "0")}-${member}.jpg`;
  return made;
}

function fillStrip(row, number) {
  const box = row.querySelector(".strip"), members = membersOf(number);
  if (!data.hasPicture(number)) {
    box.replaceChildren(make("span", "muted", "no picture"));
  } else if (members) {
    box.replaceChildren(...members.map(([video], member) => {
      const open = make("button", "");
      open.type = "button";
      open.append(picture(number, member, video));
      open.addEventListener("click", () => showDetail(number));
      return open;
    }));
  }
}

function makeRow(number) {
  const row = make("section", "row"), text = make("div", "text"), open = make("button", "", shownId(data.ids[number]));
  open.type = "button";
  open.addEventListener("click", () => showDetail(number));
  text.append(open, make("p", "", title(number)), make("p", "caption"), make("p", "words", data.words[number]));
  row.append(make("div", "strip"), text);
  fillRow(row, number);
  return row;
}

function fillRow(row, number) {
  const members = membersOf(number);
  fillStrip(row, number);
  if (members) row.querySelector(".caption").textContent = members[0][2];
}

function showDetail(number) {
  const dialog = element("detail");
  dialog.dataset.number = number;
  fillDetail(number);
  dialog.showModal();
}

function fillDetail(number) {
  const dialog = element("detail"), list = dialog.querySelector("ol");
  dialog.querySelector("h2").textContent = `${shownId(data.ids[number])}: ${title(number)}`;
  list.replaceChildren();
  for (const [member, [video, note, caption]] of (membersOf(number) ?? []).entries()) {
    const item = make("li", ""), name = make("b", "", shownId(video));
    name.title = video;
    if (data.hasPicture(number)) item.append(enlargeable(picture(number, member, video)));
    item.append(name, make("span", "muted", note ? ` ${note}` : ""), make("p", "", caption));
    list.append(item);
  }
}

function enlargeable(image) {
  const label = make("label", "zoom"), box = document.createElement("input");
  box.type = "checkbox";
  box.setAttribute("aria-label", `enlarge the ${image.alt}`);
  label.append(box, image);
  return label;
}

element("filters").addEventListener("input", () => data && refresh());
element("filters").addEventListener("submit", (event) => event.preventDefault());
addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
addEventListener("resize", () => requestAnimationFrame(draw));
