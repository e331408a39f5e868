"""The style sheet of the page: light and dark, paper and phone."""

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--back:#fff;--card:#f6f7f9;--text:#1b1f24;--muted:#545d68;
--edge:#d5dae1;--grid:#e6e9ee;--band:#f1f3f6;--link:#0a58b8;
--good:#126b3a;--soft:#8a5300;--bad:#b3261e;--on:#fff;
--c1:#0b62b8;--c2:#b04a00;--c3:#0a7350;--c4:#8338a8;--c5:#a8265e;--c6:#5b6470}
@media (prefers-color-scheme:dark){:root{--back:#14171b;--card:#1c2127;--text:#e7eaee;
--muted:#a4adb8;--edge:#38404a;--grid:#2a3038;--band:#1a1e24;--link:#7db8ff;
--good:#5fd394;--soft:#f0b45a;--bad:#ff8f85;--on:#14171b;
--c1:#6bb3ff;--c2:#ffa563;--c3:#4fd1a1;--c4:#d29bf2;--c5:#ff8dbb;--c6:#a4adb8}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
overflow-wrap:anywhere}
header,main,footer{max-width:64rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
footer{padding-bottom:2rem;color:var(--muted);font-size:.875rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--edge)}
h3{font-size:1rem;margin:1.5rem 0 .5rem}
p,ul{margin:.5rem 0}
a{color:var(--link)}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.muted,figcaption p,.note{color:var(--muted);font-size:.875rem}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;margin:1rem 0 0;list-style:none;
font-size:.875rem}
.badges{display:flex;flex-wrap:wrap;gap:.5rem;padding:0;margin:1rem 0;list-style:none}
.badges li{padding:.1rem .7rem;border-radius:1rem;font-weight:600;color:var(--on);
background:var(--muted)}
.badges .good{background:var(--good)}.badges .soft{background:var(--soft)}
.badges .bad{background:var(--bad)}
.headline{font-size:1.25rem;font-weight:600;line-height:1.35;margin:1rem 0 .25rem}
.reasons{padding-left:1.25rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;
margin:1.25rem 0}
.tiles div{background:var(--card);border:1px solid var(--edge);border-radius:.5rem;
padding:.6rem .8rem}
.tiles dt{color:var(--muted);font-size:.8125rem}
.tiles dd{margin:0;font-size:1.375rem;font-weight:600;font-variant-numeric:tabular-nums}
.tiles small{font-size:.8125rem;font-weight:400;color:var(--muted)}
s{color:var(--bad);text-decoration-thickness:1px}
.scroll{overflow-x:auto;margin:.5rem 0;border:1px solid var(--edge);
border-radius:.5rem}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums;
overflow-wrap:normal}
caption{text-align:left;padding:.5rem .75rem;color:var(--muted)}
th,td{padding:.35rem .75rem;text-align:left;vertical-align:top}
thead th{background:var(--card);white-space:nowrap;border-bottom:1px solid var(--edge)}
tbody tr+tr>*{border-top:1px solid var(--grid)}
tbody th{font-weight:500}
.n{text-align:right;white-space:nowrap}
.good>b{color:var(--good)}.bad>b{color:var(--bad)}.soft>b{color:var(--soft)}
.wide{min-width:14rem}
figure{margin:1.5rem 0 2rem}
figcaption h3{margin:0}
figcaption p{margin:.15rem 0}
details{margin:.25rem 0 0}
figure .scroll{max-height:30rem}
small{color:var(--muted);font-weight:400}
summary{cursor:pointer;color:var(--link);font-size:.875rem;width:fit-content}
pre{margin:.5rem 0;padding:.75rem 1rem;background:var(--card);border:1px solid var(--edge);
border-radius:.5rem;white-space:pre-wrap;
font:.875rem/1.5 ui-monospace,"Cascadia Mono",Menlo,monospace}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;padding:0;margin:.35rem 0 0;
font-size:.875rem}
.legend svg{width:2rem;height:.75rem;margin-right:.4rem}
svg.plot{display:block;width:calc(100% - 4.75rem);height:15rem;margin:2.5rem 1.25rem 3rem 3.5rem;
overflow:visible;font-size:.8125rem}
svg.bars{width:calc(100% - 2rem);margin:1rem 1.75rem 3rem .25rem}
svg text{fill:var(--muted)}
svg .mid,svg .phase{text-anchor:middle}svg .end{text-anchor:end}
svg .phase{font-size:.75rem}
svg .clear{fill:transparent}svg .band{fill:var(--band)}
svg .stamp{fill:var(--bad);text-anchor:middle;font-size:2rem;font-weight:700;letter-spacing:.2em;
opacity:.55;pointer-events:none}
svg .axis{stroke:var(--muted)}
svg .grid{stroke:var(--grid)}
svg path,.legend line{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round;
vector-effect:non-scaling-stroke}
.s1{stroke:var(--c1)}.s2{stroke:var(--c2);stroke-dasharray:7 4}
.s3{stroke:var(--c3);stroke-dasharray:2 4}.s4{stroke:var(--c4);stroke-dasharray:10 3 2 3}
.s5{stroke:var(--c5);stroke-dasharray:14 4}.s6{stroke:var(--c6);stroke-dasharray:4 6}
line.level{stroke:var(--muted);stroke-dasharray:6 3}
line.limit{stroke:var(--bad)}text.limit{fill:var(--bad)}
.hover{fill:transparent}.hover:hover{fill:var(--muted);fill-opacity:.15}
text.bar{fill:var(--text);font-weight:600}text.bar tspan{fill:var(--muted);font-weight:400}
rect.bar{fill:var(--c1)}
.whisker{stroke:var(--c1)}circle.whisker{fill:var(--c1)}
.marker circle{fill:var(--muted);stroke:var(--back);stroke-width:2}
.marker text{fill:var(--on);text-anchor:middle;font-size:.75rem;font-weight:700}
.held circle{fill:var(--good)}.missed circle{fill:var(--bad)}.generator circle{fill:var(--soft)}
.unfinished text,.doubtful text{fill:var(--back)}
@media (max-width:40rem){header,main,footer{padding-left:.9rem;padding-right:.9rem}
h1{font-size:1.375rem}.tiles{grid-template-columns:1fr 1fr}
svg .narrow{display:none}}
@media print{nav,summary{display:none}.scroll{max-height:none}figure,tr{break-inside:avoid}}
"""
