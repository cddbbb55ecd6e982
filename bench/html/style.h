/* SPDX-License-Identifier: Apache-2.0 */
/* The page's style: light and dark after the reader's system, one column on a phone, no colour needed in print. */
#ifndef BENCH_HTML_STYLE_H
#define BENCH_HTML_STYLE_H

/* Colours are told apart with the usual colour blindnesses; lines also differ in their dashes. */
static const char bench_html_style[] =
    ":root{--bg:#fff;--fg:#1a1d21;--soft:#667085;--edge:#d9dde3;--card:#f6f7f9;--good:#0b6b3a;--bad:#b3261e;"
    "--c0:#1f5fd0;--c1:#c2410c;--c2:#0f766e;--c3:#7e22ce;--c4:#57606a;--c5:#a16207;--c6:#be185d;--c7:#0369a1;--c8:#3f6212}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14161a;--fg:#e7eaee;--soft:#9aa4b2;--edge:#333941;--card:#1d2127;--good:#4cc38a;"
    "--bad:#ff7b72;--c0:#6ea8fe;--c1:#fb923c;--c2:#2dd4bf;--c3:#c99bff;--c4:#a8b1bd;--c5:#facc15;--c6:#f472b6;--c7:#38bdf8;--c8:#a3e635}}\n"
    "@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--edge:#bbb;--card:#fff;--good:#000;--bad:#000;"
    "--c0:#1f5fd0;--c1:#c2410c;--c2:#0f766e;--c3:#7e22ce;--c4:#57606a;--c5:#a16207;--c6:#be185d;--c7:#0369a1;--c8:#3f6212}"
    "figure,table,.tiles{break-inside:avoid}h1,h2,summary,.note{break-after:avoid}details:not([open]){display:none}main{max-width:none!important;padding:0!important}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}\n"
    "main{max-width:1040px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.5rem;line-height:1.25;margin:0}"
    "h2{font-size:1.15rem;margin:40px 0 10px}p{margin:4px 0}.soft,.note{color:var(--soft)}pre{font-size:.8rem;line-height:1.45;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:12px 14px}.part{margin-top:56px}.note{font-weight:400;font-size:.875rem}\n"
    ".good{color:var(--good)}.bad{color:var(--bad);font-weight:700}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:20px 0}"
    ".tile{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:10px 14px}"
    ".tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:.875rem}\n"
    "figure{margin:26px 0}.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:.875rem;margin:2px 0 4px}"
    ".legend i{display:inline-block;width:18px;height:0;border-top:3px solid;vertical-align:middle;margin-right:6px}\n"
    "svg{display:block;width:100%;height:auto}svg.narrow{display:none}text{fill:var(--soft);font:12px system-ui,sans-serif}"
    "text.end{text-anchor:end}text.mid{text-anchor:middle}.grid{stroke:var(--edge);stroke-width:1;opacity:.6}"
    ".axis{stroke:var(--soft)}.line{fill:none;stroke-width:2;stroke-linejoin:round;vector-effect:non-scaling-stroke}"
    ".mark{stroke:var(--bad);stroke-dasharray:3 3}text.mark{stroke:var(--bg);stroke-width:4px;stroke-dasharray:none;paint-order:stroke;fill:var(--bad)}\n"
    ".c0{stroke:var(--c0)}.c1{stroke:var(--c1);stroke-dasharray:7 3}.c2{stroke:var(--c2)}.c3{stroke:var(--c3);stroke-dasharray:2 3}"
    ".c4{stroke:var(--c4);stroke-dasharray:9 3 2 3}.c5{stroke:var(--c5)}.c6{stroke:var(--c6);stroke-dasharray:7 3}.c7{stroke:var(--c7)}"
    ".c8{stroke:var(--c8);stroke-dasharray:2 3}\n"
    ".b0{color:var(--c0)}.b1{color:var(--c1);border-top-style:dashed!important}.b2{color:var(--c2)}"
    ".b3{color:var(--c3);border-top-style:dotted!important}.b4{color:var(--c4);border-top-style:dashed!important}.b5{color:var(--c5)}"
    ".b6{color:var(--c6);border-top-style:dashed!important}.b7{color:var(--c7)}.b8{color:var(--c8);border-top-style:dotted!important}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;width:100%}"
    "th,td{padding:4px 10px 4px 0;text-align:right;border-bottom:1px solid var(--edge);white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}"
    "table.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}table.facts td:first-child{color:var(--soft);width:14em;white-space:nowrap}"
    "table.cases{margin-bottom:20px}summary{cursor:pointer;font-weight:600;margin:14px 0 6px}\n"
    "@media(max-width:640px),print{pre{white-space:pre-wrap}}\n"
    "@media(max-width:640px){svg.wide{display:none}svg.narrow{display:block}main{padding:16px 14px 40px}body{font-size:15px}"
    "table.facts td:first-child{width:9em;white-space:normal}}\n";

#endif
