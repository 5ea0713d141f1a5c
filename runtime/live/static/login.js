// A link may carry the token behind "#", which no server and no log gets to see.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("token").value = given;
  document.querySelector("form").submit();
}
