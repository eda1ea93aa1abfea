// The faces ahead: leased, fetched and decoded before they are needed.

import { request } from "../lib/http.js";

const AHEAD = 18; // held beyond the face on the screen
const ASK_BELOW = 12; // that many stay decoded and ready
const MOST = 200;
const RETRY_MS = 1000;
const LAST_RETRY_MS = 20000;
const TRIES = 3; // of one crop, while the server answers

export class Faces {
  #dataset;
  #line = []; // in order; each {id, crop, prelabel, image, ready}
  #known = new Set(); // tasks that are in the line, on the screen or answered
  #busy = false;
  #wait = RETRY_MS;
  #listener;
  #unsent;

  /** `unsent` tells how many leases are held by votes still on their way; `listener` hears {arrived, exhausted, problem}. */
  constructor(dataset, unsent, listener) {
    this.#dataset = dataset;
    this.#unsent = unsent;
    this.#listener = listener;
    addEventListener("online", () => this.fill());
  }

  /** Marks tasks as answered, so that they are not shown again. */
  exclude(tasks) {
    tasks.forEach((task) => this.#known.add(task));
  }

  /** The next face, or null while none is ready. */
  take() {
    const ready = this.#line[0]?.ready ? this.#line.shift() : null;
    this.fill();
    return ready;
  }

  peek() {
    return this.#line[0]?.ready ? this.#line[0] : null;
  }

  /** Puts a face back in front. */
  putBack(face) {
    this.#line.unshift(face);
  }

  /** A face that is not in the line: makes its image and waits for it. */
  async load(face) {
    this.#known.add(face.id);
    if (!face.image) {
      await decode(face);
    }
    return face;
  }

  async fill() {
    if (this.#busy || this.#line.length >= ASK_BELOW) {
      return;
    }
    this.#busy = true;
    try {
      const n = Math.min(MOST, this.#unsent() + 1 + AHEAD);
      const { tasks } = await request(`/api/v1/datasets/${this.#dataset}/tasks/lease`, {
        method: "POST",
        json: { n, mode: "focus" },
      });
      const fresh = tasks.filter(({ id }) => !this.#known.has(id));
      fresh.forEach((task) => this.#append(task));
      this.#wait = RETRY_MS;
      this.#listener({ exhausted: fresh.length === 0 && this.#line.length === 0, problem: null });
    } catch (problem) {
      this.#listener({ problem });
      setTimeout(() => this.fill(), this.#wait);
      this.#wait = Math.min(this.#wait * 2, LAST_RETRY_MS);
    } finally {
      this.#busy = false;
    }
  }

  #append(task) {
    this.#known.add(task.id);
    const face = { ...task, ready: false };
    this.#line.push(face);
    this.#fetch(face);
  }

  async #fetch(face) {
    for (let tries = 0; !face.ready; ) {
      try {
        await decode(face);
        face.ready = true;
      } catch {
        tries += navigator.onLine ? 1 : 0;
        if (tries === TRIES) {
          this.#line = this.#line.filter((other) => other !== face); // withdrawn since, most likely
          break;
        }
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    }
    this.#listener({ arrived: face });
  }
}

async function decode(face) {
  const image = new Image();
  image.alt = "";
  image.draggable = false;
  image.src = face.crop;
  await image.decode();
  face.image = image;
}
