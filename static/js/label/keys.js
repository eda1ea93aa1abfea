// Keys and buttons, brought to the same commands.

const COMMANDS = { s: "skip", z: "undo", v: "pad", m: "second", f: "flags", p: "pause", "?": "keys", Backspace: "undo" };
const PRESSED = "button, a, summary, input, select, textarea";

export function listen(element, commands) {
  const labels = new Map();
  for (const button of element.querySelectorAll("[data-label]")) {
    button.dataset.keys.split(" ").forEach((key) => labels.set(key, button.dataset.label));
    press(button, () => commands.label(button.dataset.label));
  }
  for (const button of element.querySelectorAll("[data-command]")) {
    press(button, () => commands[button.dataset.command]());
  }
  const flags = [...element.querySelectorAll("[data-flag]")];
  flags.forEach((button) => press(button, () => commands.flag(button.dataset.flag)));
  for (const name of ["keys", "pause"]) {
    document.querySelector(`[data-shared="${name}"]`).addEventListener("click", () => commands[name]());
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
      return;
    }
    const command = meaning(event, { labels, flags, commands });
    if (command) {
      event.preventDefault();
      command();
    }
  });
}

function meaning(event, { labels, flags, commands }) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "Enter") {
    return event.target.closest(PRESSED) || event.repeat ? null : commands.accept;
  }
  if (event.repeat && key !== "z") {
    return null; // a key held down is one vote
  }
  if (commands.flagging() && flags[Number(key) - 1]) {
    return () => commands.flag(flags[Number(key) - 1].dataset.flag);
  }
  if (key === "Escape") {
    return commands.leave;
  }
  if (labels.has(key)) {
    return () => commands.label(labels.get(key));
  }
  return commands[COMMANDS[key]];
}

/** A click by mouse or thumb lets go of the button, so that Enter accepts the next face and does not press it again. */
function press(button, act) {
  button.addEventListener("click", (event) => {
    if (event.detail > 0) {
      button.blur();
    }
    act();
  });
}
