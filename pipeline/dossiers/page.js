"use strict";
// The slider cuts the upper of two stacked pictures; both are copies of panels beside it, so that none is stored twice.
for (const wipe of document.querySelectorAll(".wipe")) {
  const panels = wipe.parentElement.querySelectorAll(".panel:not(.wipe)");
  const left = panels[wipe.dataset.left], right = panels[wipe.dataset.right];
  const stage = wipe.querySelector(".stage");
  for (const panel of [right, left]) {
    const copy = panel.querySelector("img").cloneNode();
    copy.alt = "";
    stage.append(copy);
  }
  const slider = wipe.querySelector("input");
  const names = [left, right].map((panel) => panel.querySelector("span").textContent);
  const cut = () => {
    stage.style.setProperty("--cut", slider.value + "%");
    slider.setAttribute("aria-valuetext", `${slider.value}% ${names[0]}, ${100 - slider.value}% ${names[1]}`);
  };
  slider.addEventListener("input", cut);
  cut();
  wipe.hidden = false;
}
document.getElementById("larger")?.addEventListener("change", (event) => {
  document.getElementById("images").classList.toggle("large", event.target.checked);
});
