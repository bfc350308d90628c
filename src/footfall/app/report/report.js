// Sorting, filtering, light and dark. The page reads in full without it.
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js");
  document.getElementById("theme").addEventListener("click", function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  function cell(row, k) {
    var c = row.cells[k], v = c.dataset.v;
    return v === undefined ? c.textContent.trim() : v === "" ? null : Number(v);
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var body = table.tBodies[0], heads = table.tHead.rows[0].cells;
    Array.prototype.forEach.call(heads, function (head, k) {
      var button = document.createElement("button");
      while (head.firstChild) { button.appendChild(head.firstChild); }
      button.type = "button";
      head.appendChild(button);
      button.addEventListener("click", function () {
        var numeric = head.classList.contains("n"), now = head.getAttribute("aria-sort");
        var down = now ? now === "ascending" : numeric;
        Array.prototype.forEach.call(heads, function (h) { h.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var rows = Array.prototype.slice.call(body.rows).map(function (r) { return [cell(r, k), r]; });
        rows.sort(function (a, b) {
          if (a[0] === null || b[0] === null) { return (a[0] === null) - (b[0] === null); }
          var by = typeof a[0] === "number" ? a[0] - b[0] : a[0].localeCompare(b[0]);
          return down ? -by : by;
        });
        rows.forEach(function (r) { body.appendChild(r[1]); });
      });
    });
  });
  document.querySelectorAll("input.filter").forEach(function (input) {
    var rows = document.getElementById(input.dataset.table).tBodies[0].rows;
    input.addEventListener("input", function () {
      var wanted = input.value.trim().toLowerCase();
      Array.prototype.forEach.call(rows, function (row) {
        row.hidden = wanted !== "" && row.textContent.toLowerCase().indexOf(wanted) < 0;
      });
    });
  });
}());
