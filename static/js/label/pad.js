// Valence and arousal on a 9 x 9 pad: arrow keys or a click.

const STEPS = 9;
const MIDDLE = (STEPS - 1) / 2;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function openPad(element, { valence, arousal }, chosen) {
  const dialog = element.querySelector('[data-part="pad"]');
  const grid = element.querySelector('[data-part="pad-grid"]');
  const figures = element.querySelector('[data-part="pad-figures"]');
  const point = { x: MIDDLE + (valence ?? 0) * MIDDLE, y: MIDDLE - (arousal ?? 0) * MIDDLE };

  const values = () => ({ valence: (point.x - MIDDLE) / MIDDLE, arousal: (MIDDLE - point.y) / MIDDLE });
  const cell = () => grid.children[point.y * STEPS + point.x];
  const mark = () => {
    for (const other of grid.children) {
      other.tabIndex = -1;
      other.setAttribute("aria-pressed", "false");
    }
    cell().tabIndex = 0;
    cell().setAttribute("aria-pressed", "true");
    cell().focus();
    figures.textContent = words(values());
  };
  const take = () => {
    dialog.close();
    chosen(values());
  };

  if (!grid.childElementCount) {
    build(grid);
  }
  grid.onkeydown = (event) => {
    const move = MOVES[event.key];
    if (move) {
      event.preventDefault();
      point.x = Math.min(STEPS - 1, Math.max(0, point.x + move[0]));
      point.y = Math.min(STEPS - 1, Math.max(0, point.y + move[1]));
      mark();
    }
  };
  grid.onclick = (event) => {
    const at = [...grid.children].indexOf(event.target.closest("button"));
    if (at >= 0) {
      Object.assign(point, { x: at % STEPS, y: Math.floor(at / STEPS) });
      mark();
      take();
    }
  };
  dialog.showModal();
  mark();
}

export function words({ valence, arousal }) {
  const sign = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value)}`;
  return `valence ${sign(valence)} · arousal ${sign(arousal)}`;
}

function build(grid) {
  for (let y = 0; y < STEPS; y += 1) {
    for (let x = 0; x < STEPS; x += 1) {
      const button = document.createElement("button");
      button.type = "button";
      button.ariaLabel = words({ valence: (x - MIDDLE) / MIDDLE, arousal: (MIDDLE - y) / MIDDLE });
      grid.append(button);
    }
  }
}
