// The points of a run in space, in the colours of the image with its layers, in place of the images.

import { CloudView } from "./cloud.js";
import { button, element } from "./elements.js";
import { T } from "./strings.js";

export class Space {
  /** @param viewer whose `state.inSpace` tells whether the points are shown */
  constructor(viewer) {
    this.viewer = viewer;
    this.isPossible = CloudView.isPossible(viewer.bundle);
    this.button = button(T.space, () => viewer.set({ inSpace: !viewer.state.inSpace }), { title: T.spaceHint });
    this.button.hidden = !this.isPossible;
    this.canvas = element("canvas", { tabindex: 0, role: "img", "aria-label": `${T.spaceHint}. ${T.spaceKeys}` });
    const about = this.isPossible ? T.spaceAbout(viewer.header) : "";
    this.node = element("figure", { class: "ktb-v-space", hidden: "" }, this.canvas,
      element("figcaption", {}, `${T.spaceTitle} · ${viewer.header.model} `,
        element("span", { class: "ktb-v-soft" }, `${about} ${T.spaceKeys}`)));
  }

  /** Show the viewer's state. */
  draw() {
    const { inSpace, pixel } = this.viewer.state;
    const isShown = inSpace && this.isPossible;
    this.node.hidden = !isShown;
    this.button.textContent = isShown ? T.image : T.space;
    if (!isShown) return;
    this.cloud ||= new CloudView(this.canvas, this.viewer.bundle, { pick: (found) => this.viewer.pick(found) });
    this.cloud.setColors(this.colors());
    this.cloud.setSelected(pixel);
    this.cloud.resize();
    this.cloud.draw();
  }

  /** Red, green, blue and opacity of each pixel of the RGB image with its layers. */
  colors() {
    const { viewer } = this;
    const [height, width] = viewer.size;
    const pen = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
    pen.drawImage(viewer.images.rgb, 0, 0);
    for (const { canvas, opacity, from, to } of viewer.overlays("rgb")) {
      pen.save();
      pen.beginPath();
      pen.rect(from * width, 0, (to - from) * width, height);
      pen.clip();
      pen.globalAlpha = opacity;
      pen.drawImage(canvas, 0, 0, width, height);
      pen.restore();
    }
    return pen.getImageData(0, 0, width, height).data;
  }

  dispose() {
    this.cloud?.dispose();
  }
}
