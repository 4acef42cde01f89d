/* Page: tables at once, plots when they come into view, both again in other colours when the scheme changes. */

const DATA = JSON.parse(document.getElementById("data").textContent);

for (const section of document.querySelectorAll("[data-listing]")) {
  new Listing(section, DATA.listings[section.dataset.listing]);
}
performance.mark("tables");

if (DATA.plots) {
  addEventListener("DOMContentLoaded", () => {
    const section = document.getElementById("plots");
    const plots = new Plots(section, DATA.plots, DATA.listings.rows);
    let drawn = false;
    const draw = () => {
      drawn = true;
      plots.draw();
    };
    const watch = new IntersectionObserver((seen) => {
      if (!seen.some((one) => one.isIntersecting)) return;
      watch.disconnect();
      if (!drawn) draw();
    }, { rootMargin: "300px" });
    watch.observe(section.querySelector(".figures"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn && draw());
    const print = (on) => {
      document.documentElement.classList.toggle("print", on);
      draw();
    };
    addEventListener("beforeprint", () => print(true));
    addEventListener("afterprint", () => print(false));
  });
}
