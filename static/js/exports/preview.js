// Puts the three columns in place as one chooses; without scripts the form's own button does.

const WAIT_MS = 250;

export default function preview(root) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const choices = part("choices");
  const place = part("preview");
  const write = part("write");
  let asked = 0;
  let timer = 0;

  function carry() {
    for (const name of ["balance", "min_votes", "seed"]) {
      write.elements[name].value = new FormData(choices).get(name) ?? "";
    }
  }

  async function update() {
    const mine = ++asked;
    place.setAttribute("aria-busy", "true");
    const query = new URLSearchParams(new FormData(choices));
    let answer;
    try {
      answer = await fetch(`${root.dataset.preview}?${query}`, { credentials: "same-origin" });
    } catch {
      return; // offline: what is shown stays, and the form's own button is still there
    } finally {
      if (mine === asked) {
        place.removeAttribute("aria-busy");
      }
    }
    if (mine !== asked || !answer.ok || answer.redirected) {
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    place.replaceChildren(...page.body.children);
    name(place.firstElementChild.dataset);
  }

  function name({ files, people }) {
    const count = new Intl.NumberFormat("en-GB");
    const button = part("button");
    button.textContent = `Write ${count.format(files)} pictures of ${count.format(people)} people for this recipient`;
    button.disabled = files === "0";
  }

  choices.addEventListener("input", () => {
    carry();
    clearTimeout(timer);
    timer = setTimeout(update, WAIT_MS);
  });
  choices.addEventListener("submit", (event) => {
    event.preventDefault();
    carry();
    update();
  });
  carry();
  part("update").hidden = true;
}
