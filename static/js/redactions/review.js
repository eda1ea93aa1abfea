// One waiting picture: number keys and taps choose the face, a drag draws a box around a missed one.

const LEAST = 8; // pixels of the picture; a shorter drag was a tap

class Review {
  constructor(element) {
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.scene = this.part("scene");
    this.form = this.part("form");
    this.size = { width: Number(element.dataset.width), height: Number(element.dataset.height) };
    this.dialog = document.getElementById("reject");
    this.from = null;
    this.scale();
    new ResizeObserver(() => this.scale()).observe(this.scene);
  }

  scale() {
    const matrix = this.scene.getScreenCTM();
    if (matrix?.a) {
      this.scene.style.setProperty("--scale", 1 / matrix.a);
    }
  }

  /** Where a pointer is, in pixels of the picture, never outside. */
  place(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.scene.getScreenCTM().inverse());
    const within = (value, most) => Math.min(Math.max(value, 0), most);
    return { x: within(point.x, this.size.width), y: within(point.y, this.size.height) };
  }

  choose(value) {
    const radio = this.form.querySelector(`input[name="keep"][value="${value}"]`);
    if (radio) {
      radio.checked = true;
      this.mark();
    }
    return radio;
  }

  mark() {
    const chosen = this.form.elements.keep?.value ?? "";
    for (const box of this.scene.querySelectorAll("[data-face]")) {
      box.classList.toggle("chosen", box.dataset.face === chosen);
    }
    this.part("drawn").classList.toggle("chosen", chosen === "box");
  }

  draw(one, two) {
    const box = {
      x: Math.min(one.x, two.x),
      y: Math.min(one.y, two.y),
      width: Math.abs(one.x - two.x),
      height: Math.abs(one.y - two.y),
    };
    for (const [side, value] of Object.entries(box)) {
      this.form.elements[side].value = Math.round(value * 10) / 10;
    }
    this.showBox();
    this.choose("box");
  }

  showBox() {
    const sides = ["x", "y", "width", "height"].map((side) => [side, this.form.elements[side].value]);
    const whole = sides.every(([, value]) => value !== "");
    this.part("drawn").toggleAttribute("hidden", !whole);
    for (const rect of this.part("drawn").children) {
      for (const [side, value] of sides) {
        rect.setAttribute(side, value || 0);
      }
    }
  }

  clear() {
    for (const side of ["x", "y", "width", "height"]) {
      this.form.elements[side].value = "";
    }
    this.form.querySelector("#keep-box").checked = false;
    this.showBox();
    this.mark();
  }

  down(event) {
    if (event.button === 0 && event.isPrimary) {
      this.from = this.place(event);
      this.target = event.target;
      this.scene.setPointerCapture(event.pointerId);
    }
  }

  move(event) {
    if (this.from && this.far(this.place(event))) {
      this.draw(this.from, this.place(event));
    }
  }

  up(event) {
    if (this.from && !this.far(this.place(event))) {
      const box = this.target.closest("[data-face]");
      if (box) {
        this.choose(box.dataset.face);
      }
    }
    this.from = null;
  }

  far(to) {
    return Math.hypot(to.x - this.from.x, to.y - this.from.y) >= LEAST;
  }

  key(event) {
    const typing = event.target.matches("input[type=number], textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey || typing) {
      return;
    }
    if (this.dialog.open) {
      if (event.key === "r") {
        this.dialog.querySelector("form").requestSubmit(this.dialog.querySelector(".final"));
      }
      return;
    }
    if (/^[1-9]$/.test(event.key)) {
      if (this.choose(Number(event.key) - 1)) {
        this.approve();
      }
    } else if (event.key === "Enter" && this.form.elements.keep.value === "box" && !event.target.closest("a, button, summary, input")) {
      this.approve();
    } else if (event.key === "Escape") {
      this.clear();
    } else if (event.key === "r") {
      this.dialog.showModal();
      this.dialog.querySelector(".final").focus();
    } else if (event.key === "n") {
      this.part("next")?.click();
    } else if (event.key === "p") {
      this.part("previous")?.click();
    } else if (event.key === "?") {
      this.part("keys").open = !this.part("keys").open;
    } else {
      return;
    }
    event.preventDefault();
  }

  approve() {
    if (!this.sent) {
      this.form.requestSubmit();
    }
  }
}

export default function connect(element) {
  const review = new Review(element);
  review.part("keys").hidden = false;
  review.scene.addEventListener("pointerdown", (event) => review.down(event));
  review.scene.addEventListener("pointermove", (event) => review.move(event));
  review.scene.addEventListener("pointerup", (event) => review.up(event));
  review.scene.addEventListener("pointercancel", () => (review.from = null));
  review.form.addEventListener("change", () => review.mark());
  review.form.addEventListener("input", (event) => {
    if (event.target.type === "number") {
      review.showBox();
      review.choose("box");
    }
  });
  review.form.addEventListener("submit", (event) => {
    if (review.sent) {
      event.preventDefault(); // one decision a picture, however often a key repeats
    }
    review.sent = true;
  });
  document.addEventListener("keydown", (event) => review.key(event));
  addEventListener("pageshow", () => (review.sent = false));
  review.mark();
}
