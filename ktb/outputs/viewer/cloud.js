// Measured depth as points in space: orbit, zoom and pan. It needs WebGL 2.

import { Points, supportedSide } from "./points.js";

const TURN = Math.PI / 36; // radians of an arrow key
const TURN_PER_PIXEL = 0.006; // radians of a drag by one CSS pixel
const STEEPEST = (85 / 180) * Math.PI;
const SHIFT = 24; // CSS pixels that shift and an arrow key pan
const KEY_ZOOM = 1.25;
const NEAREST = 0.02; // of the distance that the view starts with
const FARTHEST = 20;
const NEAR_PLANE = 0.01; // of the distance to the pivot
const MAX_DENSITY = 2; // device pixels per CSS pixel
const CLICK_DISTANCE = 4; // CSS pixels between press and release
const REACH = 8; // CSS pixels between a click and the point that it picks
const SIDE_GROWTH = 0.8; // of points seen at right angles to the camera's view
const MARKER = 25; // CSS pixels
const SLOW = 40; // milliseconds that a frame waits for the one before, beyond which fewer points are drawn
const QUICK = 20;
const COARSEST = 4; // every fourth row and column
const REST = 150; // milliseconds without a change, after which all points are drawn

const median = (values) => Float32Array.from(values).sort()[values.length >> 1];

export class CloudView {
  /** Whether a bundle has depth with a camera, and the browser WebGL 2. */
  static isPossible(bundle) {
    const { camera } = bundle.header;
    const values = bundle.array("x_values");
    return Boolean(camera && values && values.data.some((value) => value > 0)
      && Math.max(camera.width, camera.height) <= supportedSide());
  }

  /**
   * Points coloured by the RGB image, seen from the depth camera.
   *
   * @param canvas not used before; its size follows its CSS size
   * @param bundle for which `isPossible` is true
   * @param events {pick(pixel)}: a click on a point; pixels are [row, column]
   */
  constructor(canvas, bundle, events = {}) {
    const { camera } = bundle.header;
    const depth = bundle.array("x_values").data.map((value) => (value > 0 ? value : 0)); // NaN in holes
    Object.assign(this, { canvas, events, camera, depth, selected: null, stride: 1, pointers: new Map() });
    this.colors = new Uint8Array(4 * depth.length);
    this.keep(bundle.array("rgb").data);
    this.ray = [(camera.width / 2 - 0.5 - camera.cx) / camera.fx, (camera.height / 2 - 0.5 - camera.cy) / camera.fy, 1];
    this.start = median(depth.filter((value) => value > 0));
    this.reach = this.ray.map((side) => side * this.start);
    this.radius = depth.reduce((most, value) => Math.max(most, value), 0)
      * Math.hypot(camera.width / camera.fx, camera.height / camera.fy, 1);
    this.gl = canvas.getContext("webgl2", { antialias: false });
    if (!this.gl) throw new Error("This browser has no WebGL 2.");
    this.points = new Points(this.gl, camera, depth, this.colors);
    this.listening = new AbortController();
    this.listen();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(canvas);
    this.reset();
    this.resize();
  }

  /** Colour the points: red, green and blue of each pixel, row by row, or also alpha, as ImageData have it. */
  setColors(colors) {
    this.keep(colors);
    this.points.setColors(this.colors);
    this.draw();
  }

  keep(colors) {
    const count = this.depth.length;
    if (colors.length === 4 * count) this.colors.set(colors);
    else if (colors.length === 3 * count) {
      for (let i = 0; i < count; i += 1) {
        for (let channel = 0; channel < 3; channel += 1) this.colors[4 * i + channel] = colors[3 * i + channel];
      }
    } else throw new Error(`${count} colours are needed, with 3 or 4 values each.`);
  }

  /** Mark the point of a pixel [row, column], or none. */
  setSelected(pixel) {
    this.selected = pixel;
    this.draw();
  }

  /** See the points from the depth camera again. */
  reset() {
    Object.assign(this, { yaw: 0, pitch: 0, distance: this.start, pivot: [...this.reach] });
    this.draw();
  }

  /** Follow the canvas's CSS size. */
  resize() {
    const { canvas } = this;
    this.density = Math.min(window.devicePixelRatio || 1, MAX_DENSITY);
    const size = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * this.density)));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    this.draw();
  }

  /** Turn the points around the pivot: their front by radians to the right and down. */
  orbit(right, down) {
    this.yaw += right;
    this.pitch = Math.min(Math.max(this.pitch + down, -STEEPEST), STEEPEST);
    this.draw();
  }

  /** Come nearer to the pivot by a factor. */
  zoomBy(factor) {
    const distance = this.distance / factor;
    this.distance = Math.min(Math.max(distance, NEAREST * this.start), FARTHEST * this.start);
    this.draw();
  }

  /** Move the points by CSS pixels to the right and down. */
  pan(right, down) {
    const { fx, fy } = this.camera;
    const scale = this.distance / this.frame().scale;
    const moved = [(right * scale) / fx, (down * scale) / fy];
    const turn = this.turn();
    this.pivot = this.pivot.map((value, axis) => value - turn[0][axis] * moved[0] - turn[1][axis] * moved[1]);
    this.draw();
  }

  /** CSS size of the canvas, CSS pixels per image pixel, and where the image's corner is, seen from the camera. */
  frame() {
    const [width, height] = [this.canvas.width / this.density, this.canvas.height / this.density];
    const scale = Math.min(width / this.camera.width, height / this.camera.height);
    const [left, top] = [(width - this.camera.width * scale) / 2, (height - this.camera.height * scale) / 2];
    return { width, height, scale, left, top };
  }

  /** Rotation from the depth camera's axes (x right, y down, z ahead) to the viewer's, as rows. */
  turn() {
    const [c, s, d, t] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    return [[c, 0, -s], [-t * s, d, -t * c], [d * s, t, d * c]];
  }

  /** CSS pixels of a point as far away as it is from the camera; larger from the side, to close gaps. */
  sizeOfPoints() {
    const ahead = this.turn()[2][2]; // cosine between both directions of view
    return Math.ceil(this.frame().scale) * (1 + SIDE_GROWTH * Math.sqrt(1 - Math.min(ahead * ahead, 1)));
  }

  /** Points (x, y, z, 1) of the depth camera to clip coordinates, 4 × 4, as rows. */
  matrix() {
    const { fx, fy, cx, cy } = this.camera;
    const { width, height, scale, left, top } = this.frame();
    const [near, far] = [NEAR_PLANE * this.distance, this.distance + 2 * this.radius];
    const turn = this.turn();
    const moved = turn.map((row, axis) => (
      this.ray[axis] * this.distance - row.reduce((sum, value, i) => sum + value * this.pivot[i], 0)));
    const rows = turn.map((row, axis) => [...row, moved[axis]]);
    const mix = (a, x, b) => x.map((value, i) => a * value + b * rows[2][i]);
    const depth = mix((far + near) / (far - near), rows[2], 0);
    depth[3] -= (2 * far * near) / (far - near);
    return [
      mix((2 * scale * fx) / width, rows[0], (2 * (left + (cx + 0.5) * scale)) / width - 1),
      mix((-2 * scale * fy) / height, rows[1], 1 - (2 * (top + (cy + 0.5) * scale)) / height),
      depth,
      rows[2],
    ];
  }

  /** The point (x, y, z) of a pixel [row, column] in metres, or null in a hole. */
  pointOf([row, column]) {
    const depth = this.depth[row * this.camera.width + column];
    if (!(depth > 0)) return null;
    const { fx, fy, cx, cy } = this.camera;
    return [(depth * (column - cx)) / fx, (depth * (row - cy)) / fy, depth];
  }

  /** Where a pixel's point is on the canvas, in CSS pixels [x, y]; null for a hole or behind the viewer. */
  project(pixel) {
    const point = this.pointOf(pixel);
    if (!point) return null;
    const { width, height } = this.frame();
    const [x, y, , w] = this.matrix().map((row) => row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3]);
    return w > 0 ? [((x / w + 1) / 2) * width, ((1 - y / w) / 2) * height] : null;
  }

  /** The pixel [row, column] of the foremost point close to a CSS position of the canvas, or null. */
  pixelAt(left, top) {
    const { fx, fy, cx, cy, width } = this.camera;
    const size = this.frame();
    const [across, down, , ahead] = this.matrix();
    const [found, goal] = [{ index: -1, cost: Infinity }, [(2 * left) / size.width - 1, 1 - (2 * top) / size.height]];
    for (let i = 0; i < this.depth.length; i += 1) {
      const z = this.depth[i];
      if (z > 0) {
        const [x, y] = [(z * ((i % width) - cx)) / fx, (z * (Math.floor(i / width) - cy)) / fy];
        const w = ahead[0] * x + ahead[1] * y + ahead[2] * z + ahead[3];
        const apart = Math.hypot(
          (((across[0] * x + across[1] * y + across[2] * z + across[3]) / w - goal[0]) * size.width) / 2,
          (((down[0] * x + down[1] * y + down[2] * z + down[3]) / w - goal[1]) * size.height) / 2,
        );
        const cost = w * (1 + apart / REACH); // near the viewer, and near the position
        if (w > 0 && apart < REACH && cost < found.cost) Object.assign(found, { index: i, cost });
      }
    }
    return found.index < 0 ? null : [Math.floor(found.index / width), found.index % width];
  }

  /** Draw in the next frame; fewer points if frames have to wait, and all of them once nothing changes. */
  draw() {
    if (this.waiting) return;
    const asked = performance.now();
    this.waiting = requestAnimationFrame(() => {
      const waited = performance.now() - asked;
      if (waited > SLOW) this.stride = Math.min(this.stride + 1, COARSEST);
      else if (waited < QUICK) this.stride = Math.max(this.stride - 1, 1);
      this.render(this.stride);
      if (this.stride > 1) this.resting = setTimeout(() => this.render(), REST);
    });
  }

  /**
   * Draw now; the canvas can be copied until the script returns.
   *
   * @param stride 1 for all points, 2 for every second row and column, ...
   */
  render(stride = 1) {
    cancelAnimationFrame(this.waiting);
    clearTimeout(this.resting);
    this.waiting = null;
    if (this.gl.isContextLost()) return;
    const point = this.selected && this.pointOf(this.selected);
    const marked = point && { point, size: MARKER * this.density };
    this.points.draw(this.matrix(), this.sizeOfPoints() * this.density, stride, marked);
  }

  /** Free the graphics memory; the view cannot be used any more. */
  dispose() {
    this.listening.abort();
    this.observer.disconnect();
    cancelAnimationFrame(this.waiting);
    clearTimeout(this.resting);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  listen() {
    const { canvas } = this;
    const on = (name, act, options = {}) => (
      canvas.addEventListener(name, act, { signal: this.listening.signal, ...options }));
    canvas.style.touchAction = "none";
    on("webglcontextlost", (event) => event.preventDefault()); // it comes back
    on("webglcontextrestored", () => {
      this.points = new Points(this.gl, this.camera, this.depth, this.colors);
      this.draw();
    });
    on("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400));
    }, { passive: false });
    let pressed = null;
    on("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
      pressed = this.pointers.size === 1 ? event : null;
    });
    on("pointermove", (event) => {
      const last = this.pointers.get(event.pointerId);
      if (!last) return;
      const moved = [event.clientX - last.clientX, event.clientY - last.clientY];
      if (this.pointers.size === 2) this.pinch(last, event);
      else if (event.shiftKey) this.pan(...moved);
      else this.orbit(moved[0] * TURN_PER_PIXEL, moved[1] * TURN_PER_PIXEL);
      this.pointers.set(event.pointerId, event);
    });
    const released = (event) => {
      this.pointers.delete(event.pointerId);
      const moved = pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY);
      if (event.type === "pointerup" && pressed && moved <= CLICK_DISTANCE && this.events.pick) {
        const box = canvas.getBoundingClientRect();
        const pixel = this.pixelAt(event.clientX - box.left, event.clientY - box.top);
        if (pixel) this.events.pick(pixel);
      }
      pressed = null;
    };
    on("pointerup", released);
    on("pointercancel", released);
    on("dblclick", () => this.reset());
    on("keydown", (event) => this.key(event));
  }

  /** Two fingers: their distance zooms, their middle pans. */
  pinch(last, event) {
    const other = [...this.pointers.values()].find((one) => one.pointerId !== event.pointerId);
    const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    this.zoomBy(distance(event) / Math.max(distance(last), 1));
    this.pan((event.clientX - last.clientX) / 2, (event.clientY - last.clientY) / 2);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves) {
      const [right, down] = moves[event.key];
      if (event.shiftKey) this.pan(right * SHIFT, down * SHIFT);
      else this.orbit(right * TURN, down * TURN);
    } else if (event.key === "+" || event.key === "=") this.zoomBy(KEY_ZOOM);
    else if (event.key === "-") this.zoomBy(1 / KEY_ZOOM);
    else if (event.key === "0") this.reset();
    else return;
    event.preventDefault();
  }
}
