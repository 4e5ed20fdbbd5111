// Coordinates: pixels of the stored image, fractions of the image, cells of a level, and its points.

/** The (row, column) of a grid over the whole image that contains a pixel of an image of `size`. */
export function cellOf(pixel, size, grid) {
  return [0, 1].map((axis) => {
    const cell = Math.floor(((pixel[axis] + 0.5) / size[axis]) * grid[axis]);
    return Math.min(Math.max(cell, 0), grid[axis] - 1);
  });
}

/** A level's point (y, x) in [-1, 1], align-corners, as a pixel (y, x) of an image of `size`. */
export function pixelOf(point, grid, size) {
  return [0, 1].map((axis) => {
    const fraction = (((point[axis] + 1) / 2) * (grid[axis] - 1) + 0.5) / grid[axis];
    return fraction * size[axis] - 0.5;
  });
}

/** The pixel (row, column) of the RGB image under a pixel of the stored one, which may be smaller. */
export function pixelOfImage(pixel, { size, stored_size: stored }) {
  return [["height", pixel[0]], ["width", pixel[1]]]
    .map(([side, value]) => Math.floor(((value + 0.5) / stored[side]) * size[side]));
}

/** Coordinate in [-1, 1] of a query: evenly spaced over `length` positions, 0 for a single one. */
export function queryCoordinate(index, length) {
  return length === 1 ? 0 : -1 + (2 * index) / (length - 1);
}

/** Indices of the `count` largest values, largest first; ties in their order. */
export function largest(values, count) {
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
  return order.slice(0, count);
}
