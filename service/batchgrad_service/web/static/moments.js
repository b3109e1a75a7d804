// Show moments in the reader's time zone, and in UTC on hover; the server renders UTC.

const text = (at) => at.toISOString().slice(0, 19).replace("T", " ");

// Every <time datetime="…"> inside `root` that is not yet rewritten. A time of day stays one.
export function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    const local = text(new Date(at - at.getTimezoneOffset() * 60_000));
    time.title = `${text(at)} UTC`;
    time.textContent = /^\d\d:/.test(time.textContent) ? local.slice(11) : local;
  }
}

localize(document);
