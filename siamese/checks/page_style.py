"""The style sheet of the page."""

STYLE = """
:root {
  --ink: #212529; --soft: #5c656d; --line: #dee2e6; --plate: #e7edf3; --blue: #0072b2; --orange: #d55e00;
  --green: #009e73;
}
* { box-sizing: border-box; }
body {
  margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 "Helvetica Neue", Helvetica, Arial, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 12px; letter-spacing: -.01em; }
h2 { font-size: 21px; line-height: 1.3; margin: 0 0 6px; }
h3 { font-size: 15px; font-weight: 600; margin: 0 0 8px; overflow-wrap: anywhere; }
p { margin: 0 0 14px; max-width: 76ch; overflow-wrap: anywhere; }
.lead { font-size: 18px; color: #343a40; }
section { margin-top: 44px; padding-top: 26px; border-top: 1px solid var(--line); }
.findings { list-style: none; margin: 14px 0 0; padding: 0; display: grid; gap: 10px; }
.findings li {
  border-left: 5px solid var(--line); background: #f8f9fa; border-radius: 0 6px 6px 0; padding: 12px 16px;
}
.findings p { margin: 0; max-width: 108ch; }
.findings .level { font-size: 12.5px; font-weight: 600; color: var(--soft); }
.findings .serious { border-color: var(--orange); }
.findings .serious .level { color: #b34700; }
.findings .look { border-color: var(--blue); }
.findings .look .level { color: var(--blue); }
.advice { color: var(--soft); }
.plots {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 26px 36px;
  margin-top: 16px;
}
.plots figure { margin: 0; max-width: 560px; }
.plots img { width: 100%; height: auto; display: block; }
.plots figcaption { font-weight: 600; font-size: 15px; margin-bottom: 4px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 15px; }
th, td {
  text-align: right; padding: 6px 18px 6px 0; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums;
}
th { font-weight: 500; }
tbody th, .reasons td { text-align: left; overflow-wrap: anywhere; }
.reasons th { min-width: 130px; vertical-align: top; }
.groups { display: flex; flex-wrap: wrap; gap: 14px; }
.groups .strip { background: #f8f9fa; border-radius: 6px; padding: 14px; max-width: 100%; }
.groups .tiles { display: flex; flex-wrap: wrap; gap: 14px; }
.groups .tile { width: 150px; }
.groups .rest { width: auto; }
.singles .tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 18px 14px; }
.tile { margin: 0; min-width: 0; }
.plate {
  position: relative; background: var(--plate); border-radius: 4px; aspect-ratio: 4 / 3; display: flex;
  align-items: center; justify-content: center; overflow: hidden; color: var(--soft); font-size: 13px;
}
.plate img { width: 100%; height: 100%; object-fit: contain; }
.kept .plate { outline: 3px solid var(--green); outline-offset: 1px; }
.plate em {
  position: absolute; left: 0; bottom: 0; background: #00704f; color: #fff;
  font: 600 12px/1 Helvetica, Arial, sans-serif; padding: 4px 8px; border-radius: 0 4px 0 0;
}
.rest { display: flex; align-items: center; color: var(--soft); font-size: 14px; }
.tile figcaption { font-size: 13px; line-height: 1.4; margin-top: 6px; }
.tile figcaption b, .tile figcaption span {
  display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
.tile figcaption span { color: var(--soft); }
.more { color: var(--soft); font-size: 14.5px; margin-top: 12px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 22px; font-size: 15px; margin: 8px 0 0; }
dt { font-weight: 600; }
dd { margin: 0; color: #495057; max-width: 76ch; }
@media (max-width: 560px) {
  main { padding: 24px 16px 60px; }
  h1 { font-size: 26px; }
  .singles .tiles { grid-template-columns: repeat(2, 1fr); gap: 12px; }
  .groups .strip { width: 100%; padding: 10px; }
  .groups .tiles { gap: 10px; }
  .groups .tile { width: calc(50% - 5px); }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 10px; }
}
"""
