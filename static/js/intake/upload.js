// The upload page: files are dropped or chosen, travel one a request, three at once, and are tried
// again when the connection breaks. A worker is woken early, so that first faces come soon.

import { Problem, request } from "../lib/http.js";
import { FileList } from "./files.js";
import { send } from "./send.js";
import { Work } from "./work.js";

const AT_ONCE = 3;
const FIRST_BATCH = 8; // pictures received before a worker is woken for the first time
const BATCH = 100;
const PATIENCE_MS = [1000, 2000, 4000, 8000, 15000]; // waits between tries of one file
const MEGABYTE = 1e6;
const LINKS = {
  consent_missing: ["Open their page", "people", "text"],
  not_found: ["Record this person", "new", "code"],
};
const count = (number) => new Intl.NumberFormat("en-GB").format(number);

/** Waits, but no longer than until the connection is back. */
function pause(ms) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    addEventListener("online", () => (clearTimeout(timer), done()), { once: true });
  });
}

class Upload {
  constructor(form) {
    this.form = form;
    this.part = (name) => form.querySelector(`[data-part="${name}"]`);
    this.files = new FileList(this.part("files"));
    this.work = new Work(form);
    this.fresh = []; // received pictures that no job was asked for yet
    this.batch = FIRST_BATCH;
    this.active = 0;
    this.halted = false;
    this.controllers = new Set();
  }

  /** Takes what the file field holds; while the person is missing, the field keeps it. */
  choose() {
    const { file, subject } = this.form.elements;
    const chosen = [...file.files];
    if (chosen.length > 0 && subject.reportValidity()) {
      file.value = "";
      this.add(chosen);
    }
  }

  add(chosen) {
    const subject = this.form.elements.subject;
    if (!subject.reportValidity()) {
      subject.focus();
      return;
    }
    if (chosen.length === 0) {
      return;
    }
    this.part("stop").replaceChildren();
    this.part("progress").hidden = false;
    this.part("after").hidden = true;
    const whose = { subject: subject.value.trim(), cropped: this.form.elements.cropped.checked };
    const limit = Number(this.form.dataset.limitMb) * MEGABYTE;
    for (const file of chosen) {
      const item = this.files.add(file, whose);
      if (file.size > limit) {
        item.refuse(`This file has ${(file.size / MEGABYTE).toFixed(1)} MB; the limit is ${this.form.dataset.limitMb} MB.`);
      } else if (file.size === 0) {
        item.refuse("The file is empty.");
      }
    }
    this.go();
  }

  go() {
    this.halted = false;
    this.part("again").hidden = true;
    this.part("halt").hidden = false;
    while (this.active < AT_ONCE) {
      const item = this.files.next();
      if (!item) {
        break;
      }
      this.active += 1;
      this.carry(item).finally(() => {
        this.active -= 1;
        this.step();
      });
    }
    this.show();
    if (this.active === 0) {
      this.end();
    }
  }

  step() {
    if (this.halted) {
      this.show();
      if (this.active === 0) {
        this.end();
      }
    } else {
      this.go();
    }
  }

  async carry(item) {
    for (let attempt = 0; !this.halted; attempt += 1) {
      const controller = new AbortController();
      this.controllers.add(controller);
      try {
        item.progress(0);
        const answer = await send(this.form.action, item, controller.signal);
        this.taken(item, answer.files[0], attempt);
        return;
      } catch (problem) {
        if (!(await this.mayTryAgain(item, problem, attempt))) {
          return;
        }
      } finally {
        this.controllers.delete(controller);
      }
    }
    item.wait();
  }

  taken(item, outcome, attempt) {
    if (outcome.error) {
      item.refuse(outcome.error);
      return;
    }
    item.take(outcome.new || attempt > 0 ? "received" : "was here already");
    this.fresh.push(outcome.id);
    if (this.fresh.length >= this.batch) {
      this.start();
    }
  }

  async mayTryAgain(item, problem, attempt) {
    if (problem.name === "AbortError") {
      item.wait();
      return false;
    }
    const lost = !(problem instanceof Problem);
    if (lost || problem.status === 429 || problem.status === 502 || problem.status === 503) {
      if (attempt >= PATIENCE_MS.length) {
        item.wait();
        this.halt("The connection is lost. What was received is safe; try again when it is back.");
        return false;
      }
      item.say(lost ? "lost the connection, trying again" : "the server is busy, trying again");
      await pause(PATIENCE_MS[attempt]);
      return true;
    }
    if (problem.status === 413 || problem.status === 415 || problem.status === 422) {
      item.refuse(problem.message);
      return false;
    }
    item.wait();
    this.halt(problem.message, problem.code);
    return false;
  }

  /** Stops everything with a sentence that says what to do. */
  halt(sentence, code) {
    if (this.halted) {
      return;
    }
    this.halted = true;
    for (const controller of this.controllers) {
      controller.abort();
    }
    const notice = document.createElement("div");
    notice.className = `notice ${code === "stopped" ? "info" : "danger"}`;
    notice.setAttribute("role", "alert");
    const text = document.createElement("p");
    text.textContent = sentence;
    notice.append(text);
    if (LINKS[code]) {
      const [words, page, name] = LINKS[code];
      const link = document.createElement("a");
      link.href = `${this.form.dataset[page]}?${name}=${encodeURIComponent(this.form.elements.subject.value.trim())}`;
      link.textContent = words;
      text.append(" ", link);
    }
    this.part("stop").replaceChildren(notice);
    this.show();
  }

  async start() {
    const images = this.fresh;
    this.fresh = [];
    this.batch = BATCH;
    if (images.length === 0) {
      return;
    }
    try {
      const { job } = await request(this.form.dataset.start, { method: "POST", json: { images } });
      this.work.follow(job, images.length);
    } catch (problem) {
      this.fresh.unshift(...images); // asked again with the next batch; the pictures page can, too
      this.work.tell(problem.message);
    }
  }

  async end() {
    await this.start();
    this.part("halt").hidden = true;
    const { waiting, done, refused } = this.files.totals();
    this.part("again").hidden = waiting === 0;
    this.part("after").hidden = done === 0;
    this.part("headline").textContent = waiting ? "Stopped" : "Uploaded";
    this.part("status").textContent = `${count(done)} received, ${count(refused)} refused.`;
  }

  show() {
    const { all, done, refused, waiting, bytes, sent } = this.files.totals();
    this.part("headline").textContent = this.halted ? "Stopped" : "Uploading";
    this.part("bar").max = bytes || 1;
    this.part("bar").value = sent;
    const words = [`${count(done)} of ${count(all)} received`];
    if (refused) {
      words.push(`${count(refused)} refused`);
    }
    if (waiting) {
      words.push(`${count(waiting)} to go`);
    }
    this.part("totals").textContent = words.join(" · ");
  }
}

/** The search field offers codes that hold what was typed. */
function suggest(form) {
  const list = form.querySelector("datalist");
  let timer;
  form.elements.subject.addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const text = encodeURIComponent(event.target.value.trim());
      try {
        const { codes } = await request(`${form.dataset.codes}?text=${text}`);
        list.replaceChildren(...codes.map((code) => new Option(code, code)));
      } catch {
        // the whole code can still be typed
      }
    }, 150);
  });
}

/** Dropped files, also those in dropped folders. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) {
    return [...transfer.files];
  }
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      found.push(await new Promise((yes, no) => entry.file(yes, no)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((yes, no) => reader.readEntries(yes, no));
      if (some.length === 0) {
        return;
      }
      for (const one of some) {
        await walk(one);
      }
    }
  };
  for (const entry of entries) {
    await walk(entry);
  }
  return found;
}

export default function connect(form) {
  const upload = new Upload(form);
  const { part } = upload;
  const drop = part("drop");
  form.classList.add("scripted");
  part("plain").hidden = true;
  part("drop-hint").textContent = "or drop them here";
  suggest(form);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.file.addEventListener("change", () => upload.choose());
  form.elements.subject.addEventListener("change", () => upload.choose());
  upload.choose(); // what was chosen before this script had loaded
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    upload.add(await filesOf(event.dataTransfer));
  });
  part("halt").addEventListener("click", () => upload.halt("Stopped. What was received stays; the rest can be tried again.", "stopped"));
  part("again").addEventListener("click", () => {
    part("stop").replaceChildren();
    upload.files.claim(form.elements.subject.value.trim(), form.elements.cropped.checked);
    upload.go();
  });
  part("problems").addEventListener("change", (event) => part("files").classList.toggle("problems", event.target.checked));
  form.addEventListener("progress", () => upload.show());
  addEventListener("beforeunload", (event) => {
    if (upload.active > 0) {
      event.preventDefault();
    }
  });
}
