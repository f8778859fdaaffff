/** Building DOM by hand, tersely: enough for one widget, so that no framework travels with it. */

type Child = Node | string | null;
type Attributes = Record<string, string | number | boolean | null>;

/** An element with attributes (true: present, false or null: absent) and children. Text is always text, never HTML. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) attribute(element, name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Set, change or remove an attribute; leaves the DOM alone where nothing changes. */
export function attribute(element: Element, name: string, value: string | number | boolean | null): void {
  if (value === false || value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** Set an element's text; leaves the DOM alone where nothing changes. */
export function text(element: Element, content: string): void {
  if (element.textContent !== content) element.textContent = content;
}

/** A filled 16 × 16 icon that takes the colour of the text around it. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("nbk-icon");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const PLAY = "M4 2.5v11l9.5-5.5z";
export const PAUSE = "M3.5 2.5h3.2v11H3.5zM9.3 2.5h3.2v11H9.3z";
export const STEP = "M3 2.5v11l7-5.5zM11 2.5h2.4v11H11z";

let ids = 0;
/** An id that no other element of the page has. */
export const uniqueId = (stem: string): string => `nbk-${stem}-${(ids++).toString(36)}-${Math.random().toString(36).slice(2, 7)}`;
