// The filter of the HTTP interface: routes and schemas whose text has all of its words.

const filter = document.getElementById("filter");
const links = [...document.querySelectorAll(".outline li")].map((item) => {
  const entry = document.getElementById(decodeURIComponent(item.firstChild.hash.slice(1)));
  return { item, entry, text: entry.textContent.toLowerCase() };
});

filter.hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const { item, entry, text } of links) {
    item.hidden = entry.hidden = !words.every((word) => text.includes(word));
  }
});
