// The slider's verdict at once, while the server brings note and regions up to date.
window.showVerdict = (threshold) => {
  const card = document.querySelector("#verdict .verdict[data-score]");
  if (!card) return;
  card.dataset.verdict = Number(card.dataset.score) > threshold ? "FAIL" : "PASS";
  card.style.setProperty("--threshold", threshold);
};
window.saveCsv = (text) => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "inspection.csv";
  link.click();
  URL.revokeObjectURL(link.href);
};
