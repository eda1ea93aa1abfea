// A link to a page that asks "really?" asks in a dialog instead; without scripts the page does.

export default function confirm(link) {
  const dialog = document.getElementById(link.dataset.dialog);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    dialog.showModal();
  });
}
