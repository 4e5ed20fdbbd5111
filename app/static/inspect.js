// The inspect tab: show the bundle of the session's run in the viewer, which is loaded at the first run.
(() => {
  const place = document.createElement("div");
  place.className = "ktb-v";
  const style = (href) => new Promise((loaded, failed) => { // Gradio drops the container queries of a page's `css`
    if (document.head.querySelector(`link[href="${href}"]`)) return loaded();
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: loaded });
    link.onerror = () => failed(new Error("its style sheet cannot be loaded"));
    document.head.append(link);
  });
  window.ktbShowBundle = async (file) => {
    const shown = document.getElementById("ktb-inspect");
    if (!file?.url || !shown) return;
    const { root } = window.gradio_config; // behind a proxy only its path may be correct
    const base = new URL(root, location.href).pathname.replace(/\/$/, "");
    try {
      const [{ showFile }] = await Promise.all([import(`${base}/viewer/viewer.js`), style(`${base}/viewer/viewer.css`)]);
      shown.replaceChildren(place);
      await showFile(place, file.url);
    } catch (error) {
      window.ktbSayError?.(`The viewer cannot show this run: ${error.message}`);
    }
  };
})();
