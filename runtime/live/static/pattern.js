// A calibration pattern that fills the screen: /pattern?kind=chessboard&columns=9&rows=6
//   kind      chessboard (columns and rows count inner corners, as OpenCV does), dots, or asymmetric-dots
//   columns, rows, margin (share of the shorter side), invert=1 (bright on dark: bright pixels warm an OLED)
const query = new URLSearchParams(location.search);

function number(name, otherwise, least, most) {
  const value = Number(query.get(name) ?? otherwise);
  return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : otherwise;
}

const kind = ["chessboard", "dots", "asymmetric-dots"].includes(query.get("kind")) ? query.get("kind") : "chessboard";
const columns = Math.round(number("columns", kind === "asymmetric-dots" ? 4 : 9, 2, 60));
const rows = Math.round(number("rows", kind === "asymmetric-dots" ? 11 : 6, 2, 60));
const margin = number("margin", 0.06, 0, 0.4);
const inverted = query.get("invert") === "1";
const [ground, ink] = inverted ? ["#000", "#fff"] : ["#fff", "#000"];
const canvas = document.getElementById("pattern");
document.body.classList.toggle("inverted", inverted);

function draw() {
  const ratio = window.devicePixelRatio || 1;
  // Whole device pixels: an edge between two of them would be grey.
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = ink;
  const edge = margin * Math.min(canvas.width, canvas.height);
  const room = [canvas.width - 2 * edge, canvas.height - 2 * edge];
  const turned = (room[0] > room[1]) !== (wide() > tall());
  const across = turned ? tall() : wide();
  const down = turned ? wide() : tall();
  const step = Math.max(1, Math.floor(Math.min(room[0] / across, room[1] / down)));
  const left = Math.round((canvas.width - step * across) / 2);
  const top = Math.round((canvas.height - step * down) / 2);
  if (kind === "chessboard") squares(context, across, down, step, left, top);
  else dots(context, turned, step, left, top);
  Object.assign(canvas.dataset, { kind, columns, rows, step, left, top, turned });
}

// Steps that the pattern is wide and high.
function wide() { return kind === "asymmetric-dots" ? 2 * columns : columns + (kind === "dots" ? 0 : 1); }
function tall() { return rows + (kind === "chessboard" ? 1 : 0); }

function squares(context, across, down, step, left, top) {
  for (let y = 0; y < down; y += 1) {
    for (let x = y % 2; x < across; x += 2) context.fillRect(left + x * step, top + y * step, step, step);
  }
}

// Dots a step apart; of the asymmetric grid every second row is shifted by one step, and columns are two apart.
function dots(context, turned, step, left, top) {
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const along = kind === "dots" ? column : 2 * column + (row % 2);
      const [x, y] = turned ? [row, along] : [along, row];
      context.beginPath();
      context.arc(left + (x + 0.5) * step, top + (y + 0.5) * step, step * (kind === "dots" ? 0.28 : 0.36), 0, 2 * Math.PI);
      context.fill();
    }
  }
}

addEventListener("resize", draw);
addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (document.documentElement.requestFullscreen) document.documentElement.requestFullscreen().catch(() => {});
});
if (navigator.wakeLock) navigator.wakeLock.request("screen").catch(() => {});
draw();
