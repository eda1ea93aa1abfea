// Focus mode: one face, one key. A vote shows the next face, decoded before, in the same frame; what was
// voted goes to the outbox and travels behind.

import { Faces } from "./faces.js";
import { History } from "./history.js";
import { listen } from "./keys.js";
import { openPad } from "./pad.js";
import { Outbox } from "./outbox.js";
import { Screen } from "./screen.js";

const SYNC_AFTER_MS = 3000; // votes on their way for less than this are no news

export default function focus(element) {
  new Session(element).start();
}

class Session {
  #current = null;
  #draft = {};
  #exhausted = false;
  #shownAt = 0;
  #hiddenFor = 0; // milliseconds of pause during this face
  #pausedAt = null;
  #late = null;
  #returning = false;

  constructor(element) {
    this.element = element;
    this.screen = new Screen(element);
    this.history = new History(`${element.dataset.user}.${element.dataset.dataset}`);
    this.outbox = new Outbox(element.dataset.user, (news) => this.#heard(news));
    this.faces = new Faces(element.dataset.dataset, () => this.outbox.size, (news) => this.#arrived(news));
  }

  start() {
    const unsent = this.outbox.entries().map(({ entry }) => entry);
    this.faces.exclude(unsent.flatMap((entry) => entry.vote?.task ?? entry.task ?? []));
    listen(this.element, this.#commands());
    document.addEventListener("visibilitychange", () => this.#clock(document.hidden));
    this.screen.showPrevious(this.history.last());
    this.faces.fill();
  }

  #commands() {
    return {
      label: (name) => this.#chosen(name),
      accept: () => this.#current?.prelabel && this.#vote(this.#current.prelabel.label),
      skip: () => this.#skip(),
      undo: () => this.#undo(),
      second: () => this.#await(this.#draft.awaiting === "second" ? null : "second"),
      flags: () => this.#await(this.#draft.awaiting === "flags" ? null : "flags"),
      flag: (name) => this.#flag(name),
      flagging: () => this.#draft.awaiting === "flags",
      leave: () => this.#await(null),
      pad: () => this.#pad(),
      keys: () => this.screen.openKeys(),
      pause: () => this.#pause(),
      again: () => this.#again(),
    };
  }

  // What the person does.

  #chosen(name) {
    if (this.#draft.awaiting === "second") {
      this.#draft.second = this.#draft.second === name ? undefined : name;
      this.#await(null);
    } else {
      this.#vote(name);
    }
  }

  #vote(label) {
    const face = this.#current;
    if (!face) {
      return;
    }
    const { second, flags, valence, arousal } = this.#draft;
    const vote = {
      id: crypto.randomUUID(),
      task: face.id,
      label,
      ...(second && second !== label && { second_label: second }),
      ...(flags?.length && { flags }),
      ...(valence !== undefined && { valence, arousal }),
      mode: "focus",
      prelabel_shown: Boolean(face.prelabel),
      duration_ms: Math.round(performance.now() - this.#shownAt - this.#hiddenFor),
    };
    this.outbox.add({ kind: "vote", vote });
    this.history.push({ kind: "vote", id: vote.id, label, face });
    this.screen.count(1);
    this.#advance();
  }

  #skip() {
    if (this.#current) {
      this.outbox.add({ kind: "skip", task: this.#current.id });
      this.history.push({ kind: "skip", face: this.#current });
      this.#advance();
    }
  }

  #undo() {
    const last = this.#returning ? null : this.history.pop();
    if (!last) {
      this.screen.say("Nothing to undo here.");
      return;
    }
    if (last.kind === "vote") {
      this.screen.count(-1);
      if (!this.outbox.cancel((entry) => entry.vote?.id === last.id)) {
        this.outbox.add({ kind: "take_back", id: last.id });
      }
    } else if (!this.outbox.cancel((entry) => entry.kind === "skip" && entry.task === last.face.id)) {
      this.outbox.add({ kind: "unskip", task: last.face.id });
    }
    if (this.#current) {
      this.faces.putBack({ ...this.#current, ready: true });
      this.#current = null;
    }
    this.#return(last.face);
  }

  /** Shows a face of before again; after a reload its pixels have to come first. */
  async #return(face) {
    if (face.image) {
      this.#show(face);
      return;
    }
    this.#returning = true;
    this.screen.clear();
    this.screen.state("loading");
    try {
      await this.faces.load(face);
      this.#show(face);
    } catch {
      this.screen.say("This face can no longer be shown; its vote is taken back.");
      this.#advance();
    } finally {
      this.#returning = false;
    }
  }

  #await(what) {
    this.#draft.awaiting = what;
    this.screen.showDraft(this.#draft);
  }

  #flag(name) {
    const flags = this.#draft.flags ?? [];
    this.#draft.flags = flags.includes(name) ? flags.filter((flag) => flag !== name) : [...flags, name];
    this.screen.showDraft(this.#draft);
  }

  #pad() {
    if (this.#current) {
      openPad(this.element, this.#draft, (chosen) => {
        Object.assign(this.#draft, chosen);
        this.screen.showDraft(this.#draft);
      });
    }
  }

  #pause() {
    this.#clock(true);
    this.screen.pause(() => this.#clock(false));
  }

  #again() {
    this.#exhausted = false;
    this.screen.state("loading");
    this.faces.fill();
  }

  #clock(stopped) {
    if (stopped) {
      this.#pausedAt ??= performance.now();
    } else if (this.#pausedAt !== null && !this.screen.isPaused()) {
      this.#hiddenFor += performance.now() - Math.max(this.#pausedAt, this.#shownAt);
      this.#pausedAt = null;
    }
  }

  // What happens then.

  #advance() {
    this.#current = null;
    this.screen.showPrevious(this.history.last());
    const next = this.faces.take();
    if (next) {
      this.#show(next);
    } else {
      this.screen.clear();
      this.screen.state(this.#exhausted ? "finished" : navigator.onLine ? "loading" : "waiting");
    }
  }

  #show(face) {
    this.#current = face;
    this.#draft = {};
    this.screen.showPrevious(this.history.last());
    this.screen.show(face, this.faces.peek());
    this.#hiddenFor = 0;
    this.#shownAt = performance.now();
    this.#pausedAt = document.hidden ? this.#shownAt : null;
  }

  #arrived({ exhausted, problem }) {
    this.#exhausted = exhausted ?? this.#exhausted;
    if (this.#current || this.#returning) {
      this.screen.showNext(this.faces.peek());
    } else if (problem) {
      this.screen.state(problem.status ? "loading" : "waiting");
    } else {
      const next = this.faces.take();
      if (next) {
        this.#show(next);
      } else if (this.#exhausted) {
        this.screen.state("finished");
      }
    }
    if (problem?.status) {
      this.screen.sync(trouble(problem, this.outbox.size));
    } else if (problem === null && this.outbox.size === 0) {
      this.screen.sync("");
    }
  }

  #heard({ waiting, problem, refused, entry }) {
    clearTimeout(this.#late);
    if (refused) {
      this.screen.say(`${entry.kind === "vote" ? "A vote" : "A step"} did not count: ${refused}`, "warning");
    } else if (problem) {
      this.screen.sync(trouble(problem, waiting));
    } else if (waiting) {
      this.#late = setTimeout(() => this.screen.sync(`Sending ${waiting} votes…`), SYNC_AFTER_MS);
    } else {
      this.screen.sync("");
    }
  }
}

function trouble(problem, waiting) {
  const kept = waiting === 0 ? "" : waiting === 1 ? " 1 vote is kept here and will be sent." : ` ${waiting} votes are kept here and will be sent.`;
  if (!problem.status) {
    return `Not connected.${kept}`;
  }
  if (problem.status === 401 || problem.status === 400) {
    return `You were signed out. Sign in again in another tab, then reload this page.${kept}`;
  }
  return problem.status >= 500 ? `The server is not well.${kept}` : `${problem.message}${kept}`;
}
