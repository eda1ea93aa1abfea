// The last steps of this tab, for undo. They outlive a reload; images do not and are fetched again.

const MOST = 100;
const WITH_IMAGES = 20; // older ones let go of their pixels

export class History {
  #key;
  #steps;

  constructor(name) {
    this.#key = `annotator.history.${name}`;
    this.#steps = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
  }

  last() {
    return this.#steps.at(-1) ?? null;
  }

  push(step) {
    this.#steps.push(step);
    this.#steps.splice(0, this.#steps.length - MOST);
    const old = this.#steps.at(-WITH_IMAGES);
    if (this.#steps.length >= WITH_IMAGES) {
      delete old.face.image;
    }
    this.#save();
  }

  pop() {
    const step = this.#steps.pop() ?? null;
    this.#save();
    return step;
  }

  #save() {
    const plain = this.#steps.map(({ face: { id, crop, prelabel, face }, ...step }) => ({
      ...step,
      face: { id, crop, prelabel, face },
    }));
    sessionStorage.setItem(this.#key, JSON.stringify(plain));
  }
}
