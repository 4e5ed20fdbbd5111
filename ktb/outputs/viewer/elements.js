// Elements of the page, from texts that are never parsed as HTML.

/** An element with attributes and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") made.style.cssText = value;
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

export function button(text, act, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
}

export const optionsOf = (options) => options.map(([value, text]) => element("option", { value }, text));

/** Replace the options of a select; `groups` are [title, [[value, text], …]], or options if there is no title. */
export function fillSelect(box, groups) {
  box.replaceChildren(...groups.flatMap(([title, options]) => (
    title ? element("optgroup", { label: title }, optionsOf(options)) : optionsOf(options))));
}

/** A labelled select, empty. */
export function select(label, onChange) {
  const box = element("select", { "aria-label": label });
  box.addEventListener("change", () => onChange(box.value));
  return { node: element("label", {}, element("span", {}, label), box), box };
}

/** A labelled slider. */
export function slider(label, [min, max, step], onChange) {
  const box = element("input", { type: "range", min, max, step, "aria-label": label });
  box.addEventListener("input", () => onChange(Number(box.value)));
  return { node: element("label", {}, element("span", {}, label), box), box };
}
