"""The page's looks: its words at the top, theme and style sheet."""
from __future__ import annotations

from pathlib import Path

import gradio as gr

from src.page.files import MINUTES_KEPT

TITLE = "MODNet, pruned"
HEADER = """# Cut people out
MODNet, pruned to a fifth of its work, on this computer's CPU. Nothing leaves it, and uploads are removed after half an
hour."""
# Fonts of the visitor's own system: others would be fetched from somewhere.
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
# Gradio would put its own words into the browser's language, between ours.
ENGLISH = '<script>Object.defineProperty(Navigator.prototype, "language", {get: () => "en"})</script>'
NOTICES = Path(__file__).with_name("notices.js").read_text(encoding="utf-8")
HEAD = f'{ENGLISH}<script data-minutes="{MINUTES_KEPT}">{NOTICES}</script>'
# Class of the row of a tab: what is chosen, and what came of it.
WORK = "work"
# Class of what a phone shows first, before what came of it.
FIRST = "first"
# Class of a place where a picture will be.
PLACE = "place"
CSS = """
.gradio-container {max-width: 1180px !important; margin: 0 auto; width: 100%}
footer {display: none !important}
.tab-container button.selected {color: var(--primary-700) !important}
.dark .tab-container button.selected {color: var(--primary-400) !important}
#head h1 {margin: 0 0 2px}
#head p {margin: 0; opacity: .75}
.work {gap: 24px !important}
#notice {position: fixed; left: 50%; bottom: 24px; transform: translateX(-50%); z-index: 1000; padding: 12px 18px;
    font: 15px system-ui, sans-serif; max-width: min(780px, calc(100vw - 32px)); width: max-content; color: #fff;
    background: #9a3412; border-radius: var(--block-radius); box-shadow: 0 4px 16px rgb(0 0 0 / .3)}
.said {min-height: 1.6em; opacity: .85}
.get {flex-wrap: nowrap !important; gap: 8px !important}
.get > * {min-width: 0 !important; padding-inline: 4px !important; border: 1px solid var(--block-border-color) !important}

/* One row of buttons, not one of pills with dots; the dots still take the keyboard. */
.work fieldset .wrap {gap: 6px}
.work fieldset label {padding: 6px 14px; position: relative}
.work fieldset label:focus-within {outline: 2px solid var(--primary-500); outline-offset: 1px}
.work fieldset label span {margin-left: 0 !important}
.work input[type=radio] {position: absolute; opacity: 0; width: 0; height: 0}

.place .empty, .nothing {min-height: 340px; display: flex; align-items: center; justify-content: center;
    flex-direction: column; gap: 6px; color: var(--body-text-color-subdued)}
.place .empty::after {content: "What was cut out appears here"}
.nothing {border: 1px solid var(--block-border-color); border-radius: var(--block-radius);
    background: var(--block-background-fill)}
#webcam-out img {width: 100%; border-radius: var(--block-radius); display: block}
#video-bar .html-container {padding: 0}
#video-bar progress {width: 100%; height: 6px; display: block; appearance: none; border: 0; border-radius: 3px;
    overflow: hidden; background: var(--neutral-200)}
#video-bar ::-webkit-progress-bar {background: var(--neutral-200)}
#video-bar ::-webkit-progress-value {background: var(--primary-500)}
#video-bar ::-moz-progress-bar {background: var(--primary-500)}
#video-bar progress:indeterminate::-moz-progress-bar {background: transparent}
#webcam-out .html-container {padding: 0}

.container.gallery {width: 66px !important; height: 66px}
.container.gallery img {object-fit: cover}
#compare-table :is(table, thead, tbody, tr) {border: 0 !important}
#compare-table table {display: table; width: 100%; border-collapse: collapse}
#compare-table :is(th, td) {border: 0 !important; border-bottom: 1px solid var(--border-color-primary) !important;
    padding: 6px 10px; white-space: nowrap; word-break: normal; text-align: right}
#compare-table :is(th, td):first-child {text-align: left}
#compare-table p:first-child {font-size: 1.15em; margin: 4px 0 8px}
#compare-table p:last-child {opacity: .75}

@media (max-width: 640px) {
    .tab-container button {padding: 6px 9px !important; font-size: .92em}
    /* What came of it follows what was dropped, before the choices. */
    .get > * {font-size: .9em; letter-spacing: -.02em}
    .work fieldset label {padding: 6px 8px; font-size: .92em}
    .container.gallery {width: 58px !important; height: 58px}
    .work {gap: 14px !important; flex-direction: column}
    .work > .column {display: contents}
    .work > .column > * {order: 2; max-width: calc(100vw - 64px)}
    #compare-table {overflow-x: auto}
    .work > .column:last-child > * {order: 1}
    .work > .column > .first {order: 0}
    #compare-table :is(th, td) {padding: 5px 3px; font-size: .85em}
    #compare-table th {white-space: normal; min-width: 0}
}
"""


def theme() -> gr.themes.Base:
    """Return Gradio's theme Soft without its shadows and green labels, and with words that stand out (WCAG 2, level AA)."""
    plain = {"block_shadow": "none", "checkbox_label_shadow": "none", "input_shadow": "none",
             "block_border_width": "1px", "checkbox_label_border_width": "1px", "button_secondary_shadow": "none",
             "block_title_background_fill": "transparent", "block_title_padding": "0", "block_title_text_weight": "500",
             "block_label_text_weight": "500", "block_label_text_size": "*text_sm",
             "body_text_color_subdued": "*neutral_500", "button_secondary_background_fill_hover_dark": "*neutral_500"}
    light_dark = {"block_border_color": ("*neutral_200", "*neutral_700"),
                  "input_border_color": ("*neutral_200", "*neutral_700"),
                  "checkbox_label_border_color": ("*neutral_200", "*neutral_600"),
                  "block_label_background_fill": ("rgb(255 255 255 / .85)", "rgb(0 0 0 / .6)"),
                  "block_label_text_color": ("*neutral_700", "*neutral_200"),
                  "block_title_text_color": ("*neutral_700", "*neutral_200")}
    # White words stand on these.
    light_dark |= dict.fromkeys(("button_primary_background_fill", "button_primary_border_color",
                                 "checkbox_label_background_fill_selected"), ("*primary_700", "*primary_700"))
    light_dark |= dict.fromkeys(("button_primary_background_fill_hover", "button_primary_border_color_hover"),
                                ("*primary_800", "*primary_800"))
    for name, (light, dark) in light_dark.items():
        plain |= {name: light, f"{name}_dark": dark}
    return gr.themes.Soft(primary_hue="emerald", neutral_hue="slate", **FONTS).set(**plain)
