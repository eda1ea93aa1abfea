// A sweep page: mark by click, drag or letters; give marked faces a label; Enter accepts.
// What is marked lies in the form itself (a checkbox and a hidden label a face), so the form is the truth.

import { hintsFor } from "./hints.js";

const PRESSED = "button, a, summary, select, textarea";

export default function sweep(form) {
  const page = new Page(form);
  page.watchPointer();
  page.watchKeys();
  form.addEventListener("submit", () => page.stampTime());
}

class Page {
  #hints = new Map();
  #typed = "";
  #drag = null;
  #last = []; // the faces marked last: a label key is for them
  #opened = performance.now();
  #away = 0;
  #leftAt = null;

  constructor(form) {
    this.form = form;
    this.tiles = [...form.querySelectorAll(".tile")];
    this.boxes = this.tiles.map((tile) => tile.querySelector('input[type="checkbox"]'));
    this.marked = document.querySelector('[data-shared="marked"]');
    this.labels = new Map();
    for (const button of document.querySelectorAll("[data-label]")) {
      button.dataset.keys.split(" ").forEach((key) => this.labels.set(key, button));
      button.addEventListener("click", (event) => {
        this.#label(button);
        if (event.detail > 0) {
          button.blur();
        }
      });
    }
    form.addEventListener("change", ({ target }) => this.#toggled(this.boxes.indexOf(target)));
    document.addEventListener("visibilitychange", () => this.#clock());
    hintsFor(this.tiles.length).forEach((hint, at) => {
      this.#hints.set(hint, at);
      this.tiles[at].querySelector('[data-part="hint"]').textContent = hint;
    });
    this.#focus(0);
    this.#count();
  }

  watchPointer() {
    this.form.addEventListener("pointerdown", (event) => {
      const at = this.#tileAt(event.target);
      if (event.pointerType !== "touch" && event.button === 0 && at >= 0) {
        this.#drag = { from: at, last: at, mark: !this.boxes[at].checked };
      }
    });
    this.form.addEventListener("pointerover", (event) => {
      const at = this.#tileAt(event.target);
      if (this.#drag && at >= 0 && at !== this.#drag.last) {
        this.#drag.last = at;
        this.#run(this.#drag);
      }
    });
    // A click that ends on another tile than it began belongs to neither, so it toggles nothing.
    addEventListener("pointerup", () => (this.#drag = null));
  }

  watchKeys() {
    document.addEventListener("keydown", (event) => this.#pressed(event));
    document.addEventListener("keyup", (event) => {
      if (event.key === " ") {
        this.form.classList.remove("hinting");
        this.#typed = "";
      }
    });
  }

  stampTime() {
    this.#clock();
    this.form.elements.dwell_ms.value = Math.round(performance.now() - this.#opened - this.#away);
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(PRESSED)) {
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = this.#meaning(key, event);
    if (act) {
      event.preventDefault();
      act();
    }
  }

  #meaning(key, event) {
    if (key === " ") {
      return () => this.form.classList.add("hinting");
    }
    if (this.form.classList.contains("hinting")) {
      return () => this.#hint(key);
    }
    if (event.repeat && !key.startsWith("Arrow")) {
      return () => {};
    }
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns(), ArrowDown: this.#columns() };
    if (key in moves) {
      return () => this.#focus(this.#here() + moves[key]);
    }
    if (this.labels.has(key)) {
      return () => this.#label(this.labels.get(key));
    }
    return {
      Enter: () => this.form.requestSubmit(document.querySelector('[form="sweep"][value="accept"]')),
      m: () => this.#mark([this.#here()], !this.boxes[this.#here()].checked),
      u: () => this.#unmark(),
      Home: () => this.#focus(0),
      End: () => this.#focus(this.boxes.length - 1),
    }[key];
  }

  #hint(key) {
    this.#typed += key;
    const at = this.#hints.get(this.#typed);
    if (at !== undefined) {
      this.#mark([at], !this.boxes[at].checked);
      this.#focus(at);
      this.#typed = "";
    } else if (![...this.#hints.keys()].some((hint) => hint.startsWith(this.#typed))) {
      this.#typed = "";
    }
  }

  /** Gives a label to the faces marked last, or to the one in focus. */
  #label(button) {
    const standing = this.#last.filter((at) => this.boxes[at].checked);
    const chosen = standing.length > 0 ? standing : [this.#here()];
    this.#mark(chosen, true);
    for (const at of chosen) {
      this.tiles[at].querySelector('[data-part="label"]').value = button.dataset.label;
      const shape = button.querySelector(".shape").cloneNode(true);
      const name = document.createElement("span");
      name.textContent = button.dataset.name;
      this.tiles[at].querySelector('[data-part="mark"]').replaceChildren(shape, name);
    }
    this.#last = [];
    this.#count();
  }

  #mark(places, on) {
    for (const at of places) {
      this.boxes[at].checked = on;
      if (!on) {
        this.#bare(at);
      }
    }
    this.#last = on ? places : [];
    this.#count();
  }

  #bare(at) {
    this.tiles[at].querySelector('[data-part="label"]').value = "";
    this.tiles[at].querySelector('[data-part="mark"]').replaceChildren();
  }

  #toggled(at) {
    if (at >= 0) {
      this.#mark([at], this.boxes[at].checked);
      this.#focus(at);
    }
  }

  #run({ from, last, mark }) {
    const places = [];
    for (let at = Math.min(from, last); at <= Math.max(from, last); at += 1) {
      places.push(at);
    }
    this.#mark(places, mark);
  }

  #unmark() {
    const here = this.#here();
    const chosen = this.boxes[here].checked ? [here] : this.#last;
    this.#mark(chosen, false);
  }

  #count() {
    const marked = this.boxes.filter((box) => box.checked).length;
    const labelled = this.tiles.filter((tile) => tile.querySelector('[data-part="label"]').value).length;
    const focus = marked - labelled;
    this.marked.textContent = marked
      ? `${marked} marked${labelled ? `, ${labelled} with another label` : ""}${focus ? `, ${focus} to focus` : ""}`
      : "0 marked";
  }

  #here() {
    return Math.max(0, this.boxes.indexOf(document.activeElement));
  }

  #focus(at) {
    this.boxes[Math.min(this.boxes.length - 1, Math.max(0, at))].focus();
  }

  #columns() {
    const top = this.tiles[0].offsetTop;
    const second = this.tiles.findIndex((tile) => tile.offsetTop !== top);
    return second < 0 ? this.tiles.length : second;
  }

  #tileAt(target) {
    return this.tiles.indexOf(target.closest?.(".tile"));
  }

  #clock() {
    if (document.hidden) {
      this.#leftAt ??= performance.now();
    } else if (this.#leftAt !== null) {
      this.#away += performance.now() - this.#leftAt;
      this.#leftAt = null;
    }
  }
}
