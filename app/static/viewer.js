// The picture viewer of the result tab: a movable split, and highlighting of a class. Runs once per page;
// `element` is #ktb-stage, whose contents are replaced when another picture is chosen.
const find = (selector) => element.querySelector(selector);
let split = 50;
let read = null; // the class index image whose pixels are in `classes`
let classes = null;

function moveTo(percent) {
  split = Math.min(100, Math.max(0, percent));
  element.style.setProperty('--ktb-split', split + '%');
  const handle = find('.ktb-split');
  if (handle) handle.setAttribute('aria-valuenow', Math.round(split));
}

element.addEventListener('pointerdown', (event) => {
  const handle = event.target.closest('.ktb-split');
  if (!handle) return;
  event.preventDefault();
  handle.focus();
  handle.setPointerCapture(event.pointerId);
});
element.addEventListener('pointermove', (event) => {
  const handle = event.target.closest('.ktb-split');
  if (!handle || !handle.hasPointerCapture(event.pointerId)) return;
  const box = find('.ktb-layers').getBoundingClientRect();
  moveTo((100 * (event.clientX - box.left)) / box.width);
});
element.addEventListener('keydown', (event) => {
  if (!event.target.closest('.ktb-split')) return;
  const steps = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  moveTo(split + steps[event.key]);
});

// Highlighting darkens all other classes. The red channel of .ktb-numbers is the class of each pixel.
const ROW = '#ktb-classes .ktb-class';
const pinned = () => {
  const row = document.querySelector(ROW + '[aria-pressed="true"]');
  return row ? Number(row.dataset.class) : null;
};

function readClasses(image) {
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  classes = new Uint8Array(pixels.length / 4);
  for (let i = 0; i < classes.length; i++) classes[i] = pixels[4 * i];
  read = image;
}

function mark(chosen) {
  const old = find('.ktb-veil');
  const image = find('img.ktb-numbers');
  if (chosen === null || !image) {
    if (old) old.remove();
    return;
  }
  if (!image.complete) {
    image.onload = () => mark(chosen);
    return;
  }
  if (read !== image) readClasses(image);
  const veil = old || document.createElement('canvas');
  if (!old) {
    veil.className = 'ktb-veil';
    veil.width = image.naturalWidth;
    veil.height = image.naturalHeight;
    find('.ktb-layers').append(veil);
  }
  const pen = veil.getContext('2d');
  const picture = pen.createImageData(veil.width, veil.height);
  const words = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = classes[i] === chosen ? 0 : 0xd2160e0c;
  pen.putImageData(picture, 0, 0);
  veil.dataset.class = chosen;
}

const listen = (name, action) =>
  document.addEventListener(name, (event) => {
    const row = event.target.closest && event.target.closest(ROW);
    if (row) action(row, event);
  });
listen('pointerover', (row) => mark(Number(row.dataset.class)));
listen('pointerout', () => mark(pinned()));
listen('focusin', (row) => mark(Number(row.dataset.class)));
listen('focusout', () => mark(pinned()));
listen('keydown', (row, event) => {
  if (event.key !== 'Escape') return;
  for (const other of document.querySelectorAll(ROW)) other.setAttribute('aria-pressed', 'false');
  mark(null);
});
listen('click', (row) => {
  const was = row.getAttribute('aria-pressed') === 'true';
  for (const other of document.querySelectorAll(ROW)) other.setAttribute('aria-pressed', 'false');
  row.setAttribute('aria-pressed', String(!was));
  mark(pinned());
});

new MutationObserver(() => {
  if (find('.ktb-split') && find('.ktb-split').getAttribute('aria-valuenow') != Math.round(split)) moveTo(split);
  if (!find('.ktb-veil') && pinned() !== null) mark(pinned());
}).observe(element, { childList: true, subtree: true });
