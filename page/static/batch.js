// Sorts the batch's table and walks its rows. The server sends the rows in the order of the batch,
// again and again while it runs; Gradio writes them over the old ones in place, which undoes the
// chosen order, so `restore` brings it back.
window.goldenBatch = window.goldenBatch || (() => {
  const order = { column: "number", direction: "ascending" };
  const compareWords = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;
  let focused = null; // number of the row that has the keyboard
  let clicks = 0; // on photos: of two at once the server may learn of the later one first

  const table = () => document.getElementById("batch_table");
  const rows = () => [...(table()?.tBodies[0].rows ?? [])];
  const numberOf = (photo) => Number(photo.dataset.number);
  const rowOf = (number) => rows().find((row) => numberOf(row) === number);

  // Empty cells stay last in both directions; of equal ones the earlier photo comes first.
  const comparison = (head) => {
    const values = new Map(rows().map((row) => [row, row.cells[head.cellIndex].dataset.value]));
    const sign = order.direction === "ascending" ? 1 : -1;
    const compare = head.dataset.kind === "number" ? (a, b) => a - b : compareWords;
    return (one, other) => {
      const [a, b] = [values.get(one), values.get(other)];
      if (!a !== !b) return a ? -1 : 1;
      return (a && sign * compare(a, b)) || numberOf(one) - numberOf(other);
    };
  };

  const restore = () => {
    const head = table()?.querySelector(`th[data-column="${order.column}"]`);
    if (!head) return;
    for (const other of table().querySelectorAll("th")) {
      other.setAttribute("aria-sort", other === head ? order.direction : "none");
    }
    const shown = rows();
    const sorted = [...shown].sort(comparison(head));
    if (sorted.some((row, place) => row !== shown[place])) table().tBodies[0].append(...sorted);
    const row = focused === null ? undefined : rowOf(focused);
    if (row && document.activeElement !== row) row.focus({ preventScroll: true });
  };

  const sortBy = (head) => {
    const other = { ascending: "descending", descending: "ascending" };
    const isSame = head.dataset.column === order.column;
    order.direction = isSame ? other[order.direction] : head.dataset.first;
    order.column = head.dataset.column;
    restore();
  };

  // Shows at once what was chosen; the server's answer says the same.
  const mark = (number) => {
    for (const shown of document.querySelectorAll("#batch_table tbody tr, .batch-gallery .tile")) {
      const isChosen = numberOf(shown) === number;
      shown.classList.toggle("selected", isChosen);
      if (shown.tagName === "TR") shown.setAttribute("aria-selected", String(isChosen));
    }
  };

  // Has an element of Gradio send the number of the photo that is clicked in it. Gradio brings its
  // HTML up to date in place, so the listener stays and the chosen order goes.
  const connect = (element, trigger, watch) => {
    element.addEventListener("click", (event) => {
      const photo = event.target.closest("[data-number]");
      if (!photo) return;
      const number = numberOf(photo);
      mark(number);
      clicks += 1;
      trigger("select", { number, clicks });
      // Who points at a photo wants to see it; who walks by the keyboard looks at it already.
      if (event.isTrusted) document.getElementById("verdict")?.scrollIntoView({ behavior: "smooth" });
    });
    watch("value", restore);
  };

  document.addEventListener("click", (event) => {
    const head = event.target.closest("#batch_table th");
    if (head) sortBy(head);
  });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("#batch_table tbody tr");
    focused = row ? numberOf(row) : null;
  });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#batch_table tbody tr")) focused = null;
  });
  document.addEventListener("keydown", (event) => {
    const row = event.target.closest?.("#batch_table tbody tr");
    const steps = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!row || !(steps || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault(); // the page would scroll
    const next = steps ? (steps > 0 ? row.nextElementSibling : row.previousElementSibling) : row;
    next?.focus();
    next?.click();
  });
  return { connect };
})();
