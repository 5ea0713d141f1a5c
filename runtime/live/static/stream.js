// Pictures and figures from the server: over a WebSocket, or as motion JPEG where that does not come to be.

const TRIES = 3; // WebSockets that never opened, before motion JPEG is taken

export class Stream {
  constructor(told) {
    this.told = told;
    this.open = false;
    this.fallback = false;
    this.view = {};
    this.never = 0;
    this.waitMs = 500;
    this.offsets = []; // [round trip, server's clock less ours], milliseconds
    this.pending = null;
    this.timer = 0;
  }

  start() { this.connect(); }

  // The server's time of day in milliseconds, as well as the quickest of the last pings tells.
  serverNow() {
    const best = this.offsets.reduce((a, b) => (b[0] < a[0] ? b : a), [Infinity, 0]);
    return performance.timeOrigin + performance.now() + best[1];
  }

  look(view) {
    this.view = view;
    if (this.fallback) this.image.src = this.address();
    else this.later({ type: "view", view });
  }

  change(settings) {
    if (this.fallback) this.told.refused("settings cannot be changed over motion JPEG");
    else this.later({ type: "change", ...settings });
  }

  // A slider gives many values: only the newest of a kind is sent, ten times a second at most.
  later(message) {
    this.pending = { ...this.pending, [message.type]: message };
    if (this.timer) return;
    this.flush();
    this.timer = setTimeout(() => { this.timer = 0; if (this.pending) this.flush(); }, 100);
  }

  flush() {
    const pending = this.pending || {};
    this.pending = null;
    for (const message of Object.values(pending)) this.send(message);
  }

  send(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    let opened = false;
    let chain = Promise.resolve();
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      opened = true;
      this.open = true;
      this.never = 0;
      this.waitMs = 500;
      this.offsets = [];
      this.send({ type: "view", view: this.view });
      this.ping();
      this.pinging = setInterval(() => this.ping(), 5000);
    };
    socket.onmessage = (event) => {
      if (typeof event.data === "string") this.text(JSON.parse(event.data));
      else chain = chain.then(() => this.binary(event.data)).catch((error) => console.error(error));
    };
    socket.onclose = (event) => {
      clearInterval(this.pinging);
      this.open = false;
      if (!opened) this.never += 1;
      if (this.never >= TRIES) { this.fall(); return; }
      this.told.state(event.code === 1013 ? "too many viewers" : "no connection", "bad");
      setTimeout(() => this.connect(), this.waitMs);
      this.waitMs = Math.min(5000, this.waitMs * 2);
    };
  }

  ping() { this.send({ type: "ping", at: performance.now() }); }

  text(message) {
    if (message.type === "status") this.told.status(message);
    else if (message.type === "refused") this.told.refused(message.why);
    else if (message.type === "pong") {
      const trip = performance.now() - message.at;
      const offset = message.utc_ms + trip / 2 - (performance.timeOrigin + performance.now());
      this.offsets = [...this.offsets.slice(-9), [trip, offset]];
    }
  }

  // Four bytes of length, a header in JSON, a JPEG.
  async binary(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      this.told.picture(header, bitmap);
    } finally {
      this.send({ type: "taken" });
    }
  }

  address() {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(this.view)) if (value !== null) query.set(key, value);
    return `/stream.mjpg?${query}`;
  }

  // Motion JPEG: an image that the browser keeps renewing; the figures are fetched.
  async fall() {
    this.fallback = true;
    this.image = new Image();
    this.image.src = this.address();
    let index = -1;
    for (;;) {
      try {
        const answer = await fetch("/status.json");
        if (answer.status === 401) location.reload();
        const status = await answer.json();
        this.open = true;
        this.told.status(status);
        for (let turn = 0; turn < 15; turn += 1) {
          await new Promise((done) => { setTimeout(done, 66); });
          if (!this.image.naturalWidth) continue;
          const fresh = status.running && status.age_s !== null && status.age_s < 2;
          const header = { index: index += 1, utc_ms: null, degraded: null, kind: this.view.kind, found: "–" };
          if (fresh) this.told.picture(header, this.image);
        }
      } catch {
        this.open = false;
        this.told.state("no connection", "bad");
        await new Promise((done) => { setTimeout(done, 2000); });
        this.image.src = this.address();
      }
    }
  }
}
