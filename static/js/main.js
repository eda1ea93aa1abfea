// The only script that pages name. An element asks for a controller by data-controller="label/focus",
// which is js/label/focus.js; its default export is called with the element. Several names: spaces between.

const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*\/[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

async function connect(element, name) {
  if (!NAME.test(name)) {
    throw new Error(`"${name}" is no controller name`);
  }
  const controller = await import(new URL(`./${name}.js`, import.meta.url));
  await controller.default(element);
}

/** Connects what carries data-controller in `root` and is not connected yet; settles when all are. */
export function start(root = document) {
  const connecting = [];
  for (const element of root.querySelectorAll("[data-controller]:not([data-connected])")) {
    element.dataset.connected = "";
    for (const name of element.dataset.controller.split(/\s+/).filter(Boolean)) {
      connecting.push(connect(element, name).catch((error) => console.error(`controller ${name}:`, error)));
    }
  }
  return Promise.all(connecting);
}

/** Keeps the keys that a fast person presses while `connected` is pending, and gives them out then. */
async function holdKeys(connected) {
  const early = [];
  const hold = (event) => {
    event.stopImmediatePropagation();
    early.push(event);
  };
  addEventListener("keydown", hold, { capture: true });
  await connected;
  removeEventListener("keydown", hold, { capture: true });
  for (const event of early) {
    event.target.dispatchEvent(new KeyboardEvent("keydown", event));
  }
}

holdKeys(start());
