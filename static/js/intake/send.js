// One file, one request. XMLHttpRequest, because fetch cannot tell how much of a body has left.

import { Problem } from "../lib/http.js";

/** Sends a file; the answer's JSON comes back. Throws Problem when refused, Error when lost. */
export function send(url, item, signal) {
  return new Promise((done, fail) => {
    const form = new FormData();
    form.append("subject", item.whose.subject);
    if (item.whose.cropped) {
      form.append("cropped", "true");
    }
    form.append("file", item.file, item.file.name);
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", document.querySelector('meta[name="csrf-token"]')?.content ?? "");
    request.upload.addEventListener("progress", (event) => item.progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      const answer = request.response;
      if (request.status < 300 && answer) {
        done(answer);
      } else {
        fail(new Problem(answer?.title ? answer : { title: `The server answered ${request.status}.`, status: request.status }));
      }
    });
    request.addEventListener("error", () => fail(new TypeError("The server was not reached.")));
    request.addEventListener("abort", () => fail(new DOMException("Stopped.", "AbortError")));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}
