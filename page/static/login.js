// Gradio's form says nothing when the server refuses to hear another password; this does.
(() => {
  const asked = window.fetch;
  window.fetch = async (...given) => {
    const answer = await asked(...given);
    if (answer.status === 429 && new URL(answer.url).pathname.endsWith("/login")) {
      const told =
        document.querySelector("#login_refused") ?? document.createElement("p");
      told.id = "login_refused";
      told.setAttribute("role", "alert");
      told.textContent = await answer.clone().text();
      document.querySelector("input[type=password]")?.closest("form, .form, div.panel")?.after(told);
    }
    return answer;
  };
})();
