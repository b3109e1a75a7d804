// The link that `batchgrad serve` prints has the token after #, which browsers do not send.
const form = document.getElementById("login");

function take() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search); // not in the history
  form.elements.token.value = token;
  form.submit();
}

addEventListener("hashchange", take); // the link was opened on the login page
take();
