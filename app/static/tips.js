// Tooltips of terms (.ktb-term): keep them on the screen, and hide them at Escape.
(() => {
  const TERM = ".ktb-term", EDGE = 8;

  // Fixed, so that no pane clips it; beside, below or above the term, where the screen has room.
  const place = (term) => {
    const tip = term.querySelector(".ktb-tip");
    tip.style.left = tip.style.top = "0";
    const zero = tip.getBoundingClientRect(); // not 0, 0 inside a transformed element
    const word = term.getClientRects()[0];
    if (!zero.width || !word) return;
    const room = document.documentElement.clientWidth - zero.width - EDGE;
    const below = word.bottom + zero.height + EDGE <= window.innerHeight;
    tip.style.left = `${Math.max(EDGE, Math.min(word.left, room)) - zero.left}px`;
    tip.style.top = `${(below ? word.bottom : Math.max(EDGE, word.top - zero.height)) - zero.top}px`;
  };
  const open = () => document.querySelectorAll(`${TERM}:is(:hover, :focus)`);
  const placeAll = () => open().forEach(place);

  for (const name of ["pointerover", "focusin"])
    document.addEventListener(name, (event) => {
      const term = event.target.closest?.(TERM);
      if (!term) return;
      open().forEach((other) => other.classList.toggle("ktb-hushed", other !== term)); // only the latest one is shown
      place(term);
    });
  for (const name of ["pointerout", "focusout"])
    document.addEventListener(name, (event) => {
      const term = event.target.closest?.(TERM);
      if (term && !term.contains(event.relatedTarget)) term.classList.remove("ktb-hushed");
    });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") open().forEach((term) => term.classList.add("ktb-hushed"));
  });
  window.addEventListener("scroll", placeAll, true);
  window.addEventListener("resize", placeAll);
})();
