// How far the worker is with what was uploaded: the jobs of one page, as one bar.

import { request } from "../lib/http.js";

const EVERY_MS = 1500;
const ENDED = new Set(["done", "failed", "cancelled"]);
const count = (number) => new Intl.NumberFormat("en-GB").format(number);

export class Work {
  constructor(form) {
    this.part = (name) => form.querySelector(`[data-part="${name}"]`);
    this.jobs = new Map(); // id -> { done, total, state }
    this.running = false;
  }

  follow(id, images) {
    if (id === null) {
      return;
    }
    const known = this.jobs.get(id);
    this.jobs.set(id, { done: 0, state: "queued", ...known, least: (known?.least ?? 0) + images });
    this.part("work").hidden = false;
    this.show();
    if (!this.running) {
      this.running = true;
      this.loop();
    }
  }

  tell(sentence) {
    this.part("work").hidden = false;
    this.part("work-note").textContent = sentence;
  }

  async loop() {
    while ([...this.jobs.values()].some((job) => !ENDED.has(job.state))) {
      await new Promise((done) => setTimeout(done, EVERY_MS));
      for (const [id, job] of this.jobs) {
        if (!ENDED.has(job.state)) {
          await this.look(id, job);
        }
      }
      this.show();
    }
    this.running = false;
  }

  async look(id, job) {
    try {
      Object.assign(job, await request(`/api/v1/jobs/${id}`));
      this.part("work-note").textContent = job.error ?? "";
    } catch (problem) {
      this.part("work-note").textContent = problem.message;
    }
  }

  show() {
    const all = [...this.jobs.values()];
    const total = all.reduce((sum, job) => sum + (job.total || job.least), 0);
    const done = all.reduce((sum, job) => sum + (job.state === "done" ? job.total || job.least : job.done), 0);
    this.part("work-bar").max = total || 1;
    this.part("work-bar").value = done;
    const waiting = all.every((job) => job.state === "queued");
    this.part("work-figures").textContent = waiting ? "waiting for a worker" : `${count(done)} of ${count(total)}`;
  }
}
