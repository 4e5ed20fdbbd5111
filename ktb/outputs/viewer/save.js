// Save what the viewer shows as one PNG: both images with layers, marker and points, and what made them.

import { element } from "./elements.js";
import { pixelOfImage } from "./geometry.js";
import { T } from "./strings.js";

const LINE = 22; // CSS pixels of a line of text

/** Lines below the images: the card's first sentence, the pixel, the layer, the checkpoint. */
function captions(viewer) {
  const { pixel, overlay, level, head } = viewer.state;
  const layer = viewer.layers.get(overlay);
  const said = viewer.card.querySelector(".ktb-v-headline").textContent;
  const shown = [layer?.title, viewer.level && `level ${level}`, head === null ? null : `head ${head}`];
  return [
    ...(viewer.header.ribbon ? [viewer.header.ribbon] : []),
    ...(pixel ? [`${T.pixel(pixelOfImage(pixel, viewer.header))}: ${said}`] : []),
    ...(viewer.region.sentence ? [viewer.region.sentence] : []),
    [...shown.filter(Boolean), viewer.header.model].join(" · "),
  ];
}

export function saveImage(viewer) {
  const canvases = viewer.panes.panes.map((pane) => pane.canvas);
  const density = window.devicePixelRatio || 1;
  const lines = captions(viewer);
  const width = canvases.reduce((sum, canvas) => sum + canvas.width, 0) + 8 * density;
  const height = Math.max(...canvases.map((canvas) => canvas.height));
  const sheet = element("canvas", { width, height: height + (lines.length * LINE + 8) * density });
  const pen = sheet.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  let left = 0;
  for (const canvas of canvases) {
    pen.drawImage(canvas, left, 0);
    left += canvas.width + 8 * density;
  }
  pen.fillStyle = "#1d2026";
  pen.font = `${14 * density}px system-ui, sans-serif`;
  lines.forEach((text, index) => pen.fillText(text, 4 * density, height + (index + 0.8) * LINE * density, width));
  sheet.toBlob((blob) => {
    const link = element("a", { href: URL.createObjectURL(blob), download: `${viewer.header.model}-view.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
