// The frames of a result video: a slider that moves through them, and the frame that is opened in the inspector.
(() => {
  const SLACK = 1e-3; // s; times of a video are rounded
  const partsOf = (node) => {
    const panel = node.closest?.(".ktb-sequence");
    const bar = panel?.querySelector(".ktb-scrub");
    return bar && { bar, video: panel.querySelector("video"), slider: bar.querySelector("input"),
      said: bar.querySelector("output") };
  };

  /** Show the number and name of a frame; the video is moved to it unless it plays. */
  const show = ({ bar, video, slider, said }, frame, isMoved) => {
    const names = JSON.parse(bar.dataset.names);
    const text = `Frame ${frame} · ${names[frame]}`;
    slider.value = frame;
    slider.setAttribute("aria-valuetext", text);
    said.textContent = text;
    for (const one of bar.querySelectorAll("[data-step]")) {
      one.disabled = frame + Number(one.dataset.step) !== Math.min(Math.max(frame + Number(one.dataset.step), 0),
        names.length - 1);
    }
    if (!isMoved || !video) return;
    video.pause();
    video.currentTime = (frame + 0.5) / Number(bar.dataset.fps); // its middle: the ends may be rounded
  };

  /** Follow a video that plays. */
  const follow = (event) => {
    const parts = event.target instanceof HTMLVideoElement && partsOf(event.target);
    if (!parts) return;
    const frame = Math.floor((parts.video.currentTime + SLACK) * Number(parts.bar.dataset.fps));
    show(parts, Math.min(frame, Number(parts.slider.max)), false);
  };
  for (const name of ["play", "pause"]) {
    document.addEventListener(name, (event) => {
      const button = event.target instanceof HTMLVideoElement && partsOf(event.target)?.bar.querySelector("[data-play]");
      if (button) button.textContent = name === "play" ? "❚❚" : "▶";
    }, true);
  }
  for (const name of ["timeupdate", "seeking"]) document.addEventListener(name, follow, true); // they do not bubble

  document.addEventListener("input", (event) => {
    const parts = partsOf(event.target);
    if (parts && event.target === parts.slider) show(parts, Number(parts.slider.value), true);
  });
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.(".ktb-scrub [data-play], .ktb-sequence video");
    if (pressed) {
      const { video } = partsOf(pressed);
      if (video.paused) video.play();
      else video.pause();
    }
    const button = event.target.closest?.(".ktb-scrub [data-step]");
    if (button) show(partsOf(button), Number(partsOf(button).slider.value) + Number(button.dataset.step), true);
  });

  /** The frame that is shown. */
  window.ktbFrame = () => Number(document.querySelector(".ktb-scrub input")?.value ?? 0);
})();
