// Linked image panes: one transform for all, wheel, pinch, drag and keys; a marker and points on top.

const MAX_ZOOM = 40;
const MAX_RADIUS = 10; // CSS pixels of the strongest point, in a pane of at least RADIUS_WIDTH
const RADIUS_WIDTH = 480;
const CLICK_DISTANCE = 4; // CSS pixels between press and release

export class Panes {
  /**
   * @param size [height, width] of the images
   * @param panes [{canvas, base(), overlays()}]: base is a canvas of `size`; overlays are
   *   [{canvas, opacity, from, to}], drawn between two fractions of the image's width
   * @param events {hover(pixel or null), pick(pixel)}; pixels are [row, column]
   */
  constructor(size, panes, events) {
    Object.assign(this, { size, panes, events, marks: [], pixel: null, zoom: 1, centre: [0.5, 0.5] });
    this.rectangle = null; // [left, top, right, bottom] in pixels, drawn on all panes
    this.tool = null; // {drag(from, to), release(isDrag)}: draws with a drag, which moves the images otherwise
    this.pointers = new Map();
    for (const pane of panes) this.listen(pane.canvas);
    new ResizeObserver(() => this.draw()).observe(panes[0].canvas);
  }

  /** CSS pixels per image pixel, and the CSS position of the image's corner. */
  frame(canvas) {
    const { width, height } = canvas.getBoundingClientRect();
    const scale = Math.min(width / this.size[1], height / this.size[0]) * this.zoom;
    const left = width / 2 - this.centre[1] * this.size[1] * scale;
    const top = height / 2 - this.centre[0] * this.size[0] * scale;
    return { scale, left, top, width, height };
  }

  /** The place (y, x) of a pointer event in image pixels, also outside the image. */
  placeAt(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const { scale, left, top } = this.frame(canvas);
    return [(event.clientY - box.top - top) / scale, (event.clientX - box.left - left) / scale];
  }

  /** The image pixel under a pointer event, or null outside the image. */
  pixelAt(canvas, event) {
    const [row, column] = this.placeAt(canvas, event).map(Math.floor);
    const inside = row >= 0 && column >= 0 && row < this.size[0] && column < this.size[1];
    return inside ? [row, column] : null;
  }

  /** Zoom by a factor around a CSS position of a canvas, or around its centre. */
  zoomBy(factor, canvas = this.panes[0].canvas, at = null) {
    const before = this.frame(canvas);
    const [x, y] = at || [before.width / 2, before.height / 2];
    const under = [(y - before.top) / before.scale / this.size[0], (x - before.left) / before.scale / this.size[1]];
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), MAX_ZOOM);
    const after = this.frame(canvas);
    const moved = [
      (y - after.top) / after.scale / this.size[0], (x - after.left) / after.scale / this.size[1],
    ];
    this.moveTo([this.centre[0] + under[0] - moved[0], this.centre[1] + under[1] - moved[1]]);
  }

  moveTo(centre) {
    const margin = 0.5 / this.zoom;
    this.centre = centre.map((value) => Math.min(Math.max(value, margin), 1 - margin));
    this.draw();
  }

  reset() {
    this.zoom = 1;
    this.moveTo([0.5, 0.5]);
  }

  listen(canvas) {
    let pressed = null;
    let from = null; // the place of the press
    const distance = (event) => Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      this.zoomBy(Math.exp(-event.deltaY / 400), canvas, [event.clientX - box.left, event.clientY - box.top]);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
      pressed = this.pointers.size === 1 ? event : null;
      from = this.placeAt(canvas, event);
      if (!pressed) this.tool?.release(false); // two fingers zoom
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = this.pointers.get(event.pointerId);
      if (!last) {
        this.events.hover(this.pixelAt(canvas, event));
        return;
      }
      if (this.pointers.size === 2) this.pinch(canvas, last, event);
      else if (!this.tool) this.drag(canvas, last, event);
      else if (pressed && distance(event) > CLICK_DISTANCE) this.tool.drag(from, this.placeAt(canvas, event));
      this.pointers.set(event.pointerId, event);
    });
    const released = (event) => {
      this.pointers.delete(event.pointerId);
      const isClick = event.type === "pointerup" && pressed && distance(event) <= CLICK_DISTANCE;
      this.tool?.release(event.type === "pointerup" && !isClick);
      if (isClick) {
        const pixel = this.pixelAt(canvas, event);
        if (pixel) this.events.pick(pixel);
      }
      pressed = null;
    };
    canvas.addEventListener("pointerup", released);
    canvas.addEventListener("pointercancel", released);
    canvas.addEventListener("pointerleave", () => this.events.hover(null));
    canvas.addEventListener("dblclick", () => (this.zoom > 1 ? this.reset() : this.zoomBy(4)));
  }

  drag(canvas, last, event) {
    const { scale } = this.frame(canvas);
    this.moveTo([
      this.centre[0] - (event.clientY - last.clientY) / scale / this.size[0],
      this.centre[1] - (event.clientX - last.clientX) / scale / this.size[1],
    ]);
  }

  pinch(canvas, last, event) {
    const other = [...this.pointers.values()].find((one) => one.pointerId !== event.pointerId);
    const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const box = canvas.getBoundingClientRect();
    const middle = [
      (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top,
    ];
    this.zoomBy(distance(event) / Math.max(distance(last), 1), canvas, middle);
  }

  /** Draw all panes in the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      for (const pane of this.panes) this.paint(pane);
    });
  }

  paint({ canvas, base, overlays }) {
    const density = window.devicePixelRatio || 1;
    const { scale, left, top, width, height } = this.frame(canvas);
    const pixels = [Math.round(width * density), Math.round(height * density)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    const pen = canvas.getContext("2d");
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.imageSmoothingEnabled = scale < 2;
    const box = [left, top, this.size[1] * scale, this.size[0] * scale];
    pen.drawImage(base(), ...box);
    for (const { canvas: over, opacity, from, to } of overlays()) {
      pen.save();
      pen.beginPath();
      pen.rect(left + from * box[2], top, (to - from) * box[2], box[3]);
      pen.clip();
      pen.globalAlpha = opacity;
      pen.drawImage(over, ...box);
      pen.restore();
      if (from > 0) drawSplit(pen, left + from * box[2], top, box[3]);
    }
    const place = ([row, column]) => [left + (column + 0.5) * scale, top + (row + 0.5) * scale];
    const largest = MAX_RADIUS * Math.min(1, width / RADIUS_WIDTH);
    for (const mark of this.marks) drawMark(pen, place(mark.pixel), mark, largest);
    if (this.pixel) drawMarker(pen, place(this.pixel));
    if (this.rectangle) drawRectangle(pen, this.rectangle.map((value, side) => (side % 2 ? top : left) + value * scale));
  }
}

function drawSplit(pen, x, top, height) {
  for (const [width, color] of [[3, "rgba(0, 0, 0, 0.6)"], [1.5, "#fff"]]) {
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, top + height);
    [pen.lineWidth, pen.strokeStyle] = [width, color];
    pen.stroke();
  }
}

function drawRectangle(pen, [left, top, right, bottom]) {
  for (const [width, color, dashes] of [[4, "#000", []], [2, "#fff", [8, 4]]]) {
    pen.setLineDash(dashes);
    [pen.lineWidth, pen.strokeStyle] = [width, color];
    pen.strokeRect(left, top, right - left, bottom - top);
  }
  pen.setLineDash([]);
}

function drawMark(pen, [x, y], { strength, color, isSquare }, largest) {
  const radius = Math.max(1, largest * strength);
  pen.beginPath();
  if (isSquare) pen.rect(x - radius, y - radius, 2 * radius, 2 * radius);
  else pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = color;
  pen.fill();
  pen.lineWidth = 1;
  pen.strokeStyle = "rgba(0, 0, 0, 0.7)";
  pen.stroke();
}

function drawMarker(pen, [x, y]) {
  for (const [width, color] of [[4, "#000"], [2, "#fff"]]) {
    pen.beginPath();
    pen.arc(x, y, 9, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(x + 5 * dx, y + 5 * dy);
      pen.lineTo(x + 13 * dx, y + 13 * dy);
    }
    [pen.lineWidth, pen.strokeStyle] = [width, color];
    pen.stroke();
  }
}
