// Colours of labels and of scalar maps, with the tables of ktb.visualize.

const LAST = 254; // last index of a colour table
const NO_VALUE = [128, 128, 128];
const MIN_HALF_RANGE = 0.1; // flatter balance maps look flat
const MIN_SPAN = 0.1; // as other maps

/** The value below which a fraction of the sorted values lies, interpolated linearly. */
function quantile(sorted, fraction) {
  const place = fraction * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

/** The 1st and 99th percentile of the finite values, as ktb.analysis.color_range.clipped_range. */
export function clippedRange(values) {
  const finite = Float64Array.from(values).filter(Number.isFinite).sort();
  if (!finite.length) return [0, 1];
  const [low, high] = [quantile(finite, 0.01), quantile(finite, 0.99)];
  const margin = 1e-6 * Math.max(Math.abs(low), 1);
  return high > low ? [low, high] : [low - margin, high + margin];
}

/**
 * Colours {low, high} of one map, common to all its levels, as ktb.analysis.color_range.map_scale.
 * @param maps the values of each level
 */
export function commonRange(name, maps) {
  if (name === "balance") {
    const reach = Math.max(...maps.map((values) => clippedRange(values.map((value) => Math.abs(value - 0.5)))[1]));
    const half = Math.min(Math.max(reach, MIN_HALF_RANGE), 0.5);
    return { low: 0.5 - half, high: 0.5 + half };
  }
  const ranges = maps.map(clippedRange);
  const low = Math.min(...ranges.map((range) => range[0]));
  const high = Math.max(...ranges.map((range) => range[1]));
  if (["importance_map", "density_map"].includes(name)) return { low: 0, high: Math.max(2, high) };
  if (name.startsWith("prompt")) return { low: 0, high: Math.max(MIN_SPAN, high) };
  if (high - low >= MIN_SPAN) return { low, high };
  const start = Math.min(Math.max(0, (low + high - MIN_SPAN) / 2), 1 - MIN_SPAN);
  return { low: start, high: start + MIN_SPAN };
}

/** Share of the values outside a range. */
export function beyond(values, { low, high }) {
  const slack = 1e-6 * Math.max(1, Math.abs(low), Math.abs(high));
  const outside = values.reduce((count, value) => count + (value < low - slack || value > high + slack), 0);
  return outside / Math.max(values.length, 1);
}

/** The colour of a value as [red, green, blue]. */
export function colorOf(value, range, table) {
  if (Number.isNaN(value)) return NO_VALUE;
  const place = Math.min(Math.max((value - range.low) / (range.high - range.low), 0), 1);
  const index = 3 * Math.round(place * LAST);
  return [table[index], table[index + 1], table[index + 2]];
}

/** Draw pixel by pixel: `color(index)` -> [red, green, blue] or null for a transparent one. */
export function paint([height, width], color) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i += 1) {
    const found = color(i);
    if (found) {
      image.data.set(found, 4 * i);
      image.data[4 * i + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export const css = (color) => `rgb(${color[0]}, ${color[1]}, ${color[2]})`;
