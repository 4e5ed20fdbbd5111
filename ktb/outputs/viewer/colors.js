// Colours of labels and of scalar maps, with the tables of ktb.visualize.

const LAST = 254; // last index of a colour table
const NO_VALUE = [128, 128, 128];
const [MIN_HALF_RANGE, MIN_SPAN] = [0.1, 0.1]; // flatter maps look flat
const AT_LEAST = { importance_map: 2, density_map: 2, prompt_rgb: MIN_SPAN, prompt_x: MIN_SPAN }; // from 0 on

/** The value below which a fraction of the sorted values lies, interpolated linearly. */
function quantile(sorted, fraction) {
  const place = fraction * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

const sortedOf = (values) => Float64Array.from(values).filter(Number.isFinite).sort();

/** Share of the values outside a range, 0..1. */
function shareBeyond(values, low, high) {
  const slack = 1e-6 * Math.max(1, Math.abs(low), Math.abs(high));
  const beyond = values.filter((value) => value < low - slack || value > high + slack).length;
  return values.length ? beyond / values.length : 0;
}

/** Range of signed maps around 0: to the 1st or 99th percentile of the map that reaches farthest. */
export function signedRange(maps) {
  const sorted = maps.map(sortedOf).filter((values) => values.length);
  const reach = Math.max(1e-6, ...sorted.flatMap((values) => [-quantile(values, 0.01), quantile(values, 0.99)]));
  const beyond = Math.max(0, ...sorted.map((values) => shareBeyond(values, -reach, reach)));
  return { low: -reach, high: reach, beyond };
}

/**
 * Range of a map's colours, one for all levels, as `ktb.analysis.color_range.map_scale`: {low, high, beyond}.
 * @param maps the values of each level
 * @param shown those whose share beyond the range is wanted
 */
export function mapRange(name, maps, shown) {
  const sorted = maps.map((values) => sortedOf(name === "balance" ? values.map((v) => Math.abs(v - 0.5)) : values))
    .filter((values) => values.length);
  let low = sorted.length ? Math.min(...sorted.map((values) => quantile(values, 0.01))) : 0;
  let high = sorted.length ? Math.max(...sorted.map((values) => quantile(values, 0.99))) : 1;
  if (name === "balance") {
    const reach = Math.min(0.5, Math.max(MIN_HALF_RANGE, high));
    [low, high] = [0.5 - reach, 0.5 + reach];
  } else if (name in AT_LEAST) [low, high] = [0, Math.max(AT_LEAST[name], high)];
  else if (high - low < MIN_SPAN) {
    low = Math.min(Math.max(0, (low + high - MIN_SPAN) / 2), 1 - MIN_SPAN);
    high = low + MIN_SPAN;
  }
  return { low, high, beyond: shareBeyond(sortedOf(shown), low, high) };
}

/** The colour of a value as [red, green, blue]. */
export function colorOf(value, range, table) {
  if (Number.isNaN(value)) return NO_VALUE;
  const place = Math.min(Math.max((value - range.low) / (range.high - range.low), 0), 1);
  const index = 3 * Math.round(place * LAST);
  return [table[index], table[index + 1], table[index + 2]];
}

/**
 * Draw pixel by pixel.
 * @param color (index) -> [red, green, blue], or null for a transparent pixel
 * @param opacity (index) -> 0 to 1
 */
export function paint([height, width], color, opacity = () => 1) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i += 1) {
    const found = color(i);
    if (found) {
      image.data.set(found, 4 * i);
      image.data[4 * i + 3] = 255 * opacity(i);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export const css = (color) => `rgb(${color[0]}, ${color[1]}, ${color[2]})`;
