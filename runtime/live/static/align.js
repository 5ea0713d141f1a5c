// Alignment by hand: the same places in infrared and in visible, fitted by the server and tried on the stream.
import { metres } from "./distance.js";
import { Still } from "./still.js";

const LEAST = 4; // places that a homography needs
const at = (id) => document.getElementById(id);
const ROLES = ["infrared", "visible"];
const OTHER = { infrared: "visible", visible: "infrared" };

export class Aligner {
  constructor(told) {
    this.told = told; // opened(), closed()
    this.open = false;
    this.points = []; // {infrared, visible: place or null, taken: number of the still}
    this.past = [];
    this.fit = null; // the server's last answer
    this.taken = 0;
    this.asked = 0;
    this.timer = 0;
    this.sizes = null;
    this.homography = null;
    this.file = null;
    this.trying = false; // somebody does
    this.ours = false; // what is tried is this page's
    this.stills = {};
    for (const role of ROLES) {
      this.stills[role] = new Still(at(`still-${role}`), {
        picked: (place) => this.pick(role, place),
        moved: (index, place) => this.change(() => { this.points[index][role] = place; }),
      });
    }
    for (const id of ["align-open", "align-offer"]) at(id).addEventListener("click", () => this.begin());
    for (const id of ["align-back", "trying-back"]) at(id).addEventListener("click", () => this.back());
    at("align-close").addEventListener("click", () => this.end());
    at("align-undo").addEventListener("click", () => this.undo());
    at("align-fresh").addEventListener("click", () => this.still());
    at("align-save").addEventListener("click", () => this.save());
    at("align-distance").addEventListener("change", () => this.later());
    at("align-copy").addEventListener("click", () => copy(at("align-command")));
  }

  // How the run stands, for those who align and for those who look on.
  status(alignment) {
    at("alignment").hidden = !alignment || this.open;
    this.known = Boolean(alignment);
    if (!alignment) return;
    this.file = alignment.file;
    this.trying = alignment.trying;
    at("trying").hidden = !alignment.trying || this.open;
    at("align-back").disabled = !alignment.trying;
    at("align-save").textContent = alignment.file ? `Save to ${alignment.file}` : "Show the command";
    const parts = [alignment.measured ? "measured" : "not measured: infrared is scaled to visible"];
    if (alignment.trying) parts[0] = "being tried, not saved";
    if (alignment.error_px !== null) parts.push(`error ${alignment.error_px.toFixed(1)} px`);
    if (alignment.measured_m !== null) parts.push(`at ${metres(alignment.measured_m)}`);
    at("align-state").textContent = parts.join(", ");
  }

  async begin() {
    this.open = true;
    document.body.classList.add("aligning");
    for (const id of ["stills", "align"]) at(id).hidden = false;
    for (const id of ["alignment", "trying"]) at(id).hidden = true;
    this.told.opened();
    scrollTo(0, 0);
    await this.still();
  }

  end() {
    this.open = false;
    document.body.classList.remove("aligning");
    for (const id of ["stills", "align"]) at(id).hidden = true;
    at("alignment").hidden = false;
    at("trying").hidden = !this.trying;
    this.told.closed();
  }

  async still() {
    try {
      const answer = await fetch("/align/still");
      if (!answer.ok) throw new Error((await answer.json()).error);
      const data = await answer.arrayBuffer();
      const length = new DataView(data).getUint32(0);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      let begin = 4 + length;
      this.taken += 1;
      for (const role of ROLES) {
        const raw = new Uint8Array(data, begin, head[role].bytes);
        begin += head[role].bytes;
        this.stills[role].show(await createImageBitmap(new Blob([raw], { type: role === "infrared" ? "image/png" : "image/jpeg" })));
      }
      const sizes = JSON.stringify(ROLES.map((role) => head[role].size));
      if (this.sizes !== null && this.sizes !== sizes) { // points of other pictures
        this.points = [];
        this.past = [];
        this.later();
      }
      this.sizes = sizes;
      this.homography = head.homography;
      this.render();
    } catch (error) { this.refuse(error.message); }
  }

  pick(role, place) {
    this.change(() => {
      const open = this.points.find((point) => !point.infrared || !point.visible);
      if (open) open[role] = place;
      else this.points.push({ infrared: null, visible: null, taken: this.taken, [role]: place });
    });
  }

  change(work) {
    this.past.push(JSON.stringify(this.points));
    work();
    this.later();
  }

  undo() {
    if (!this.past.length) return;
    this.points = JSON.parse(this.past.pop());
    this.later();
  }

  get whole() { return this.points.filter((point) => point.infrared && point.visible); }

  wish() {
    const distance = Number(at("align-distance").value);
    return {
      points: this.whole.map((point) => [...point.infrared, ...point.visible]),
      distance_m: distance > 0 ? distance : null,
    };
  }

  // The stream follows every change of the points, as soon as there are enough of them.
  later() {
    this.fit = null;
    at("align-told").hidden = true;
    this.asked += 1;
    clearTimeout(this.timer);
    if (this.whole.length >= LEAST) this.timer = setTimeout(() => this.ask("/align/try"), 120);
    else if (this.ours) this.timer = setTimeout(() => this.back(), 120);
    this.render();
  }

  async ask(path) {
    clearTimeout(this.timer); // a try that still waits would come after what is saved now
    const number = this.asked += 1;
    if (!at("align-distance").validity.valid) { // a comma, or nothing that is a distance
      this.refuse("The distance is a number of metres, 0.05 to 100000, or left empty.");
      return null;
    }
    const wish = this.wish();
    const [answer, made] = await post(path, wish);
    if (number !== this.asked) return null; // the points are others by now
    this.fit = { residuals: made.residuals_px || [], rms: made.rms_px, remarks: made.remarks || [],
      error: made.error };
    if (answer) {
      this.homography = made.homography;
      this.trying = this.ours = true;
      at("align-back").disabled = false;
    }
    this.render();
    return [answer, made];
  }

  async save() {
    const told = await this.ask("/align/save");
    if (!told) return;
    const [good, made] = told;
    at("align-told").hidden = false;
    at("align-command").textContent = made.command || "";
    for (const id of ["align-command", "align-copy"]) at(id).hidden = !made.command;
    if (good && made.file) {
      this.trying = this.ours = false;
      at("align-back").disabled = true;
    }
    at("align-saved").textContent = good && made.file ? `Saved to ${made.file}. It holds for every run from now on.`
      : good ? "No rig file holds these cameras. This command makes one, once this run has ended:"
        : made.command ? "Not saved. The points are in this command:" : "Not saved.";
  }

  async back() {
    clearTimeout(this.timer);
    const [good, made] = await post("/align/back", {});
    if (!good) { this.refuse(made.error); return; }
    this.asked += 1;
    this.trying = this.ours = false;
    at("trying").hidden = true;
    at("align-back").disabled = true;
    this.fit = null;
    if (this.open) this.render();
  }

  refuse(why) {
    this.fit = { residuals: [], remarks: [], error: why };
    this.render();
    if (!this.open) this.told.say(why);
  }

  // Where a place of the one picture should be in the other, by the alignment that is known.
  guess(point) {
    if (!this.homography || !this.stills.infrared.image) return null;
    const from = point.infrared ? "infrared" : "visible";
    const matrix = from === "infrared" ? this.homography : inverse(this.homography);
    const [x, y, depth] = matrix.map((row) => row[0] * point[from][0] + row[1] * point[from][1] + row[2]);
    const image = this.stills[OTHER[from]].image;
    const place = [x / depth, y / depth];
    return place[0] >= 0 && place[1] >= 0 && place[0] < image.width && place[1] < image.height ? place : null;
  }

  tone(residual) {
    if (residual === undefined || this.whole.length <= LEAST) return "none";
    const pixel = this.stills.visible.image.width / 640;
    return residual < 2 * pixel ? "good" : residual < 6 * pixel ? "warn" : "bad";
  }

  render() {
    const { whole, fit } = this;
    const open = this.points.find((point) => !point.infrared || !point.visible);
    const residual = (point) => (fit ? fit.residuals[whole.indexOf(point)] : undefined);
    const next = !open ? "infrared" : open.infrared ? "visible" : "infrared";
    for (const role of ROLES) {
      const marks = this.points.map((point, index) => ({ index, place: point[role], label: `${index + 1}`,
        tone: this.tone(residual(point)), old: point.taken !== this.taken })).filter((mark) => mark.place);
      this.stills[role].mark(marks, open && !open[role] ? this.guess(open) : null);
      at(`still-${role}`).classList.toggle("next", role === next);
    }
    at("pairs").replaceChildren(...this.points.map((point, index) => this.row(point, index, residual(point))));
    at("align-undo").disabled = !this.past.length;
    at("align-save").disabled = whole.length < LEAST || Boolean(fit && fit.error);
    at("align-word").textContent = this.word(open, next);
    at("align-word").classList.toggle("wrong", Boolean(fit && fit.error));
    const told = fit && !fit.error && fit.rms !== null;
    at("align-figures").textContent = told ? `error ${fit.rms.toFixed(1)} px RMS` : "";
    at("align-remarks").textContent = fit ? fit.remarks.join("; ") : "";
  }

  word(open, next) {
    const count = this.whole.length;
    if (this.fit && this.fit.error) return this.fit.error;
    if (open) return `Now the same place in ${next}.`;
    if (!count) return "Pick a place in infrared, then the same one in visible: a corner, a lamp, a foot.";
    if (count < LEAST) return `${count} of ${LEAST} places. Take them far apart, near the corners too.`;
    return count < 8 ? "The stream shows it now. Eight places are good." : "The stream shows it now.";
  }

  row(point, index, residual) {
    const item = document.createElement("li");
    const words = [`${index + 1}`, ROLES.map((role) => (point[role] ? point[role].map((value) => value.toFixed(0)).join(", ") : "…")).join(" → ")];
    const told = residual === undefined || this.whole.length <= LEAST ? "" : `${residual.toFixed(1)} px`;
    item.append(...[...words, told].map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    item.dataset.tone = this.tone(residual);
    const away = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    away.setAttribute("aria-label", `Remove place ${index + 1}`);
    away.addEventListener("click", () => this.change(() => { this.points.splice(index, 1); }));
    item.append(away);
    return item;
  }
}

async function post(path, body) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    return [answer.ok, await answer.json()];
  } catch { return [false, { error: "no connection" }]; }
}

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  return [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]];
}

// Where a browser lets no page write to its clipboard (plain HTTP from another machine), the text is marked.
async function copy(element) {
  getSelection().selectAllChildren(element);
  try { await navigator.clipboard.writeText(element.textContent); } catch { /* it is marked */ }
}
