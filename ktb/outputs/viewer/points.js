// Points of a depth image in WebGL 2: the picture for a given matrix. Positions are computed by the graphics.

const POINTS_VERTEX = `#version 300 es
precision highp float;
uniform highp sampler2D depths; // one value per pixel, 0 in holes
uniform lowp sampler2D colors;
uniform mat4 matrix;
uniform vec4 camera; // fx, fy, cx, cy
uniform int columns; // that are drawn
uniform int stride; // pixels from one drawn row or column to the next
uniform float size;
out vec3 shade;
void main() {
  ivec2 pixel = ivec2(gl_VertexID % columns, gl_VertexID / columns) * stride + stride / 2;
  pixel = min(pixel, textureSize(depths, 0) - 1);
  float depth = texelFetch(depths, pixel, 0).r;
  shade = texelFetch(colors, pixel, 0).rgb;
  gl_PointSize = 1.0;
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0); // a hole is out of sight
  if (depth > 0.0) {
    gl_Position = matrix * vec4(depth * (vec2(pixel) - camera.zw) / camera.xy, depth, 1.0);
    gl_PointSize = clamp(size * depth / gl_Position.w, 1.0, 64.0);
  }
}`;
const POINTS_FRAGMENT = `#version 300 es
precision mediump float;
in vec3 shade;
out vec4 color;
void main() { color = vec4(shade, 1.0); }`;
const MARKER_VERTEX = `#version 300 es
precision highp float;
uniform mat4 matrix;
uniform vec3 place;
uniform float size;
void main() {
  gl_Position = matrix * vec4(place, 1.0);
  gl_PointSize = size;
}`;
const MARKER_FRAGMENT = `#version 300 es
precision mediump float;
out vec4 color;
void main() {
  float radius = length(2.0 * gl_PointCoord - 1.0);
  if (radius < 0.5 || radius > 0.95) discard;
  color = vec4(vec3(radius > 0.6 && radius < 0.85), 1.0);
}`;

let largestSide = null;

/** Pixels of the largest side of an image that WebGL 2 takes here; 0 without WebGL 2. */
export function supportedSide() {
  if (largestSide === null) {
    const gl = document.createElement("canvas").getContext("webgl2");
    largestSide = gl ? gl.getParameter(gl.MAX_TEXTURE_SIZE) : 0;
    if (gl) gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser keeps few contexts
  }
  return largestSide;
}

function linked(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`WebGL: ${gl.getProgramInfoLog(program)}`);
  }
  return { program, place: (name) => gl.getUniformLocation(program, name) };
}

export class Points {
  /**
   * @param gl a WebGL 2 context
   * @param camera {fx, fy, cx, cy, width, height}
   * @param depth one value per pixel, 0 in holes
   * @param colors red, green, blue and alpha of each pixel; alpha has no effect
   */
  constructor(gl, camera, depth, colors) {
    Object.assign(this, { gl, camera });
    const { width, height } = camera;
    this.points = linked(gl, POINTS_VERTEX, POINTS_FRAGMENT);
    this.marker = linked(gl, MARKER_VERTEX, MARKER_FRAGMENT);
    const image = (unit, inner, format, type, data) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.texStorage2D(gl.TEXTURE_2D, 1, inner, width, height);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, format, type, data);
    };
    image(0, gl.R32F, gl.RED, gl.FLOAT, depth);
    image(1, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, colors); // stays active for `setColors`
    gl.useProgram(this.points.program);
    gl.uniform1i(this.points.place("depths"), 0);
    gl.uniform1i(this.points.place("colors"), 1);
  }

  setColors(colors) {
    const { gl } = this;
    const { width, height } = this.camera;
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, colors);
  }

  /**
   * Draw the points, and a marker.
   *
   * @param rows 4 × 4: points (x, y, z, 1) of the camera to clip coordinates
   * @param size device pixels of a point as far away as it is from the camera
   * @param stride 1 for all points, 2 for every second row and column, ...
   * @param marked {point, size}: the marked point and its device pixels, or null
   */
  draw(rows, size, stride, marked) {
    const { gl, camera, points, marker } = this;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const matrix = Float32Array.from({ length: 16 }, (_, i) => rows[i % 4][Math.floor(i / 4)]); // by columns
    const count = [camera.width, camera.height].map((side) => Math.ceil(side / stride));
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(points.program);
    gl.uniformMatrix4fv(points.place("matrix"), false, matrix);
    gl.uniform4f(points.place("camera"), camera.fx, camera.fy, camera.cx, camera.cy);
    gl.uniform1i(points.place("columns"), count[0]);
    gl.uniform1i(points.place("stride"), stride);
    gl.uniform1f(points.place("size"), size * stride);
    gl.drawArrays(gl.POINTS, 0, count[0] * count[1]);
    if (!marked) return;
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(marker.program);
    gl.uniformMatrix4fv(marker.place("matrix"), false, matrix);
    gl.uniform3f(marker.place("place"), ...marked.point);
    gl.uniform1f(marker.place("size"), marked.size);
    gl.drawArrays(gl.POINTS, 0, 1);
  }
}
