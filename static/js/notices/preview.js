// Shows the notice while one types it: asks the page for the form as it stands and takes its preview.
// Without scripts the button "Update the preview" does the same.

const WAIT_MS = 400;

export default function preview(root) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const form = part("form");
  const place = part("preview");
  let asked = 0;
  let timer = 0;

  async function update() {
    const mine = ++asked;
    place.setAttribute("aria-busy", "true");
    const body = new FormData(form);
    body.set("look", "yes");
    try {
      const answer = await fetch(form.action, { method: "POST", body, credentials: "same-origin" });
      if (mine !== asked || !answer.ok || answer.redirected) {
        return;
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      show(page.querySelector('[data-part="preview"]'));
    } catch {
      // offline: what is shown stays
    } finally {
      if (mine === asked) {
        place.removeAttribute("aria-busy");
      }
    }
  }

  // Differences that are open stay open.
  function show(fresh) {
    const open = [...place.querySelectorAll("details")].map((details) => details.open);
    place.replaceChildren(...fresh.childNodes);
    place.querySelectorAll("details").forEach((details, index) => {
      details.open = open[index] ?? false;
    });
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(update, WAIT_MS);
  });
  part("update").hidden = true;
}
