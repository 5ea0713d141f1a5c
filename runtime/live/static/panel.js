// Shows how the run stands: cameras, latencies, frames, and the settings that all viewers share.

import { metres, shareAt } from "./distance.js";

const at = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function seconds(value) {
  return value === null ? "no frame yet" : value < 10 ? `${value.toFixed(1)} s ago` : `${Math.round(value)} s ago`;
}

export function showStatus(status, mayChange) {
  at("rate").textContent = status.running ? status.rate_hz.toFixed(1) : "–";
  const skew = status.figures.skew && status.figures.skew.median_ms;
  at("skew").textContent = skew === null || skew === undefined ? "–" : skew.toFixed(1);
  at("title").textContent = status.title;
  cameras(status.cameras);
  latencies(status.figures.latency_ms || {});
  frames(status);
  if (mayChange) settings(status.settings);
}

function cameras(all) {
  at("cameras").replaceChildren(...Object.entries(all).map(([role, camera]) => {
    const item = element("li", undefined, camera.state);
    const live = camera.state === "live";
    item.append(element("i"), element("b", role),
      element("span", live ? `${camera.rate_hz.toFixed(1)} Hz` : `${camera.state}, ${seconds(camera.age_s)}`));
    if (camera.failure) item.append(element("em", camera.failure));
    return item;
  }));
}

function latencies(all) {
  const rows = Object.entries(all).filter(([, summary]) => summary.p50 !== undefined);
  at("latency").replaceChildren(...rows.map(([stage, summary]) => {
    const row = element("tr");
    const head = element("th", stage);
    head.scope = "row";
    row.append(head, ...["p50", "p95", "p99"].map((name) => element("td", summary[name].toFixed(1))));
    return row;
  }));
}

function frames(status) {
  const rows = [];
  for (const [role, counts] of Object.entries(status.figures.cameras || {})) {
    for (const [fate, count] of Object.entries(counts)) if (count) rows.push([`${role}: ${fate}`, count]);
  }
  for (const [reason, count] of Object.entries(status.figures.degraded || {})) rows.push([`pictures: ${reason}`, count]);
  if (status.figures.sink_dropped) rows.push(["outputs: dropped", status.figures.sink_dropped]);
  at("frames").replaceChildren(...rows.map(([what, count]) => {
    const row = element("tr");
    const head = element("th", what);
    head.scope = "row";
    row.append(head, element("td", count.toLocaleString("en")));
    return row;
  }));
}

function settings(given) {
  const stretch = at("stretch");
  const score = at("score");
  stretch.disabled = !given;
  score.disabled = !given || given.score_threshold === null;
  if (!given) return;
  if (stretch.options.length !== given.stretches.length) {
    stretch.replaceChildren(...given.stretches.map((name) => new Option(name, name)));
  }
  stretch.value = given.stretch;
  if (given.score_threshold !== null) {
    score.value = given.score_threshold;
    at("score-value").textContent = given.score_threshold.toFixed(2);
  }
  at("distance-row").hidden = given.nearest_m === null;
  if (given.nearest_m !== null) {
    at("distance").value = shareAt(given.distance_m, given.nearest_m);
    at("distance-value").textContent = metres(given.distance_m);
  }
}
