// Layers over the images: masks, categories, maps. Each draws itself and describes its colours.

import { THOUSANDTHS } from "./bundle.js";
import { colorOf, css, paint, signedRange } from "./colors.js";
import { element } from "./elements.js";
import { MAPS, MAPS_OF_X, percent, SENSORS, T } from "./strings.js";

export const NOT_DRAWN = 255;

/** Legend of a colour table between two values. */
function ramp(range, table, note) {
  const stops = Array.from({ length: 9 }, (_, i) => css(colorOf(i / 8, { low: 0, high: 1 }, table)));
  const digits = range.high - range.low < 0.1 ? 4 : 2;
  return [
    element("span", {}, range.low.toFixed(digits)),
    element("i", { class: "ktb-v-ramp", style: `background:linear-gradient(90deg, ${stops.join(", ")})` }),
    element("span", {}, range.high.toFixed(digits)),
    element("span", { class: "ktb-v-soft" }, `${note} ${T.range(range)}.`),
  ];
}

/** How well a map of this image forecasts what the ablation of each sensor measures. */
function worth(header, name, sensors = ["x", "rgb"]) {
  const measured = header.faithfulness || {};
  return sensors.filter((sensor) => measured[sensor]?.[name]).map((sensor) => {
    const said = T.faithfulness(SENSORS[sensor], measured[sensor][name], measured[sensor].indecision);
    return element("span", { class: "ktb-v-worth" }, said);
  });
}

/** Shares of the values 0 … count - 1 among those that are drawn. */
export function sharesOf(values, count) {
  const counts = new Array(count).fill(0);
  let drawn = 0;
  for (const value of values) {
    if (value !== NOT_DRAWN) {
      counts[value] += 1;
      drawn += 1;
    }
  }
  return counts.map((number) => number / Math.max(drawn, 1));
}

class Labels {
  constructor(viewer, id, title, group, { classes, palette, note = "" } = {}) {
    const { header } = viewer.bundle;
    Object.assign(this, { viewer, id, title, group, note, classes: classes || header.classes,
      palette: palette || header.palette });
  }

  get labels() {
    return this.viewer.bundle.array(this.id).data;
  }

  nameAt(index) {
    const label = this.labels[index];
    return label === NOT_DRAWN ? "–" : this.classes[label];
  }

  key() {
    return this.id;
  }

  paint() {
    const { labels, palette } = this;
    return paint(this.viewer.size, (i) => (labels[i] === NOT_DRAWN ? null : palette[labels[i]]));
  }

  legend() {
    return this.note ? [element("span", { class: "ktb-v-soft" }, this.note)] : [];
  }
}

class Categories {
  constructor(viewer, { name, title, group, note, entries }) {
    Object.assign(this, { viewer, id: `layer.${name}`, title, group, note, entries });
  }

  key() {
    return this.id;
  }

  paint() {
    const { data } = this.viewer.bundle.array(this.id);
    return paint(this.viewer.size, (i) => (data[i] === NOT_DRAWN ? null : this.entries[data[i]].color));
  }

  legend() {
    const shares = sharesOf(this.viewer.bundle.array(this.id).data, this.entries.length);
    const rows = this.entries.map((entry, index) => element("span", { class: "ktb-v-entry", title: entry.meaning },
      element("i", { class: "ktb-v-chip", style: `background:${css(entry.color)}` }),
      `${entry.name} ${percent(shares[index])}`));
    return [...rows, this.note ? element("span", { class: "ktb-v-soft" }, this.note) : null].filter(Boolean);
  }
}

/** A scalar of the stored size in thousandths, 0 to 1. */
class Fractions {
  constructor(viewer, id, title, note) {
    Object.assign(this, { viewer, id, title, group: T.masks, note });
  }

  key() {
    return this.id;
  }

  get table() {
    return this.viewer.bundle.array("colors.sequential").data;
  }

  paint() {
    const { data } = this.viewer.bundle.array(this.id);
    return paint(this.viewer.size, (i) => colorOf(data[i] / THOUSANDTHS, { low: 0, high: 1 }, this.table));
  }

  legend() {
    return ramp({ low: 0, high: 1, beyond: 0 }, this.table, this.note);
  }
}

/** How far the fused class relies on a sensor, on the grid of the logits. */
class Reliance {
  constructor(viewer, sensor) {
    Object.assign(this, { viewer, sensor, id: `reliance.${sensor}`, title: T.reliance(SENSORS[sensor]), group: T.maps });
  }

  key() {
    return this.id;
  }

  get table() {
    return this.viewer.bundle.array("colors.sequential").data;
  }

  paint() {
    const { data, shape } = this.viewer.bundle.array(this.id);
    return paint(shape, (i) => colorOf(data[i] / THOUSANDTHS, { low: 0, high: 1 }, this.table));
  }

  legend() {
    const { header } = this.viewer.bundle;
    const note = T.relianceNote(SENSORS[this.sensor === "x" ? "rgb" : "x"]);
    return [...ramp({ low: 0, high: 1, beyond: 0 }, this.table, note), ...worth(header, "reliance", [this.sensor])];
  }
}

/** A map of the chosen level, of one attention head or of their mean. */
class LevelMap {
  constructor(viewer, name) {
    const [title, meaning, cmap] = MAPS[name];
    Object.assign(this, { viewer, id: `map.${name}`, name, title, group: T.maps, meaning, cmap });
  }

  key({ level, head }) {
    return `${this.id}.${level}.${head}`;
  }

  get table() {
    return this.viewer.bundle.array(`colors.${this.cmap}`).data;
  }

  paint() {
    const { values, range } = this.viewer.mapValues(this.name);
    return paint(this.viewer.level.grid, (i) => colorOf(values[i], range, this.table));
  }

  legend() {
    return [...ramp(this.viewer.mapValues(this.name).range, this.table, `${this.meaning}.`),
      ...worth(this.viewer.bundle.header, this.name)];
  }
}

/** A signed map for each sensor, coloured around 0. */
class Signed {
  constructor(viewer, { name, title, group, note, sensors }) {
    Object.assign(this, { viewer, id: `layer.${name}`, title, group, note, sensors });
  }

  key(_, sensor) {
    return `${this.id}.${sensor}`;
  }

  get table() {
    return this.viewer.bundle.array("colors.signed").data;
  }

  get range() {
    return signedRange(this.sensors.map((sensor) => this.viewer.bundle.array(`${this.id}.${sensor}`).data));
  }

  paint(sensor) {
    const { data, shape } = this.viewer.bundle.array(`${this.id}.${this.sensors.includes(sensor) ? sensor : "rgb"}`);
    const { range, table } = this;
    return paint(shape, (i) => colorOf(data[i], range, table), (i) => Math.min(1, Math.abs(data[i]) / range.high) ** 0.6);
  }

  legend() {
    return ramp(this.range, this.table, this.note);
  }
}

/** How well the maps foretell the ablations, best first; null where nothing was measured. */
function worthOf(header, name) {
  const found = Object.keys(SENSORS).map((sensor) => header.faithfulness?.[sensor]?.[name]?.within_margin)
    .filter((value) => typeof value === "number");
  return found.length ? Math.max(...found) : 0;
}

/** All layers that a viewer offers, in the order of their list. */
export function layersOf(viewer) {
  const { header } = viewer.bundle;
  const added = header.layers.map((layer) => (layer.kind === "labels"
    ? new Labels(viewer, `layer.${layer.name}`, layer.title, layer.group, layer)
    : layer.kind === "signed" ? new Signed(viewer, layer) : new Categories(viewer, layer)));
  const measured = added.filter((layer) => layer.group === T.measured);
  const [level] = viewer.levels;
  const maps = Object.keys(MAPS).filter((name) => level && level.map(name)
    && !(MAPS_OF_X.includes(name) && level.xIsMissing));
  maps.sort((a, b) => worthOf(header, b) - worthOf(header, a)); // stable: unmeasured maps keep their order
  return [
    ...Object.entries(header.heads).map(([branch, title]) => new Labels(viewer, `labels.${branch}`, title, T.masks)),
    ...added.filter((layer) => layer.group === T.masks),
    ...[["confidence.fused", T.confidence, T.confidenceNote(header)], ["margin.fused", T.margin, T.marginNote]]
      .filter(([id]) => viewer.bundle.array(id)).map((one) => new Fractions(viewer, ...one)),
    ...header.ablated.map((drop) => new Labels(viewer, `labels.without_${drop}`, T.without(SENSORS[drop]), T.measured)),
    ...measured,
    ...added.filter((layer) => ![T.masks, T.measured].includes(layer.group)),
    ...["x", "rgb"].filter((sensor) => viewer.bundle.array(`reliance.${sensor}`))
      .map((sensor) => new Reliance(viewer, sensor)),
    ...maps.map((name) => new LevelMap(viewer, name)),
  ];
}
