// The range of X's picture: two sliders, which draw it anew from what the sensor measured.

import { colorOf, paint, paintGrey } from "./colors.js";
import { button, element, slider } from "./elements.js";
import { measuredText, T } from "./strings.js";

const STEPS = 200; // of a slider

/** The least and greatest of the values, those at the given fraction of each end left out; null without values. */
function endsOf(values, fraction = 0.002) {
  const sorted = Float32Array.from(values).filter(Number.isFinite).sort();
  if (!sorted.length) return null;
  const left = Math.floor(fraction * (sorted.length - 1));
  const [low, high] = [sorted[left], sorted[sorted.length - 1 - left]];
  return high > low ? [low, high] : null;
}

export class XRange {
  /** @param viewer its state holds `xRange`: [dark, bright] in X's unit, or null for the picture as it came */
  constructor(viewer) {
    this.viewer = viewer;
    this.picture = { ...viewer.images }; // as it came
    this.values = viewer.bundle.array("x_values")?.data;
    this.ends = this.values && viewer.header.x_range ? endsOf(this.values) : null;
    this.drawn = null;
    const move = (place) => (value) => {
      const range = [...this.range];
      range[place] = this.ends[0] + value * (this.ends[1] - this.ends[0]);
      if (range[0] !== range[1]) viewer.set({ xRange: range });
    };
    this.sliders = [T.xDark, T.xBright].map((label, place) => slider(label, [0, 1, 1 / STEPS], move(place)));
    this.said = element("output");
    const again = button(T.xRangeReset, () => viewer.set({ xRange: null }), { title: T.xRangeResetHint });
    this.node = element("details", { class: "ktb-v-range" }, element("summary", { title: T.xRangeHint }, T.xRange),
      this.sliders.map((one) => one.node), this.said, again);
    this.node.hidden = !this.ends;
  }

  get range() {
    return this.viewer.state.xRange || this.viewer.header.x_range;
  }

  /** Draw X in the chosen range, if it changed, and put the sliders there. */
  show() {
    if (!this.ends) return;
    const { state, header, images, size } = this.viewer;
    const shown = JSON.stringify(state.xRange);
    if (shown === this.drawn) return;
    this.drawn = shown;
    const [low, high] = this.ends;
    this.sliders.forEach(({ box }, place) => { box.value = (this.range[place] - low) / (high - low); });
    const isKnown = state.xRange || this.picture.grey; // a picture that came in grey has a range of its encoder
    this.said.textContent = isKnown ? this.range.map((value) => measuredText(value, header.x_unit)).join(" … ") : "";
    Object.assign(images, state.xRange ? this.paint(size, state.xRange) : this.picture);
  }

  /** X in a range, in false colours and in grey; only in grey where it came so. */
  paint(size, [dark, bright]) {
    const table = this.picture.grey && this.viewer.bundle.array("colors.sequential").data;
    const grey = Uint8Array.from({ length: 765 }, (_, i) => Math.round((Math.floor(i / 3) * 255) / 254));
    const range = { low: dark, high: bright };
    const colors = new Uint8Array(3 * this.values.length);
    this.values.forEach((value, i) => colors.set(colorOf(value, range, table || grey), 3 * i));
    const x = paint(size, (i) => colors.subarray(3 * i, 3 * i + 3));
    return { x, grey: table ? paintGrey(size, colors) : null };
  }
}
