// Draws a picture, or the two halves of a pair.

const NARROW = 560; // CSS pixels: below it the halves of a pair stand one below the other

function sized(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
}

// layout: "one", "side" or "blend"; share: of infrared in a blend, 0 to 1.
export function draw(canvas, bitmap, layout, share) {
  const context = canvas.getContext("2d", { alpha: false });
  const width = bitmap.naturalWidth || bitmap.width;
  const height = bitmap.naturalHeight || bitmap.height;
  const half = width >> 1;
  if (layout === "one") {
    sized(canvas, width, height);
    context.drawImage(bitmap, 0, 0);
  } else if (layout === "blend") {
    sized(canvas, half, height);
    context.globalAlpha = 1;
    context.drawImage(bitmap, half, 0, half, height, 0, 0, half, height);
    context.globalAlpha = share;
    context.drawImage(bitmap, 0, 0, half, height, 0, 0, half, height);
    context.globalAlpha = 1;
  } else if (canvas.parentElement.clientWidth < NARROW) {
    sized(canvas, half, 2 * height);
    context.drawImage(bitmap, 0, 0, half, height, 0, 0, half, height);
    context.drawImage(bitmap, half, 0, half, height, 0, height, half, height);
  } else {
    sized(canvas, width, height);
    context.drawImage(bitmap, 0, 0);
  }
}
