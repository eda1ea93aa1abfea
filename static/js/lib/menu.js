// A details element that behaves as a menu: Escape and a click elsewhere close it.

export default function menu(details) {
  document.addEventListener("click", (event) => {
    if (!details.contains(event.target)) {
      details.open = false;
    }
  });
  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && details.open) {
      details.open = false;
      details.querySelector("summary").focus();
    }
  });
}
