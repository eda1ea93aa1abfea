// Talking to our own server: the CSRF token on every change, problems as errors with a sentence to show.

/** What the server said no to. `title` and `detail` are written for people, `code` for programs. */
export class Problem extends Error {
  constructor({ title, detail, code, status }) {
    super(detail || title);
    this.name = "Problem";
    Object.assign(this, { title, detail, code, status });
  }
}

async function problemOf(response) {
  const kind = response.headers.get("Content-Type") ?? "";
  if (kind.startsWith("application/problem+json")) {
    return new Problem(await response.json());
  }
  return new Problem({ title: `The server answered ${response.status}.`, status: response.status });
}

/**
 * One request. `json` is sent as JSON, `body` as it is; the answer's JSON comes back, or null if it has none.
 * Throws Problem when the server refused, TypeError when it was not reached.
 */
export async function request(url, { method = "GET", json, body, ...rest } = {}) {
  const headers = new Headers({ Accept: "application/json" });
  if (method !== "GET") {
    headers.set("X-CSRFToken", document.querySelector('meta[name="csrf-token"]')?.content ?? "");
  }
  if (json !== undefined) {
    headers.set("Content-Type", "application/json");
  }
  const response = await fetch(url, {
    method,
    headers,
    body: json === undefined ? body : JSON.stringify(json),
    credentials: "same-origin",
    ...rest,
  });
  if (!response.ok) {
    throw await problemOf(response);
  }
  const kind = response.headers.get("Content-Type") ?? "";
  return kind.includes("json") ? response.json() : null;
}
