// Make an element equal to another and keep what is the same: focus, cursor, open details.
// What is wrong stays until errors.js says otherwise; a section opens when it gets its first key, and only then.

const KEPT = { DETAILS: ["open"], INPUT: ["aria-invalid"], SELECT: ["aria-invalid"] };

export function morph(now, next) {
  if (now.nodeName !== next.nodeName || now.id !== next.id) { now.replaceWith(next); return; }
  if (now.nodeName === "P" && now.className === "wrong") return;
  if (now.nodeType !== Node.ELEMENT_NODE) { now.data = next.data; return; }
  attributes(now, next);
  const children = [...now.childNodes], wanted = [...next.childNodes];
  wanted.forEach((child, index) => {
    if (children[index]) morph(children[index], child); else now.append(child);
  });
  for (const child of children.slice(wanted.length)) child.remove();
  values(now, next);
}

function attributes(now, next) {
  if (now.hasAttribute("data-filled")) next.toggleAttribute("open", now.open);
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name) && !KEPT[now.nodeName]?.includes(name)) now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
}

function values(now, next) {
  if (now.nodeName === "SELECT") now.value = next.value;
  if (now.nodeName !== "INPUT") return;
  if (now.type === "checkbox") now.checked = next.checked;
  else if (now !== document.activeElement) now.value = next.value;
}
