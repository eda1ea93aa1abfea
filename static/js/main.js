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

/** Connects what carries data-controller in `root` and is not connected yet. */
export function start(root = document) {
  for (const element of root.querySelectorAll("[data-controller]:not([data-connected])")) {
    element.dataset.connected = "";
    for (const name of element.dataset.controller.split(/\s+/).filter(Boolean)) {
      connect(element, name).catch((error) => console.error(`controller ${name}:`, error));
    }
  }
}

start();
