// Direct calls of events that only draw bypass the queue; Gradio does not show their errors.
(() => {
  const ask = window.fetch;
  let session = null; // Gradio's session hash of this page, taken from its own requests
  window.fetch = async (...given) => {
    session = /"session_hash":"(\w+)"/.exec(given[1]?.body)?.[1] ?? session;
    const answer = await ask(...given);
    if (!answer.ok && String(given[0]?.url ?? given[0]).includes("/run/predict"))
      answer.clone().json().then((said) => window.ktbSayError?.(said.error ?? said.detail ?? "no answer"));
    return answer;
  };

  // Call the server's event of this number (`direct` in app/gradio_ext/events.py); returns a value per output.
  const answerTo = async (fn_index, data) => {
    const { root, api_prefix } = window.gradio_config; // behind a proxy only the path of `root` may be correct
    const address = new URL(root, location.href).pathname.replace(/\/$/, "") + `${api_prefix}/run/predict`;
    const body = JSON.stringify({ fn_index, data, session_hash: session, event_data: null, trigger_id: null });
    const headers = { "Content-Type": "application/json" };
    const answer = await window.fetch(address, { method: "POST", headers, body })
      .catch((lost) => { window.ktbSayError?.("The server does not answer."); throw lost; });
    if (!answer.ok) throw new Error("refused"); // so that no dependent event follows
    return (await answer.json()).data;
  };

  // Each lane makes one call at a time, so that the last request is drawn last. Of several waiting calls of an
  // event only the latest is made; the others return no change. With `once`, a call equal to the pending one is
  // skipped.
  const lanes = new Map(); // lanes with a pending call: its inputs, and the waiting calls by event
  window.ktbAsk = async (event, given, once, lane) => {
    const said = once && JSON.stringify([event, given]), busy = lanes.get(lane);
    if (busy) {
      if (once && !busy.waiting.has(event) && busy.said === said) return [];
      busy.waiting.get(event)?.(false);
      if (!(await new Promise((begin) => busy.waiting.set(event, begin)))) return [];
    }
    const own = busy ?? { waiting: new Map() };
    lanes.set(lane, own);
    own.said = said;
    try {
      return await answerTo(event, given);
    } finally {
      const [next] = own.waiting;
      if (!next) lanes.delete(lane);
      else own.waiting.delete(next[0]), next[1](true);
    }
  };
})();

// A button inside HTML presses a hidden button of the page: `data-click` is its id.
document.addEventListener("click", (event) => {
  const id = event.target.closest?.("[data-click]")?.dataset.click;
  if (id) document.getElementById(id)?.click();
});

// Pixel inspection: a click, a drag or the arrow keys on any picture with the extent of the RGB image.
(() => {
  const VIEW = "img.ktb-view";
  let at = null; // [y, x] as fractions of the picture; null: no pixel is inspected
  let dragged = null, sending = false, changed = false;

  const clamp = (v) => Math.min(Math.max(v, 0), 0.999999);
  const within = (img, event) => {
    const box = img.getBoundingClientRect();
    return [clamp((event.clientY - box.top) / box.height), clamp((event.clientX - box.left) / box.width)];
  };

  // The marker is a sibling of each picture, so that it scrolls and hides with it.
  // All sizes are read before any write: a read after a write forces a layout of the whole page.
  // Offsets are relative to the parent, also while it is not positioned yet and both have another offset parent.
  const place = () => {
    const views = [...document.querySelectorAll(VIEW)].map((img) => {
      const parent = img.parentElement, isFree = getComputedStyle(parent).position === "static";
      return {
        img, isFree, old: parent.querySelector(":scope > .ktb-mark"),
        top: img.offsetTop - (isFree ? parent.offsetTop + parent.clientTop : 0),
        left: img.offsetLeft - (isFree ? parent.offsetLeft + parent.clientLeft : 0),
        width: img.offsetWidth, height: img.offsetHeight,
      };
    });
    for (const { img, old, isFree, top, left, width, height } of views) {
      if (!img.classList.contains("ktb-small") && !img.hasAttribute("tabindex")) {
        img.tabIndex = 0;
        img.title = "Click, drag or use the arrow keys to inspect a pixel";
      }
      img.draggable = false;
      if (!at || !width) { if (old) old.hidden = true; continue; }
      const mark = old ?? document.createElement("span");
      if (!old) {
        mark.className = "ktb-mark";
        mark.setAttribute("aria-hidden", "true");
        if (isFree) img.parentElement.style.position = "relative";
        img.after(mark);
      }
      mark.hidden = false;
      mark.classList.toggle("ktb-mark-small", img.classList.contains("ktb-small"));
      mark.style.top = `${top + at[0] * height}px`;
      mark.style.left = `${left + at[1] * width}px`;
    }
  };
  let planned = false;
  const plan = () => {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => { planned = false; place(); });
  };

  // The first position is sent immediately, so that the server works while the markers move; then at most one,
  // the latest, per frame.
  const send = () => {
    if (sending) { changed = true; return; }
    sending = true;
    changed = false;
    requestAnimationFrame(() => { sending = false; if (changed) send(); });
    window.ktbSendPixel?.(at ? `${at[0].toFixed(6)},${at[1].toFixed(6)}` : "");
  };
  const point = (next) => { at = next; send(); plan(); };
  window.ktbForgetPixel = () => { at = null; plan(); };

  // A click on a drawn point selects the pixel below it.
  const viewAt = (target) =>
    target.closest?.(VIEW) ?? target.closest?.(".ktb-strong")?.closest(".ktb-pane")?.querySelector(VIEW);
  document.addEventListener("pointerdown", (event) => {
    const img = viewAt(event.target);
    if (!img || event.button) return;
    dragged = img;
    if (event.pointerType === "mouse") point(within(img, event)); // a touch may be the start of a scroll
  });
  document.addEventListener("pointermove", (event) => {
    if (dragged) { event.preventDefault(); point(within(dragged, event)); }
  });
  document.addEventListener("pointerup", (event) => {
    const end = dragged && within(dragged, event);
    if (end && String(end) !== String(at)) point(end); // the start of a click was already sent
    dragged = null;
  });
  document.addEventListener("pointercancel", () => { dragged = null; });

  document.addEventListener("keydown", (event) => {
    const img = event.target.closest?.(VIEW);
    if (img && event.key === "Escape" && at) point(null);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!img || !step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const grid = (document.querySelector("#ktb-fusion [data-grid]")?.dataset.grid || "48,64").split(",").map(Number);
    const start = at || [0.5, 0.5];
    // Move from the centre of a position to the centre of the next.
    const cell = (v, i) => Math.min(Math.max(Math.floor(v * grid[i]) + step[i], 0), grid[i] - 1);
    point(start.map((v, i) => (cell(v, i) + 0.5) / grid[i]));
  });

  // Highlight a row of the table together with its point.
  document.addEventListener("pointerover", (event) => {
    const rank = event.target.closest?.(".ktb-points tr[data-rank], .ktb-strong")?.dataset.rank;
    document.querySelectorAll(".ktb-strong, .ktb-points tr[data-rank]").forEach((item) =>
      item.classList.toggle("ktb-lit", item.dataset.rank === rank));
  });

  const start = () => {
    new MutationObserver(plan).observe(document.body, { childList: true, subtree: true });
    new ResizeObserver(plan).observe(document.body);
    document.addEventListener("load", plan, true);
    plan();
  };
  if (document.body) start(); else document.addEventListener("DOMContentLoaded", start);
})();
