// A picture that stands still, in which places are picked: by mouse, touch or keys, under a loupe.

const NEAR = { mouse: 12, touch: 22 }; // CSS pixels: so near a point it is taken up instead of a new one set
const FINE = 0.4; // a finger that drags moves the place by so much of its own way: it hides what it is on
const LOUPE = 148; // CSS pixels across
const TONES = { good: "#46c287", warn: "#f2b53c", bad: "#ff6464", none: "#ffffff" };

// Places are in pixels of the picture, and (0, 0) is the middle of the upper left one.
export class Still {
  constructor(figure, told) {
    this.figure = figure;
    this.told = told; // picked(place), moved(index, place)
    this.canvas = figure.querySelector(".plate canvas");
    this.loupe = figure.querySelector(".loupe");
    this.image = null;
    this.marks = []; // {index, place, label, tone, old}
    this.hint = null; // where the place should be, by what is known so far
    this.cursor = null; // a place under the pointer or the keys
    this.held = null; // what is dragged: {index or null, place, x, y}
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("pointerleave", () => { if (!this.held) this.drop(); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.drop());
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  show(image) {
    if (this.image && this.image.close) this.image.close();
    this.image = image;
    this.canvas.style.aspectRatio = `${image.width} / ${image.height}`;
    this.drop();
  }

  mark(marks, hint) {
    this.marks = marks;
    this.hint = hint;
    this.paint();
  }

  get scale() { return this.canvas.clientWidth / this.image.width; }

  placeAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.inside([(event.clientX - box.left) / this.scale - 0.5, (event.clientY - box.top) / this.scale - 0.5]);
  }

  inside([x, y]) {
    return [Math.min(Math.max(x, 0), this.image.width - 1), Math.min(Math.max(y, 0), this.image.height - 1)];
  }

  down(event) {
    if (!this.image || event.button) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true }); // for the keys
    this.canvas.classList.add("pointed");
    this.canvas.setPointerCapture(event.pointerId);
    const place = this.placeAt(event);
    const reach = NEAR[event.pointerType === "mouse" ? "mouse" : "touch"] / this.scale;
    const far = (mark) => Math.hypot(mark.place[0] - place[0], mark.place[1] - place[1]);
    const near = this.marks.filter((mark) => far(mark) < reach).sort((a, b) => far(a) - far(b))[0];
    this.held = { index: near ? near.index : null, place: near ? near.place : place, x: event.clientX, y: event.clientY };
    this.cursor = this.held.place;
    this.paint();
  }

  move(event) {
    if (!this.image) return;
    if (this.held) {
      const share = event.pointerType === "mouse" ? 1 : FINE;
      const { place, x, y } = this.held;
      this.cursor = this.inside([place[0] + (event.clientX - x) * share / this.scale, place[1] + (event.clientY - y) * share / this.scale]);
    } else if (event.pointerType === "mouse") this.cursor = this.placeAt(event);
    this.paint();
  }

  up(event) {
    if (!this.held) return;
    const { index } = this.held;
    const place = this.cursor;
    this.held = null;
    if (event.pointerType !== "mouse") this.cursor = null;
    this.give(index, place);
    this.paint();
  }

  drop() {
    this.held = this.cursor = null;
    this.paint();
  }

  give(index, place) {
    const exact = place.map((value) => Math.round(value * 100) / 100);
    if (index === null) this.told.picked(exact);
    else this.told.moved(index, exact);
  }

  key(event) {
    if (!this.image) return;
    const step = event.shiftKey ? 0.25 : Math.max(1, Math.round(4 / this.scale));
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    this.canvas.classList.remove("pointed");
    if (way) {
      const from = this.cursor || this.hint || [this.image.width / 2, this.image.height / 2];
      this.cursor = this.inside([from[0] + way[0] * step, from[1] + way[1] * step]);
      this.paint();
    } else if ((event.key === "Enter" || event.key === " ") && this.cursor) this.give(null, this.cursor);
    else return;
    event.preventDefault();
  }

  paint() {
    const { canvas, image } = this;
    this.loupe.hidden = !this.cursor;
    if (!image || !canvas.clientWidth) return;
    const dots = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * dots);
    const height = Math.round(canvas.clientWidth * image.height / image.width * dots);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const context = canvas.getContext("2d", { alpha: false });
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.drawImage(image, 0, 0, width / dots, height / dots);
    this.draw(context, ([x, y]) => [(x + 0.5) * this.scale, (y + 0.5) * this.scale]);
    if (this.cursor) this.magnify(dots);
  }

  draw(context, to) {
    context.lineWidth = 2;
    if (this.hint) {
      const [x, y] = to(this.hint);
      context.setLineDash([4, 4]);
      ring(context, x, y, 15, "#ffffff");
      context.setLineDash([]);
    }
    for (const mark of this.marks) {
      const moved = this.held && this.held.index === mark.index;
      const [x, y] = to(moved ? this.cursor : mark.place);
      context.globalAlpha = mark.old ? 0.45 : 1;
      cross(context, x, y, 8, "#000000", 4);
      cross(context, x, y, 8, TONES[mark.tone], 2);
      context.font = "700 13px system-ui, sans-serif";
      context.lineWidth = 3.5;
      context.strokeStyle = "#000000";
      context.fillStyle = TONES[mark.tone];
      context.strokeText(mark.label, x + 8, y - 7);
      context.fillText(mark.label, x + 8, y - 7);
      context.globalAlpha = 1;
      context.lineWidth = 2;
    }
  }

  magnify(dots) {
    const { loupe, image, cursor, scale } = this;
    const zoom = Math.max(4, 5 * scale);
    loupe.width = loupe.height = Math.round(LOUPE * dots);
    const context = loupe.getContext("2d", { alpha: false });
    context.setTransform(dots, 0, 0, dots, 0, 0);
    const left = LOUPE / 2 - (cursor[0] + 0.5) * zoom;
    const top = LOUPE / 2 - (cursor[1] + 0.5) * zoom;
    context.drawImage(image, left, top, image.width * zoom, image.height * zoom);
    cross(context, LOUPE / 2, LOUPE / 2, LOUPE / 2, "rgb(0 0 0 / .45)", 3, 7);
    cross(context, LOUPE / 2, LOUPE / 2, LOUPE / 2, "#ffffff", 1, 7);
    const x = (cursor[0] + 0.5) * scale;
    const y = (cursor[1] + 0.5) * scale;
    const over = this.canvas.getBoundingClientRect().top + y - LOUPE - 26 > 0;
    loupe.style.left = `${Math.min(Math.max(x - LOUPE / 2, -8), this.canvas.clientWidth - LOUPE + 8)}px`;
    loupe.style.top = `${over ? y - LOUPE - 26 : y + 34}px`;
  }
}

function ring(context, x, y, radius, colour) {
  context.strokeStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}

// With a gap in the middle, so that it does not hide what it stands on.
function cross(context, x, y, length, colour, width, gap = 2) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + dx * gap, y + dy * gap);
    context.lineTo(x + dx * length, y + dy * length);
  }
  context.stroke();
}
