// The classes of the shown mask, as buttons: the pointer over one, or a press, darkens all others.

import { css, paint } from "./colors.js";
import { element } from "./elements.js";
import { NOT_DRAWN, sharesOf } from "./layers.js";
import { percent, T } from "./strings.js";

const VEIL = [14, 12, 22];
const LEAST = 0.005; // classes of a smaller share are folded

export class ClassList {
  /** @param show(class or null): called when another class is to stand out */
  constructor(show) {
    this.node = element("div", { class: "ktb-v-classes", role: "group", "aria-label": T.classes });
    Object.assign(this, { show, pinned: null, layer: null, labels: null });
    this.node.addEventListener("keydown", (event) => event.key === "Escape" && this.pin(null));
  }

  /** List the classes of a layer; null: of none. The pressed class stays while the same labels are listed. */
  of(layer) {
    const isSame = layer && layer.labels === this.labels;
    Object.assign(this, { layer, labels: layer ? layer.labels : null });
    if (isSame) return;
    this.pin(null);
    this.node.replaceChildren();
    if (!layer) return;
    const shares = sharesOf(layer.labels, layer.classes.length);
    const order = shares.map((_, index) => index).filter((index) => shares[index] > 0)
      .sort((a, b) => shares[b] - shares[a] || a - b);
    const buttons = order.map((index) => this.entry(index, shares[index]));
    const shown = Math.max(1, order.filter((index) => shares[index] >= LEAST).length);
    this.node.append(...buttons.slice(0, shown));
    if (shown < buttons.length) {
      this.node.append(element("details", {}, element("summary", {}, T.rareClasses(buttons.length - shown)),
        buttons.slice(shown)));
    }
  }

  entry(index, share) {
    const chip = element("i", { class: "ktb-v-chip", style: `background:${css(this.layer.palette[index])}` });
    const made = element("button", { type: "button", "aria-pressed": "false", "data-class": index },
      chip, `${this.layer.classes[index]} ${percent(share)}`);
    made.addEventListener("pointerenter", () => this.show(index));
    made.addEventListener("pointerleave", () => this.show(this.pinned));
    made.addEventListener("focus", () => this.show(index));
    made.addEventListener("blur", () => this.show(this.pinned));
    made.addEventListener("click", () => this.pin(this.pinned === index ? null : index));
    return made;
  }

  pin(index) {
    this.pinned = index;
    for (const one of this.node.querySelectorAll("[data-class]")) {
      one.setAttribute("aria-pressed", String(Number(one.dataset.class) === index));
    }
    this.show(index);
  }
}

/** A canvas that darkens everything but one class. */
export function veil(size, labels, chosen) {
  return paint(size, (i) => (labels[i] === chosen || labels[i] === NOT_DRAWN ? null : VEIL));
}
