// Distances on a slider: what moves by as much of it shifts infrared by as many pixels, so it runs over 1 / distance.

const FAR = 100000; // metres: as good as the horizon, and what the server calls the farthest

// 0 is the nearest, 1 the horizon.
export function metresAt(share, nearest) {
  return Math.min(FAR, Math.max(nearest, nearest / Math.max(1 - share, nearest / FAR)));
}

export function shareAt(distance, nearest) { return 1 - nearest / Math.max(distance, nearest); }

export function metres(value) {
  return value >= 1000 ? "far" : `${value < 10 ? value.toFixed(1) : Math.round(value)} m`;
}
