// What whoever waits is told: their place in the queue, and that the server is gone or back. Gradio
// says both in English alone, and of the photos that a new server does not know it says nothing.
(() => {
  const root = document.documentElement;

  // The page's words in the visitor's language, from where Gradio takes its labels.
  const say = (key, values = {}) => {
    const words = window.gradio_config?.i18n_translations?.[root.lang]?.[`waiting.${key}`] ?? "";
    return words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  };

  // The place in the queue. Gradio writes "queue: 3/7" anew ten times a second, but how many wait
  // behind is not kept up to date.
  const STATUSES = "#verdict .progress-text, #progress .progress-text";
  const isStopped = (status) => !status.closest("#verdict, #progress:has(section.busy)"); // a batch
  const sayPlace = () => {
    for (const status of document.querySelectorAll(STATUSES)) {
      const [, place] = isStopped(status) ? [] : (status.textContent.match(/queue: (\d+)\//) ?? []);
      const said = place ? say("place", { place }) : "";
      let words = status.parentElement.querySelector(".place");
      if (!words && said) {
        words = document.createElement("p");
        words.className = "place";
        words.setAttribute("role", "status");
        status.parentElement.append(words);
      }
      if (words && words.textContent !== said) words.textContent = said;
    }
  };

  // The connection. Gradio notices only when it asks something, and loads the page anew once the
  // server answers; here the server is asked even if the visitor only looks.
  const EVERY = 15_000; // milliseconds between two looks
  const LOST_EVERY = 2_000; // while the server does not answer, as Gradio does
  const look = async () => {
    try {
      const answer = await fetch("gradio_api/app_id", { cache: "no-store" });
      if (answer.status >= 500) return "lost"; // what stands before the app answers for it
      if (answer.status === 401) return "restarted"; // it has forgotten who logged in
      if (!answer.ok) return "there";
      const { app_id: id } = await answer.json();
      return id === window.gradio_config.app_id ? "there" : "restarted";
    } catch {
      return "lost";
    }
  };
  const tell = (key, buttons = {}) => {
    document.getElementById("connection")?.remove();
    if (!key) return;
    const bar = document.createElement("div");
    bar.id = "connection";
    bar.setAttribute("role", "alert");
    bar.append(Object.assign(document.createElement("p"), { textContent: say(key) }));
    for (const [name, press] of Object.entries(buttons)) {
      const button = Object.assign(document.createElement("button"), { textContent: say(name) });
      button.addEventListener("click", press);
      bar.append(button);
    }
    document.body.append(bar);
  };
  const close = () => tell("");
  const reload = () => {
    remember(false); // the visitor has read what it would say
    location.reload();
  };

  // That the server was lost outlives the page, which Gradio loads anew.
  const WAS_LOST = "goldenSample.wasLost";
  const remember = (wasLost) => {
    try {
      if (wasLost) sessionStorage.setItem(WAS_LOST, "yes");
      else sessionStorage.removeItem(WAS_LOST);
    } catch {
      // a browser that keeps nothing
    }
  };
  const wasLost = () => {
    try {
      return Boolean(sessionStorage.getItem(WAS_LOST));
    } catch {
      return false;
    }
  };

  let state = "there";
  let nextLook = 0;
  const watch = async () => {
    if (state === "restarted" || !window.gradio_config?.app_id) return;
    const found = await look();
    clearTimeout(nextLook);
    nextLook = setTimeout(watch, found === "lost" ? LOST_EVERY : EVERY);
    if (found === state) return;
    state = found;
    root.classList.toggle("connection-lost", state === "lost");
    if (state === "lost") {
      remember(true);
      tell("lost");
    } else if (state === "restarted") {
      tell("back", { reload, close });
    } else {
      close();
      setTimeout(() => remember(false), 2 * LOST_EVERY); // unless Gradio loads the page anew
    }
  };

  new MutationObserver((changes) => {
    sayPlace();
    const isToast = (node) => node.querySelector?.("[data-testid=toast-body]");
    if (changes.some((change) => [...change.addedNodes].some(isToast))) watch();
  }).observe(root, { childList: true, subtree: true, characterData: true });
  document.addEventListener("visibilitychange", () => document.hidden || watch());
  document.addEventListener("DOMContentLoaded", () => {
    nextLook = setTimeout(watch, EVERY);
    if (!wasLost()) return;
    remember(false);
    tell("back", { close });
  });
})();
