// What a person did and the server has not acknowledged yet. Each entry lies in localStorage under its own key,
// so that neither a reload nor a second tab loses one. Only votes are kept, never pixels.

import { Problem, request } from "../lib/http.js";

const PREFIX = "annotator.outbox";
const API = "/api/v1";
const GATHER_MS = 250; // votes given within this time travel together
const BATCH = 20;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 20000;
const WORTH_RETRYING = new Set([401, 403, 408, 425, 429]);
const CSRF_STATUS = 400; // the token of a session that ended

export class Outbox {
  #prefix;
  #counter = 0;
  #flying = new Set();
  #running = false;
  #wake = null;
  #listener;

  /** `listener` is told {waiting, problem} on every change and {refused} when the server says no for good. */
  constructor(user, listener) {
    this.#prefix = `${PREFIX}.${user}.`;
    this.#listener = listener;
    addEventListener("online", () => this.#wake?.());
    this.#run();
  }

  /** Unsent entries, oldest first. */
  entries() {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(this.#prefix))
      .sort()
      .map((key) => ({ key, entry: JSON.parse(localStorage.getItem(key)) }));
  }

  get size() {
    return this.entries().length;
  }

  add(entry) {
    this.#counter += 1;
    const place = `${Date.now().toString().padStart(15, "0")}.${String(this.#counter).padStart(6, "0")}`;
    localStorage.setItem(this.#prefix + place, JSON.stringify(entry));
    this.#run();
  }

  /** Takes an entry out again if it has not left yet. */
  cancel(matches) {
    const found = this.entries().findLast(({ key, entry }) => !this.#flying.has(key) && matches(entry));
    if (found) {
      localStorage.removeItem(found.key);
    }
    return Boolean(found);
  }

  /** Sends at once what is there; resolves when everything is acknowledged or the server is out of reach. */
  async #run() {
    if (this.#running) {
      return;
    }
    this.#running = true;
    await pause(GATHER_MS);
    let wait = FIRST_RETRY_MS;
    for (let waiting = this.entries(); waiting.length > 0; waiting = this.entries()) {
      try {
        await this.#send(leading(waiting));
        wait = FIRST_RETRY_MS;
        this.#listener({ waiting: this.size, problem: null });
      } catch (problem) {
        this.#listener({ waiting: this.size, problem });
        await Promise.race([pause(wait), new Promise((done) => (this.#wake = done))]);
        wait = Math.min(wait * 2, LAST_RETRY_MS);
      }
    }
    this.#running = false;
    this.#listener({ waiting: 0, problem: null });
  }

  async #send(batch) {
    batch.forEach(({ key }) => this.#flying.add(key));
    try {
      const answers = await deliver(batch.map(({ entry }) => entry));
      batch.forEach(({ key, entry }, at) => {
        localStorage.removeItem(key);
        if (answers[at]?.state === "refused") {
          this.#listener({ refused: answers[at].detail, entry });
        }
      });
    } finally {
      batch.forEach(({ key }) => this.#flying.delete(key));
    }
  }
}

/** The votes at the head of the line, or the one other thing that stands there. */
function leading(waiting) {
  if (waiting[0].entry.kind !== "vote") {
    return waiting.slice(0, 1);
  }
  const end = waiting.findIndex(({ entry }) => entry.kind !== "vote");
  return waiting.slice(0, Math.min(BATCH, end < 0 ? waiting.length : end));
}

async function deliver(entries) {
  const [first] = entries;
  try {
    if (first.kind === "vote") {
      return await request(`${API}/annotations`, { method: "POST", json: entries.map(({ vote }) => vote) });
    }
    const [method, path] = {
      skip: ["POST", `/tasks/${first.task}/skip`],
      unskip: ["DELETE", `/tasks/${first.task}/skip`],
      take_back: ["DELETE", `/annotations/${first.id}`],
    }[first.kind];
    return [await request(API + path, { method })];
  } catch (problem) {
    const final =
      problem instanceof Problem &&
      problem.status < 500 &&
      problem.status !== CSRF_STATUS &&
      !WORTH_RETRYING.has(problem.status);
    if (!final) {
      throw problem;
    }
    return entries.map(() => ({ state: "refused", detail: problem.message }));
  }
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}
