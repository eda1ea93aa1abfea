// Follows a job: <div data-controller="lib/progress" data-job="7">, written by the macro `progress`.

import { request } from "./http.js";

const FIRST_MS = 700;
const SLOWEST_MS = 5000;
const WORDS = { queued: "queued", running: "running", done: "done", failed: "failed", cancelled: "cancelled" };

function remaining(seconds) {
  if (seconds < 60) {
    return "less than a minute left";
  }
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `about ${minutes} min left` : `about ${Math.round(minutes / 60)} h left`;
}

/** Speed in steps a second since the first look, or null while that says nothing. */
function rateSince(first, job) {
  const seconds = (performance.now() - first.at) / 1000;
  return seconds > 1 && job.done > first.done ? (job.done - first.done) / seconds : null;
}

function show(element, job, rate) {
  const part = (name) => element.querySelector(`[data-part="${name}"]`);
  const count = new Intl.NumberFormat("en-GB");
  const bar = element.querySelector("progress");
  bar.max = job.total || 1;
  bar.value = job.total ? job.done : Number(job.state === "done");
  const pill = part("state").querySelector(".pill");
  pill.lastChild.textContent = WORDS[job.state] ?? job.state;
  part("figures").textContent = job.total
    ? `${count.format(job.done)} of ${count.format(job.total)}${rate ? ` · ${rate.toPrecision(2)} a second` : ""}`
    : count.format(job.done);
  if (job.error) {
    part("remaining").textContent = job.error;
  } else if (rate && job.total) {
    part("remaining").textContent = remaining((job.total - job.done) / rate);
  }
}

export default async function follow(element) {
  const url = `/api/v1/jobs/${encodeURIComponent(element.dataset.job)}`;
  let first = null;
  let wait = FIRST_MS;
  while (element.isConnected) {
    await new Promise((done) => setTimeout(done, wait));
    if (document.hidden) {
      continue;
    }
    let job;
    try {
      job = await request(url);
    } catch (problem) {
      element.querySelector('[data-part="remaining"]').textContent = problem.message;
      wait = SLOWEST_MS;
      continue;
    }
    first ??= { at: performance.now(), done: job.done };
    show(element, job, rateSince(first, job));
    element.dispatchEvent(new CustomEvent("job", { bubbles: true, detail: job }));
    if (job.state === "done") {
      if (element.dataset.next) {
        location.assign(element.dataset.next);
      } else {
        location.reload();
      }
      return;
    }
    if (job.state === "failed" || job.state === "cancelled") {
      return;
    }
    wait = Math.min(wait * 1.25, SLOWEST_MS);
  }
}
