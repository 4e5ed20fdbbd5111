// A rectangle that one draws over the images, and the questions to the server about it.

import { button, element } from "./elements.js";
import { pixelOfImage } from "./geometry.js";
import { SENSORS, T } from "./strings.js";

const AROUND = 0.25; // of the image's sides: the rectangle that the keyboard puts around the chosen pixel

export class Region {
  /** @param viewer whose `actions` tell whether there is a server to ask */
  constructor(viewer) {
    Object.assign(this, { viewer, isOn: false, isDrawing: false });
    this.rectangle = null; // [left, top, right, bottom] in pixels of the stored image, right and bottom not included
    this.isPossible = viewer.actions.includes("region") && viewer.header.x.origin !== "missing";
    this.button = button(T.region, () => this.turn(!this.isOn), { title: T.regionHint, class: "ktb-v-region-tool" });
    this.questions = element("span", { class: "ktb-v-questions" },
      Object.keys(SENSORS).map((drop) => button(T.withoutHere(SENSORS[drop]), () => this.ask(drop))),
      button(T.clearRegion, () => this.change(null), { title: T.clearRegionHint }));
    this.said = element("p", { role: "status" });
    this.node = element("div", { class: "ktb-v-region", role: "group", "aria-label": T.region },
      this.questions, this.said);
  }

  /** The rectangle as fractions of the image's width and height; null without one. */
  get fractions() {
    const [height, width] = this.viewer.size;
    return this.rectangle && this.rectangle.map((value, side) => value / (side % 2 ? height : width));
  }

  /** The server's sentence, where it is about this rectangle. */
  get sentence() {
    const { region } = this.viewer.header;
    const isSame = region && this.rectangle && this.fractions.every((value, side) => value === region.rectangle[side]);
    return isSame ? region.sentence : "";
  }

  /** Let a drag draw, or move the images again; the rectangle stays. */
  turn(isOn) {
    this.isOn = isOn && this.isPossible;
    this.viewer.panes.tool = this.isOn ? this : null;
    this.draw();
  }

  change(rectangle) {
    this.rectangle = rectangle;
    this.draw();
  }

  /** Be as the region of an earlier viewer of the same images. */
  follow({ isOn, rectangle }) {
    if (!this.isPossible) return;
    this.rectangle = rectangle;
    this.turn(isOn);
  }

  /** A drag is between two places (y, x) in pixels: the rectangle is that of all pixels that it touches. */
  drag(from, to) {
    if (!this.isDrawing) this.before = this.rectangle;
    this.isDrawing = true; // the texts wait until it ends: they would move the images under the pointer
    const [height, width] = this.viewer.size;
    const [[top, bottom], [left, right]] = [[0, height], [1, width]].map(([axis, side]) => {
      const low = Math.min(Math.max(Math.floor(Math.min(from[axis], to[axis])), 0), side - 1);
      return [low, Math.min(Math.max(Math.ceil(Math.max(from[axis], to[axis])), low + 1), side)];
    });
    this.change([left, top, right, bottom]);
  }

  /** The drag ends; or it was none, and the rectangle is the one before. */
  release(isDrag) {
    if (!this.isDrawing) return;
    this.isDrawing = false;
    this.change(isDrag ? this.rectangle : this.before);
  }

  /** Answer a key on an image; returns whether it is one of the tool's. */
  key({ key }) {
    if (key === "Escape" && this.rectangle) this.change(null);
    else if (key === "Enter" && this.isOn) this.change(this.around(this.viewer.state.pixel));
    else return false;
    return true;
  }

  /** The rectangle around a pixel, or around the middle, inside the image. */
  around(pixel) {
    const [rows, columns] = this.viewer.size.map((side, axis) => {
      const length = Math.max(1, Math.round(AROUND * side));
      const first = (pixel ? pixel[axis] : side >> 1) - (length >> 1);
      const start = Math.min(Math.max(first, 0), side - length);
      return [start, start + length];
    });
    return [columns[0], rows[0], columns[1], rows[1]];
  }

  ask(drop) {
    this.viewer.tell("ktb-region", { rectangle: this.fractions, drop });
  }

  /** Show the rectangle, and while none is drawn, what can be asked and what was answered. */
  draw() {
    const { viewer, rectangle, sentence } = this;
    viewer.panes.rectangle = rectangle;
    viewer.panes.draw();
    if (this.isDrawing) return;
    const isShown = this.isPossible && !viewer.flat.hidden;
    this.button.hidden = !isShown;
    this.button.setAttribute("aria-pressed", String(this.isOn));
    this.node.hidden = !isShown || !(this.isOn || rectangle);
    this.questions.hidden = !rectangle;
    const text = sentence || (rectangle ? T.regionAt(this.corners()) : T.regionKeys);
    if (this.said.textContent !== text) this.said.textContent = text; // it is read out
    this.said.className = sentence ? "ktb-v-found" : "ktb-v-soft";
  }

  /** The first and the last pixel of the rectangle in the RGB image. */
  corners() {
    const [left, top, right, bottom] = this.rectangle;
    return [[top, left], [bottom - 1, right - 1]].map((pixel) => pixelOfImage(pixel, this.viewer.header));
  }
}
