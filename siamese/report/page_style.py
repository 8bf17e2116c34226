"""What the page of a run adds to the style of the collection's page."""

REPORT_STYLE = """
caption { text-align: left; font-weight: 600; padding-bottom: 6px; }
thead th { color: var(--soft); font-size: 14px; }
th:first-child, tbody th, .text { text-align: left; }
tbody th { overflow-wrap: normal; min-width: 120px; }
td { white-space: nowrap; }
td.text { white-space: normal; min-width: 240px; color: var(--soft); }
.wide + .wide, .answers + .wide { margin-top: 26px; }
.answers { display: grid; gap: 18px; margin-top: 14px; }
.answer { background: #f8f9fa; border-radius: 6px; padding: 14px; min-width: 0; }
.answer .tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.answer .tile { flex: 1 1 128px; max-width: 200px; }
.answer .more { margin: 10px 0 0; }
.tile.query .plate { outline: 3px solid #495057; }
.tile.right .plate { outline: 3px solid var(--green); }
.tile.wrong .plate { outline: 3px dashed var(--orange); }
.query .plate em { background: #495057; }
.wrong .plate em { background: #b34700; }
.card {
  background: #f8f9fa; border-radius: 6px; padding: 16px; font: 14px/1.5 ui-monospace, Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
@media (max-width: 560px) {
  .answer { padding: 10px; }
  .answer .tiles { gap: 10px; }
  .answer .tile { flex: 0 0 calc(50% - 5px); }
}
"""
