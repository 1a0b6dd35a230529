// Runs before Gradio starts: it takes the language from the navigator, so that is where the
// visitor's choice (in the address, else remembered, else the browser's) has to be.
(() => {
  const KNOWN = ["en", "de", "es", "ja", "zh"];
  const LOCALES = { zh: "zh-CN" }; // as Gradio calls it
  const KEY = "goldenSample.language";

  const remembered = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // a browser that keeps nothing
    }
  };
  const remember = (language) => {
    try {
      localStorage.setItem(KEY, language);
    } catch {
      // the address still says it
    }
  };

  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, remembered(), ...(navigator.languages ?? [navigator.language])];
  const tags = wanted.map((tag) => (tag ?? "").trim().toLowerCase().split("-")[0]);
  const language = tags.find((tag) => KNOWN.includes(tag)) ?? KNOWN[0];
  const locale = LOCALES[language] ?? language;
  Object.defineProperty(navigator, "language", { get: () => locale, configurable: true });
  Object.defineProperty(navigator, "languages", { get: () => [locale], configurable: true });
  document.documentElement.lang = locale;

  window.goldenSample = {
    // The language of the page, one of KNOWN.
    language: () => language,
    // Shows the page in another language, now and at the next visit.
    chooseLanguage(chosen) {
      if (chosen === language || !KNOWN.includes(chosen)) return;
      remember(chosen);
      const address = new URL(location.href);
      address.searchParams.set("lang", chosen);
      location.assign(address);
    },
  };
})();
