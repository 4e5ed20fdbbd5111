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
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i += 1) {
    const found = color(i);
    if (found) {
      image.data.set(found, 4 * i);
      image.data[4 * i + 3] = 255 * opacity(i);
    }
  }
  return canvasOf(image);
}

function canvasOf(image) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const linear = Float32Array.from({ length: 256 }, (_, i) => (
  i / 255 <= 0.04045 ? i / 255 / 12.92 : ((i / 255 + 0.055) / 1.055) ** 2.4));
const encoded = Uint8ClampedArray.from({ length: 4097 }, (_, i) => (
  255 * (i / 4096 <= 0.0031308 ? (i / 4096) * 12.92 : 1.055 * (i / 4096) ** (1 / 2.4) - 0.055)));

/**
 * Draw a picture in false colours in grey of the same luminance; pixels without a value become a checkerboard.
 * @param data red, green and blue of each pixel
 * @returns a canvas; null for a picture that is grey already
 */
export function paintGrey([height, width], data) {
  let isColored = false;
  for (let i = 0; i < data.length && !isColored; i += 3) isColored = data[i] !== data[i + 1] || data[i] !== data[i + 2];
  if (!isColored) return null;
  const side = Math.max(2, Math.round(width / 100));
  const isOdd = (i) => (Math.floor(i / width / side) + Math.floor((i % width) / side)) % 2;
  const image = new ImageData(width, height);
  image.data.fill(255);
  for (let i = 0; i < height * width; i += 1) {
    const red = data[3 * i];
    const green = data[3 * i + 1];
    const blue = data[3 * i + 2];
    const hasNone = red === NO_VALUE[0] && green === NO_VALUE[1] && blue === NO_VALUE[2];
    const luminance = 0.2126 * linear[red] + 0.7152 * linear[green] + 0.0722 * linear[blue];
    const grey = hasNone ? (isOdd(i) ? 105 : 150) : encoded[Math.round(4096 * luminance)];
    image.data[4 * i] = grey;
    image.data[4 * i + 1] = grey;
    image.data[4 * i + 2] = grey;
  }
  return canvasOf(image);
}

export const css = (color) => `rgb(${color[0]}, ${color[1]}, ${color[2]})`;
