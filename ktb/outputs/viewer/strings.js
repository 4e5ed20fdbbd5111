// All texts of the viewer.

const SPACE = "\u00a0"; // no line breaks between a number and its sign

export const percent = (fraction, digits = 0) => {
  if (fraction > 0 && fraction < 0.5 * 10 ** -(digits + 2)) {
    return `<${SPACE}${(10 ** -digits).toFixed(digits)}${SPACE}%`;
  }
  return `${(100 * fraction).toFixed(digits)}${SPACE}%`;
};

const isTouch = globalThis.matchMedia?.("(hover: none)").matches ?? false; // then there are no keys or wheel

export const SENSORS = { rgb: "RGB", x: "X" };
const NOUNS = new Map(Object.entries({ depth: "depth", hha: "depth", thermal: "thermal", nir: "near infrared",
  event: "events", lidar: "LiDAR", dolp: "polarization", aolp: "polarization" }));

/** What a sentence calls a sensor: X by what it measures. */
export const sensorOf = (name, header) => (name === "x" && NOUNS.get(header.x.modality)) || SENSORS[name];

export const MAPS = {
  balance: ["Sensor balance", "share of the attention that reads X", "diverging"],
  sparse_share: ["Share through attention", "share of the fused feature that comes through the attention",
    "sequential"],
  residual_share: ["Share of the residual", "share of the fused feature that is the mean of both streams",
    "sequential"],
  entropy: ["Attention entropy", "1 is uniform: the attention carries no information", "sequential"],
  importance_map: ["Attention received", "attention per point, relative to an even spread", "sequential"],
  density_map: ["Point density", "sampling points, relative to an even spread", "sequential"],
  prompt_rgb: ["Prompts to RGB", "relative change of the RGB tokens by prompts from X", "sequential"],
  prompt_x: ["Prompts to X", "relative change of the X tokens by prompts from RGB", "sequential"],
};

export const MAPS_OF_X = ["balance", "prompt_x"]; // they say nothing where X is missing

const number = (value) => (typeof value === "number" ? value.toFixed(2) : "–");

export const T = {
  show: "Overlay", compare: "Compare with", split: "Split", same: "nothing",
  masks: "Masks", measured: "Measured", maps: "Maps of the fusion", nothing: "None",
  outdated: "The inputs have changed: this is still the run of those before. Press Run.",
  warnings: (count) => `${count} warnings about this run`,
  classes: "Classes of the mask; press one to see only it", rareClasses: (count) => `${count} below 0.5 %`,
  confidence: "Confidence", margin: "Margin of the two best classes",
  confidenceNote: (header) => (Object.values(header.temperatures).some((value) => value !== 1)
    ? "Probability of the fused class, calibrated by a temperature." : "Probability of the fused class, not calibrated."),
  marginNote: "Probability of the fused class less that of the next one.",
  reliance: (sensor) => `Reliance on ${sensor}`,
  relianceNote: (other) => `1 less the probability that the ${other} head gives the fused class.`,
  space: "3D", spaceHint: "Show the depth as points in space", image: "2D",
  spaceTitle: "Points in space",
  spaceAbout: ({ camera, depth }) => {
    const degrees = Math.round((360 / Math.PI) * Math.atan(camera.width / (2 * camera.fx)));
    const unit = { guess: `Unit guessed: ${depth?.unit}.`, likely: `Unit likely: ${depth?.unit}.`,
      estimated: "Depth estimated from the RGB image." }[depth?.confidence];
    const seen = `Camera ${camera.is_assumed ? "assumed" : "given"}: field of view ${degrees}°.`;
    return [seen, unit].filter(Boolean).join(" ");
  },
  spaceKeys: isTouch ? "One finger turns, two fingers zoom and shift, Fit returns to the camera."
    : "Drag turns, Shift and drag shifts, the wheel zooms, 0 returns to the camera.",
  level: "Level", opacity: "Opacity", attentionHead: "Attention head", mean: "mean",
  without: (x) => `Fused mask without ${x}`, sensors: "Sensors on",
  measure: "Switch each sensor off", measureHint: "Runs the network twice: without X, and without RGB.",
  region: "Region", regionHint: "Draw a rectangle, and see what a sensor does there",
  regionKeys: isTouch ? "Draw a rectangle over an image with one finger; two fingers zoom."
    : "Drag over an image to draw a rectangle. Enter puts one around the chosen pixel, Escape removes it.",
  regionAt: ([[top, left], [bottom, right]]) => `Region: x ${left} to ${right}, y ${top} to ${bottom}`,
  withoutHere: (sensor) => `Without ${sensor} here`, clearRegion: "Clear", clearRegionHint: "Remove the rectangle (Escape)",
  reset: "Fit", resetHint: "Undo zoom and pan (0)", flip: "Swap", flipHint: "Swap the two images in place (F)",
  falseColors: "False colours",
  falseColorsHint: "Show X in false colours, or in grey, on which layers are easier to read",
  xRange: "Range", xRangeHint: "Choose which measured values of X are drawn dark and bright",
  xDark: "Dark", xBright: "Bright", xRangeReset: "As it came", xRangeResetHint: "Draw X in the range that was found for it",
  save: "PNG", saveHint: "Save both images with layers, marker and points",
  hint: isTouch ? "Tap any pixel." : "Click any pixel.",
  chosen: (at) => `${at} is chosen. ${isTouch ? "Tap" : "Click"} any other.`,
  hintMore: "The card then tells what its class rests on, and where the fusion looked in both images.",
  keys: isTouch ? "One finger pans, two fingers zoom."
    : "Wheel or + and − zoom, drag pans, arrow keys move the pixel, F swaps the images, Escape clears.",
  pixel: ([row, column]) => `x ${column}, y ${row}`,
  ablation: (sensor, before, after) => (before === after
    ? `Without ${sensor} this pixel stays ${before}.` : `Without ${sensor} this pixel becomes ${after}.`),
  eitherSensor: (name) => `Either sensor alone keeps this pixel ${name}.`,
  isClass: (name, confidence) => `The network predicts ${name} here${
    confidence === null ? "" : ` (${percent(confidence)})`}.`,
  runnerUp: (name, margin) => `next: ${name}, ${percent(margin)} behind`,
  xMeasures: "X measures", noValue: "nothing",
  shares: "Sources of the fused feature",
  sharesRow: (s) => {
    const parts = [`${percent(s.rgb)} RGB`, `${percent(s.x)} X`, `${percent(s.context)} context`];
    return [...parts, ...(s.residual > 0 ? [`${percent(s.residual)} mean of both`] : [])].join(", ");
  },
  points: (shown, groups, count, share) => {
    const all = groups > 1 ? `${count} points of each of ${groups} groups` : `${count} points`;
    return `The ${shown} strongest of the ${all} hold ${percent(share)} of the attention`;
  },
  rests: (effective, count) => `Each head's attention rests on about ${Math.round(effective)} of its ${count} points`,
  uniform: "The attention is uniform here: its points carry no information.",
  border: (share) => `${percent(share)} of this level's points were clamped to the border, where they lie in rows.`,
  balance: (balance) => `${percent(balance)} of it reads X`,
  columns: ["attention", "weight of X", "x, y", "led by"],
  range: (range) => (range.beyond ? `${percent(range.beyond, 1)} of this map's values lie beyond the colours`
    : "No value of this map lies beyond the colours"),
  faithfulness: (sensor, found, indecision) => `As a forecast of where ${sensor} decides (AUROC, this image): ${
    number(found.auroc)}, beyond indecision ${number(found.within_margin)}; chance 0.50, indecision alone ${
    number(indecision?.auroc)}.`,
  ask: "What did it react to?", about: "Ask about",
  targets: [["pixel", "this pixel"], ["region", "its region"], ["class", "its whole class"]],
  missing: "There was no X: the maps and points say nothing about it.",
  detailsFollow: "The attention of this pixel follows.",
  noTrace: "This checkpoint fuses by a plain mean: there is no attention to show.",
  rgbImage: "RGB image", xImage: (modality) => `X: ${modality}`,
};

/** A measured value of X with its unit: millimetres of depth, else six digits. */
export function measuredText(value, unit) {
  const digits = unit === "m" ? value.toFixed(3) : String(Number(value.toPrecision(6)));
  return unit ? `${digits} ${unit}` : digits;
}
