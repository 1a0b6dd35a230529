// The browser's part of the page: what needs no server, or must not wait for it. It listens on the
// document alone, for Gradio writes its HTML anew whenever it likes.
(() => {
  const root = document.documentElement;

  // Gradio passes on whatever stands in the box while one types: nothing, 5, -1. And when the box is
  // left, it would take nothing for 0 and 5 for 1; instead the last threshold comes back.
  const isThreshold = (value) => typeof value === "number" && value >= 0 && value <= 1;
  const THRESHOLD_BOX = "#threshold input[type=number]";
  let lastThreshold = 0.5;
  const keepThreshold = (value) => {
    if (isThreshold(value)) lastThreshold = value;
    return lastThreshold;
  };
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches?.(THRESHOLD_BOX)) keepThreshold(target.valueAsNumber);
  });
  const restoreThreshold = ({ target }) => {
    if (!target.matches?.(THRESHOLD_BOX) || isThreshold(target.valueAsNumber)) return;
    target.value = lastThreshold;
    target.dispatchEvent(new Event("input", { bubbles: true }));
  };
  document.addEventListener("blur", restoreThreshold, true); // before Gradio's own listener

  // The verdict at once, while the server brings note, outlines and table up to date.
  const showVerdict = (threshold) => {
    if (!isThreshold(threshold)) return;
    for (const chart of document.querySelectorAll("[data-follows-threshold]")) {
      chart.style.setProperty("--threshold", threshold);
    }
    for (const card of document.querySelectorAll(".verdict[data-score]")) {
      if (card.closest("[data-keeps-threshold]")) continue; // another model judged it
      card.style.setProperty("--threshold", threshold);
      const limit = card.querySelector(".limit-value");
      limit.textContent = Number(threshold).toFixed(2).replace(".", limit.dataset.mark);
      if (card.dataset.verdict === "CHECK") continue; // no threshold makes it a part
      card.dataset.verdict = Number(card.dataset.score) > threshold ? "FAIL" : "PASS";
    }
  };

  // The threshold that the server is told.
  const followThreshold = (value) => {
    showVerdict(value);
    return keepThreshold(value);
  };

  // One request after the other: of two answers at once, the one that was written first may arrive
  // last, and stay on the page without what the other one added.
  const turns = [];
  const inTurn = async (...given) => {
    const before = turns.at(-1)?.ended;
    const turn = {};
    turn.ended = new Promise((resolve) => (turn.end = resolve));
    turns.push(turn);
    await before;
    return given;
  };
  const endTurn = () => turns.shift()?.end();

  // What is taken home.
  const saveUrl = (address, name = "") => {
    if (!address) return;
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
  };
  const saveBlob = (blob, name) => {
    const address = URL.createObjectURL(blob);
    saveUrl(address, name);
    setTimeout(() => URL.revokeObjectURL(address), 60_000); // some browsers read it late
  };
  const saveText = (text, name) => {
    if (!text) return;
    const type = name.endsWith(".csv") ? "text/csv" : "text/plain";
    saveBlob(new Blob([text], { type: `${type};charset=utf-8` }), name);
  };
  // The server's name for a file is a number; a link's own name goes with the file's bytes alone.
  document.addEventListener("click", async (event) => {
    const taken = event.target.closest(".picture a[download]");
    if (!taken) return;
    event.preventDefault();
    saveBlob(await (await fetch(taken.href)).blob(), taken.download);
  });

  // What the address asks for; null where it says nothing.
  const link = () => {
    const asked = new URLSearchParams(location.search);
    return { category: asked.get("category"), model: asked.get("model"), lang: asked.get("lang") };
  };
  const setLink = (category, model) => {
    const address = new URL(location.href);
    for (const [name, value] of Object.entries({ category, model })) {
      if (value) address.searchParams.set(name, value);
      else address.searchParams.delete(name);
    }
    history.replaceState(history.state, "", address);
  };

  // Wipe, heat and outlines: the settings outlive the photo, so they are kept on the root element.
  const settings = { wipe: 0, heat: 100, outlines: true };
  const showSettings = () => {
    for (const input of document.querySelectorAll("[data-setting]")) {
      const value = settings[input.dataset.setting];
      if (input.type === "checkbox") input.checked = value;
      else if (input.value !== String(value)) input.value = value;
    }
  };
  document.addEventListener("input", (event) => {
    const { setting } = event.target.dataset ?? {};
    if (!(setting in settings)) return;
    const { type, checked, value } = event.target;
    settings[setting] = type === "checkbox" ? checked : Number(value);
    root.style.setProperty("--wipe", `${settings.wipe}%`);
    root.style.setProperty("--heat", settings.heat / 100);
    root.classList.toggle("no-outlines", !settings.outlines);
  });

  // How wide the pictures are shown: the numbers of the regions are as large on every screen.
  const measureStage = () => {
    const stage = (enlarged() ?? document).querySelector(".stage");
    if (stage?.clientWidth) root.style.setProperty("--stage-width", stage.clientWidth);
  };
  const stages = new ResizeObserver(measureStage);
  const observed = new WeakSet();
  // To a screen reader Gradio's examples are buttons without a name; their files have one.
  const nameExamples = () => {
    for (const picture of document.querySelectorAll("#examples button img")) {
      const file = decodeURIComponent(picture.src.split("/").pop());
      picture.closest("button").ariaLabel = file.replace(/\.\w+$/, "").replaceAll("_", " ");
    }
  };

  new MutationObserver(() => {
    showSettings();
    nameExamples();
    for (const stage of document.querySelectorAll(".picture .stage")) {
      if (observed.has(stage)) continue;
      observed.add(stage);
      stages.observe(stage);
    }
  }).observe(root, { childList: true, subtree: true });

  // Full screen, or all of the window where the browser has none for pictures (iPhone).
  const enlarged = () =>
    document.fullscreenElement ?? document.querySelector(".picture.enlarged");
  const toggleFullScreen = (figure) => {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (figure.classList.contains("enlarged")) figure.classList.remove("enlarged");
    else if (figure.requestFullscreen) figure.requestFullscreen().catch(() => enlarge(figure));
    else enlarge(figure);
  };
  const enlarge = (figure) => figure.classList.add("enlarged");
  document.addEventListener("click", (event) => {
    const figure = event.target.closest(".picture .stage, .picture .enlarge")?.closest(".picture");
    if (figure) toggleFullScreen(figure);
  });
  document.addEventListener("fullscreenchange", measureStage);

  // On a phone the verdict lies far below the button.
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#inspect") || !matchMedia("(max-width: 760px)").matches) return;
    document.getElementById("verdict")?.scrollIntoView({ behavior: "smooth", block: "start" });
  });

  // The row under the pointer lights its region up.
  let lit = null;
  document.addEventListener("pointerover", (event) => {
    const number = event.target.closest("table.regions tr[data-region]")?.dataset.region ?? null;
    if (number === lit) return;
    lit = number;
    for (const shape of document.querySelectorAll(".outlines [data-region]")) {
      shape.classList.toggle("active", shape.dataset.region === number);
    }
  });

  // The keyboard: Enter inspects, arrows walk the batch, A accepts, R rejects.
  const TYPING =
    "textarea, select, [contenteditable], [role=combobox], [role=listbox], " +
    "input:not([type=range], [type=checkbox], [type=radio], [type=file])";
  const CLICKING = "button, a, summary, [role=button], [role=option], [role=tab], tr[data-number]";
  const MOVING = "input, [role=slider], [role=tab], [role=radiogroup], [role=menu]";
  const press = (id) => {
    const button = document.getElementById(id);
    if (!button || button.disabled || !button.getClientRects().length) return false;
    button.click();
    return true;
  };
  const walk = (steps) => {
    const rows = [...document.querySelectorAll("#batch_table [data-number]")];
    if (!rows.length || !rows[0].getClientRects().length) return false;
    const place = rows.findIndex((row) => row.classList.contains("selected"));
    const next = rows[place === -1 ? 0 : place + steps];
    next?.click();
    return Boolean(next);
  };
  const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.isComposing) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (target.closest?.(TYPING)) return;
    let done = false;
    if (key in STEPS) {
      const isRow = target.closest("#batch_table tr") && /Up|Down/.test(key); // batch.js moves it
      if (!isRow && !target.closest(MOVING)) done = walk(STEPS[key]);
    } else if (key === "Escape") {
      document.querySelector(".picture.enlarged")?.classList.remove("enlarged");
    } else if (!event.repeat && !enlarged()) {
      if (key === "Enter" && !target.closest(CLICKING)) done = press("inspect");
      else if (key.toLowerCase() === "a") done = press("accept");
      else if (key.toLowerCase() === "r") done = press("reject");
    }
    if (done) event.preventDefault(); // the page would scroll
  });

  Object.assign((window.goldenSample ??= {}), {
    showVerdict,
    followThreshold,
    inTurn,
    endTurn,
    saveText,
    saveUrl,
    link,
    setLink,
    settings,
  });
})();
