// Fill in the predictions, which the page does not wait for; the same page has them on demand.

const url = new URL(location.href);
url.searchParams.set("predictions", "true");
const status = document.getElementById("predictions");
try {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  fill(new DOMParser().parseFromString(await answer.text(), "text/html"));
} catch (error) {
  status.textContent = `No predictions: ${error.message}. Load the page again.`;
}

function fill(page) {
  const ledger = document.getElementById("ledger");
  const now = page.getElementById("ledger");
  if (!now) return; // the job is gone
  if (order(ledger).join() === order(now).join()) { // keeps the pictures, and what is focused
    const places = ledger.querySelectorAll(".prediction");
    now.querySelectorAll(".prediction").forEach((one, index) => places[index].replaceWith(one));
  } else { // the job went on
    ledger.replaceWith(now);
  }
  status.replaceWith(page.getElementById("predictions"));
}

function order(ledger) {
  return [...ledger.querySelectorAll("[data-example]")].map((one) => one.dataset.example);
}
