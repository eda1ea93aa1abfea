// The camera page. Pictures live in this page's memory until they are sent, deleted, or the page is left.

import { Problem, request } from "../lib/http.js";

const WIDTH = 1280; // pixels that are asked for; the camera may give others
const QUALITY = 0.95; // of the JPEG
const SECOND_MS = 1000;
const PATIENCE_MS = [1000, 3000, 6000]; // waits between tries of one picture
const BUSY = new Set([429, 502, 503]);
const GONE = new Set(["consent_missing", "key_destroyed", "not_found"]);

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

class Booth {
  constructor(element) {
    this.element = element;
    this.words = element.dataset;
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.prompts = [...element.querySelectorAll("[data-prompt]")];
    this.at = 0;
    this.shots = []; // { blob, prompt, line }, in the order in which they were taken
    this.stream = null;
    this.busy = false;
  }

  say(text) {
    this.part("status").textContent = text;
  }

  complain(text) {
    this.part("trouble").textContent = text;
    this.part("trouble").hidden = !text;
  }

  async on() {
    this.complain("");
    if (!window.isSecureContext || !navigator.mediaDevices) {
      this.complain(this.words.insecure);
      return;
    }
    try {
      const video = { facingMode: "user", width: { ideal: WIDTH } };
      this.stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      const why = { NotAllowedError: "denied", NotFoundError: "missing", OverconstrainedError: "missing" };
      this.complain(this.words[why[error.name] ?? "failed"]);
      return;
    }
    const video = this.part("video");
    const ready = new Promise((done) => video.addEventListener("loadedmetadata", done, { once: true }));
    video.srcObject = this.stream;
    await ready;
    this.part("begin").hidden = true;
    this.part("booth").hidden = false;
    this.part("sent").hidden = true;
    this.part("take").focus();
  }

  /** The light beside the lens goes out. */
  off() {
    for (const track of this.stream?.getTracks() ?? []) {
      track.stop();
    }
    this.stream = null;
    this.part("video").srcObject = null;
    this.part("booth").hidden = true;
    this.part("begin").hidden = false;
  }

  step(to) {
    this.prompts[this.at].hidden = true;
    this.at = (to + this.prompts.length) % this.prompts.length;
    this.prompts[this.at].hidden = false;
    const { name } = this.prompts[this.at].dataset;
    this.say(`${name}. ${this.prompts[this.at].querySelector("h3 + p").textContent}`);
  }

  async later() {
    const count = this.part("count");
    this.part("later").disabled = true;
    count.hidden = false;
    for (const number of [3, 2, 1]) {
      count.textContent = number;
      await pause(SECOND_MS);
    }
    count.hidden = true;
    this.part("later").disabled = false;
    await this.take();
  }

  async take() {
    const video = this.part("video");
    if (!this.stream || video.videoWidth === 0) {
      return;
    }
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
    this.add(canvas, blob, this.prompts[this.at]);
  }

  add(canvas, blob, prompt) {
    const line = this.part("shot").content.firstElementChild.cloneNode(true);
    const { name } = prompt.dataset;
    const small = line.querySelector("canvas");
    small.width = 320;
    small.height = Math.round((320 * canvas.height) / canvas.width);
    small.getContext("2d").drawImage(canvas, 0, 0, small.width, small.height);
    small.setAttribute("aria-label", fill(this.words.alt, { name }));
    line.querySelector('[data-part="name"]').textContent = name;
    const shot = { blob, prompt, line };
    for (const [part, act] of [["delete", () => this.remove(shot)], ["again", () => this.again(shot)]]) {
      const button = line.querySelector(`[data-part="${part}"]`);
      button.setAttribute("aria-label", fill(this.words[part], { name }));
      button.addEventListener("click", act);
    }
    this.shots.push(shot);
    this.part("shots").append(line);
    this.say(fill(this.words.taken, { name, count: this.shots.length }));
    this.show();
  }

  drop(shot) {
    this.shots = this.shots.filter((each) => each !== shot);
    shot.line.remove();
    shot.blob = null;
    this.show();
  }

  remove(shot) {
    if (this.busy) {
      return;
    }
    this.drop(shot);
    this.say(fill(this.words.deleted, { count: this.shots.length }));
    (this.stream ? this.part("take") : this.part("on")).focus();
  }

  async again(shot) {
    if (this.busy) {
      return;
    }
    this.remove(shot);
    this.step(this.prompts.indexOf(shot.prompt));
    if (!this.stream) {
      await this.on();
    }
  }

  show() {
    const count = this.shots.length;
    this.part("tray").hidden = count === 0;
    this.part("send").textContent = count === 1 ? this.words.sendOne : fill(this.words.sendMany, { count });
  }

  async send() {
    if (this.busy) {
      return;
    }
    this.busy = true;
    this.off();
    this.complain("");
    this.part("send").disabled = true;
    const bar = this.part("bar");
    const all = [...this.shots];
    let refused = 0;
    bar.hidden = false;
    bar.max = all.length;
    try {
      for (const [done, shot] of all.entries()) {
        bar.value = done;
        this.say(fill(this.words.sending, { done, count: all.length }));
        if (await this.carry(shot)) {
          this.drop(shot);
        } else {
          refused += 1;
        }
      }
      this.end(refused);
    } catch (problem) {
      this.stop(problem);
    } finally {
      this.busy = false;
      bar.hidden = true;
      this.part("send").disabled = false;
    }
  }

  /** Sends one picture, again after a while when the line is bad. False when it was refused. */
  async carry(shot) {
    for (let attempt = 0; ; attempt += 1) {
      const body = new FormData();
      body.append("file", shot.blob, `${shot.prompt.dataset.prompt}.jpg`);
      try {
        await request(this.words.action, { method: "POST", body });
        return true;
      } catch (problem) {
        if (problem.code === "csrf" && attempt === 0) {
          await renewToken();
        } else if (problem instanceof Problem && !BUSY.has(problem.status)) {
          if (GONE.has(problem.code) || problem.status >= 500) {
            throw problem;
          }
          return false;
        } else if (attempt >= PATIENCE_MS.length) {
          throw problem;
        } else {
          await pause(PATIENCE_MS[attempt]);
        }
      }
    }
  }

  end(refused) {
    this.say("");
    if (refused > 0) {
      this.complain(fill(this.words.refused, { count: refused }));
      return;
    }
    this.part("sent").hidden = false;
    this.part("sent").focus();
  }

  stop(problem) {
    this.say("");
    if (!GONE.has(problem.code)) {
      this.complain(this.words.lost);
      return;
    }
    for (const shot of [...this.shots]) {
      this.drop(shot);
    }
    this.part("begin").hidden = true;
    this.complain(this.words.withdrawn);
  }
}

/** The page was open for so long that its token has ended; a fresh copy of the page has another. */
async function renewToken() {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const token = fresh.querySelector('meta[name="csrf-token"]')?.content ?? "";
  document.querySelector('meta[name="csrf-token"]').content = token;
}

export default function connect(element) {
  const booth = new Booth(element);
  const { part } = booth;
  element.hidden = false;
  for (const name of ["on", "off", "take", "later", "send"]) {
    part(name).addEventListener("click", () => booth[name]());
  }
  part("next").addEventListener("click", () => booth.step(booth.at + 1));
  part("off").addEventListener("click", () => part("on").focus());
  addEventListener("pagehide", () => booth.off());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && booth.stream) {
      booth.off();
    }
  });
  addEventListener("beforeunload", (event) => {
    if (booth.shots.length > 0) {
      event.preventDefault();
    }
  });
}
