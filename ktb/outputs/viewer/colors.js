// Colours of labels and of scalar maps, with the tables of ktb.visualize.

const LAST = 254; // last index of a colour table
const NO_VALUE = [128, 128, 128];
const MIN_HALF_RANGE = 0.1; // flatter balance maps look flat

/** The value below which a fraction of the sorted values lies, interpolated linearly. */
function quantile(sorted, fraction) {
  const place = fraction * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

/**
 * Range of the colours of one map: {low, high, beyond}.
 * @param centre of a symmetric range, or null
 * @param most half of a symmetric range, at most
 */
export function colorRange(values, centre = null, most = 0.5) {
  const finite = Float64Array.from(values).filter(Number.isFinite).sort();
  if (!finite.length) return { low: 0, high: 1, beyond: 0 };
  let [low, high] = [quantile(finite, 0.01), quantile(finite, 0.99)];
  if (centre !== null) {
    const least = Number.isFinite(most) ? MIN_HALF_RANGE : 0;
    const reach = Math.min(most, Math.max(centre - low, high - centre, least));
    [low, high] = [centre - reach, centre + reach];
  }
  if (high <= low) [low, high] = [low - 1e-6, high + 1e-6];
  const beyond = finite.filter((value) => value < low || value > high).length / finite.length;
  return { low, high, beyond };
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
