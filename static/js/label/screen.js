// What focus mode shows. Everything is set at once, before the browser paints the next frame.

import { words } from "./pad.js";

const SAY_MS = 6000;

export class Screen {
  #part;
  #shared = (name) => document.querySelector(`[data-shared="${name}"]`);
  #element;
  #labels = new Map();
  #saying = null;

  constructor(element) {
    this.#element = element;
    this.#part = (name) => element.querySelector(`[data-part="${name}"]`);
    for (const button of element.querySelectorAll("[data-label]")) {
      this.#labels.set(button.dataset.label, button);
    }
  }

  show(face, next) {
    this.state("showing");
    this.#part("face").replaceChildren(face.image);
    this.#suggest(face.prelabel);
    this.showDraft({});
    this.showNext(next);
  }

  clear() {
    this.#part("face").replaceChildren();
    this.#suggest(null);
    this.#part("unaided").hidden = true;
    this.showDraft({});
  }

  /** The next face, small and faint. It is painted small; in the middle the same pixels are painted large. */
  showNext(face) {
    const slot = this.#part("next-slot");
    if (slot.firstChild !== (face?.image ?? null)) {
      slot.replaceChildren(...(face ? [face.image] : []));
    }
  }

  showPrevious(step) {
    this.#part("previous").hidden = !step;
    if (step) {
      this.#part("previous-slot").replaceChildren(...(step.face.image ? [step.face.image] : []));
      this.#part("previous-vote").replaceChildren(
        ...(step.kind === "vote" ? this.#named(step.label) : ["skipped"]),
      );
    }
  }

  showDraft({ awaiting, second, flags = [], valence, arousal }) {
    const parts = [
      second && `second: ${this.#labels.get(second).dataset.name}`,
      valence !== undefined && words({ valence, arousal }),
      flags.length > 0 && flags.join(", ").replaceAll("_", " "),
      awaiting === "second" && "now the key of the second emotion",
    ].filter(Boolean);
    this.#part("draft").textContent = parts.join(" · ");
    this.#part("draft").hidden = parts.length === 0;
    this.#part("flags").hidden = awaiting !== "flags";
    this.#command("second").setAttribute("aria-pressed", String(awaiting === "second"));
    this.#command("flags").setAttribute("aria-expanded", String(awaiting === "flags"));
    for (const button of this.#element.querySelectorAll("[data-flag]")) {
      button.setAttribute("aria-pressed", String(flags.includes(button.dataset.flag)));
    }
  }

  /** loading, waiting, showing or finished. */
  state(name) {
    this.#element.dataset.state = name;
    for (const message of ["loading", "waiting", "finished"]) {
      this.#part(message).hidden = message !== name;
    }
    if (name === "finished") {
      this.say("Nothing is waiting for you here.");
    }
  }

  /** A quiet line about what is not sent yet; empty when all is well. */
  sync(text) {
    this.#shared("sync").textContent = text;
  }

  /** Says something for a moment. */
  say(text) {
    clearTimeout(this.#saying);
    this.#part("said").textContent = text;
    this.sync(text);
    this.#saying = setTimeout(() => this.#shared("sync").textContent === text && this.sync(""), SAY_MS);
  }

  count(step) {
    const today = this.#shared("today");
    today.textContent = (Number(today.textContent.replaceAll(",", "")) + step).toLocaleString("en-GB");
  }

  openKeys() {
    this.#part("keymap").showModal();
  }

  pause(resumed) {
    const dialog = this.#part("paused");
    this.#element.classList.add("hidden-face");
    dialog.addEventListener(
      "close",
      () => {
        this.#element.classList.remove("hidden-face");
        resumed();
      },
      { once: true },
    );
    // The key that paused goes on, too.
    dialog.onkeydown = (event) => {
      if (event.key.toLowerCase() === "p" && !event.repeat) {
        event.stopPropagation(); // or it would pause anew
        dialog.close();
      }
    };
    dialog.showModal();
  }

  isPaused() {
    return this.#part("paused").open;
  }

  #suggest(prelabel) {
    const button = this.#part("suggestion");
    button.hidden = !prelabel;
    this.#part("unaided").hidden = Boolean(prelabel);
    for (const [name, label] of this.#labels) {
      label.classList.toggle("suggested", name === prelabel?.label);
    }
    if (prelabel) {
      const figure = document.createElement("span");
      figure.className = "number";
      figure.textContent = prelabel.probability.toFixed(2);
      this.#part("suggested").replaceChildren(...this.#named(prelabel.label), " ", figure);
      this.#part("said").textContent = `Suggested ${this.#labels.get(prelabel.label).dataset.name}`;
    } else {
      this.#part("said").textContent = "A face without a suggestion";
    }
  }

  #named(label) {
    const button = this.#labels.get(label);
    const shape = button.querySelector(".shape");
    return [...(shape ? [shape.cloneNode(true)] : []), ` ${button.dataset.name}`];
  }

  #command(name) {
    return this.#element.querySelector(`.below [data-command="${name}"]`);
  }
}
