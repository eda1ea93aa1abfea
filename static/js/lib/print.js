// A button that prints the page; without scripts there is none, and the browser's own menu does it.

export default function print(button) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
