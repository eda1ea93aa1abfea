// Takes the last page back by key; also where no page is left to show.

export default function back(form) {
  document.addEventListener("keydown", (event) => {
    const chord = event.ctrlKey || event.metaKey || event.altKey;
    const elsewhere = event.target.closest("select, textarea") || document.querySelector(".hinting");
    if (event.key.toLowerCase() === "z" && !event.repeat && !chord && !elsewhere) {
      event.preventDefault();
      form.requestSubmit(form.querySelector('[value="undo"]'));
    }
  });
}
