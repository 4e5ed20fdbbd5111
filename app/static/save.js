// Save a picture: the button .ktb-save in its caption writes a lossless PNG with the checkpoint's name.
(() => {
  const FRAMES = ".ktb-pane, #ktb-stage, figure"; // ancestors of a button that contain its picture, outermost first
  const LAYERS = "img, canvas, svg.ktb-over";

  const frameOf = (button) => FRAMES.split(", ").map((part) => button.closest(part)).find(Boolean);
  const layersOf = (frame) => [...frame.querySelectorAll(LAYERS)].filter((one) => one.getClientRects().length);
  const sizeOf = (layer) => {
    const view = layer.viewBox?.baseVal; // of an <svg>
    return view ? [view.width, view.height] : [layer.naturalWidth || layer.width, layer.naturalHeight || layer.height];
  };
  const isPng = (layer) => layer.tagName === "IMG" && layer.src.startsWith("data:image/png");
  const bytesOf = async (address) => new Uint8Array(await (await fetch(address)).arrayBuffer());

  // PNG: a signature, then chunks of length, name, data and checksum.
  const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  function textOf(png) {
    const view = new DataView(png.buffer), found = {};
    for (let at = 8; at + 12 <= png.length; ) {
      const length = view.getUint32(at), name = latin(png.subarray(at + 4, at + 8));
      const data = png.subarray(at + 8, at + 8 + length), end = data.indexOf(0);
      if (name === "tEXt") found[latin(data.subarray(0, end))] = latin(data.subarray(end + 1));
      // key, 0, not compressed, 0, no language, no translated key, then UTF-8
      if (name === "iTXt") found[latin(data.subarray(0, end))] = new TextDecoder().decode(data.subarray(end + 5));
      at += 12 + length;
    }
    return found;
  }
  function checksum(bytes) {
    let crc = -1;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
  }
  function chunkOf(key, value) {
    const data = new TextEncoder().encode(`iTXt${key}\0\0\0\0\0${value}`);
    const chunk = new Uint8Array(data.length + 8), view = new DataView(chunk.buffer);
    view.setUint32(0, data.length - 4);
    chunk.set(data, 4);
    view.setUint32(data.length + 4, checksum(data));
    return chunk;
  }
  const HEADER = 33; // the signature and the first chunk; text chunks may follow
  const withTexts = (png, texts) =>
    new Blob([png.subarray(0, HEADER), ...Object.entries(texts).map(([key, text]) => chunkOf(key, text)),
      png.subarray(HEADER)], { type: "image/png" });

  // A copy of an <svg> with its rendered style: marks have attributes, only texts are styled by the page.
  function drawable(svg, width, height) {
    const copy = svg.cloneNode(true), texts = copy.querySelectorAll("text");
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    svg.querySelectorAll("text").forEach((text, i) => {
      const look = getComputedStyle(text);
      for (const name of ["fill", "stroke", "stroke-width", "paint-order", "font-family", "font-weight"])
        texts[i].style.setProperty(name, look.getPropertyValue(name));
    });
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
    return image.decode().then(() => image);
  }

  // All layers over the picture in their order, with the current opacity and split.
  async function drawn(layers) {
    const base = layers[0].getBoundingClientRect();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = layers.map(sizeOf).sort((a, b) => b[0] - a[0])[0];
    const pen = canvas.getContext("2d"), scale = canvas.width / base.width;
    for (const layer of layers) {
      const box = layer.getBoundingClientRect();
      const place = [box.left - base.left, box.top - base.top, box.width, box.height].map((v) => v * scale);
      const source = layer.tagName === "svg" ? await drawable(layer, canvas.width, canvas.height) : layer;
      const side = layer.closest(".ktb-left, .ktb-right");
      const split = (parseFloat(getComputedStyle(layer).getPropertyValue("--ktb-split")) || 50) / 100;
      pen.save();
      if (side) {
        const [from, to] = side.classList.contains("ktb-left") ? [0, split] : [split, 1];
        pen.beginPath();
        pen.rect(from * canvas.width, 0, (to - from) * canvas.width, canvas.height);
        pen.clip();
      }
      pen.globalAlpha = Number(getComputedStyle(layer).opacity);
      pen.imageSmoothingEnabled = getComputedStyle(layer).imageRendering !== "pixelated";
      if (sizeOf(layer)[0] === canvas.width) pen.drawImage(source, 0, 0, canvas.width, canvas.height);
      else pen.drawImage(source, ...place);
      pen.restore();
    }
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    return new Uint8Array(await blob.arrayBuffer());
  }

  async function pictureOf(frame, title, note) {
    const layers = layersOf(frame);
    const kept = isPng(layers[0]) && layers.length === 1 ? await bytesOf(layers[0].src) : null;
    const names = await Promise.all(layers.map(async (one) =>
      isPng(one) ? textOf(await bytesOf(one.src)).Checkpoint : one.dataset.checkpoint));
    const checkpoint = names.filter(Boolean).pop() || "";
    const texts = { Title: title, Description: note };
    if (!kept) Object.assign(texts, { Software: "KTB" }, checkpoint && { Checkpoint: checkpoint });
    return { checkpoint, blob: withTexts(kept || (await drawn(layers)), texts) };
  }

  const part = (text, most) => text.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, most);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.(".ktb-save");
    if (!button) return;
    const { title, note } = button.dataset;
    const { checkpoint, blob } = await pictureOf(frameOf(button), title, note);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = [part(checkpoint.split(";")[0], 60), part(title, 60)].filter(Boolean).join("-") + ".png";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
})();
