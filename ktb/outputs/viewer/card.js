// The texts beside the images: doubts about the run, and the card of the chosen pixel, measured causes first.

import { colorOf, css } from "./colors.js";
import { THOUSANDTHS } from "./bundle.js";
import { element } from "./elements.js";
import { cellOf, largest, pixelOf, pixelOfImage } from "./geometry.js";
import { measuredText, percent, sensorOf, SENSORS, T } from "./strings.js";

const STRONGEST = 15;
const NEUTRAL = "#c8ccd4"; // of points where there is no X
const [STEP, INSIDE] = [4, 8]; // pixels between those that are looked at, and from the border
let arePointsListed = false; // whether the list of points is unfolded, in every card of the page
const AROUND = [[0, 0], [-6, 0], [6, 0], [0, -6], [0, 6]];

/** What is wrong or doubtful about the run, and whether the images are like those of the training. */
export function doubtsOf({ ribbon, warnings }) {
  const said = element("div", { class: "ktb-v-doubts", role: "status" });
  said.addEventListener("ktb-outdated", () => said.prepend(element("p", { class: "ktb-v-outdated" }, T.outdated)),
    { once: true });
  const isRibbon = (text) => ribbon && text.toLowerCase().startsWith(ribbon.toLowerCase()); // with what follows from it
  if (ribbon) said.append(element("p", { class: "ktb-v-ribbon" }, warnings.find(isRibbon) || ribbon));
  const texts = warnings.filter((text) => !isRibbon(text)).map((text) => element("p", {}, text));
  if (texts.length > 1) {
    said.append(element("details", {}, element("summary", {}, T.warnings(texts.length)), texts));
  } else said.append(...texts);
  return said;
}

/** Class name and confidence of labels (such as "fused") at an index of the stored image, or null. */
export function classAt(bundle, labels, index) {
  const found = bundle.array(`labels.${labels}`);
  if (!found) return null;
  const label = found.data[index];
  const sure = bundle.array(`confidence.${labels}`); // a stored result has none
  const confidence = sure ? sure.data[index] / THOUSANDTHS : null;
  return { label, name: bundle.header.classes[label], color: bundle.header.palette[label], confidence };
}

/** What X measured at an index as a text, or null where X has no measured values. */
export function measuredAt(bundle, index) {
  const values = bundle.array("x_values");
  if (!values) return null;
  const value = values.data[index];
  return Number.isFinite(value) ? measuredText(value, bundle.header.x_unit) : T.noValue;
}

function headline(bundle, index) {
  const { name: before, confidence } = classAt(bundle, "fused", index);
  const drops = ["x", "rgb"].filter((drop) => bundle.header.ablated.includes(drop));
  const after = drops.map((drop) => classAt(bundle, `without_${drop}`, index).name);
  const lines = drops.length === 2 && after.every((name) => name === before) ? [T.eitherSensor(before)]
    : drops.map((drop, place) => T.ablation(sensorOf(drop, bundle.header), before, after[place]));
  const said = lines.length ? lines.join(" ") : T.isClass(before, confidence);
  return element("p", { class: "ktb-v-headline" }, said);
}

function heads(bundle, index) {
  const rows = Object.entries(bundle.header.heads).map(([branch, title]) => {
    const { name, color, confidence } = classAt(bundle, branch, index);
    const chip = element("i", { class: "ktb-v-chip", style: `background:${css(color)}` });
    return element("tr", { "data-branch": branch },
      element("th", { scope: "row" }, title), element("td", {}, chip, name),
      element("td", { class: "num" }, confidence === null ? "–" : percent(confidence)));
  });
  if (!bundle.array("margin.fused")) return [element("table", {}, rows)];
  const second = bundle.header.classes[bundle.array("second.fused").data[index]];
  const margin = bundle.array("margin.fused").data[index] / THOUSANDTHS;
  return [element("table", {}, rows), element("p", { class: "ktb-v-soft" }, T.runnerUp(second, margin))];
}

function shares(levels, pixel, size, chosen) {
  const names = ["rgb", "x", "context", "residual"];
  const rows = levels.map((level) => {
    const share = level.shares(cellOf(pixel, size, level.grid));
    const parts = names.filter((name) => share[name] > 0).map((name) => element("i", {
      class: `ktb-v-${name}`, style: `width:${(100 * share[name]).toFixed(2)}%`,
    }));
    return element("div", { class: `ktb-v-share${level.index === chosen ? " is-chosen" : ""}`,
      "data-level": level.index, "data-rgb": share.rgb, "data-x": share.x },
    element("span", {}, `${T.level} ${level.index}`),
    element("span", { class: "ktb-v-stacked", role: "img", "aria-label": T.sharesRow(share) }, parts),
    element("span", { class: "num" }, T.sharesRow(share)));
  });
  return [element("h2", {}, T.shares), ...rows];
}

function points(view, level, size, table) {
  const strongest = largest(view.attention, STRONGEST);
  const total = strongest.reduce((sum, index) => sum + view.attention[index], 0);
  const rows = strongest.map((index) => {
    const [y, x] = pixelOf(view.points[index], level.grid, size);
    const weight = view.weightX(index);
    const chip = level.xIsMissing ? "" : element("i", { class: "ktb-v-chip",
      style: `background:${css(colorOf(weight, { low: 0, high: 1 }, table))}` });
    return element("tr", { "data-point": index, "data-attention": view.attention[index] },
      element("td", { class: "num" }, percent(view.attention[index], 2)),
      element("td", { class: "num" }, chip, level.xIsMissing ? "–" : weight.toFixed(2)),
      element("td", { class: "num" }, `${x.toFixed(0)}, ${y.toFixed(0)}`),
      element("td", {}, view.isLedByX(index) ? `■ ${SENSORS.x}` : `● ${SENSORS.rgb}`));
  });
  const head = element("tr", {}, T.columns.map((text) => element("th", { scope: "col" }, text)));
  const rests = view.entropy >= 0.97 ? T.uniform
    : `${T.rests(view.effective, level.count)}${level.xIsMissing ? "" : `; ${T.balance(view.balance)}`}.`;
  const onBorder = view.points.filter((point) => point.some((value) => Math.abs(value) === 1)).length;
  const list = element("details", arePointsListed ? { open: "" } : {},
    element("summary", {}, T.points(strongest.length, view.attention.length / level.count, level.count, total)),
    element("table", { class: "ktb-v-points" }, head, rows));
  list.addEventListener("toggle", () => { arePointsListed = list.open; });
  return [element("p", { "data-balance": view.balance, "data-effective": view.effective }, rests), list,
    onBorder ? element("p", { class: "ktb-v-soft" }, T.border(onBorder / view.points.length)) : ""];
}

/** The points of a view as marks on the images, the strongest last; more of them than in the table. */
export function marksOf(view, level, size, table) {
  const order = largest(view.attention, Math.min(8 * STRONGEST, view.attention.length)).reverse();
  const most = view.attention[order[order.length - 1]];
  return order.map((index) => ({
    pixel: pixelOf(view.points[index], level.grid, size),
    strength: Math.sqrt(view.attention[index] / most),
    color: level.xIsMissing ? NEUTRAL : css(colorOf(view.weightX(index), { low: 0, high: 1 }, table)),
    isSquare: view.isLedByX(index),
  }));
}

/** What was asked of the server about a pixel: its answer, where it is of this pixel. */
function answer(bundle, pixel) {
  const found = bundle.header.attribution;
  if (!found || found.pixel[0] !== pixel[0] || found.pixel[1] !== pixel[1]) return "";
  return element("section", { class: "ktb-v-answer" }, element("h2", {}, found.title),
    found.sentences.map((text) => element("p", {}, text)));
}

/**
 * Fill the card for a pixel (row, column).
 * @param view of the attention at `level`, or null without attention
 * @param ask element with the questions to the server, or "" for none
 * @param levelControls element that chooses level and attention head
 */
export function fillCard(card, bundle, levels, pixel, level, view, { ask, levelControls }) {
  const { height, width } = bundle.header.stored_size;
  const size = [height, width];
  const index = pixel[0] * width + pixel[1];
  const measured = measuredAt(bundle, index);
  const table = bundle.array("colors.diverging").data;
  card.replaceChildren(
    headline(bundle, index),
    element("p", { class: "ktb-v-soft" }, T.pixel(pixelOfImage(pixel, bundle.header)), measured ? `; ${T.xMeasures} ${measured}` : ""),
    ...heads(bundle, index),
    bundle.header.x.origin === "missing" ? element("p", { class: "ktb-v-soft" }, T.missing) : "",
    answer(bundle, pixel), ask,
    ...(view ? [levelControls, ...shares(levels, pixel, size, level.index), ...points(view, level, size, table)]
      : [element("p", { class: "ktb-v-soft" }, bundle.header.is_stored ? "" : bundle.header.details_follow ? T.detailsFollow : T.noTrace)]),
  );
}

/** The pixel that tells most: the surest one in an area whose class an ablation changes, or the middle. */
export function tellingPixel(bundle) {
  const { height, width } = bundle.header.stored_size;
  const fused = bundle.array("labels.fused").data;
  const margin = bundle.array("margin.fused")?.data;
  let best = -1;
  let found = null;
  for (const drop of bundle.header.ablated) {
    const labels = bundle.array(`labels.without_${drop}`).data;
    const sure = bundle.array(`confidence.without_${drop}`).data;
    const isChanged = (row, column) => labels[row * width + column] !== fused[row * width + column];
    for (let row = INSIDE; row < height - INSIDE; row += STEP) {
      for (let column = INSIDE; column < width - INSIDE; column += STEP) {
        const i = row * width + column;
        const worth = margin ? Math.min(margin[i], sure[i]) : sure[i];
        if (worth > best && AROUND.every(([y, x]) => isChanged(row + y, column + x))) [best, found] = [worth, i];
      }
    }
    if (found !== null) break; // X first: what the second sensor is for
  }
  return found === null ? [height >> 1, width >> 1] : [Math.floor(found / width), found % width];
}
