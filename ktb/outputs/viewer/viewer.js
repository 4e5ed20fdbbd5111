// The viewer of one run: linked images, layers, attention of the chosen pixel. It asks no server.

import { Level } from "./attention.js";
import { readBundle, unpack, unzip } from "./bundle.js";
import { classAt, doubtsOf, fillCard, marksOf, measuredAt, tellingPixel } from "./card.js";
import { ClassList, veil } from "./classes.js";
import { mapRange, paint, paintGrey } from "./colors.js";
import { button, element, fillSelect, optionsOf, select, slider } from "./elements.js";
import { cellOf, pixelOfImage } from "./geometry.js";
import { layersOf } from "./layers.js";
import { Panes } from "./panes.js";
import { XRange } from "./range.js";
import { Region } from "./region.js";
import { saveImage } from "./save.js";
import { Space } from "./space.js";
import { percent, SENSORS, T } from "./strings.js";

const FUSED = "labels.fused";
const NONE = "none";
const WITHOUT = { rgb: "labels.without_rgb", x: "labels.without_x" };

export class Viewer {
  /**
   * @param root the element that shows the viewer; it dispatches "ktb-measure", "ktb-ask" and "ktb-region" where
   *   `actions` has them, and "ktb-pixel" when another pixel is chosen
   * @param actions what a server can be asked for: "measure" (ablations), "ask" (attribution), "region" (ablation there)
   */
  constructor(root, bundle, actions = []) {
    Object.assign(this, { root, bundle, actions, drawn: new Map(), version: 0 });
    const { header } = bundle;
    this.size = [header.stored_size.height, header.stored_size.width];
    this.awaited = {}; // state that needs the levels, which may follow
    this.readLevels();
    this.state = { overlay: FUSED, compare: NONE, split: 0.5, level: null, head: null,
      opacity: 0.5, isSwapped: false, inSpace: false, hasFalseColors: null, xRange: null, pixel: null };
    this.images = { rgb: this.picture("rgb"), x: this.picture("x"),
      grey: paintGrey(this.size, bundle.array("x").data) };
    this.build();
    this.offer();
    this.refresh();
  }

  get header() {
    return this.bundle.header;
  }

  get level() {
    return this.levels[this.state.level] || null;
  }

  picture(name) {
    const { data } = this.bundle.array(name);
    return paint(this.size, (i) => [data[3 * i], data[3 * i + 1], data[3 * i + 2]]);
  }

  readLevels() {
    this.levels = this.header.levels.map((_, index) => new Level(this.bundle, index));
  }

  /** Add what was computed since: levels, ablations, other masks, an attribution. */
  add(bundle) {
    this.bundle.add(bundle);
    this.version += 1;
    this.drawn.clear();
    if (bundle.header.levels) {
      this.readLevels();
      this.buildLevels();
    }
    this.offer();
    this.set(bundle.header.levels ? this.awaited : {});
  }

  build() {
    const change = (name, parse = (value) => value) => (value) => this.set({ [name]: parse(value) });
    this.controls = {
      overlay: select(T.show, change("overlay")),
      compare: select(T.compare, change("compare")),
      opacity: slider(T.opacity, [0, 1, 0.05], change("opacity")),
    };
    const shown = Object.values(this.controls).map((control) => control.node);
    this.levelControls = element("div", { class: "ktb-v-levels" });
    this.buildLevels();
    this.sensors = this.buildSensors();
    this.space = new Space(this);
    this.region = new Region(this);
    this.measure = button(T.measure, () => this.tell("ktb-measure"), { title: T.measureHint, class: "ktb-v-measure" });
    const toolbar = element("div", { class: "ktb-v-bar", role: "toolbar", "aria-label": "Viewer" },
      this.sensors, this.measure,
      shown,
      button(T.flip, () => this.set({ isSwapped: !this.state.isSwapped }), { title: T.flipHint }),
      this.space.button, this.region.button,
      button(T.reset, () => (this.space.node.hidden ? this.panes : this.space.cloud).reset(), { title: T.resetHint }),
      button(T.save, () => saveImage(this), { title: T.saveHint }));
    const canvases = ["rgb", "x"].map((name) => {
      const canvas = element("canvas", { tabindex: 0, role: "img", "data-pane": name });
      const title = element("figcaption", {}, element("span"));
      return { canvas, title, node: element("figure", {}, canvas, title) };
    });
    this.titles = canvases.map((pane) => pane.title);
    this.falseColors = button(T.falseColors, () => this.set({ hasFalseColors: !this.hasFalseColors }),
      { title: T.falseColorsHint, class: "ktb-v-false" });
    this.falseColors.hidden = !this.images.grey;
    this.range = new XRange(this);
    this.split = slider(T.split, [0, 1, 0.005], change("split"));
    this.split.node.classList.add("ktb-v-split");
    this.status = element("p", { class: "ktb-v-status" }, T.hint);
    this.legend = element("p", { class: "ktb-v-legend" });
    this.classes = new ClassList((chosen) => this.highlight(chosen));
    this.card = element("section", { class: "ktb-v-card", "aria-live": "polite", "aria-label": "Pixel" });
    this.root.replaceChildren(toolbar, this.region.node,
      element("div", { class: "ktb-v-main" },
        element("div", { class: "ktb-v-left" }, doubtsOf(this.header), this.split.node,
          this.flat = element("div", { class: "ktb-v-panes" }, canvases.map((pane) => pane.node)), this.space.node,
          this.status, this.legend, this.classes.node),
        this.card));
    this.root.style.setProperty("--ktb-v-ratio", `${this.size[1]} / ${this.size[0]}`);
    this.panes = new Panes(this.size, canvases.map(({ canvas }, place) => ({
      canvas,
      base: () => this.base(this.sensorOf(place)),
      overlays: () => this.overlays(this.sensorOf(place)),
    })), { hover: (pixel) => this.hover(pixel), pick: (pixel) => this.pick(pixel) });
    for (const { canvas } of canvases) canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** The controls of level and attention head, once there are levels. */
  buildLevels() {
    if (!this.levels.length) return;
    this.controls.level = select(T.level, (value) => this.set({ level: Number(value) }));
    this.controls.head = select(T.attentionHead, (value) => this.set({ head: value === "mean" ? null : Number(value) }));
    this.levelControls.replaceChildren(this.controls.level.node, this.controls.head.node);
    this.controls.level.box.replaceChildren(
      ...optionsOf(this.levels.map((level) => [level.index, `${level.index}: ${level.stride} px`])));
  }

  /** Two switches: the fused mask with each sensor on or off. */
  buildSensors() {
    this.switches = Object.fromEntries(Object.keys(SENSORS).map((name) => {
      const box = element("input", { type: "checkbox", "data-sensor": name });
      box.addEventListener("change", () => {
        const other = this.switches[name === "x" ? "rgb" : "x"];
        if (!box.checked) other.checked = true; // the network needs one
        this.set({ overlay: box.checked ? FUSED : WITHOUT[name] });
      });
      return [name, box];
    }));
    return element("div", { class: "ktb-v-sensors", role: "group", "aria-label": T.sensors },
      Object.entries(this.switches).map(([name, box]) => (
        element("label", { "data-sensor": name }, box, element("span", {}, SENSORS[name])))));
  }

  /** Read the layers of the bundle again, and list them. */
  offer() {
    this.layers = new Map(layersOf(this).map((layer) => [layer.id, layer]));
    const groups = new Map();
    for (const { id, title, group } of this.layers.values()) {
      groups.set(group, [...(groups.get(group) || []), [id, title]]);
    }
    fillSelect(this.controls.overlay.box, [...groups, [null, [[NONE, T.nothing]]]]);
    fillSelect(this.controls.compare.box, [[null, [[NONE, T.same]]], ...groups]);
  }

  /** Whether another bundle holds the same images. */
  shows(bundle) {
    return ["rgb", "x"].every((name) => {
      const [a, b] = [this.bundle.array(name).data, bundle.array(name).data];
      return a.length === b.length && a.every((value, index) => value === b[index]);
    });
  }

  sensorOf(place) {
    return ["rgb", "x"][this.state.isSwapped ? 1 - place : place];
  }

  /** Change the state and show it. */
  set(changes) {
    const { state } = this;
    Object.assign(state, changes);
    for (const [name, other] of [["overlay", FUSED], ["compare", NONE]]) {
      if (name in changes) delete this.awaited[name];
      if (state[name] === NONE || this.layers.has(state[name])) continue;
      if (this.header.details_follow) this.awaited[name] = state[name];
      state[name] = other; // the layer is of an earlier run, or follows
    }
    if (this.levels.length && !this.level) state.level = this.levels.length - 1;
    if (this.level && state.head !== null && state.head >= this.level.heads) state.head = null;
    if (state.pixel) state.pixel = state.pixel.map((value, axis) => Math.min(value, this.size[axis] - 1));
    this.refresh();
  }

  refresh() {
    const { overlay, level, head } = this.state;
    const shown = JSON.stringify([overlay, level, head, this.version]);
    if (shown !== this.shown) this.showLayer(); // not for each pixel: legends count all values
    this.shown = shown;
    this.showControls();
    this.showPixel();
    this.panes.draw();
    this.flat.hidden = this.state.inSpace && this.space.isPossible;
    this.region.draw();
    this.space.draw();
  }

  /** The legend and the classes of the overlay, and the heads of the level. */
  showLayer() {
    const layer = this.layers.get(this.state.overlay);
    this.legend.replaceChildren(...(layer ? layer.legend() : []));
    this.classes.of(layer?.labels ? layer : null);
    if (!this.level) return;
    const heads = [["mean", T.mean], ...Array.from({ length: this.level.heads }, (_, i) => [i, String(i)])];
    this.controls.head.box.replaceChildren(...optionsOf(heads));
  }

  showControls() {
    const { overlay, compare, split, level, head, opacity } = this.state;
    const { controls, header } = this;
    controls.overlay.box.value = overlay;
    controls.compare.box.value = compare;
    controls.opacity.box.value = opacity;
    this.split.box.value = split;
    this.split.node.hidden = compare === NONE;
    if (this.level) {
      controls.level.box.value = level;
      controls.head.box.value = head === null ? "mean" : head;
    }
    const isMeasured = Object.keys(WITHOUT).every((name) => header.ablated.includes(name));
    this.sensors.hidden = !isMeasured;
    this.measure.hidden = isMeasured || header.x.origin === "missing" || !this.actions.includes("measure");
    for (const [name, box] of Object.entries(this.switches)) box.checked = overlay !== WITHOUT[name];
    this.titles.forEach((title, place) => {
      const sensor = this.sensorOf(place);
      if (title.dataset.sensor === sensor) return;
      const said = sensor === "rgb" ? T.rgbImage : T.xImage(header.x.modality);
      title.firstChild.textContent = said;
      title.dataset.sensor = sensor;
      if (sensor === "x") title.append(this.falseColors, this.range.node);
      this.panes.panes[place].canvas.setAttribute("aria-label", `${said}. ${T.hint}`);
    });
    this.falseColors.setAttribute("aria-pressed", String(this.hasFalseColors));
    this.range.show();
  }

  /** Whether X is shown in its colours: as chosen, else where no layer is over it, whose colours would mix with them. */
  get hasFalseColors() {
    const { hasFalseColors, overlay, compare, opacity } = this.state;
    return hasFalseColors ?? ((overlay === NONE && compare === NONE) || opacity === 0);
  }

  /** The image of a sensor under its layers. */
  base(sensor) {
    return (sensor === "x" && !this.hasFalseColors && this.images.grey) || this.images[sensor];
  }

  /** What is drawn over the image of a sensor: the layer, the compared one beyond the split, and the veil. */
  overlays(sensor) {
    const { overlay, compare, split, opacity } = this.state;
    const found = [];
    const draw = (id, from, to) => {
      if (id !== NONE) found.push({ canvas: this.canvasOf(this.layers.get(id), sensor), opacity, from, to });
    };
    draw(overlay, 0, compare === NONE ? 1 : split);
    if (compare !== NONE) draw(compare, split, 1);
    if (this.veil) found.push({ canvas: this.veil, opacity: 0.8, from: 0, to: compare === NONE ? 1 : split });
    return found;
  }

  /** The canvas of a layer in its own resolution, drawn once. */
  canvasOf(layer, sensor) {
    const key = layer.key(this.state, sensor);
    if (!this.drawn.has(key)) this.drawn.set(key, layer.paint(sensor));
    return this.drawn.get(key);
  }

  /** Darken all classes but one; null: none. */
  highlight(chosen) {
    const layer = this.layers.get(this.state.overlay);
    this.veil = chosen === null || !layer?.labels ? null : veil(this.size, layer.labels, chosen);
    this.panes.draw();
    this.space.draw();
  }

  showPixel() {
    const { pixel, head } = this.state;
    this.panes.pixel = pixel;
    this.panes.marks = [];
    this.hover(null);
    if (!pixel) {
      this.clearCard();
      return;
    }
    const view = this.level && this.level.view(cellOf(pixel, this.size, this.level.grid), head);
    if (view) this.panes.marks = marksOf(view, this.level, this.size, this.bundle.array("colors.diverging").data);
    fillCard(this.card, this.bundle, this.levels, pixel, this.level, view,
      { ask: this.questions(pixel), levelControls: this.levelControls });
    this.root.dispatchEvent(new CustomEvent("ktb-pixel", { detail: { pixel, view } }));
  }

  questions(pixel) {
    if (!this.actions.includes("ask")) return "";
    const about = select(T.about, (value) => { this.about = value; });
    fillSelect(about.box, [[null, T.targets]]);
    about.box.value = this.about || "pixel";
    const ask = button(T.ask, () => this.tell("ktb-ask", { at: this.fraction(pixel), pixel, about: about.box.value }));
    return element("div", { class: "ktb-v-ask" }, about.node, ask);
  }

  /** The middle of a pixel as fractions (y, x) of the image. */
  fraction(pixel) {
    return pixel.map((value, axis) => (value + 0.5) / this.size[axis]);
  }

  tell(name, detail = {}) {
    this.root.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }

  /** Values of the chosen level's map (one per cell) for the chosen head, and the range of its colours. */
  mapValues(name) {
    const { head } = this.state;
    const all = this.levels.map((level) => level.mapValues(name, head));
    const values = all[this.state.level];
    return { values, range: mapRange(name, all, values) };
  }

  hover(pixel) {
    if (!pixel) {
      const chosen = this.state.pixel;
      this.status.textContent = chosen ? T.chosen(T.pixel(pixelOfImage(chosen, this.header))) : T.hint;
      return;
    }
    const index = pixel[0] * this.size[1] + pixel[1];
    const said = Object.keys(this.header.heads).map((branch) => {
      const { name, confidence } = classAt(this.bundle, branch, index);
      return `${this.header.heads[branch]}: ${name}${confidence === null ? "" : ` ${percent(confidence)}`}`;
    });
    const layer = this.layers.get(this.state.overlay);
    if (layer?.id.startsWith("layer.") && layer.labels) said.push(`${layer.title}: ${layer.nameAt(index)}`);
    const measured = measuredAt(this.bundle, index);
    const parts = [T.pixel(pixelOfImage(pixel, this.header)), ...said, measured && `X: ${measured}`].filter(Boolean);
    this.status.textContent = parts.join(" · ");
  }

  /** Choose a pixel; in one column, bring the card into view. */
  pick(pixel) {
    this.isPicked = true;
    this.set({ pixel });
    const isBelow = this.card.getBoundingClientRect().top >= this.panes.panes[1].canvas.getBoundingClientRect().bottom;
    if (isBelow) this.card.scrollIntoView({ block: "start" });
  }

  key(event) {
    if (this.region.key(event)) return void event.preventDefault();
    const step = this.level ? this.level.stride : 1;
    const moves = { ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] };
    if (event.key in moves) {
      const from = this.state.pixel || this.size.map((side) => Math.floor(side / 2));
      const pixel = from.map((value, axis) => Math.round(
        Math.min(Math.max(value + moves[event.key][axis] * (this.state.pixel ? 1 : 0), 0), this.size[axis] - 1)));
      this.set({ pixel });
    } else if (event.key === "Escape") this.set({ pixel: null });
    else if (event.key === "+" || event.key === "=") this.panes.zoomBy(1.5);
    else if (event.key === "-") this.panes.zoomBy(1 / 1.5);
    else if (event.key === "0") this.panes.reset();
    else if (event.key.toLowerCase() === "f" && !event.ctrlKey && !event.metaKey) {
      this.set({ isSwapped: !this.state.isSwapped });
    } else return;
    event.preventDefault();
  }

  clearCard() {
    this.card.replaceChildren(element("p", { class: "ktb-v-headline" }, T.hint),
      element("p", {}, T.hintMore), element("p", { class: "ktb-v-soft" }, T.keys), this.levelControls);
  }
}

/** The bundle at an address: a safetensors file compressed with gzip. */
export async function fetchBundle(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return readBundle(await unzip(answer.body));
}

/** Show a bundle in an element, in the state of the viewer that is there, where it shows the same images. */
export function show(root, bundle, actions = []) {
  const before = root.ktbViewer;
  const isSame = before && before.shows(bundle);
  const viewer = new Viewer(root, bundle, actions);
  before?.space.dispose();
  if (isSame) viewer.region.follow(before.region);
  const isKept = isSame && (before.isPicked || !before.header.is_stored); // a stored result has no telling pixel
  viewer.set({ ...(isSame ? before.state : {}), ...(isKept ? {} : { pixel: tellingPixel(bundle) }) });
  viewer.isPicked = isSame && before.isPicked;
  if (bundle.header.show) viewer.set(bundle.header.show);
  root.ktbViewer = viewer;
  return viewer;
}

/** Show the bundle that an element holds as gzip in base64. */
export async function showEmbedded(root, source) {
  return show(root, readBundle(await unpack(source.textContent)));
}
