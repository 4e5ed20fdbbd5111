"""The points of a bundle in space, in a browser: the module's own picture, without the page."""

from __future__ import annotations

import base64
import io
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from ktb.inputs import Intrinsics
from ktb.outputs.bundle import FORMAT, Bundle
from ktb.outputs.embed import viewer_files

HEIGHT, WIDTH = 60, 80
SITE = "http://cloud.test"
START = """async () => {
  const { readBundle } = await import("/bundle.js");
  const { CloudView } = await import("/cloud.js");
  const bundle = readBundle(await (await fetch("/bundle")).arrayBuffer());
  window.picked = [];
  Object.assign(window, { bundle, CloudView });
  window.isPossible = CloudView.isPossible(bundle);
  if (!window.isPossible) return;
  window.view = new CloudView(document.querySelector("canvas"), bundle, { pick: (p) => picked.push(p) });
}"""


def bundle_of(metres: np.ndarray, **camera) -> Bundle:
    """A bundle with depth, (H, W) metres, and a camera that looks past the centre of a black image."""
    intrinsics = Intrinsics(70, 75, 30, 35, metres.shape).to_dict()
    arrays = {"rgb": np.zeros((*metres.shape, 3), np.uint8), "x_values": metres.astype(np.float32)}
    return Bundle(arrays, {"format": FORMAT, "camera": {**intrinsics, "is_assumed": True, **camera}})


def slope() -> np.ndarray:
    """A floor and a wall, 1 to 5 m away, with a hole."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    metres = 1 + 3 * (1 - rows / HEIGHT) + columns / WIDTH
    metres[:10, :10] = np.nan
    return metres


@pytest.fixture
def opened(browser):
    """A function (bundle, CSS width and height of the canvas) → a tab with the view."""
    context = browser.new_context(viewport={"width": 500, "height": 500})

    def show(bundle, width=2 * WIDTH, height=2 * HEIGHT, before="() => null"):
        size = f"width:{width}px;height:{height}px"
        page = f'<!DOCTYPE html><body style="margin:0"><canvas style="{size}" tabindex=0>'
        made = {f"/{name}": ("text/javascript", text) for name, text in viewer_files(".js").items()}
        made |= {"/": ("text/html", page), "/bundle": ("application/octet-stream", bundle.to_bytes())}
        tab = context.new_page()
        tab.errors = []
        tab.on("pageerror", lambda error: tab.errors.append(error))

        def answer(route):
            kind, body = made[urlsplit(route.request.url).path]
            route.fulfill(content_type=kind, body=body)

        tab.route(f"{SITE}/**", answer)
        tab.goto(f"{SITE}/")
        tab.evaluate(before)
        tab.evaluate(START)
        return tab

    yield show
    context.close()


def drawn(tab) -> np.ndarray:
    """The canvas, (H, W, 4) uint8."""
    return decoded(tab.evaluate("() => { view.render(); return view.canvas.toDataURL(); }"))


def decoded(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


def centre_of(mask: np.ndarray) -> np.ndarray:
    """The (y, x) of the centre of the true pixels, in pixels from the corner."""
    return np.argwhere(mask).mean(axis=0) + 0.5


@pytest.mark.parametrize(("width", "height"), [(2 * WIDTH, 2 * HEIGHT), (300, 120), (100, 200)])
def test_from_the_camera_each_point_is_where_its_pixel_was(opened, width, height):
    tab = opened(bundle_of(slope()), width, height)
    scale = min(width / WIDTH, height / HEIGHT)
    left, top = (width - WIDTH * scale) / 2, (height - HEIGHT * scale) / 2
    pixels = [[row, column] for row in range(0, HEIGHT, 7) for column in range(0, WIDTH, 7)]
    found = tab.evaluate("(pixels) => pixels.map((pixel) => view.project(pixel))", pixels)
    for (row, column), place in zip(pixels, found, strict=True):
        if row < 10 and column < 10:
            assert place is None
        else:
            apart = np.subtract(place, [left + (column + 0.5) * scale, top + (row + 0.5) * scale]) / scale
            assert np.hypot(*apart) < 0.5
    colors = np.zeros((HEIGHT, WIDTH, 3), int)
    colors[36:46, 10:20, 0] = 255
    tab.evaluate("(colors) => view.setColors(new Uint8Array(colors))", colors.ravel().tolist())
    y, x = centre_of(drawn(tab)[..., 0] > 127)  # what the graphics draw agrees with what the module computes
    assert np.hypot((x - left) / scale - 15, (y - top) / scale - 41) < 0.5
    assert tab.errors == []


def test_a_hole_is_not_drawn_and_colours_change_alone(opened):
    tab = opened(bundle_of(slope()))
    image = drawn(tab)
    assert not image[:18, :18].any()
    assert (image[40:, 40:, 3] == 255).all()
    tab.evaluate("""() => {
      window.sent = [];
      for (const name of ["bufferData", "texImage2D", "texSubImage2D", "texStorage2D"]) {
        const act = view.gl[name].bind(view.gl);
        view.gl[name] = (...all) => { sent.push([name, all.at(-1).length]); act(...all); };
      }
      view.setColors(new Uint8Array(3 * 60 * 80).fill(200));
    }""")
    assert (drawn(tab)[40:, 40:, :3] == 200).all()
    assert tab.evaluate("sent") == [["texSubImage2D", 4 * HEIGHT * WIDTH]]
    tab.evaluate("view.setColors(new Uint8ClampedArray(4 * 60 * 80).fill(200))")  # as of ImageData
    assert (drawn(tab)[40:, 40:] == (200, 200, 200, 255)).all()
    tab.evaluate("view.setSelected([30, 40])")
    marked = np.any(drawn(tab)[..., :3] != 200, axis=-1) & (drawn(tab)[..., 3] > 0)
    assert np.abs(centre_of(marked) - (61, 81)).max() < 1
    tab.evaluate("view.setSelected([0, 0])")  # a hole has no point
    assert (drawn(tab)[40:, 40:, :3] == 200).all()
    assert tab.errors == []


def test_pointer_wheel_and_keys_turn_shift_and_zoom(opened):
    tab = opened(bundle_of(slope()))
    near, far, middle = [59, 40], [12, 40], [30, 40]

    def places():
        return [np.array(tab.evaluate("(pixel) => view.project(pixel)", p)) for p in (near, far, middle)]

    def state():
        return tab.evaluate("[view.yaw, view.pitch, view.distance, ...view.pivot]")

    start, before = state(), places()
    tab.mouse.move(80, 60)
    tab.mouse.down()
    tab.mouse.move(110, 60)
    tab.mouse.up()
    turned = places()
    assert turned[0][0] > before[0][0] + 5  # the front goes with the pointer, the back against it
    assert turned[1][0] < before[1][0] - 5
    pixel = tab.evaluate("view.pixelAt(...view.project([45, 33]))")
    assert np.abs(np.subtract(pixel, [45, 33])).max() <= 1
    tab.keyboard.down("Shift")
    tab.mouse.down()
    tab.mouse.move(120, 75)
    tab.mouse.up()
    tab.keyboard.up("Shift")
    pivot = "view.matrix().map((row) => view.pivot.reduce((sum, value, i) => sum + value * row[i], row[3]))"
    x, y, _, w = tab.evaluate(pivot)
    assert abs(x / w) + abs(y / w) < 1e-6  # the pivot stays in the middle
    assert places()[2][1] > turned[2][1] + 10
    tab.mouse.wheel(0, -200)
    tab.wait_for_function("(distance) => view.distance < distance", arg=start[2])
    tab.focus("canvas")
    tab.keyboard.press("0")
    assert state() == start
    for key, index, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, -1), ("+", 2, -1), ("-", 2, 1)):
        held = state()
        tab.keyboard.press(key)
        assert (state()[index] - held[index]) * sign > 0
    tab.keyboard.press("0")
    tab.mouse.click(2 * 20.5, 2 * 30.5)
    (picked,) = tab.evaluate("picked")
    assert np.abs(np.subtract(picked, [30, 20])).max() <= 3
    assert tab.errors == []


def test_slow_graphics_draw_fewer_points_until_nothing_changes(opened):
    tab = opened(bundle_of(slope()))
    tab.evaluate("""() => {
      view.setColors(new Uint8Array(3 * 60 * 80).fill(200));
      view.stride = 1; // whatever the frames until now took
      view.render();
      window.counts = [];
      const act = view.gl.drawArrays.bind(view.gl);
      view.gl.drawArrays = (kind, first, count) => { counts.push(count); act(kind, first, count); };
      window.now = 0;
      performance.now = () => now;  // frames as slow as the test wants
      window.requestAnimationFrame = (act) => { window.frame = act; return 1; };
      window.setTimeout = (act) => { window.rested = act; return 1; };
      window.after = (wait) => { view.orbit(0, 0); now += wait; frame(); };
    }""")
    tab.evaluate("[50, 30, 50, 50, 50, 10].forEach(after)")
    sizes = [-(-HEIGHT // n) * -(-WIDTH // n) for n in (2, 2, 3, 4, 4, 3)]
    assert tab.evaluate("counts") == sizes
    tab.evaluate("rested()")
    assert tab.evaluate("counts.at(-1)") == HEIGHT * WIDTH
    coarse = tab.evaluate("() => { view.render(3); return view.canvas.toDataURL(); }")
    image = decoded(coarse)
    assert (image[40:, 40:, :3] == 200).all()  # larger points leave no gaps
    assert tab.errors == []


def test_a_lost_context_comes_back_with_its_colours(opened):
    tab = opened(bundle_of(slope()))
    tab.evaluate("""async () => {
      const extension = view.gl.getExtension("WEBGL_lose_context");
      const heard = (name) => new Promise((done) => view.canvas.addEventListener(name, done, { once: true }));
      const lost = heard("webglcontextlost");
      extension.loseContext();
      await lost;
      view.setColors(new Uint8Array(3 * 60 * 80).fill(90));
      view.render();
      const back = heard("webglcontextrestored");
      setTimeout(() => extension.restoreContext());
      await back;
    }""")
    assert (drawn(tab)[40:, 40:, :3] == 90).all()
    tab.evaluate("view.dispose()")
    assert tab.errors == []


NO_WEBGL = """() => {
  const get = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...all) {
    return kind.startsWith("webgl") ? null : get.call(this, kind, ...all);
  };
}"""


def test_without_webgl_camera_or_depth_it_is_not_possible(opened):
    assert not opened(bundle_of(slope()), before=NO_WEBGL).evaluate("isPossible")
    tab = opened(bundle_of(np.full((HEIGHT, WIDTH), np.nan)))
    assert not tab.evaluate("isPossible")
    tab = opened(Bundle({"rgb": np.zeros((4, 4, 3), np.uint8)}, {"format": FORMAT, "camera": None}))
    assert not tab.evaluate("isPossible")
    assert tab.errors == []
