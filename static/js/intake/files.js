// The list of files on the upload page: one line each, cheap enough for thousands.

const SHAPES = { waiting: "ring", sending: "half", done: "tick", refused: "times" };

class Item {
  constructor(list, file, whose) {
    this.list = list;
    this.file = file;
    this.whose = whose;
    this.sent = 0;
    this.line = document.createElement("li");
    this.line.innerHTML = '<svg class="shape" aria-hidden="true" width="16" height="16"><use></use></svg><span class="name"></span><span class="said"></span>';
    this.line.querySelector(".name").textContent = file.name;
    this.line.querySelector(".name").title = file.name;
    this.state = "";
    this.set("waiting", "waiting");
  }

  set(state, words) {
    if (state !== this.state) {
      this.list.moved(this.state, state);
      this.state = state;
      this.line.dataset.state = state;
      this.line.querySelector("use").setAttribute("href", `${this.list.shapes}#${SHAPES[state]}`);
    }
    this.say(words);
  }

  say(words) {
    this.line.querySelector(".said").textContent = words;
  }

  progress(share) {
    this.list.bytesSent += share * this.file.size - this.sent;
    this.sent = share * this.file.size;
    this.set("sending", share < 1 ? `${Math.floor(100 * share)} %` : "being sealed");
    this.list.changed();
  }

  finish(state, words) {
    this.list.bytesSent += this.file.size - this.sent;
    this.sent = this.file.size;
    this.set(state, words);
    this.list.changed();
  }

  take(words) {
    this.finish("done", words);
  }

  refuse(sentence) {
    this.finish("refused", sentence);
  }

  wait() {
    this.list.bytesSent -= this.sent;
    this.sent = 0;
    this.set("waiting", "waiting");
    this.list.first = 0;
    this.list.changed();
  }
}

export class FileList {
  constructor(element) {
    this.element = element;
    this.items = [];
    this.counts = { waiting: 0, sending: 0, done: 0, refused: 0 };
    this.bytes = 0;
    this.bytesSent = 0;
    this.first = 0; // no item before this one waits
    // Shapes live in one file whose address the page knows already.
    this.shapes = document.querySelector("use").getAttribute("href").split("#")[0];
  }

  add(file, whose) {
    const item = new Item(this, file, whose);
    this.items.push(item);
    this.bytes += file.size;
    this.element.append(item.line);
    return item;
  }

  next() {
    while (this.first < this.items.length) {
      const item = this.items[this.first];
      if (item.state === "waiting") {
        item.set("sending", "");
        return item;
      }
      this.first += 1;
    }
    return null;
  }

  /** What still waits is of this person; the form may have changed since it was chosen. */
  claim(subject, cropped) {
    this.first = 0;
    for (const item of this.items) {
      if (item.state === "waiting") {
        item.whose = { subject, cropped };
      }
    }
  }

  moved(from, to) {
    if (from) {
      this.counts[from] -= 1;
    }
    this.counts[to] += 1;
  }

  changed() {
    this.element.dispatchEvent(new CustomEvent("progress", { bubbles: true }));
  }

  totals() {
    const { waiting, sending, done, refused } = this.counts;
    return { all: this.items.length, waiting: waiting + sending, done, refused, bytes: this.bytes, sent: this.bytesSent };
  }
}
