// A click on a variable's chip puts it where the cursor is, or was last, in the form; undo takes it out again.
let box = null;
document.addEventListener("focusin", (event) => {
  if (event.target.matches("#studio-form textarea")) box = event.target;
});
element.addEventListener("mousedown", (event) => {
  if (event.target.closest("[data-insert]")) event.preventDefault();
});
element.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-insert]");
  if (!chip) return;
  if (!box || !box.isConnected) box = document.querySelector("#role textarea");
  box.focus();
  document.execCommand("insertText", false, chip.dataset.insert);
});
