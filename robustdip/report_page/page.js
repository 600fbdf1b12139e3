// Sizes of the pictures, and the slider between input and result.

const SMALL = 256; // a picture this narrow is enlarged, and shows its pixels
const ENLARGED = 768;

for (const sized of document.querySelectorAll(".sized")) {
  const width = Number(sized.dataset.width);
  const factor = width > SMALL ? 1 : Math.max(1, Math.floor(ENLARGED / width));
  sized.style.maxWidth = `${width * factor}px`;
}
for (const picture of document.images) {
  picture.classList.toggle("pixels", picture.getAttribute("width") <= SMALL);
}

for (const compare of document.querySelectorAll(".compare")) {
  const range = compare.querySelector("input");
  const show = () => {
    const cut = `${Number(range.value).toFixed(1)}%`;
    compare.style.setProperty("--cut", cut);
    range.setAttribute("aria-valuetext", `${Math.round(range.value)} % input`);
  };
  range.addEventListener("input", show);
  // With step "any", for a smooth drag, a key would move by a hundredth part: too little to see.
  range.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -20, PageUp: 20 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    range.value = Math.round(Number(range.value) + step);
    show();
  });
  show();
}
