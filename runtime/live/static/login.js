// A link may carry the token behind "#", which no server and no log gets to see.
function take() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  history.replaceState(null, "", location.pathname);
  document.getElementById("token").value = given;
  document.querySelector("form").submit();
}
document.getElementById("wrong").hidden = location.pathname !== "/login";
addEventListener("hashchange", take);
take();
