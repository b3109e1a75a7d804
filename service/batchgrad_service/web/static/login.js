// The link that `batchgrad serve` prints holds the token after the #, which browsers send nobody.
const form = document.getElementById("login");

function take() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search); // not in the history
  form.elements.token.value = token;
  form.submit();
}

addEventListener("hashchange", take); // the link, opened where the page is there already
take();
