// The page: joins the stream, the picture and the controls.
import { Aligner } from "./align.js";
import { metres, metresAt } from "./distance.js";
import { draw } from "./picture.js";
import { showStatus } from "./panel.js";
import { Stream } from "./stream.js";

const at = (id) => document.getElementById(id);
const canvas = at("canvas");
const view = { kind: "fused", palette: "white-hot", hottest: null, counts: null, boxes: true, detail: "medium" };
let shown = "fused"; // what the page shows: "side" and "blend" are two ways to lay out the pair
let last = null; // the newest picture and its header
let lastAt = 0;
let settingsTouchedAt = 0;
const ages = [];
let reach = null; // the settings: how near the distance may be
let shownBefore = "fused";

const aligner = new Aligner({
  opened() { shownBefore = shown; view.boxes = false; show("edges"); }, // boxes would hide the edges
  closed() { view.boxes = at("boxes").checked; show(shownBefore); },
  say,
});

const stream = new Stream({
  picture(header, bitmap) {
    if (last && last.bitmap.close) last.bitmap.close();
    last = { header, bitmap };
    lastAt = performance.now();
    paint();
    tellAge(header);
  },
  status(status) {
    showStatus(status, performance.now() - settingsTouchedAt > 1500);
    at("state").dataset.running = status.running;
    aligner.status(status.alignment);
    reach = status.settings;
  },
  refused(why) { say(why); },
  state(word, kind) { showState(word, kind); },
});

function paint() {
  if (!last) return;
  draw(canvas, last.bitmap, last.header.kind === "pair" ? shown : "one", Number(at("mix").value) / 100);
}

function tellAge(header) {
  at("found").textContent = header.found;
  at("badge").hidden = !header.degraded;
  at("badge").textContent = header.degraded || "";
  let age = null;
  if (header.utc_ms !== null) {
    age = Math.max(0, stream.serverNow() - header.utc_ms);
    ages.push(age);
    if (ages.length > 31) ages.shift();
    at("age").textContent = Math.round([...ages].sort((a, b) => a - b)[ages.length >> 1]);
  }
  document.dispatchEvent(new CustomEvent("picture", { detail: { index: header.index, age, kind: header.kind } }));
}

// An old picture must never pass for a live one.
setInterval(() => {
  const behind = last ? (performance.now() - lastAt) / 1000 : 0;
  at("veil").hidden = Boolean(last) && behind < 2;
  if (last && behind >= 2) {
    const running = at("state").dataset.running !== "false";
    at("veil").textContent = running ? `no new picture for ${Math.floor(behind)} s` : "the run is not going on";
  }
  if (stream.open) {
    if (!last) showState("waiting", "wait");
    else if (behind < 2) showState(stream.fallback ? "live (MJPEG)" : "live", "live");
    else showState("stalled", "bad");
  }
}, 250);

function showState(word, kind) {
  const pill = at("state");
  if (pill.textContent !== word) pill.textContent = word;
  pill.className = `pill ${kind}`;
}

let wordTimer = 0;
function say(text) {
  at("word").textContent = text;
  at("word").hidden = false;
  clearTimeout(wordTimer);
  wordTimer = setTimeout(() => { at("word").hidden = true; }, 6000);
}

function choose(group, attribute, value) {
  for (const button of group.querySelectorAll("button")) {
    const is = button.dataset[attribute] === value;
    button.setAttribute("aria-checked", is);
    button.tabIndex = is ? 0 : -1;
  }
}

// A group of buttons of which one is chosen; arrows move, as in any radio group.
function radios(group, attribute, choice) {
  const buttons = [...group.querySelectorAll("button")];
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choice(button.dataset[attribute]);
  });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    next.focus();
    choice(next.dataset[attribute]);
  });
}

function look() {
  stream.look({ ...view });
}

function show(name) {
  shown = name;
  view.kind = name === "side" || name === "blend" ? "pair" : name;
  choose(at("views"), "view", name);
  at("mixing").hidden = name !== "blend";
  at("align-hint").hidden = !aligner.known || aligner.open || !["side", "blend", "edges"].includes(name);
  canvas.setAttribute("aria-label", `Live picture: ${name}`);
  look();
  paint();
}

function isotherm() {
  const mode = at("isotherm").value;
  at("hottest-row").hidden = mode !== "hottest";
  at("counts-row").hidden = mode !== "counts";
  at("hottest-value").textContent = at("hottest").value;
  view.hottest = mode === "hottest" ? Number(at("hottest").value) : null;
  const counts = Math.round(Number(at("counts").value));
  view.counts = mode === "counts" && counts >= 0 && counts <= 65535 ? counts : null;
  look();
}

radios(at("views"), "view", show);
radios(at("palettes"), "palette", (name) => { view.palette = name; choose(at("palettes"), "palette", name); look(); });
choose(at("palettes"), "palette", view.palette);
at("mix").addEventListener("input", paint);
for (const id of ["isotherm", "hottest", "counts"]) at(id).addEventListener("input", isotherm);
at("boxes").addEventListener("change", () => { view.boxes = at("boxes").checked; look(); });
at("detail").addEventListener("change", () => { view.detail = at("detail").value; look(); });
at("stretch").addEventListener("change", () => {
  settingsTouchedAt = performance.now();
  stream.change({ stretch: at("stretch").value });
});
at("score").addEventListener("input", () => {
  settingsTouchedAt = performance.now();
  at("score-value").textContent = Number(at("score").value).toFixed(2);
  stream.change({ score_threshold: Number(at("score").value) });
});
at("distance").addEventListener("input", () => {
  if (!reach || reach.nearest_m === null) return;
  settingsTouchedAt = performance.now();
  const distance = metresAt(Number(at("distance").value), reach.nearest_m);
  at("distance-value").textContent = metres(distance);
  stream.change({ distance_m: distance });
});
at("full").addEventListener("click", full);
addEventListener("resize", paint);
addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, .plate") || event.ctrlKey || event.metaKey || event.altKey) return;
  const buttons = at("views").querySelectorAll("button");
  if (event.key === "f") full();
  else if (buttons[Number(event.key) - 1]) show(buttons[Number(event.key) - 1].dataset.view);
});

function full() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (at("stage").requestFullscreen) at("stage").requestFullscreen().catch(() => {});
}

if (location.hash) history.replaceState(null, "", location.pathname); // a link's token must not stay in sight
show("fused");
stream.start();
