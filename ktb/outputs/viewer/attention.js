// Attention of one position of a fusion level to its sampling points, as ktb.analysis.pixel computes it.

import { queryCoordinate } from "./geometry.js";

/** Bilinear sample of a (height, width) table at (y, x) in [-1, 1], align-corners. */
function sample(table, start, height, width, y, x) {
  const row = ((y + 1) / 2) * (height - 1);
  const column = ((x + 1) / 2) * (width - 1);
  const top = Math.min(Math.max(Math.floor(row), 0), height - 1);
  const left = Math.min(Math.max(Math.floor(column), 0), width - 1);
  const bottom = Math.min(top + 1, height - 1);
  const right = Math.min(left + 1, width - 1);
  const down = row - top;
  const across = column - left;
  const at = (r, c) => table[start + r * width + c];
  const above = at(top, left) * (1 - across) + at(top, right) * across;
  const below = at(bottom, left) * (1 - across) + at(bottom, right) * across;
  return above * (1 - down) + below * down;
}

/** One level of a bundle; `attention` gives rows of it. */
export class Level {
  constructor(bundle, index) {
    const array = (name) => bundle.array(`${name}.${index}`);
    Object.assign(this, bundle.header.levels[index], { index });
    this.query = array("query").data;
    this.key = array("key").data;
    this.points = array("points").data;
    this.references = array("references").data;
    this.weightX = array("weight_x").data;
    this.table = array("bias_table");
    this.xIsMissing = bundle.header.x.origin === "missing";
    this.map = array;
    this.count = this.weightX.length; // 2n
  }

  /** Attention (2n) of a head from a cell (row, column); sums to 1. */
  attention(cell, head) {
    const [rows, columns] = this.grid;
    const channels = this.channels_per_head;
    const [, height, width] = this.table.shape;
    const group = Math.floor(head / (this.heads / this.groups));
    const y = queryCoordinate(cell[0], rows);
    const x = queryCoordinate(cell[1], columns);
    const query = (head * rows * columns + cell[0] * columns + cell[1]) * channels;
    const scores = new Float64Array(this.count);
    let most = -Infinity;
    for (let i = 0; i < this.count; i += 1) {
      const key = (head * this.count + i) * channels;
      let dot = 0;
      for (let c = 0; c < channels; c += 1) dot += this.query[query + c] * this.key[key + c];
      const point = 2 * (group * this.count + i);
      const bias = sample(
        this.table.data, head * height * width, height, width,
        0.5 * (y - this.points[point]), 0.5 * (x - this.points[point + 1]),
      );
      scores[i] = bias + dot / Math.sqrt(channels);
      most = Math.max(most, scores[i]);
    }
    let total = 0;
    for (let i = 0; i < this.count; i += 1) {
      scores[i] = Math.exp(scores[i] - most);
      total += scores[i];
    }
    return scores.map((score) => score / total);
  }

  /** What `ktb.analysis.inspect_pixel` gives for a cell; head null: the mean over the heads. */
  view(cell, head = null) {
    const perGroup = this.heads / this.groups;
    const heads = head === null ? Array.from({ length: this.heads }, (_, index) => index) : [head];
    const groups = head === null ? Array.from({ length: this.groups }, (_, index) => index)
      : [Math.floor(head / perGroup)];
    const attention = new Float64Array(groups.length * this.count);
    let entropy = 0;
    let effective = 0;
    for (const one of heads) {
      const row = this.attention(cell, one);
      const offset = head === null ? Math.floor(one / perGroup) * this.count : 0;
      let spread = 0;
      for (let i = 0; i < this.count; i += 1) {
        attention[offset + i] += row[i] / heads.length;
        if (row[i] > 0) spread -= row[i] * Math.log(row[i]);
      }
      entropy += spread / Math.log(this.count) / heads.length;
      effective += Math.exp(spread) / heads.length;
    }
    let balance = 0;
    for (let i = 0; i < attention.length; i += 1) balance += attention[i] * this.weightX[i % this.count];
    return {
      level: this.index, cell, head, attention, balance, effective,
      entropy: Math.min(1, entropy),
      sparseShare: this.valueAt("sparse_share", cell),
      residualShare: this.valueAt("residual_share", cell),
      points: groups.flatMap((group) => Array.from({ length: this.count }, (_, i) => {
        const at = 2 * (group * this.count + i);
        return [this.points[at], this.points[at + 1]];
      })),
      weightX: (index) => this.weightX[index % this.count],
      isLedByX: (index) => index % this.count >= this.count / 2,
    };
  }

  /** Values of a map, one per cell, for a head or (null) the mean over the heads; null if there is no such map. */
  mapValues(name, head) {
    const perHead = { balance: "head_balance", entropy: "entropy" }[name];
    const found = this.map(name);
    if (!found || !perHead || (head === null && name === "balance")) return found && found.data;
    const all = this.map(perHead).data;
    const cells = this.grid[0] * this.grid[1];
    if (head !== null) {
      const one = Math.min(head, this.heads - 1);
      return all.subarray(one * cells, (one + 1) * cells);
    }
    return Float32Array.from({ length: cells }, (_, i) => {
      let sum = 0;
      for (let one = 0; one < this.heads; one += 1) sum += all[one * cells + i];
      return sum / this.heads;
    });
  }

  /** Value of a map at a cell; 0 for a map that this level does not have. */
  valueAt(name, cell) {
    const map = this.map(name);
    return map ? map.data[cell[0] * this.grid[1] + cell[1]] : 0;
  }

  /** Sources of the fused feature of a cell, 0..1 each; without X all that is attended counts as rgb. */
  shares(cell) {
    const { balance, sparseShare, residualShare } = this.view(cell);
    const x = this.xIsMissing ? 0 : sparseShare * balance;
    return { rgb: sparseShare - x, x, context: 1 - sparseShare - residualShare, residual: residualShare };
  }
}
