// A button inside HTML presses a hidden button of the page: `data-click` is its id.
document.addEventListener("click", (event) => {
  const id = event.target.closest?.("[data-click]")?.dataset.click;
  if (id) document.getElementById(id)?.click();
});

// On a phone, what is known of X takes a line; a tap unfolds it.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-unfold]")?.querySelector("button");
  button?.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") === "false"));
});

// So do the inputs: a press unfolds them, and a result folds them again (static/style.css).
{
  const unfold = () => document.querySelector("#ktb-fold button");
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#ktb-fold button");
    button?.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") === "false"));
  });
  window.ktbFoldInputs = () => unfold()?.setAttribute("aria-expanded", "false");
}

// Gradio shows no errors of events outside its queue, which answer at once: the page hands them to one that does.
(() => {
  const ask = window.fetch;
  window.fetch = async (...given) => {
    const answer = await ask(...given);
    if (!answer.ok && String(given[0]?.url ?? given[0]).includes("/run/predict"))
      answer.clone().json().then((said) => window.ktbSayError?.(said.error ?? said.detail ?? "no answer"), () => {});
    return answer;
  };
})();

// The viewer of the session's run. There is one; it moves to the open tab that has a place for it (.ktb-slot).
(() => {
  const place = document.createElement("div");
  place.className = "ktb-v";
  const ACTIONS = ["measure", "ask", "region"]; // what this server answers
  let viewer = null;
  let wanted = null; // state of a link or settings file, for the next run that is shown
  let adding = Promise.resolve(); // bundles are shown in the order in which they come

  // Behind a proxy only the path of `root` may be correct.
  const base = () => new URL(window.gradio_config.root, location.href).pathname.replace(/\/$/, "");
  const style = () => new Promise((loaded, failed) => { // Gradio drops the container queries of a page's `css`
    const href = `${base()}/viewer/viewer.css`;
    if (document.head.querySelector(`link[href="${href}"]`)) return loaded();
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: loaded });
    link.onerror = () => failed(new Error("its style sheet cannot be loaded"));
    document.head.append(link);
  });
  const modules = async () => (await Promise.all([import(`${base()}/viewer/viewer.js`), style()]))[0];

  const settle = () => {
    if (!viewer) return;
    const open = [...document.querySelectorAll(".ktb-slot")].find((one) => one.getClientRects().length);
    if (open && place.parentElement !== open) {
      open.replaceChildren(place);
      viewer.panes.draw();
    }
  };
  const fail = (error) => {
    place.replaceChildren(`The viewer cannot show this run: ${error.message}`);
    const open = document.querySelector(".ktb-slot");
    if (open && !viewer) open.replaceChildren(place);
  };
  const queue = (file, work) => {
    if (file?.url) adding = adding.then(() => work(file.url)).catch(fail);
    return adding;
  };

  // Show the bundle of a new run.
  window.ktbShow = (file) => queue(file, async (url) => {
    const { fetchBundle, show } = await modules();
    const bundle = await fetchBundle(url);
    viewer = show(place, bundle, bundle.header.is_stored ? [] : ACTIONS);
    if (wanted) viewer.set(wanted);
    if (!bundle.header.is_stored) wanted = null;
    settle();
  });

  // Show the run of the example that the page opens on, unless there is another one already.
  window.ktbOpenExample = (run) => adding = adding.then(async () => {
    if (viewer && !viewer.header.is_stored) return;
    const { fetchBundle, show } = await modules();
    const bundle = await fetchBundle(`${base()}/viewer/example.safetensors.gz`);
    if (bundle.header.run === run) viewer = show(place, bundle, ACTIONS);
    settle();
  }).catch(fail);

  // Add what was computed since to the run that it belongs to.
  window.ktbAdd = (file) => queue(file, async (url) => {
    const { fetchBundle } = await modules();
    const bundle = await fetchBundle(url);
    if (!viewer || bundle.header.run !== viewer.header.run) return;
    viewer.add(bundle);
    if (bundle.header.show) viewer.set(bundle.header.show);
    settle();
  });

  window.ktbInputsChanged = () => place.querySelector(".ktb-v-doubts")?.dispatchEvent(new Event("ktb-outdated"));
  window.ktbSet = (state) => viewer?.set(state);
  window.ktbView = () => (viewer ? JSON.stringify(viewer.state) : "");
  window.ktbRestore = (text) => { // the text of `ktbView`
    if (!text) return;
    const state = JSON.parse(text);
    if (viewer) viewer.set(state);
    else wanted = state;
  };

  place.addEventListener("ktb-measure", () => document.getElementById("ktb-measure")?.click());
  place.addEventListener("ktb-ask", (event) => window.ktbAsk?.(JSON.stringify(event.detail)));
  place.addEventListener("ktb-region", (event) => window.ktbAskRegion?.(JSON.stringify(event.detail)));

  // Names that Gradio's components lack.
  const name = () => {
    for (const button of document.querySelectorAll("#ktb-examples .thumbnail-item")) {
      const caption = button.querySelector(".caption-label")?.textContent.trim();
      const image = button.querySelector("img");
      if (caption && image?.alt) [button.ariaLabel, image.alt] = [`Example: ${caption}`, ""];
    }
    for (const button of document.querySelectorAll('[aria-label="common.upload"]')) {
      [button.ariaLabel, button.title] = ["Upload files", "Upload files"];
    }
    for (const image of document.querySelectorAll('footer img[alt]:not([alt=""])')) image.alt = ""; // a text is beside
  };

  const watch = () => {
    const options = { attributes: true, attributeFilter: ["aria-selected", "style", "class"], subtree: true,
      childList: true };
    let planned = false;
    new MutationObserver((changes) => {
      if (planned || changes.every((change) => place.contains(change.target))) return;
      planned = true;
      requestAnimationFrame(() => { planned = false; settle(); name(); });
    }).observe(document.body, options);
  };
  if (document.body) watch(); else document.addEventListener("DOMContentLoaded", watch);
})();
