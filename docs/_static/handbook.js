// What the theme leaves open for those who use a keyboard or listen to the page.

// What is wider than the window can be scrolled with the keyboard.
function reachWide() {
  for (const wide of document.querySelectorAll("pre, .drawing, .table-wrapper")) {
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
    else wide.removeAttribute("tabindex");
  }
}

addEventListener("DOMContentLoaded", () => {
  const names = {".sidebar-drawer": "All pages", ".toc-drawer": "On this page"};
  for (const [place, name] of Object.entries(names)) {
    document.querySelector(place)?.setAttribute("aria-label", name);
  }
  reachWide();
  addEventListener("resize", reachWide);
});
