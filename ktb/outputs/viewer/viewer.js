// The viewer of one run: linked images, overlay, attention of the chosen pixel. It asks no server.

import { Level } from "./attention.js";
import { readBundle, unpack, unzip } from "./bundle.js";
import { classAt, element, fillCard, measuredAt, STRONGEST } from "./card.js";
import { colorOf, colorRange, css, paint } from "./colors.js";
import { cellOf, largest, pixelOf } from "./geometry.js";
import { Panes } from "./panes.js";
import { MAPS, MAPS_OF_X, percent, SENSORS, T } from "./strings.js";

const MAX_RADIUS = 10; // CSS pixels of the strongest point, in a pane of at least RADIUS_WIDTH
const RADIUS_WIDTH = 480;
const NEUTRAL = "#c8ccd4"; // of points where there is no X

const optionsOf = (options) => options.map(([value, text]) => element("option", { value }, text));

/** A labelled select; `groups` are [title, [[value, text], …]], or options if there is no title. */
function select(label, groups, onChange) {
  const box = element("select", { "aria-label": label }, groups.flatMap(([title, options]) => (
    title ? element("optgroup", { label: title }, optionsOf(options)) : optionsOf(options))));
  box.addEventListener("change", () => onChange(box.value));
  return { node: element("label", {}, element("span", {}, label), box), box };
}

export class Viewer {
  constructor(root, bundle) {
    const { header } = bundle;
    Object.assign(this, { root, bundle, header });
    this.size = [header.stored_size.height, header.stored_size.width];
    this.levels = header.levels.map((_, index) => new Level(bundle, index));
    this.state = { overlay: "labels.fused", level: this.levels.length - 1, head: null, opacity: 0.5,
      isSwapped: false, pixel: null };
    this.images = { rgb: this.picture("rgb"), x: this.picture("x") };
    this.build();
    this.refresh();
  }

  picture(name) {
    const { data } = this.bundle.array(name);
    return paint(this.size, (i) => [data[3 * i], data[3 * i + 1], data[3 * i + 2]]);
  }

  /** Titles and values of the overlays that this bundle holds. */
  overlays() {
    const labels = Object.entries(this.header.heads).map(([branch, title]) => [`labels.${branch}`, title]);
    const ablated = this.header.ablated.map((drop) => [`labels.without_${drop}`, T.without(SENSORS[drop])]);
    const maps = Object.entries(MAPS)
      .filter(([name]) => this.levels.length && this.levels[0].map(name))
      .filter(([name]) => !(MAPS_OF_X.includes(name) && this.levels[0].xIsMissing))
      .map(([name, [title]]) => [`map.${name}`, title]);
    const groups = [[T.masks, labels], [T.ablations, ablated], [T.maps, maps]];
    return [...groups.filter(([, options]) => options.length), [null, [["none", T.nothing]]]];
  }

  build() {
    const change = (name, parse = (value) => value) => (value) => this.set({ [name]: parse(value) });
    this.controls = { overlay: select(T.show, this.overlays(), change("overlay")) };
    if (this.levels.length) {
      const levels = this.levels.map((level) => [level.index, `${level.index}: ${level.stride} px`]);
      this.controls.level = select(T.level, [[null, levels]], change("level", Number));
      this.controls.head = select(T.attentionHead, [], change("head", (v) => (v === "mean" ? null : Number(v))));
    }
    this.opacity = element("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": T.opacity });
    this.opacity.addEventListener("input", () => this.set({ opacity: Number(this.opacity.value) }));
    const button = (text, act) => {
      const made = element("button", { type: "button" }, text);
      made.addEventListener("click", act);
      return made;
    };
    const toolbar = element("div", { class: "ktb-v-bar", role: "toolbar", "aria-label": "Viewer" },
      Object.values(this.controls).map((control) => control.node),
      element("label", {}, element("span", {}, T.opacity), this.opacity),
      button(T.flip, () => this.set({ isSwapped: !this.state.isSwapped })),
      button(T.reset, () => this.panes.reset()));
    const canvases = ["rgb", "x"].map((name) => {
      const canvas = element("canvas", { tabindex: 0, role: "img", "data-pane": name, "aria-label": T.hint });
      const title = element("figcaption", {});
      return { canvas, title, node: element("figure", {}, canvas, title) };
    });
    this.titles = canvases.map((pane) => pane.title);
    this.status = element("p", { class: "ktb-v-status" }, T.hint);
    this.legend = element("p", { class: "ktb-v-legend" });
    this.card = element("section", { class: "ktb-v-card", "aria-live": "polite" },
      element("p", { class: "ktb-v-headline" }, T.hint), element("p", { class: "ktb-v-soft" }, T.keys));
    this.root.replaceChildren(toolbar,
      element("div", { class: "ktb-v-main" },
        element("div", { class: "ktb-v-left" },
          element("div", { class: "ktb-v-panes" }, canvases.map((pane) => pane.node)), this.status, this.legend),
        this.card));
    this.root.style.setProperty("--ktb-v-ratio", `${this.size[1]} / ${this.size[0]}`);
    this.panes = new Panes(this.size, canvases.map(({ canvas }, place) => ({
      canvas,
      base: () => this.images[this.sensorOf(place)],
      overlay: () => (this.over ? { canvas: this.over, opacity: this.state.opacity } : null),
    })), { hover: (pixel) => this.hover(pixel), pick: (pixel) => this.set({ pixel }) });
    for (const { canvas } of canvases) canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Whether another viewer shows the same images. */
  isOfTheSame(other) {
    return ["rgb", "x"].every((name) => {
      const [a, b] = [this.bundle.array(name).data, other.bundle.array(name).data];
      return a.length === b.length && a.every((value, index) => value === b[index]);
    });
  }

  sensorOf(place) {
    return ["rgb", "x"][this.state.isSwapped ? 1 - place : place];
  }

  get level() {
    return this.levels[this.state.level] || null;
  }

  /** Change the state and show it. */
  set(changes) {
    Object.assign(this.state, changes);
    const offered = this.overlays().flatMap(([, options]) => options.map(([value]) => value));
    if (!offered.includes(this.state.overlay)) this.state.overlay = "labels.fused"; // of an earlier run's bundle
    if (!this.level) this.state.level = this.levels.length - 1;
    if (this.level && this.state.head !== null && this.state.head >= this.level.heads) this.state.head = null;
    this.refresh();
  }

  refresh() {
    const { overlay, level, head, opacity, pixel } = this.state;
    this.controls.overlay.box.value = overlay;
    this.opacity.value = opacity;
    if (this.level) {
      this.controls.level.box.value = level;
      const heads = [["mean", T.mean], ...Array.from({ length: this.level.heads }, (_, i) => [i, String(i)])];
      this.controls.head.box.replaceChildren(...optionsOf(heads));
      this.controls.head.box.value = head === null ? "mean" : head;
    }
    this.titles.forEach((title, place) => {
      const sensor = this.sensorOf(place);
      title.textContent = sensor === "rgb" ? "RGB image" : `X: ${this.header.x.modality}`;
      title.dataset.sensor = sensor;
    });
    this.drawOverlay();
    this.panes.pixel = pixel;
    this.panes.marks = [];
    if (pixel) {
      const view = this.level && this.level.view(cellOf(pixel, this.size, this.level.grid), head);
      if (view) this.panes.marks = this.marks(view);
      fillCard(this.card, this.bundle, this.levels, pixel, this.level, view);
      this.root.dispatchEvent(new CustomEvent("ktb-pixel", { detail: { pixel, view } }));
    }
    this.panes.draw();
  }

  /** The overlay's canvas in its own resolution, and the legend. */
  drawOverlay() {
    const [kind, name] = [this.state.overlay.split(".", 1)[0], this.state.overlay.split(".").slice(1).join(".")];
    const { palette } = this.header;
    this.over = null;
    this.legend.replaceChildren();
    if (kind === "labels") {
      const labels = this.bundle.array(this.state.overlay).data;
      this.over = paint(this.size, (i) => palette[labels[i]]);
    } else if (kind === "map") {
      const [, meaning, cmap] = MAPS[name];
      const { values, range } = this.mapValues(name);
      const table = this.bundle.array(`colors.${cmap}`).data;
      this.over = paint(this.level.grid, (i) => colorOf(values[i], range, table));
      const stops = Array.from({ length: 9 }, (_, i) => css(colorOf(i / 8, { low: 0, high: 1 }, table)));
      this.legend.replaceChildren(
        element("span", {}, range.low.toFixed(2)),
        element("i", { class: "ktb-v-ramp", style: `background:linear-gradient(90deg, ${stops.join(", ")})` }),
        element("span", {}, range.high.toFixed(2)),
        element("span", { class: "ktb-v-soft" }, `${meaning}. ${T.range(range)}.`));
    }
  }

  /** Values of the chosen level's map (one per cell) for the chosen head, and the range of its colours. */
  mapValues(name) {
    const { head } = this.state;
    const cells = this.level.grid[0] * this.level.grid[1];
    let values = this.level.map(name).data;
    const perHead = { balance: "head_balance", entropy: "entropy" }[name];
    if (perHead && head !== null) {
      values = this.level.map(perHead).data.subarray(head * cells, (head + 1) * cells);
    } else if (name === "entropy") {
      const all = values;
      const { heads } = this.level;
      values = Float32Array.from({ length: cells }, (_, i) => {
        let sum = 0;
        for (let one = 0; one < heads; one += 1) sum += all[one * cells + i];
        return sum / heads;
      });
    }
    return { values, range: colorRange(values, name === "balance" ? 0.5 : null) };
  }

  marks(view) {
    const table = this.bundle.array("colors.diverging").data;
    const order = largest(view.attention, Math.min(8 * STRONGEST, view.attention.length)).reverse();
    const most = view.attention[order[order.length - 1]];
    const largestRadius = MAX_RADIUS * Math.min(1, this.panes.panes[0].canvas.clientWidth / RADIUS_WIDTH);
    return order.map((index) => ({
      pixel: pixelOf(view.points[index], this.level.grid, this.size),
      radius: Math.max(1, largestRadius * Math.sqrt(view.attention[index] / most)),
      color: this.level.xIsMissing ? NEUTRAL : css(colorOf(view.weightX(index), { low: 0, high: 1 }, table)),
      isSquare: view.isLedByX(index),
    }));
  }

  hover(pixel) {
    if (!pixel) {
      this.status.textContent = T.hint;
      return;
    }
    const index = pixel[0] * this.size[1] + pixel[1];
    const said = Object.keys(this.header.heads).map((branch) => {
      const { name, confidence } = classAt(this.bundle, branch, index);
      return `${this.header.heads[branch]}: ${name} ${percent(confidence)}`;
    });
    const measured = measuredAt(this.bundle, index);
    const parts = [T.pixel(pixel[1], pixel[0]), ...said, measured && `X: ${measured}`].filter(Boolean);
    this.status.textContent = parts.join(" · ");
  }

  key(event) {
    const step = this.level ? this.level.stride : 1;
    const moves = { ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] };
    if (event.key in moves) {
      const from = this.state.pixel || this.size.map((side) => Math.floor(side / 2));
      const pixel = from.map((value, axis) => Math.round(
        Math.min(Math.max(value + moves[event.key][axis] * (this.state.pixel ? 1 : 0), 0), this.size[axis] - 1)));
      this.set({ pixel });
    } else if (event.key === "Escape") this.clear();
    else if (event.key === "+" || event.key === "=") this.panes.zoomBy(1.5);
    else if (event.key === "-") this.panes.zoomBy(1 / 1.5);
    else if (event.key === "0") this.panes.reset();
    else if (event.key.toLowerCase() === "f" && !event.ctrlKey && !event.metaKey) {
      this.set({ isSwapped: !this.state.isSwapped });
    } else return;
    event.preventDefault();
  }

  clear() {
    this.card.replaceChildren(element("p", { class: "ktb-v-headline" }, T.hint),
      element("p", { class: "ktb-v-soft" }, T.keys));
    this.set({ pixel: null });
  }
}

/** Show the bundle at an address: a safetensors file compressed with gzip. */
export async function showFile(root, address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  const bundle = readBundle(await unzip(answer.body));
  const before = root.ktbViewer;
  const viewer = new Viewer(root, bundle);
  if (before && before.isOfTheSame(viewer)) viewer.set(before.state); // the same images, now with ablations
  root.ktbViewer = viewer;
  return viewer;
}

/** Show the bundle that an element holds as gzip in base64. */
export async function showEmbedded(root, source) {
  const viewer = new Viewer(root, readBundle(await unpack(source.textContent)));
  root.ktbViewer = viewer;
  return viewer;
}
